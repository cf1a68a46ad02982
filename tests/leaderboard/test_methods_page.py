"""docs/methods.md holds what the published rows say, digit by digit."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import leaderboard
from leaderboard.frames import Frames

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
NULLS = ["step0", "rerandomized", "rerandomized-keep-embeddings"]
HEADLINE, BESIDE = "fuzzing-token-matched@1", "concept_recovery@1"


@pytest.fixture(scope="module")
def mini() -> Frames:
    return leaderboard.load("mini")


def cells(header: str) -> list[list[str]]:
    """The lines of the table that begins with this header, without the names' marks."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith(header))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("`", "").removesuffix(" (floor)") for cell in line.strip("|").split("|")])
    return found


def number(value: float, digits: int, sign: str = "+") -> str:
    return f"{value:{sign}.{digits}f}".replace("0.", ".", 1)


def test_gaps_and_leads(mini: Frames) -> None:
    claims = mini.claims[~mini.claims.floor]
    main, beside = (claims[claims.metric == name].set_index("method") for name in (HEADLINE, BESIDE))
    gaps = {str(name): float(gap) for name, gap in beside.gap.items()}
    expected = [
        [
            name,
            *(number(row[field], 4) for field in ("gap", "at_least", "lead", "lead_at_least")),
            row.lead_verdict,
            number(gaps[str(name)], 4),
            number(row["recovered_variance@1"], 3, ""),
            row.gates_against or "none",
        ]
        for name, row in main.sort_values("at_least", ascending=False).iterrows()
    ]
    assert cells("| method | gap |") == expected


def test_plain_fuzzing(mini: Frames) -> None:
    plain = mini.scores[mini.scores.metric == "fuzzing@1"]
    means = plain.groupby(["method", "variant"]).value.mean().unstack()
    table = pd.DataFrame({"trained": means["trained"], "worst": means[NULLS].max(axis=1)})
    bound = mini.claims[mini.claims.metric == HEADLINE].set_index("method").at_least
    rank = bound.rank(ascending=False, method="min").astype(int)
    ranks = {str(name): int(place) for name, place in rank.items()}
    expected = {
        str(name): [number(one, 3, ""), number(null, 3, ""), number(one - null, 3), str(ranks[str(name)])]
        for name, one, null in table.itertuples()
    }
    assert {line[1]: line[2:] for line in cells("| rank | method |")} == expected
    gaps = table.trained - table.worst
    assert ((gaps < 0).sum(), len(gaps)) == (16, 18)
    assert 0 < gaps[gaps > 0].max() < 0.01
