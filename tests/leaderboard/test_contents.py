"""A suite is its content: rows of another content share no table, no gate, no comparison and no publication."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.records import Metric, Record, Store, read_all
from leaderboard import agreement, board, compare, contents, markdown, publication, standings
from leaderboard.board import Board
from leaderboard.headline import entries
from tests.leaderboard.test_board import CONTENT, record
from tests.leaderboard.test_headline import records

HEADLINE = registry.HEADLINE
OTHER = CONTENT | {"tokens": {"score": 4096}, "hookpoints": ["layers.1"]}


def of_other_content(found: list[Record]) -> list[Record]:
    return [
        one.model_copy(
            update={"suite": OTHER, "suite_hash": keyed.short("other"), "score_id": keyed.short(one.score_id)}
        )
        for one in found
    ]


def made(found: list[Record], monkeypatch: pytest.MonkeyPatch, shipped: dict[str, Any] | None = None) -> str:
    monkeypatch.setattr(board, "shipped", lambda name: shipped)
    return Board(found, [], lambda record: None).text()


def test_rows_of_another_content_have_a_table_of_their_own_that_says_what_differs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = of_other_content(records("own", trained=0.9))
    text = made([*records(), *mine], monkeypatch, CONTENT)
    first, second = text.split("## Suite `s`")[1:]
    assert "| topk_sae" in first
    assert "| own" not in first
    assert second.startswith(f", content {keyed.short('other')}, subject x")
    assert "| topk_sae" not in second
    assert "hookpoints is layers.2 and layers.1" not in second
    assert "hookpoints is layers.1 and layers.2; tokens is {'score': 4096} and None" in second


def test_the_repositorys_content_comes_first_however_few_its_rows_are(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = of_other_content(records("own") + records("another"))
    text = made([*records(), *mine], monkeypatch, CONTENT)
    assert "| topk_sae" in text.split("## Suite `s`")[1]
    text = made([*records(), *mine], monkeypatch)
    assert "| own" in text.split("## Suite `s`")[1], "of an unknown suite the content with most rows"
    text = made(mine, monkeypatch, CONTENT)
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
        compare.compare([*mine, *records()], "s", "own", "topk_sae")
    shared = compare.compare([*mine, *records("own", seed=1), *records()], "s", "own", "topk_sae")
    assert {line.replicates for line in shared} == {6}, "both have the first content"


def test_own_rows_of_another_content_do_not_replace_published_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "shipped", lambda name: CONTENT)
    published, mine = Store(tmp_path / "published"), Store(tmp_path / "mine")
    one = record("trained", 0, "layers.2", 0.9)
    published.put(one)
    published.select("s", "m", {"default": [one.score_id]})
    board.publish(published, "m")
    (other,) = of_other_content([record("trained", 0, "layers.2", 0.7)])
    mine.put(other)
    mine.select("s", "m", {"default": [other.score_id]})
    text = board.local(mine).text()
    assert "0.9000" in text.split("## Suite `s`")[1]
    assert "0.7000" in text.split("## Suite `s`")[2]
    with pytest.raises(BadInput, match=r"that suite is not the repository's \(hookpoints is layers\.1 and layers\.2"):
        board.publish(mine, "m")
    assert [found.score_id for found in read_all(tmp_path / "results")] == [one.score_id]


def wide(replicates: int = 2, draws: int | None = None) -> dict[str, Any]:
    subject = {"name": "x", "replicates": {str(seed): "x" for seed in range(replicates)}, "null_draws": draws}
    return CONTENT | {"subject": subject, "variants": ["trained", "step0"], "method_seeds": [0]}


def row(content: dict[str, Any]) -> list[Record]:
    cells = sorted(publication.wanted(content))
    made = [record(cell.variant, cell.replicate, cell.hookpoint, 0.5) for cell in cells]
    return [one.model_copy(update={"suite": content}) for one in made]


def test_a_row_is_published_whole_or_not_at_all() -> None:
    whole = row(wide())
    publication.check(whole, wide(), lambda record: None)
    with pytest.raises(BadInput, match=r"lacks 1 of 4 cells, such as trained of replicate 1 at layers\.2"):
        publication.check([one for one in whole if one.where != whole[-1].where], wide(), lambda record: None)
    failed = whole[0].model_copy(update={"status": "failed"})
    with pytest.raises(BadInput, match="lacks 1 of 4 cells, such as step0 of replicate 0"):
        publication.check([failed, *whole[1:]], wide(), lambda record: None)
    with pytest.raises(BadInput, match=r"not the repository's \(subject\.replicates\.2 is None and x\)"):
        publication.check(whole, wide(3), lambda record: None)
    publication.check(
        [one.model_copy(update={"suite": wide() | {"judge": "another"}}) for one in whole], wide(), lambda _: None
    )


def test_in_case_mode_every_draw_is_wanted() -> None:
    content = wide(1, draws=19)
    assert {place.variant for place in publication.wanted(content)} == {"trained", *(f"step0:{n}" for n in range(19))}
    with pytest.raises(BadInput, match="lacks 1 of 20 cells, such as step0:7"):
        publication.check([one for one in row(content) if one.where.variant != "step0:7"], None, lambda record: None)


def test_a_refused_publication_leaves_the_published_row_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(board, "shipped", lambda name: wide())
    store = Store(tmp_path / "runs")
    for one in row(wide()):
        store.put(one)
    every = [one.score_id for one in store.records("s", "m")]
    store.select("s", "m", {"default": every})
    assert len(board.publish(store, "m")) == 5
    before = {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.json")}
    store.select("s", "m", {"default": every[:-1]})
    with pytest.raises(BadInput, match="run the suite to its end"):
        board.publish(store, "m")
    assert {path: path.read_bytes() for path in (tmp_path / "results").rglob("*.json")} == before
    assert board.publish(store, "m", "another-suite") == []


def test_a_cell_that_stands_twice_is_left_out_and_named(caplog: pytest.LogCaptureFixture) -> None:
    twice = record("trained", 0, "layers.2", 0.1), record("trained", 0, "layers.2", 0.2, "again")
    alone = record("step0", 0, "layers.2", 0.3)
    with caplog.at_level(logging.WARNING):
        assert standings.distinct([*twice, alone]) == [alone]
    assert twice[0].score_id in caplog.text


HOSTILE = "<img src=x onerror=alert(1)> | a\nb [click](javascript:x) \x1b[2J"


def test_texts_from_outside_are_text_on_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [
        one.model_copy(
            update={
                "where": one.where.model_copy(update={"label": HOSTILE, "subject": HOSTILE}),
                "metrics": one.metrics | {"fvu@1": Metric(value=None, reason=HOSTILE)},
            }
        )
        for one in records()
    ]
    text = made(found, monkeypatch)
    for raw in ("<img", "](javascript", "\x1b", "onerror=alert(1)> |"):
        assert raw not in text
    assert "&lt;img src=x onerror=alert(1)&gt; \\| a b [click] (javascript:x)" in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if "&lt;img" in line and line[0] == "|"}
    tables = {line.count("|") for line in text.splitlines() if line.startswith("|:") or line.startswith("| method")}
    assert widths <= tables


def scored(value: float, *, q: float = 0.5) -> tuple[Record, pd.DataFrame]:
    """A record by intention to score and its table of four latents, of which some could be asked about."""
    table = pd.DataFrame({"latent": range(4), "rate": 0.1, HEADLINE: [0.9, 0.7, float("nan"), float("nan")]})
    one = record("trained", 0, "layers.2", 0.25)
    twin = registry.beside(HEADLINE, "lexical")
    metrics = {HEADLINE: Metric(value=value), twin: Metric(value=value), "explained_variance@1": Metric(value=0.75)}
    counts = {"drawn": 4.0, "eligible_drawn": 4 * q}
    return one.model_copy(update={"metrics": one.metrics | metrics, "counts": counts}), table


def test_a_record_agrees_with_its_own_tables_or_is_refused() -> None:
    one, table = scored(0.5 * 0.8 + 0.5 * 0.5)
    assert agreement.disagreements(one, table) == []
    raised, _ = scored(0.75)
    assert f"{HEADLINE} is 0.75, and its table of latents gives 0.650000" in agreement.disagreements(raised, table)
    only = one.model_copy(update={"metrics": one.metrics | {HEADLINE: Metric(value=0.75)}})
    assert any("its twin under the same judge" in said for said in agreement.disagreements(only, table))
    other = one.model_copy(update={"metrics": one.metrics | {"explained_variance@1": Metric(value=0.85)}})
    assert agreement.disagreements(other, table) == ["explained_variance@1 is 0.85, and fvu@1 gives 0.750000"]
    assert agreement.disagreements(one, None) == ["it has no table of latents"]
    asked = table.assign(explanation=pd.Series(["a", "", None, None], dtype=object))
    assert agreement.disagreements(one, asked) == []
    counted = one.model_copy(update={"counts": one.counts | {"eligible_drawn": 4.0}})
    assert any(said.startswith("eligible_drawn is 4.0") for said in agreement.disagreements(counted, asked))
    more = pd.concat([table, table])
    assert any("drawn is 4.0" in said for said in agreement.disagreements(one, more))
    with pytest.raises(BadInput, match="does not agree with itself"):
        publication.check([raised], None, lambda record: table)


def test_every_published_record_agrees_with_its_own_tables() -> None:
    published, tables = read_all(board.RESULTS), board._tables(board.RESULTS)
    assert len(published) == len(list(board.RESULTS.rglob(f"{'?' * 16}.json"))) > 0
    for one in published:
        assert agreement.disagreements(one, tables(one)) == [], one.score_id


def test_the_published_rows_are_whole_and_of_the_repositorys_suites() -> None:
    rows: dict[object, list[Record]] = {}
    for one in read_all(board.RESULTS):
        rows.setdefault(publication.row_of(one), []).append(one)
    for members in rows.values():
        content = board.shipped(members[0].where.suite)
        assert content is not None
        publication.check(members, content, board._tables(board.RESULTS))


def test_differences_name_the_field_and_keys_tell_contents_apart() -> None:
    assert contents.different(CONTENT, OTHER)[0] == "hookpoints is layers.2 and layers.1"
    assert contents.different(CONTENT, CONTENT) == [contents.ELSEWHERE]
    assert contents.name_of(contents.key_of(record("trained", 0, "layers.2", 0.1))) == "s"
    assert markdown.plain("a & b") == "a &amp; b"
