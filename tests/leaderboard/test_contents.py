"""A suite is its content: rows of another content share no table, no gate, no comparison and no publication."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.records import MetricValue, Record
from benchmark.store import Store
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import agreement, board, compare, contents, markdown, publication, results
from leaderboard.latents import record_of
from leaderboard.rows import PLACE, as_place, wanted
from tests.leaderboard import rendered
from tests.leaderboard.rendered import entries, rows
from tests.leaderboard.test_board import CONTENT, put, record
from tests.leaderboard.test_headline import records

HEADLINE = FeaturesTrack.headline
OWN = records()[0].suite
"""What the suite of these records says."""
OTHER = OWN | {"tokens": {"score": 4096}, "hookpoints": ["layers.1"]}
EMPTY = Store(Path("nowhere"))


def of_other_content(found: list[Record]) -> list[Record]:
    return [
        one.model_copy(
            update={"suite": OTHER, "suite_hash": keyed.short("other"), "score_id": keyed.short(one.score_id)}
        )
        for one in found
    ]


def made(found: list[Record], shipped: dict[str, Any] | None = None) -> str:
    return rendered.board(found, shipped=lambda name, track: shipped)


def test_rows_of_another_content_have_a_table_of_their_own_that_says_what_differs() -> None:
    mine = of_other_content(records("own", trained=0.9))
    text = made([*records(), *mine], OWN)
    first, second = text.split("## Suite `s`")[1:]
    assert "| [topk_sae]" in first
    assert "| [own]" not in first
    assert second.startswith(f", content {rows(mine)[0].suite.partition('@')[2]}, subject x")
    assert "| [topk_sae]" not in second
    assert "hookpoints is layers.2 and layers.1" not in second
    assert "hookpoints is layers.1 and layers.2; tokens is {'score': 4096} and None" in second


def test_the_repositorys_content_comes_first_however_few_its_rows_are() -> None:
    mine = of_other_content(records("own") + records("another"))
    text = made([*records(), *mine], OWN)
    assert "| [topk_sae]" in text.split("## Suite `s`")[1]
    text = made([*records(), *mine])
    assert "| [own]" in text.split("## Suite `s`")[1], "of an unknown suite the content with most rows"
    text = made(mine, OWN)
    assert text.count("## Suite `s`, content") == 1, "alone it is of another content all the same"


def test_no_gate_rank_or_reference_reaches_across() -> None:
    mine, published = of_other_content(records("own", trained=0.9)), records()
    alone, together = entries(mine), entries([*mine, *published])
    assert [entry for entry in together if entry.method == "own"] == alone
    assert all(entry.rank == (1, 1, 1) for entry in together)
    assert alone[0].decomposition is None


def test_compare_refuses_and_says_what_differs() -> None:
    mine = of_other_content(records("own"))
    with pytest.raises(BadInput, match=r"different content under the name s: hookpoints is layers\.1 and layers\.2"):
        compare.compare(rows([*mine, *records()]), "s", "own", "topk_sae")
    shared = compare.compare(rows([*mine, *records("own", seed=1), *records()]), "s", "own", "topk_sae").differences
    assert {line.replicates for line in shared} == {6}, "both have the first content"


def test_own_rows_of_another_content_do_not_replace_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "shipped", lambda name, track: wide(1, variants=["trained"]))
    one = row(wide(1, variants=["trained"]))[0]
    published = put(Store(tmp_path / "published"), one)
    with pytest.raises(BadInput, match="the method's files have changed since these cells were computed"):
        board.publish(published, "m", code="another")
    with pytest.raises(BadInput, match=r"has cells that were made with isolation process: .* of cells made in jail"):
        board.publish(published, "m", stranger=True)
    assert not (tmp_path / "results").exists()
    board.publish(published, "m")
    (other,) = of_other_content([record("trained", 0, "layers.2", 0.7)])
    mine = put(Store(tmp_path / "mine"), other)
    own, every = board.local(mine)
    assert len(own) == 1
    assert {key.partition("@")[0] for key in (one.suite for one in every)} == {"s"}
    assert len(every) == 2
    with pytest.raises(BadInput, match=r"that suite is not the repository's \(hookpoints is layers\.1 and layers\.2"):
        board.publish(mine, "m")
    (kept,) = results.rows(tmp_path / "results")
    assert list(kept.cells["score_id"]) == [one.score_id]


def wide(
    replicates: int = 2, draws: int | None = None, variants: Sequence[str] = ("trained", "step0")
) -> dict[str, Any]:
    subject = {"name": "x", "replicates": {str(seed): "x" for seed in range(replicates)}, "null_draws": draws}
    return CONTENT | {"subject": subject, "variants": list(variants), "method_seeds": [0]}


def row(content: dict[str, Any]) -> list[Record]:
    cells = sorted(wanted(content, {}))
    made = [record(cell.variant, cell.replicate, cell.place, 0.5) for cell in cells]
    return [one.model_copy(update={"suite": content}) for one in made]


def test_a_row_is_published_whole_or_not_at_all() -> None:
    whole = row(wide())
    publication.check(whole, wide(), {}, EMPTY)
    with pytest.raises(BadInput, match=r"lacks 1 of 4 cells, such as trained of replicate 1 at layers\.2"):
        publication.check([one for one in whole if one.where != whole[-1].where], wide(), {}, EMPTY)
    failed = whole[0].model_copy(update={"status": "failed"})
    with pytest.raises(BadInput, match="lacks 1 of 4 cells, such as step0 of replicate 0"):
        publication.check([failed, *whole[1:]], wide(), {}, EMPTY)
    with pytest.raises(BadInput, match=r"not the repository's \(subject\.replicates\.2 is None and x\)"):
        publication.check(whole, wide(3), {}, EMPTY)
    publication.check(
        [one.model_copy(update={"suite": wide() | {"judge": "another"}}) for one in whole], wide(), {}, EMPTY
    )


def test_in_case_mode_every_draw_is_wanted() -> None:
    content = wide(1, draws=19)
    assert {place.variant for place in wanted(content, {})} == {"trained", *(f"step0:{n}" for n in range(19))}
    with pytest.raises(BadInput, match="lacks 1 of 20 cells, such as step0:7"):
        publication.check([one for one in row(content) if one.where.variant != "step0:7"], None, {}, EMPTY)


def test_rows_of_another_judge_and_headline_definition_stand_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's families are held against those of its own judge; another judge's have other ids."""
    ours, theirs = keyed.short("lexical"), keyed.short("model")
    asked = {"fuzzing-token-matched": ours, "density": keyed.short("density")}
    judged = [
        one.model_copy(
            update={"suite": wide() | {"judge": "model"}, "families": asked | {"fuzzing-token-matched": theirs}}
        )
        for one in row(wide())
    ]
    publication.check(judged, wide(), asked, EMPTY)
    same_judge = [one.model_copy(update={"suite": wide()}) for one in judged]
    with pytest.raises(BadInput, match="lacks fuzzing-token-matched as this version defines them"):
        publication.check(same_judge, wide(), asked, EMPTY)
    bare = [one.model_copy(update={"families": {"density": asked["density"]}}) for one in judged]
    with pytest.raises(BadInput, match="lacks fuzzing-token-matched"):
        publication.check(bare, wide(), asked, EMPTY)
    before = [one.model_copy(update={"families": {"fuzzing-token-matched": theirs}}) for one in records("old")]
    now = [one.model_copy(update={"families": {"fuzzing-token-matched": ours}}) for one in records("new")]
    assert len({one.suite for one in rows([*before, *now])}) == 2, "no rank across definitions of the headline"
    half = [*before[:10], *(one.model_copy(update={"families": now[0].families}) for one in before[10:])]
    gate = next(gate for gate in entries(half)[0].gates if gate.name == "one setting")
    assert gate.passed is False


