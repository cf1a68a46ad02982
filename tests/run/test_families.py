"""Families of metrics come and change one by one, with nothing else computed or moved; several methods share a run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark import registry
from benchmark.forward import interventions
from benchmark.records import Record
from benchmark.run import pipeline, plan
from benchmark.run.pipeline import Outcome
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.features import remote, trusted
from benchmark.tracks.features.quantities import Quantities
from leaderboard import board
from tests.conftest import Silent, tiny_settings

DENSITY = "benchmark.metrics.density:FAMILY"


def runs_of(suite: Suite, *names: str) -> list[MethodRun]:
    return [MethodRun(method, methods.rows(method, suite)) for method in methods.chosen(names)]


def run(suite: Suite, folder: Path, *names: str) -> Outcome:
    return pipeline.run(suite, runs_of(suite, *(names or ("topk_sae",))), Store(folder), "none", Silent())


def kept(folder: Path, method: str = "topk_sae") -> dict[str, Record]:
    return {record.score_id: record for record in Store(folder).records("tiny", method)}


def latents_of(folder: Path, record: Record) -> pd.DataFrame:
    table = Store(folder).latents(record)
    assert table is not None
    return table


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory, subjects: Path) -> Path:
    """A finished run of a version that knew no density."""
    folder = tmp_path_factory.mktemp("before")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "FAMILIES", tuple(one for one in registry.FAMILIES if one != DENSITY))
        run(Suite.model_validate(tiny_settings(subjects) | SMALL), folder)
    return folder


SMALL = {"variants": ["trained", "noise-embeddings"], "hookpoints": ["layers.1"]}


def test_a_new_family_is_computed_alone(
    before: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(before, tmp_path / "runs")
    first, suite = kept(tmp_path / "runs"), Suite.model_validate(tiny | SMALL)
    tables = {record.score_id: latents_of(tmp_path / "runs", record) for record in first.values()}
    assert all("dense@1" not in record.metrics for record in first.values())
    (one,) = runs_of(suite, "topk_sae")
    made = plan.make(suite, [one], Store(tmp_path / "runs"), download=False)
    assert {item.missing for item in made.cells} == {("density",)}

    def never(*arguments: Any) -> Any:
        raise AssertionError("nothing is fitted, ablated or judged for the sake of a share of latents")

    monkeypatch.setattr(remote, "fit", never)
    monkeypatch.setattr(interventions, "ablations", never)
    monkeypatch.setattr(interventions, "swapped", never)
    for name in ("splice", "causal", "concepts", "assessed", "token_regression"):
        monkeypatch.setattr(Quantities, name, property(never))
    assert run(suite, tmp_path / "runs") == Outcome(4, 0, [], {})
    second = kept(tmp_path / "runs")
    assert second.keys() == first.keys()
    for score_id, record in second.items():
        old = first[score_id]
        dense = record.metrics["dense@1"]
        assert dense.value is not None
        assert record.model_copy(update={"metrics": old.metrics, "families": old.families}) == old
        assert {name: one for name, one in record.metrics.items() if name != "dense@1"} == old.metrics
        assert record.families == old.families | {"density": record.families["density"]}
        pd.testing.assert_frame_equal(latents_of(tmp_path / "runs", record), tables[score_id])
    assert run(suite, tmp_path / "runs") == Outcome(0, 4, [], {})


def test_a_changed_family_takes_the_place_of_what_it_was(
    before: Path, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(before, tmp_path / "runs")
    first = kept(tmp_path / "runs")
    known = tuple(one for one in registry.FAMILIES if one != DENSITY)
    changed = "tests.run.second:RECONSTRUCTION"
    monkeypatch.setattr(registry, "FAMILIES", (changed, *known[1:]))
    assert known[0] == "benchmark.metrics.reconstruction:FAMILY"
    assert run(Suite.model_validate(tiny | SMALL), tmp_path / "runs").computed == 4
    for score_id, record in kept(tmp_path / "runs").items():
        old = first[score_id]
        assert "fvu@1" not in record.metrics, "what nobody knows any more goes"
        assert record.metrics["fvu@2"].value == pytest.approx(100 * (old.metrics["fvu@1"].value or 0))
        assert record.metrics["kl_score@1"] == old.metrics["kl_score@1"]
        assert record.families["reconstruction"] != old.families["reconstruction"]


UNITS = '''
import torch
from benchmark.api import Latents

class Units:
    """Neurons of the residual stream, positive and negative."""
    def fit(self, activations, *, seed):
        self.n_latents = 2 * activations.d_model
        self.mean = next(activations.batches(4096)).mean(0)
        return self
    def encode(self, x):
        both = torch.cat([x - self.mean, self.mean - x], 1).clamp(min=0)
        return Latents(*both.topk(4, dim=1))
'''


def submission(folder: Path, name: str) -> str:
    home = folder / name
    home.mkdir(parents=True)
    (home / "method.py").write_text(UNITS)
    (home / "method.toml").write_text('track = "features"\nentry = "Units"\nsummary = "neurons"\n')
    return str(home)


def test_methods_of_a_run_share_networks_forwards_and_chunks(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two methods in one run: every group prepares once, and both have the numbers that they have alone."""
    suite = Suite.model_validate(tiny | SMALL)
    units = submission(tmp_path / "methods", "units")
    prepared: list[trusted.FeaturesData] = []
    make = trusted.prepare

    def counted(*arguments: Any) -> trusted.FeaturesData:
        prepared.append(make(*arguments))
        return prepared[-1]

    monkeypatch.setattr("benchmark.tracks.features.track.prepare", counted)
    assert run(suite, tmp_path / "both", "topk_sae", units).computed == 8
    assert len(prepared) == 4, "a group of two variants of two replicates each"
    assert {data.chunks.forwards for data in prepared} == {1}, "one pass over the fit text for both methods"
    for name, said in (("topk_sae", "topk_sae"), ("units", units)):
        run(suite, tmp_path / name, said)
        alone, together = kept(tmp_path / name, name), kept(tmp_path / "both", name)
        assert {score_id: record.metrics for score_id, record in alone.items()} == {
            score_id: record.metrics for score_id, record in together.items()
        }
    own, entries, paths = board.render_local(Store(tmp_path / "both"))
    assert [row.info.method for row in own] == ["topk_sae", "units"]
    assert {entry.method for entry in entries} == {"topk_sae", "units"}
    assert set(paths) == {"board", "all metrics of topk_sae", "all metrics of units"}


