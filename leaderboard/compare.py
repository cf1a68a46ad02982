"""Method against method, and against the floors: paired differences of their gaps to the worst null, on the replicates
that both have. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmark import registry
from benchmark.errors import BadInput, unknown
from benchmark.metrics import family
from benchmark.spec.variant import Variant
from benchmark.stats.null_gap import Gap, gap
from leaderboard import contents
from leaderboard.contenders import Contender, KnownFloors, nearest_reference
from leaderboard.contents import Shipped
from leaderboard.floors import Standing, standing
from leaderboard.rows import ResultRow
from leaderboard.standings import replicated, to_worst


class Difference(NamedTuple):
    """Worst-null gaps of both under one metric, and first minus second over shared replicates; None under three."""

    metric: str
    first: float
    second: float
    difference: Gap | None
    replicates: int


def compare(
    rows: Sequence[ResultRow], suite: str, first: str, second: str, shipped: Shipped = lambda name, track: None
) -> list[Difference]:
    """All metrics with a direction that both have; an entry is `method` or `method:settings`.

    Raises:
        BadInput: an entry that is not there, that is one of several, or that was run on a suite of another content.
    """
    own = _of_one_content([row for row in rows if row.info.suite == suite], suite, (first, second), shipped)
    means = [replicated(_entry(own, suite, name)) for name in (first, second)]
    shared = [name for name in _compared() if all(name in found for found in means)]
    return [_difference(metric, *(found[metric].unstack("variant") for found in means)) for metric in shared]


def leads(
    rows: Sequence[ResultRow],
    suite: str,
    name: str,
    floors: KnownFloors,
    shipped: Shipped = lambda name, track: None,
) -> list[Standing]:
    """Where an entry stands among the floors, in every metric with a direction that it has: which metrics put a method
    above those that learn nothing. Of metrics that compare replicates, too, whose intervals are too narrow.

    Raises:
        BadInput: see `compare`; no floors on that suite.
    """
    own = _of_one_content([row for row in rows if row.info.suite == suite], suite, (name,), shipped)
    chosen, asked = _entry(own, suite, name), _compared(joins=True)
    others = [Contender.of(row, asked, floors) for row in own if row.info.subject == chosen.info.subject]
    mine = next(one for one in others if one.row is chosen)
    if not any(one.floor for one in others):
        raise BadInput(f"no floors were run on suite {suite}: `make bench METHOD=floors SUITE={suite}` runs them")
    reference = nearest_reference(mine, others)
    return [standing(metric, mine, reference, others) for metric in asked if metric in mine.tables]


def _compared(*, joins: bool = False) -> list[str]:
    """Metrics with a direction, but for those of a scorer under another judge."""
    return [
        name
        for one in (*family.families(), *(family.joins() if joins else ()))
        for name, metric in one.metrics.items()
        if metric.better is not None and name not in registry.LADDER
    ]


def _of_one_content(rows: Sequence[ResultRow], suite: str, names: Sequence[str], shipped: Shipped) -> list[ResultRow]:
    """Rows of the first content of the suite that all entries were run on."""
    by_key: dict[str, list[ResultRow]] = {}
    for row in rows:
        by_key.setdefault(row.suite, []).append(row)
    having = [
        [key for key in contents.ordered(rows, shipped) if any(_is(name, row) for row in by_key[key])] for name in names
    ]
    shared = [key for key in having[0] if key in having[-1]]
    if shared:
        return by_key[shared[0]]
    if all(having):
        said = contents.different(*(by_key[keys[0]][0].info.content for keys in having))
        raise BadInput(
            f"{names[0]} and {names[1]} were run on suites of different content under the name {suite}: "
            + "; ".join(said)
        )
    return list(rows)


def _is(name: str, row: ResultRow) -> bool:
    method, _, label = name.partition(":")
    return row.info.method == method and label in ("", row.info.label)


def _entry(rows: Sequence[ResultRow], suite: str, name: str) -> ResultRow:
    method, _, label = name.partition(":")
    of_method = [row for row in rows if row.info.method == method]
    if not of_method:
        raise unknown(f"method with records of suite {suite}", method, sorted({row.info.method for row in rows}))
    labels = sorted(row.info.label for row in of_method)
    if label and label not in labels:
        raise unknown(f"settings of {method} on suite {suite}", label, labels)
    if not label and len(labels) > 1:
        raise BadInput(
            f"{method} has several settings on suite {suite}: write {method}:{labels[0]} or another of {labels}"
        )
    chosen = next(row for row in of_method if row.info.label == (label or labels[0]))
    if any(Variant.parse(variant).draw is not None for variant in chosen.scores.index.unique("variant")):
        raise BadInput(f"suite {suite} is in case mode, with one checkpoint: there are no replicates to compare over")
    return chosen


def _difference(metric: str, first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    one, other = to_worst(metric, first), to_worst(metric, second)
    d = (one - other).dropna().to_numpy()
    return Difference(metric, float(one.mean()), float(other.mean()), gap(d), len(d))
