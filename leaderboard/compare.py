"""Method against method, and against the floors: paired differences of their gaps to the worst null, on the replicates
that both have. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.errors import BadInput, unknown
from benchmark.metrics import family
from benchmark.spec.variant import Variant
from benchmark.stats.null_gap import Gap, gap
from leaderboard import contents
from leaderboard.contenders import NO_FLOORS, Contender, KnownFloors, nearest_reference
from leaderboard.contents import Shipped
from leaderboard.floors import Standing, standing
from leaderboard.rows import ResultRow


class Difference(NamedTuple):
    """Worst-null gaps of both under one metric, and first minus second over shared replicates; None under three."""

    metric: str
    first: float
    second: float
    difference: Gap | None
    replicates: int


def compare(
    rows: Sequence[ResultRow],
    suite: str,
    first: str,
    second: str,
    floors: KnownFloors = NO_FLOORS,
    shipped: Shipped = lambda name, track: None,
) -> list[Difference]:
    """All metrics with a direction that both have; an entry is `method` or `method:settings`.

    Raises:
        BadInput: an entry that is not there, that is one of several, or that was run on a suite of another content.
    """
    one, other = _standings(rows, suite, (first, second), _compared(), floors, shipped)
    return [_difference(metric, one[metric], other[metric]) for metric in one if metric in other]


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
    if not any(row.info.suite == suite and row.info.method in floors.known for row in rows):
        said = f'make bench METHOD="{" ".join(floors.known)}" SUITE={suite}'
        raise BadInput(f"no floors were run on suite {suite}: `{said}` runs them")
    (found,) = _standings(rows, suite, (name,), _compared(joins=True), floors, shipped)
    return list(found.values())


def _standings(
    rows: Sequence[ResultRow],
    suite: str,
    names: Sequence[str],
    metrics: Sequence[str],
    floors: KnownFloors,
    shipped: Shipped,
) -> list[dict[str, Standing]]:
    """Of entries by name, by metric, among all rows of a suite of one content."""
    own = _of_one_content([row for row in rows if row.info.suite == suite], suite, names, shipped)
    everybody = [Contender.of(row, metrics, floors) for row in own]
    made = []
    for chosen in (_entry(own, suite, name) for name in names):
        mine = next(one for one in everybody if one.row is chosen)
        others = [one for one in everybody if one.row.info.subject == chosen.info.subject]
        reference = nearest_reference(mine, others)
        asked = [metric for metric in metrics if metric in mine.tables]
        made.append({metric: standing(metric, mine, reference, others) for metric in asked})
    return made


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


def _difference(metric: str, first: Standing, second: Standing) -> Difference:
    one, other = pd.Series(first.gaps, dtype=float), pd.Series(second.gaps, dtype=float)
    d = np.asarray((one - other).dropna(), np.float64)
    return Difference(metric, float(one.mean()), float(other.mean()), gap(d), len(d))
