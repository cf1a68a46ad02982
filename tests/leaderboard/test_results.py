"""Published rows as files: what is written is what is read, a changed cell is a small diff, nothing large gets in."""

from __future__ import annotations

import difflib
import io
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmark.errors import BadInput
from benchmark.records import MetricValue, Record
from benchmark.spec import suite as suites
from benchmark.store import Store
from leaderboard import board, latents, publication, results
from leaderboard.rows import PLACE, ResultRow, as_place
from leaderboard.standings import natural
from tests.leaderboard.rendered import put_row, rows, whole
from tests.leaderboard.test_headline import HEADLINE, records

TEXTS = ["default", "a=1 b=2", "a=1-b=2", "../../elsewhere", "k=[1, 2]", ".hidden", "é", ""]


def tables(record: Record) -> pd.DataFrame:
    rng = np.random.default_rng(record.where.replicate)
    return pd.DataFrame(
        {
            "latent": np.arange(5),
            "rate": rng.random(5),
            HEADLINE: np.array([0.6, np.nan, 0.7, 0.5, 0.8], np.float32),
            "explanation": ["a", None, "b", "c", "d"],
            "examples": [[1, 2]] * 5,
        }
    )


def made() -> ResultRow:
    found = whole(records())
    gone = found[0].metrics | {"ce_score@1": MetricValue(value=None, reason="zero-ablation costs 0.01 nats")}
    (row,) = rows([found[0].model_copy(update={"metrics": gone}), *found[1:]], tables)
    return row


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    row = made()
    folder = put_row(tmp_path, row)
    assert {path.name for path in folder.iterdir()} == set(results.FILES)
    (again,) = results.rows(tmp_path)
    assert again.info == row.info
    assert again.name == row.name
    pd.testing.assert_frame_equal(again.scores, row.scores.astype(float), rtol=1e-5)
    assert np.isnan(again.scores["ce_score@1"]).all()
    assert again.info.undefined[0].reason == "zero-ablation costs 0.01 nats"
    assert list(again.cells["score_id"]) == list(row.cells["score_id"])
    lean, every = again.samples(), row.samples()
    assert set(lean) == {*PLACE, "latent", "rate", HEADLINE, "explained"}
    assert len(lean) == len(every) == 30 * 5
    assert lean["explained"].sum() == 30 * 4
    first = lean[HEADLINE].dropna().sort_values().to_numpy(float)
    np.testing.assert_allclose(first, every[HEADLINE].dropna().sort_values().to_numpy(float), rtol=1e-6)
    index = list(again.scores.index)
    assert index == sorted(index), "lines by place"
    assert results.rows(tmp_path, ("another",)) == []


def test_a_changed_cell_is_a_diff_of_one_line_and_nothing_else_is_rewritten(tmp_path: Path) -> None:
    found = whole(records())
    (before,) = rows(found, tables)
    folder = put_row(tmp_path, before)
    texts = {name: (folder / name).read_text() for name in (results.SCORES, results.CELLS)}
    stamps = {name: (folder / name).stat().st_mtime_ns for name in results.FILES}
    moved = found[7].model_copy(update={"metrics": found[7].metrics | {HEADLINE: MetricValue(value=0.123456789)}})
    (after,) = rows([*found[:7], moved, *found[8:]][::-1], tables)
    put_row(tmp_path, after)
    diff = list(difflib.ndiff(texts[results.SCORES].splitlines(), (folder / results.SCORES).read_text().splitlines()))
    assert [line[0] for line in diff if line[0] in "+-"] == ["-", "+"]
    assert "0.123457" in next(line for line in diff if line[0] == "+"), "six significant digits"
    for name in (results.RUN, results.CELLS, results.LATENTS):
        assert (folder / name).stat().st_mtime_ns == stamps[name], name


def test_large_files_and_methods_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = made()
    monkeypatch.setattr(results, "MOST_ROW_BYTES", 1_000)
    with pytest.raises(BadInput, match=r"would be .* bytes, and 1,000 are allowed"):
        put_row(tmp_path, row)
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    put_row(tmp_path, row)
    monkeypatch.setattr(results, "MOST_METHOD_BYTES", 10_000)
    with pytest.raises(BadInput, match="are allowed for a method"):
        put_row(tmp_path, row._replace(info=row.info.model_copy(update={"label": "another"})))


