"""Standings by hand, and boards that are the same when rendered again."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from benchmark import keyed
from benchmark.records import Join, MetricValue, Record, Where
from benchmark.store import Store
from leaderboard import board as boards
from leaderboard import markdown, results
from leaderboard.standings import ALL, BoardRow
from tests.leaderboard.rendered import board, lines, page, put_row, rows
from tests.leaderboard.rendered import whole as wholly

CONTENT = {
    "subject": {"name": "x", "replicates": {"0": "x"}, "null_draws": None},
    "variants": ["trained"], "hookpoints": ["layers.2"], "method_seeds": [0], "judge": "lexical/2",
    "track": {"name": "features", "places": ["layers.2"], "table": {}},
}  # fmt: skip
"""What the suite `s` says."""


def where(variant: str, replicate: int, hookpoint: str, label: str = "default") -> Where:
    return Where(
        suite="s",
        track="features",
        method="m",
        label=label,
        subject="x",
        source="x",
        revision="r",
        replicate=replicate,
        variant=variant,
        method_seed=0,
        place=hookpoint,
    )


def record(variant: str, replicate: int, hookpoint: str, value: float | None, settings: str = "h") -> Record:
    return Record(
        where=where(variant, replicate, hookpoint),
        status="scored",
        fit_id=keyed.short("fit"),
        score_id=keyed.short(settings, variant, replicate, hookpoint),
        suite_hash=keyed.short("suite"),
        settings_hash=keyed.short(settings),
        settings={},
        suite=CONTENT,
        metrics={"fvu@1": MetricValue(value=value, reason=None if value is not None else "too flat")},
    )


LATENTS = pd.DataFrame({"latent": [3, 5], "rate": [0.1, 0.2]})

RECORDS = [
    record("trained", 0, "layers.2", 0.1),
    record("trained", 0, "layers.10", 0.3),
    record("trained", 1, "layers.2", 0.2),
    record("trained", 1, "layers.10", 0.4),
    record("step0", 0, "layers.2", 0.5),
    record("step0", 0, "layers.10", 0.5),
    record("step0", 1, "layers.2", 0.5),
    record("step0", 1, "layers.10", None),
]


def test_scores_and_gaps_by_hand() -> None:
    rows = {row.place: row for row in lines(RECORDS)}
    assert list(rows) == [ALL, "layers.2", "layers.10"]
    trained = rows[ALL].scores["trained"]
    assert trained.mean == pytest.approx(0.25)
    assert trained.spread == pytest.approx(0.0707107)
    assert rows[ALL].scores["step0"] == pytest.approx((0.5, None, 1))
    assert rows[ALL].gaps["step0"] == pytest.approx((0.5 - 0.2, None, 1))
    assert rows["layers.2"].gaps["step0"].mean == pytest.approx((0.4 + 0.3) / 2)
    assert rows[ALL].reasons == ("too flat",)


def test_a_replicate_with_a_missing_cell_counts_for_nothing() -> None:
    rows = {row.place: row for row in lines(RECORDS[1:])}
    assert rows[ALL].scores["trained"].replicates == 1
    assert rows["layers.2"].scores["trained"].mean == pytest.approx(0.2)


def test_joins_become_means_over_the_others() -> None:
    joins = [
        Join(
            metric="universality@1",
            family=keyed.short("family"),
            where=where("trained", 0, "layers.2"),
            other=other,
            score_ids=(RECORDS[0].score_id, keyed.short("b", other)),
            suite_hash=keyed.short("suite"),
            settings_hash=keyed.short("h"),
            value=value,
            reason=None if value is not None else "gone",
        )
        for other, value in ((1, 0.4), (2, 0.6), (3, None))
    ]
    (row, *_) = (line for line in lines(RECORDS[:1], joins) if line.metric == "universality@1")
    assert row.scores["trained"].mean == pytest.approx(0.5)
    (row, *_) = (line for line in lines(RECORDS[:1], joins[2:]) if line.metric == "universality@1")
    assert (row.scores["trained"].mean, row.reasons) == (None, ("gone",))


def test_rendering_is_stable_and_says_what_is_undefined() -> None:
    text = page(RECORDS, method="m")
    assert text == page(list(reversed(RECORDS)), method="m")
    assert "n/a" in page(RECORDS[6:], method="m")
    assert "too flat" in text
    assert "0.2500 ± 0.0707" in text
    assert "+0.3000" in text
    assert "No records yet" in board([])


def whole(value: float, settings: str = "h") -> Record:
    """The only cell of a suite."""
    content = CONTENT | {"subject": {"name": "x", "replicates": {"0": "x"}, "null_draws": None}}
    return record("trained", 0, "layers.2", value, settings).model_copy(update={"suite": content})


def put(store: Store, *records: Record, **rows: list[str]) -> Store:
    store.check()
    for one in records:
        store.put(one, LATENTS)
    store.select("s", "m", rows or {"default": [one.score_id for one in records]})
    return store


def test_own_rows_take_the_place_of_published_ones_and_older_settings_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(boards, "HOME", tmp_path)
    first = put(Store(tmp_path / "first"), whole(0.9))
    published = boards.publish(first, "m")
    assert [path.name for path in published.files] == ["run.json", "scores.csv", "cells.csv", "latents.parquet"]
    page = tmp_path / "pages" / "s" / "m.md"
    boards.render_published()
    assert "0.9000" in page.read_text()
    old, new = whole(0.7, "old"), whole(0.6, "new")
    mine = put(Store(tmp_path / "mine"), old, new, default=[new.score_id], other=[keyed.short("nothing yet")])
    own, _, paths = boards.render_local(mine)
    assert [row.info.label for row in own] == ["default"]
    text = paths["all metrics"].read_text()
    assert "0.6000" in text
    assert "0.7000" not in text
    assert "0.9000" not in text
    boards.publish(mine, "m")
    (row,) = results.rows(tmp_path / "results")
    assert set(row.cells["settings_hash"]) == {new.settings_hash}
    assert len(list((tmp_path / "results").rglob("*.parquet"))) == 1
    before = boards.render_published().read_bytes(), page.read_bytes()
    assert (boards.render_published().read_bytes(), page.read_bytes()) == before
    assert b"0.9000" not in before[1]
    assert boards.publish(mine, "nobody").files == []


def test_every_link_of_a_local_board_leads_to_a_page_and_changed_pages_are_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Published rows stand beside own ones without a page of their own; no page keeps what somebody wrote into it."""
    from tests.leaderboard.test_headline import records  # noqa: PLC0415  which imports this module

    monkeypatch.setattr(boards, "RESULTS", tmp_path / "results")
    both = wholly(records("mine", seed=1) + records("theirs", seed=2))
    put_row(tmp_path / "results", next(row for row in rows(both) if row.info.method == "theirs"))
    store = Store(tmp_path / "runs")
    store.check()
    for one in both[: len(both) // 2]:
        store.put(one)
    store.select("s", "mine", {"default": [one.score_id for one in both[: len(both) // 2]]})
    _, entries, paths = boards.render_local(store)
    text = paths["board"].read_text()
    assert {entry.method for entry in entries} == {"mine", "theirs"}
    assert "| theirs |" in text
    links = re.findall(r"\]\(([^)]*)\)", text)
    figures = [store.root / "pages" / "s" / name for name in ("gaps.svg", "trained-null.svg")]
    assert [store.root / link for link in links] == [*figures, paths["all metrics"]]
    assert all(figure.read_text(encoding="utf-8").startswith("<svg") for figure in figures)
    page, stamp = paths["all metrics"], paths["all metrics"].stat().st_mtime_ns
    boards.render_local(store)
    assert page.stat().st_mtime_ns == stamp, "a page that says what its rows say is left as it is"
    written = page.read_text()
    page.write_text(written.replace("+0.1", "+0.9"))
    boards.render_local(store)
    assert page.read_text() == written


def claimed(*nulls: float, m: int = 5) -> BoardRow:
    """The row of an error metric that is 0.1 on trained, and on each null what is given; replicates vary a little."""
    names = ("trained", "step0", "rerandomized", "rerandomized-keep-embeddings")
    found = [
        record(name, seed, "layers.2", level + 0.001 * ((seed * (place + 1)) % 5))
        for place, (name, level) in enumerate(zip(names, (0.1, *nulls), strict=False))
        for seed in range(m)
    ]
    return lines(found)[0]


def test_a_claim_takes_the_worst_null_in_the_metrics_direction() -> None:
    claim = claimed(0.5, 0.2, 0.9).claim
    assert claim is not None
    assert claim.worst.null == "rerandomized"
    assert claim.worst.mean == pytest.approx(0.1, abs=0.002)
    assert claim.verdict == "beats the null"
    assert claim.ratio is None, "an error's chance is not what the control scores"
    assert claimed(0.5, 0.05, 0.9).claim.verdict == "reversed"  # type: ignore[union-attr]
    assert claimed(0.5, 0.1, 0.9).claim.verdict == "equivalent to the null"  # type: ignore[union-attr]


def test_few_replicates_claim_less() -> None:
    assert claimed(0.5, 0.2, 0.9, m=2).claim is None
    three = claimed(0.5, 0.2, 0.9, m=3)
    assert three.claim is not None
    assert three.claim.verdict is None
    assert "[" in "\n".join(markdown.metrics([three]))
    assert "| n/a" in "\n".join(markdown.metrics([three]))


def test_the_board_says_worst_null_and_verdict() -> None:
    text = "\n".join(markdown.metrics([claimed(0.5, 0.2, 0.9)]))
    assert "beats the null" in text
    assert "rerandomized |" in text


def test_a_score_on_fewer_replicates_says_so() -> None:
    text = page(RECORDS, method="m")
    assert "0.5000 (n=1)" in text
    assert "+0.3000 (n=1)" in text