def test_what_the_suite_asks_for_must_be_there() -> None:
    whole = row(wide())
    with pytest.raises(BadInput, match="lacks density as this version defines them: run the suite again"):
        publication.check(whole, wide(), {"density": keyed.short("now")}, EMPTY)
    mixed = [whole[0].model_copy(update={"families": {"density": keyed.short("now")}}), *whole[1:]]
    other = [whole[0].model_copy(update={"families": {"density": keyed.short("then")}}), *mixed[:1], *whole[2:]]
    with pytest.raises(BadInput, match="has other metrics than others"):
        publication.check(
            [other[0], mixed[0].model_copy(update={"where": whole[1].where}), *whole[2:]], wide(), {}, EMPTY
        )


def test_a_refused_publication_leaves_the_published_row_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "shipped", lambda name, track: wide())
    store = put(Store(tmp_path / "runs"), *row(wide()))
    every = [one.score_id for one in store.records("s", "m")]
    assert len(board.publish(store, "m").files) == 4
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")}
    store.select("s", "m", {"default": every[:-1]})
    with pytest.raises(BadInput, match="run the suite to its end"):
        board.publish(store, "m")
    assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.*")} == before
    assert board.publish(store, "m", "another-suite").files == []


def test_a_cell_that_stands_twice_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    twice = record("trained", 0, "layers.2", 0.1), record("trained", 0, "layers.2", 0.2, "again")
    alone = record("step0", 0, "layers.2", 0.3)
    with caplog.at_level(logging.WARNING):
        (only,) = rows([*twice, alone])
    assert list(only.cells["score_id"]) == [alone.score_id]
    assert twice[0].score_id in caplog.text