@pytest.mark.parametrize("label", TEXTS)
def test_a_label_is_a_folder_of_its_own_below_the_results(label: str, tmp_path: Path) -> None:
    names = {results.slug(text) for text in TEXTS}
    assert len(names) == len(TEXTS)
    row = made()
    named = row._replace(info=row.info.model_copy(update={"label": label}))
    folder = put_row(tmp_path, named)
    assert folder.parents[2] == tmp_path
    assert [one.info.label for one in results.rows(tmp_path)] == [label]


def changed(name: str, change: Callable[[str], str]) -> Callable[[Path], object]:
    """A fault in one file of a row."""
    return lambda folder: (folder / name).write_text(change((folder / name).read_text()))


def both(change: Callable[[str], str]) -> Callable[[Path], object]:
    """A fault in the lines of both tables."""
    return lambda folder: [changed(name, change)(folder) for name in (results.SCORES, results.CELLS)]


SPOILED: list[Callable[[Path], object]] = [
    lambda folder: (folder / results.SCORES).unlink(),
    changed(results.SCORES, lambda text: ""),
    changed(results.SCORES, lambda text: "variant,replicate\n"),
    changed(results.SCORES, lambda text: text.replace("0.", "x.", 1)),
    changed(results.SCORES, lambda text: text.replace("l0@1", "x <b>[y](http://z)</b>", 1)),
    changed(results.CELLS, lambda text: text.replace("settings_hash", "another", 1)),
    changed(results.CELLS, lambda text: text.replace("score_id", "id", 1)),
    changed(results.RUN, lambda text: text.replace('"track": "features"', '"track": "feature"')),
    both(lambda text: text + text.splitlines()[-1] + "\n"),
    both(lambda text: "\n".join(line for line in text.splitlines() if not line.startswith("step0")) + "\n"),
    both(lambda text: text.replace("step0", "step1")),
    both(lambda text: text.replace("layers.1", "1")),
]


def test_what_is_no_row_is_left_out_and_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = put_row(tmp_path, made())
    shutil.copytree(folder, folder.with_name("copy"))
    for number, spoil in enumerate(SPOILED):
        broken = tmp_path / "s" / f"m{number}" / "default"
        shutil.copytree(folder, broken)
        info = json.loads((broken / results.RUN).read_text()) | {"method": f"m{number}"}
        (broken / results.RUN).write_text(json.dumps(info))
        spoil(broken)
    with caplog.at_level(logging.WARNING):
        assert [row.info.method for row in results.rows(tmp_path)] == ["topk_sae"]
    assert caplog.text.count("left out") == len(SPOILED) + 1
    for said in (
        "does not lie there",
        "stands twice",
        "not those of the suite",
        "no name of a metric",
        "unknown track",
    ):
        assert said in caplog.text


def test_a_published_cell_is_a_record_again(tmp_path: Path) -> None:
    row = made()
    put_row(tmp_path / "results", row)
    (again,) = results.rows(tmp_path / "results")
    for place in map(as_place, again.scores.index):
        record = latents.record_of(again, place)
        original = next(one for one in whole(records()) if one.score_id == record.score_id)
        assert record.where == original.where
        assert record.metrics[HEADLINE].value == pytest.approx(original.metrics[HEADLINE].value, rel=1e-5)
        assert record.counts == original.counts
        assert (record.fit_id, record.settings, record.suite) == (original.fit_id, original.settings, original.suite)
    cell = latents.find(records()[3].score_id[:12], tmp_path, tmp_path / "results")
    assert "are in .parquet" in cell.note
    assert len(cell.others) == 30
    with pytest.raises(BadInput, match="no records begin"):
        latents.find("ffffffff", tmp_path, tmp_path / "results")