def test_a_failing_method_takes_no_other_with_it(tiny: dict[str, Any], tmp_path: Path) -> None:
    suite = Suite.model_validate(tiny | SMALL)
    broken = submission(tmp_path / "methods", "broken")
    (tmp_path / "methods" / "broken" / "method.py").write_text(
        UNITS.replace("self.n_latents = 2 *", "1 / 0; self.n_latents = 2 *")
    )
    outcome = run(suite, tmp_path / "runs", broken, "topk_sae")
    assert [record.where.method for record in outcome.failed] == ["broken"] * 4
    assert len([record for record in kept(tmp_path / "runs").values() if record.status == "scored"]) == 4


def test_new_nulls_are_gated_scored_and_stand_on_the_board(tiny: dict[str, Any], tmp_path: Path) -> None:
    nulls = ["shuffled", "cascade:1", "cascade:2"]
    suite = Suite.model_validate(tiny | {"variants": ["trained", *nulls], "hookpoints": ["layers.0"]})
    assert run(suite, tmp_path).computed == 8
    values = {}
    for record in kept(tmp_path).values():
        values[record.where.variant, record.where.replicate] = record.metrics["fvu@1"].value
        assert record.gate["weight_hash"] == record.hashes["weights"]
    for replicate in (0, 1):
        # Only the block above the hookpoint is redrawn: the activations are those of trained, to the bit.
        assert values["cascade:1", replicate] == values["trained", replicate] != values["cascade:2", replicate]
    _, (entry,), paths = board.render_local(Store(tmp_path))
    assert list(entry.scores) == ["trained", *nulls]
    assert "cascade:2" in paths["all metrics"].read_text()
    deep = suite.model_copy(update={"variants": ("trained", "cascade:3")})
    with pytest.raises(Exception, match="the subject has 2 blocks"):
        run(deep, tmp_path)
