"""Rows to Markdown tables."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import pandas as pd

from benchmark import registry
from benchmark.stats.case import CaseClaim
from leaderboard.contents import Heading, name_of
from leaderboard.standings import ALL, BoardRow, Score

CONDITIONAL = "conditional on this checkpoint"
SuitePlace = tuple[str, str]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")
INTRODUCTION = """\
How each method scores on a trained network, on the same network with training destroyed (the nulls), and on the
control. Scores are means over hookpoints and method seeds, then mean ± standard deviation over replicates (training
seeds). Gaps are trained minus null, paired by replicate, positive when trained is better, with a 95 % t interval over
replicates from three on. *Worst* is the null that trained beats least, with the one-sided 95 % bound of all nulls at
once; *verdict*, from five replicates on, is the first that holds of reversed, equivalent to the null, beats the null,
and inconclusive; differences without any spread support none. The smallest difference that matters is .02, .04 for
lifts, .05 for nats and causal effect. *Ratio* is the worst null's gap over the control's, with Fieller's interval,
where chance is what the control scores.
A subject with one training seed is held against many draws of each null (case mode): scores of nulls are then over
draws, *p* is Crawford and Howell's and *rank p* the Monte-Carlo one, the largest over nulls, and what they say is
conditional on that checkpoint. Metrics without a direction, and those that compare replicates, carry no verdict. Rows
of single hookpoints are exploratory; ranks are claimed in the headline table alone. *n/a* is undefined; the reason
stands below its table."""


def render(
    rows: Sequence[BoardRow],
    top: Mapping[SuitePlace, Sequence[str]] = MappingProxyType({}),
    headings: Mapping[str, Heading] = MappingProxyType({}),
) -> str:
    """The whole board; the same rows give the same bytes. `top` has the first tables of each suite and subject,
    `headings` what stands above each suite, in the order of the board.
    """
    parts = ["# NullGap leaderboard", INTRODUCTION]
    if not rows:
        parts.append("No records yet.")
    order = {key: number for number, key in enumerate(headings)}
    in_order = sorted(rows, key=lambda row: (order.get(row.suite, len(order)), row.suite, row.subject))
    for suite, members in itertools.groupby(in_order, key=lambda row: (row.suite, row.subject)):
        heading = headings.get(suite[0], Heading(f"## Suite `{name_of(suite[0])}`", None))
        parts += [f"{heading.title}, subject {plain(suite[1])}"]
        parts += [plain(heading.sentence)] if heading.sentence else []
        parts += top.get(suite, ())
        by_metric = sorted(members, key=lambda row: place(row.metric))
        for metric, entries in itertools.groupby(by_metric, key=lambda row: row.metric):
            parts += [f"### {metric} ({_direction(metric)})", *_metric(list(entries))]
    return "\n\n".join(parts) + "\n"


def _metric(rows: list[BoardRow]) -> list[str]:
    parts = [table([_line(row) for row in rows])]
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
    shown = _CONTROL.sub(" ", text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return shown.replace("|", "\\|").replace("](", "] (")


def _line(row: BoardRow) -> dict[str, str]:
    line = {"method": row.method, "settings": row.label, "hookpoint": "mean" if row.hookpoint == ALL else row.hookpoint}
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
