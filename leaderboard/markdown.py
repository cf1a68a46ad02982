"""Rows to Markdown tables."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pandas as pd

from benchmark import registry
from leaderboard.standings import ALL, Row, Score

INTRODUCTION = """\
How each method scores on a trained network, on the same network with training destroyed (the nulls), and on the
control. Scores are means over hookpoints and method seeds, then mean ± standard deviation over replicates (training
seeds); gaps are trained minus null, paired by replicate, positive when trained is better. Gaps are raw: no interval,
verdict or rank is claimed here. *n/a* is undefined; the reason stands below its table."""


def render(rows: Sequence[Row]) -> str:
    """The whole board; the same rows give the same bytes."""
    parts = ["# NullGap leaderboard", INTRODUCTION]
    if not rows:
        parts.append("No records yet.")
    for suite, members in itertools.groupby(rows, key=lambda row: (row.suite, row.subject)):
        parts.append(f"## Suite `{suite[0]}`, subject {suite[1]}")
        by_metric = sorted(members, key=lambda row: place(row.metric))
        for metric, entries in itertools.groupby(by_metric, key=lambda row: row.metric):
            parts += [f"### {metric} ({_direction(metric)})", *_metric(list(entries))]
    return "\n\n".join(parts) + "\n"


def _metric(rows: list[Row]) -> list[str]:
    table = pd.DataFrame([_line(row) for row in rows])
    parts = [table.to_markdown(index=False, disable_numparse=True)]
    reasons = sorted({reason for row in rows for reason in row.reasons})
    if reasons:
        shown = "; ".join(reasons[:3]) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        parts.append(f"Undefined in some cells: {shown}.")
    return parts


def _line(row: Row) -> dict[str, str]:
    line = {"method": row.method, "settings": row.label, "hookpoint": "mean" if row.hookpoint == ALL else row.hookpoint}
    most = max((score.replicates for score in row.scores.values()), default=0)
    line |= {variant: text(score, of=most) for variant, score in row.scores.items()}
    line |= {f"gap to {null}": text(score, of=most, signed=True) for null, score in row.gaps.items()}
    line["replicates"] = str(most)
    return line


def text(score: Score, *, of: int = 0, signed: bool = False) -> str:
    """Mean ± standard deviation, or n/a; with its own count where it rests on fewer than `of` replicates."""
    if score.mean is None:
        return "n/a"
    mean = f"{score.mean:+.4f}" if signed else f"{score.mean:.4f}"
    spread = "" if score.spread is None else f" ± {score.spread:.4f}"
    return mean + spread + (f" (n={score.replicates})" if score.replicates < of else "")


def _direction(metric: str) -> str:
    known = registry.HIGHER_IS_BETTER.get(metric)
    return (
        "no direction: gaps are plain differences"
        if known is None
        else "higher is better"
        if known
        else "lower is better"
    )


def place(metric: str) -> int:
    """Where a metric stands on the board."""
    names = [*registry.METRICS, *registry.JOINS]
    return names.index(metric) if metric in names else len(names)