HOSTILE = "<img src=x onerror=alert(1)> | a\nb [click](javascript:x) \x1b[2J"


def test_texts_from_outside_are_text_on_the_board() -> None:
    found = [
        one.model_copy(
            update={
                "where": one.where.model_copy(update={"label": HOSTILE, "subject": HOSTILE}),
                "metrics": one.metrics | {"fvu@1": MetricValue(value=None, reason=HOSTILE)},
            }
        )
        for one in records()
    ]
    text = made(found) + rendered.page(found)
    for raw in ("<img", "](javascript", "\x1b", "onerror=alert(1)> |"):
        assert raw not in text
    assert "&lt;img src=x onerror=alert(1)&gt; \\| a b [click] (javascript:x)" in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if "&lt;img" in line and line[0] == "|"}
    tables = {line.count("|") for line in text.splitlines() if line.startswith("|:")}
    assert widths <= tables


def scored(value: float, *, q: float = 0.5) -> tuple[Record, pd.DataFrame]:
    """A record by intention to score and its table of four latents, of which some could be asked about."""
    table = pd.DataFrame({"latent": range(4), "rate": 0.1, HEADLINE: [0.9, 0.7, float("nan"), float("nan")]})
    one = record("trained", 0, "layers.2", 0.25)
    twin = registry.beside(HEADLINE, "lexical")
    metrics = {
        HEADLINE: MetricValue(value=value),
        twin: MetricValue(value=value),
        "explained_variance@1": MetricValue(value=0.75),
    }
    counts = {"drawn": 4.0, "eligible_drawn": 4 * q}
    return one.model_copy(update={"metrics": one.metrics | metrics, "counts": counts}), table


def test_a_record_agrees_with_its_own_tables_or_is_refused(tmp_path: Path) -> None:
    one, table = scored(0.5 * 0.8 + 0.5 * 0.5)
    assert agreement.disagreements(one, table) == []
    raised, _ = scored(0.75)
    assert f"{HEADLINE} is 0.75, and its table of latents gives 0.650000" in agreement.disagreements(raised, table)
    only = one.model_copy(update={"metrics": one.metrics | {HEADLINE: MetricValue(value=0.75)}})
    assert any("its twin under the same judge" in said for said in agreement.disagreements(only, table))
    other = one.model_copy(update={"metrics": one.metrics | {"explained_variance@1": MetricValue(value=0.85)}})
    assert agreement.disagreements(other, table) == ["explained_variance@1 is 0.85, and fvu@1 gives 0.750000"]
    assert agreement.disagreements(one, None) == ["it has no table of latents"]
    asked = table.assign(explanation=pd.Series(["a", "", None, None], dtype=object))
    assert agreement.disagreements(one, asked) == []
    counted = one.model_copy(update={"counts": one.counts | {"eligible_drawn": 4.0}})
    assert any(said.startswith("eligible_drawn is 4.0") for said in agreement.disagreements(counted, asked))
    more = pd.concat([table, table])
    assert any("drawn is 4.0" in said for said in agreement.disagreements(one, more))
    store = put(Store(tmp_path), raised)
    store.put(raised, table)
    with pytest.raises(BadInput, match="does not agree with itself"):
        publication.check([raised], None, {}, store)


def test_every_published_row_is_whole_agrees_with_itself_and_is_of_the_repositorys_suite() -> None:
    published = results.rows(board.RESULTS)
    assert len(published) == len(list(board.RESULTS.glob("*/*/*/run.json"))) > 0
    for one in published:
        content = board.shipped(one.info.suite, one.info.track)
        assert content is not None
        assert {**one.info.content, "judge": ""} == {**content, "judge": ""}
        if one.info.content == content:
            now = board.families(one.info.suite, one.info.track)
            assert one.info.families.items() <= now.items(), "what was published is computed otherwise by now"
        assert set(map(as_place, one.scores.index)) == wanted(one.info.content, one.info.settings)
        names = {path.name for path in results.folder_of(board.RESULTS, one.info).iterdir()}
        assert names - {results.EXCERPT} == set(results.FILES)
        samples = dict(list(one.samples().groupby(PLACE)))
        for place in map(as_place, one.scores.index):
            kept = samples[place]
            if "explained" in kept:
                kept = kept.assign(explanation=kept["explained"].where(kept["explained"]))
            assert agreement.disagreements(record_of(one, place), kept, relative=agreement.PUBLISHED) == [], place


def test_differences_name_the_field_and_keys_tell_contents_apart() -> None:
    assert contents.different(OWN, OTHER)[0] == "hookpoints is layers.2 and layers.1"
    assert contents.different(CONTENT, CONTENT) == [contents.ELSEWHERE]
    assert contents.name_of(rows([record("trained", 0, "layers.2", 0.1)])[0].suite) == "s"
    assert markdown.plain("a & b") == "a &amp; b"
