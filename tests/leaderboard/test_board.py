"""Standings by hand, and boards that are the same when rendered again."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark import keyed
from benchmark.records import Join, Metric, Record, Store, Where, read_all
from leaderboard import board, markdown, standings
from leaderboard.standings import ALL

CONTENT = {
    "subject": {"name": "x", "replicates": {"0": "x"}, "null_draws": None},
    "variants": ["trained"], "hookpoints": ["layers.2"], "method_seeds": [0], "judge": "lexical/2",
}  # fmt: skip
"""What the suite `s` says."""


def where(variant: str, replicate: int, hookpoint: str, label: str = "default") -> Where:
    return Where(
        suite="s",
        method="m",
        label=label,
        subject="x",
        source="x",
        revision="r",
        replicate=replicate,
        variant=variant,
        method_seed=0,
        hookpoint=hookpoint,
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
        metrics={"fvu@1": Metric(value=value, reason=None if value is not None else "too flat")},
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
    rows = {row.hookpoint: row for row in standings.rows(RECORDS)}
    assert list(rows) == [ALL, "layers.2", "layers.10"]
    trained = rows[ALL].scores["trained"]
    assert trained.mean == pytest.approx(0.25)
    assert trained.spread == pytest.approx(0.0707107)
    assert rows[ALL].scores["step0"] == pytest.approx((0.5, None, 1))
    assert rows[ALL].gaps["step0"] == pytest.approx((0.5 - 0.2, None, 1))
    assert rows["layers.2"].gaps["step0"].mean == pytest.approx((0.4 + 0.3) / 2)
    assert rows[ALL].reasons == ("too flat",)


def test_a_replicate_with_a_missing_cell_counts_for_nothing() -> None:
    rows = {row.hookpoint: row for row in standings.rows(RECORDS[1:])}
    assert rows[ALL].scores["trained"].replicates == 1
    assert rows["layers.2"].scores["trained"].mean == pytest.approx(0.2)


def test_joins_become_rows() -> None:
    joins = [
        Join(
            metric="universality@1",
            where=where("trained", 0, "layers.2"),
            other=other,
            score_ids=(keyed.short("a"), keyed.short("b")),
            suite_hash=keyed.short("suite"),
            settings_hash=keyed.short("h"),
            value=value,
        )
        for other, value in ((1, 0.4), (2, 0.6))
    ]
    (row, _) = standings.rows([], joins)
    assert row.scores["trained"].mean == pytest.approx(0.5)


def test_rendering_is_stable_and_says_what_is_undefined() -> None:
    text = markdown.render(standings.rows(RECORDS))
    assert text == markdown.render(standings.rows(list(reversed(RECORDS))))
    assert "n/a" in markdown.render(standings.rows(RECORDS[6:]))
    assert "too flat" in text
    assert "0.2500 ± 0.0707" in text
    assert "+0.3000" in text
    assert "No records yet" in markdown.render([])


def test_own_rows_take_the_place_of_published_ones_and_older_settings_give_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = tmp_path / "results"
    monkeypatch.setattr(board, "RESULTS", results)
    monkeypatch.setattr(board, "PUBLISHED", tmp_path / "LEADERBOARD.md")
    first, mine = Store(tmp_path / "first"), Store(tmp_path / "mine")
    published = record("trained", 0, "layers.2", 0.9)
    first.put(published, LATENTS)
    first.select("s", "m", {"default": [published.score_id]})
    assert len(board.publish(first, "m")) == 3
    assert "0.9000" in board.render_published().read_text()
    old, new = (record("trained", 0, "layers.2", value, name) for value, name in ((0.7, "old"), (0.6, "new")))
    for one in (old, new):
        mine.put(one, LATENTS)
    mine.select("s", "m", {"default": [new.score_id], "other": [keyed.short("nothing yet")]})
    text = board.render_local(mine)[1].read_text()
    assert "0.6000" in text
    assert "0.7000" not in text
    assert "0.9000" not in text
    board.publish(mine, "m")
    assert {entry.settings_hash for entry in read_all(results)} == {new.settings_hash}
    assert len(list(results.rglob("*.parquet"))) == 1
    before = board.render_published().read_bytes()
    assert board.render_published().read_bytes() == before
    assert b"0.9000" not in before
    assert board.publish(mine, "nobody") == []


def test_two_records_of_one_cell_are_refused() -> None:
    with pytest.raises(ValueError, match="two records of one cell"):
        standings.rows([*RECORDS, record("trained", 0, "layers.2", 0.8, "old")])


def claimed(*nulls: float, m: int = 5) -> standings.BoardRow:
    """The row of an error metric that is 0.1 on trained, and on each null what is given; replicates vary a little."""
    names = ("trained", "step0", "rerandomized", "rerandomized-keep-embeddings")
    found = [
        record(name, seed, "layers.2", level + 0.001 * ((seed * (place + 1)) % 5))
        for place, (name, level) in enumerate(zip(names, (0.1, *nulls), strict=False))
        for seed in range(m)
    ]
    return standings.rows(found)[0]


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
    assert "[" in markdown.render([three])
    assert "| n/a" in markdown.render([three])


def test_the_board_says_worst_null_and_verdict() -> None:
    text = markdown.render([claimed(0.5, 0.2, 0.9)])
    assert "beats the null" in text
    assert "rerandomized |" in text


def test_a_score_on_fewer_replicates_says_so() -> None:
    text = markdown.render(standings.rows(RECORDS))
    assert "0.5000 (n=1)" in text
    assert "+0.3000 (n=1)" in text