def with_words(root: Path) -> list[Record]:
    """A store of a whole row whose latents have words and contexts."""
    store = Store(root)
    store.check()
    complete = whole(records())
    lines: dict[str, object] = {"latent": [0, 0], "rank": [0, 1], "block": 1, "start": 2, "activation": [2.0, 1.0]}
    contexts = pd.DataFrame(lines | {"tokens": [["a", " b"], ["<<c", ">>"]], "activations": [[2.0, 0.0], [0.0, 1.0]]})
    for one in complete:
        table = tables(one).assign(explanation="word")
        table[HEADLINE] = np.float32(one.metrics[HEADLINE].value or 0)
        counts = one.counts | {"drawn": 5.0, "eligible_drawn": 5.0}
        store.put(one.model_copy(update={"counts": counts}), table, tables={"contexts": contexts})
    store.select("s", "topk_sae", {"default": [one.score_id for one in complete]})
    return complete


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Record], publication.Published]:
    """Such a store's records, and what was published of it."""
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    complete = with_words(tmp_path / "runs")
    return complete, board.publish(Store(tmp_path / "runs"), "topk_sae")


def test_details_stand_elsewhere_under_their_hash_and_are_shown_where_they_are(
    tmp_path: Path, published: tuple[list[Record], publication.Published]
) -> None:
    complete, written = published
    (row,) = results.rows(tmp_path / "results")
    assert written.details == [tmp_path / "runs" / "details" / f"{row.info.details['sha256']}.parquet"]
    assert publication.details_of(row, tmp_path / "runs" / "details") == written.details[0]
    shutil.rmtree(tmp_path / "runs" / "records")
    cell = latents.find(complete[0].score_id, tmp_path / "runs", tmp_path / "results")
    assert cell.note == ""
    shown = latents.one(cell, 3)
    assert shown.line["explanation"] == "word"
    found = latents.one(cell, 0).contexts
    assert [list(tokens) for tokens in found["tokens"]] == [["a", " b"], ["<<c", ">>"]]
    assert [list(activations) for activations in found["activations"]] == [[2.0, 0.0], [0.0, 1.0]]


def test_an_excerpt_stands_beside_the_row_and_is_shown_without_the_details(
    tmp_path: Path, published: tuple[list[Record], publication.Published]
) -> None:
    complete, written = published
    (path,) = (file for file in written.files if file.name == results.EXCERPT)
    told = pd.read_parquet(path)
    deepest = max((one.where.place for one in complete), key=natural)
    assert set(told["place"]) == {deepest}
    assert set(told["replicate"]) == {min(one.where.replicate for one in complete)}
    assert set(told["variant"]) == {one.where.variant for one in complete}
    assert set(told["table"]) == {"explanations", "contexts"}
    shutil.rmtree(tmp_path / "runs")
    shown = [one for one in complete if (one.where.place, one.where.replicate) == (deepest, told["replicate"].iloc[0])]
    cell = latents.find(shown[0].score_id, tmp_path / "runs", tmp_path / "results")
    assert cell.note == ""
    assert latents.one(cell, 3).line["explanation"] == "word"
    assert [list(tokens) for tokens in latents.one(cell, 0).contexts["tokens"]] == [["a", " b"], ["<<c", ">>"]]
    other = next(one for one in complete if one not in shown)
    assert "published beside the results" in latents.find(other.score_id, tmp_path, tmp_path / "results").note
    results.write(path.parent, {name: (path.parent / name).read_bytes() for name in results.FILES})
    assert not path.exists(), "an excerpt of another run says nothing of this one"


def test_contexts_of_an_earlier_version_enter_no_excerpt() -> None:
    place = dict(zip(PLACE, ("trained", 0, "layers.2", 0), strict=True))
    words = pd.DataFrame({"latent": [7], "explanation": ["word"]})
    lines: dict[str, object] = {"row": [0], "rank": [0], "block": [1], "start": [2], "activation": [1.0]}
    earlier = pd.DataFrame(lines | {"text": ["<<a>>"]})
    told = results.excerpt([(place, "explanations", words), (place, "contexts", earlier)])
    assert told is not None
    assert set(pd.read_parquet(io.BytesIO(told))["table"]) == {"explanations"}
    assert results.excerpt([(place, "contexts", earlier)]) is None


def test_the_published_sizes_are_what_a_pull_request_can_carry() -> None:
    for folder in {path.parent for path in board.RESULTS.glob("*/*/*/run.json")}:
        assert all((folder / name).stat().st_size <= results.MOST_ROW_BYTES for name in results.FILES)
        method = [file.stat().st_size for file in folder.parent.rglob("*") if file.is_file()]
        assert sum(method) <= results.MOST_METHOD_BYTES
    assert suites.names()
