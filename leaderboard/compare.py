"""Method against method, and against the floors: paired differences of their gaps to the worst null, on the replicates
that both have; of what was trained elsewhere and has no null, of their scores on trained. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.errors import BadInput, unknown
from benchmark.metrics import family
from benchmark.spec.pretrained import TRAINED
from benchmark.spec.variant import Variant
from benchmark.stats.null_gap import Gap, gap
from leaderboard import contents
from leaderboard.contenders import NO_FLOORS, Contender, KnownFloors, nearest_reference
from leaderboard.contents import Shipped
from leaderboard.floors import Standing, standing
from leaderboard.rows import ResultRow
from leaderboard.standings import sign


class Difference(NamedTuple):
    """Worst-null gaps of both under one metric, or scores on trained, and first minus second over shared replicates,
    positive where the first is better; None under three.
    """

    metric: str
    first: float
    second: float
    difference: Gap | None
    replicates: int


class Comparison(NamedTuple):
    """A line per metric; `of_scores`: of scores on trained, for one of the two has no gap."""

    differences: list[Difference]
    of_scores: bool


def compare(
    rows: Sequence[ResultRow],
    suite: str,
    first: str,
    second: str,
    floors: KnownFloors = NO_FLOORS,
    shipped: Shipped = lambda name, track: None,
) -> Comparison:
    """All metrics with a direction that both have; an entry is `method` or `method:settings`.

    Raises:
        BadInput: an entry that is not there, that is one of several, or that was run on a suite of another content.
    """
    own = _of_one_content([row for row in rows if row.info.suite == suite], suite, (first, second), shipped)
    chosen = [_entry(own, suite, name) for name in (first, second)]
    if any(row.pretrained for row in chosen):
        found = on_trained(*chosen)
        if not found:
            raise BadInput(f"{first} and {second} have no cell on trained in common with a metric that has a direction")
        return Comparison(found, of_scores=True)
    one, other = _standings(own, chosen, _compared(), floors)
    shared = [metric for metric in one if metric in other]
    return Comparison([_difference(metric, one[metric], other[metric]) for metric in shared], of_scores=False)


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
    if not any(row.info.method in floors.known for row in own):
        raise BadInput(f"no floors were run on suite {suite}: `make bench METHOD=floors SUITE={suite}` runs them")
    row = _entry(own, suite, name)
    if row.pretrained:
        raise BadInput(f"{name} was trained elsewhere and has no null: compare it with a method that is fitted here")
    (found,) = _standings(own, [row], _compared(joins=True), floors)
    return list(found.values())


def on_trained(first: ResultRow, second: ResultRow) -> list[Difference]:
    """Scores on trained, means over the places and method seeds that both rows have, in every metric with a direction
    that is defined at all of these in some replicate.
    """
    one, other = (
        row.scores[row.scores.index.get_level_values("variant") == TRAINED].droplevel("variant")
        for row in (first, second)
    )
    shared, made = one.index.intersection(other.index), []
    for metric in (name for name in _compared() if name in one and name in other):
        pairs = pd.DataFrame({"first": one.loc[shared, metric], "second": other.loc[shared, metric]})
        by_replicate = pairs.groupby(level="replicate")
        whole = by_replicate.count().min(axis=1) == by_replicate.size()
        means = by_replicate.mean()[whole]
        if len(means):
            values = means.to_numpy(float).T
            d = sign(metric) * (values[0] - values[1])
            made.append(Difference(metric, float(values[0].mean()), float(values[1].mean()), gap(d), len(d)))
    return made


def _standings(
    own: Sequence[ResultRow], chosen: Iterable[ResultRow], metrics: Sequence[str], floors: KnownFloors
) -> list[dict[str, Standing]]:
    """Of entries, by metric, among all rows of a suite of one content."""
    everybody = [Contender.of(row, metrics, floors) for row in own]
    made = []
    for row in chosen:
        mine = next(one for one in everybody if one.row is row)
        others = [one for one in everybody if one.row.info.subject == row.info.subject]
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
