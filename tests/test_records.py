"""The store: one run at a time, nothing half-written, joins that outlive a narrower run, failures that are replaced."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmark import keyed
from benchmark.errors import BadInput
from benchmark.records import Join
from benchmark.store import Arrays, Store, read
from tests.leaderboard.test_board import record, where


def join(metric: str, ids: tuple[str, str], value: float) -> Join:
    first, second = (keyed.short(name) for name in ids)
    return Join(
        metric=metric, family=keyed.short("family"), where=where("trained", 0, "layers.2"), other=1,
        score_ids=(first, second),
        suite_hash=keyed.short("suite"), settings_hash=keyed.short("h"), value=value,
    )  # fmt: skip


def test_a_second_run_on_the_same_folder_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path).locked(), pytest.raises(BadInput, match="another run is using"), Store(tmp_path).locked():
        pass
    with Store(tmp_path).locked():
        pass


def test_what_a_killed_run_left_half_written_is_cleared(tmp_path: Path) -> None:
    (tmp_path / "featurizers" / ".abc.tmp").mkdir(parents=True)
    (tmp_path / "spool" / ("0" * 32)).mkdir(parents=True)
    (tmp_path / "records" / "s" / "m").mkdir(parents=True)
    (tmp_path / "records" / "s" / "m" / ".a.json.tmp").write_text("{")
    with Store(tmp_path).locked():
        assert {path.name for path in tmp_path.rglob("*")} <= {"featurizers", "records", "s", "m", "spool", ".lock"}


def test_joins_of_other_rows_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put_joins("s", "m", [join("universality@1", ("a", "b"), 0.1)])
    store.put_joins("s", "m", [join("universality@1", ("c", "d"), 0.2), join("universality@1", ("a", "b"), 0.1)])
    store.put_joins("s", "m", [])
    wanted = [tuple(map(keyed.short, pair)) for pair in (("a", "b"), ("c", "d"))]
    assert [found.score_ids for found in store.joins("s", "m")] == wanted


def test_a_success_replaces_the_failure_of_its_cell(tmp_path: Path) -> None:
    store, good = Store(tmp_path), record("trained", 0, "layers.2", 0.5)
    store.put(good.model_copy(update={"status": "failed", "error": "no luck", "metrics": {}}))
    assert store.find("s", "m", good.score_id) is None
    assert [found.status for found in store.records("s", "m")] == ["failed"]
    store.put(good)
    assert [found.status for found in store.records("s", "m")] == ["scored"]
    assert store.find("s", "m", good.score_id) == good


def test_arrays_come_back(tmp_path: Path) -> None:
    codes = sparse.csr_array(np.array([[0, 1.5, 0], [2, 0, 0]], dtype=np.float32))
    store = Store(tmp_path)
    kept = record("trained", 0, "layers.2", 0.5)
    store.put(kept, arrays=Arrays(codes, np.array([1, 0]), torch.ones(2, 4)))
    found = store.arrays(kept.score_id)
    assert found is not None
    np.testing.assert_array_equal(found.codes.toarray(), codes.toarray())
    assert found.drawn.tolist() == [1, 0]
    assert store.arrays("nothing") is None


def test_a_file_that_is_no_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"schema_version": 1}')
    with pytest.raises(BadInput, match=r"a\.json is not a record"):
        read(tmp_path / "a.json")
