"""Rows to Markdown tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from benchmark.metrics import family
from benchmark.stats.case import CaseClaim
from leaderboard.standings import ALL, BoardRow, Score

CONDITIONAL = "conditional on this checkpoint"
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def metrics(rows: Sequence[BoardRow]) -> list[str]:
    """Every metric of some rows: its scores, gaps and claim over all places, and at each; rows are in order."""
    parts = []
    for name, members in itertools.groupby(rows, key=lambda row: row.metric):
        parts += [f"### {plain(name)} ({direction(name)})", *_metric(list(members))]
    return parts


def _metric(rows: list[BoardRow]) -> list[str]:
    known = family.metric(rows[0].metric)
    parts = [f"{known.says}, in {known.unit}."] if known else []
    parts.append(table([_line(row) for row in rows]))
    reasons = sorted({reason for row in rows for reason in row.reasons})
    if reasons:
        shown = "; ".join(map(plain, reasons[:3])) + (f"; and {len(reasons) - 3} more" if len(reasons) > 3 else "")
        parts.append(f"Undefined in some cells: {shown}.")
    return parts


def table(lines: Sequence[Mapping[str, str]]) -> str:
    """Lines as a table; what they say is text, whoever wrote it."""
    shown = [{plain(name): plain(value) for name, value in line.items()} for line in lines]
    return str(pd.DataFrame(shown).fillna("").to_markdown(index=False, disable_numparse=True))


def plain(text: str) -> str:
    """Text that may come from anybody as Markdown that shows it: no cell, tag, link or line ends within it."""
    shown = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("|", "\\|").replace("](", "] (")


def one_line(text: str) -> str:
    """Text without anything that ends or turns a line."""
    return _CONTROL.sub(" ", text)


def _line(row: BoardRow) -> dict[str, str]:
    line = {"settings": row.label, "place": "mean" if row.place == ALL else row.place}
    most = 0 if row.draws is not None else max((score.replicates for score in row.scores.values()), default=0)
    line |= {variant: text(score, of=most) for variant, score in row.scores.items()}
    known = row.claim.gaps if row.claim else {}
    line |= {
        f"gap to {null}": interval(known[null].mean, known[null].interval)
        + (f" (n={known[null].replicates})" if known[null].replicates < most else "")
        if null in known
        else text(score, of=most, signed=True)
        for null, score in row.gaps.items()
    }
    line |= claim(row)
    line["replicates"] = cases(row.draws) if row.draws is not None else str(most)
    return line


def text(score: Score, *, of: int = 0, signed: bool = False) -> str:
    """Mean ± standard deviation, or n/a; with its own count where it rests on fewer than `of` replicates."""
    if score.mean is None:
        return "n/a"
    mean = f"{score.mean:+.4f}" if signed else f"{score.mean:.4f}"
    spread = "" if score.spread is None else f" ± {score.spread:.4f}"
    return mean + spread + (f" (n={score.replicates})" if score.replicates < of else "")


def claim(row: BoardRow) -> dict[str, str]:
    """Worst null, verdict and ratio in words."""
    if row.case is not None:
        worst, verdict = case(row.case)
        return {"worst": worst, "verdict": verdict, "ratio": "n/a"}
    if row.claim is None:
        return {"worst": "n/a", "verdict": "n/a", "ratio": "n/a"}
    lowest, ratio = row.claim.worst, row.claim.ratio
    return {
        "worst": f"{lowest.mean:+.4f} (above {lowest.lower:+.4f}), {lowest.null}",
        "verdict": str(row.claim.verdict) if row.claim.verdict else "n/a",
        "ratio": interval(ratio.value, ratio.interval) if ratio else "n/a",
    }


def case(claim: CaseClaim) -> tuple[str, str]:
    """Worst null and verdict of a claim in case mode."""
    worst = claim.cases[claim.worst]
    said = f"{worst.gap:+.4f} (t {worst.t:.2f}, p {claim.p:.2g}, rank p {claim.rank_p:.2g}), {claim.worst}"
    return said, f"{claim.verdict}, {CONDITIONAL}"


def cases(draws: int) -> str:
    """What stands in place of the number of replicates in case mode."""
    return f"1 checkpoint, {draws} draws"


def interval(value: float, bounds: tuple[float, float]) -> str:
    """A signed value with its interval."""
    return f"{value:+.4f} [{bounds[0]:+.4f}, {bounds[1]:+.4f}]"


def direction(metric: str) -> str:
    """Which way is better, in words."""
    known = family.metric(metric)
    return f"{known.better} is better" if known and known.better else "no direction: gaps are plain differences"
