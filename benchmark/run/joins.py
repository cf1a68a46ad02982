"""Metrics that compare two cells of one run: universality across replicates, stability across method seeds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark import keyed
from benchmark.metrics import family
from benchmark.metrics.family import MetricFamily
from benchmark.metrics.value import Value, undefined
from benchmark.records import Join, Record
from benchmark.store import Arrays, Store

GONE = "the codes of a cell are not there: beyond keep_gib none are kept; delete its record to compute them again"
KEPT = 16
Stored = Callable[[str], Arrays | None]


def compute(
    records: Sequence[Record],
    known: Sequence[Join],
    metrics: Sequence[str],
    store: Store,
    tokens: Callable[[], NDArray[np.int64]],
    progress: Callable[[int, int], None],
) -> list[Join]:
    """All joins of `metrics` over scored records; those in `known` are not computed again.

    `tokens` gives the ids of the shared tokens, read only when something is to be computed.
    """
    arrays = functools.lru_cache(maxsize=KEPT)(store.arrays)
    done = {(join.metric, join.family, join.score_ids): join for join in known if join.reason != GONE}
    asked = [(one, name) for one in family.joins() for name in one.metrics if name in metrics]
    wanted = [(one, name, *pair) for one, name in asked for pair in _pairs(one, records)]
    computed = []
    for number, (one, name, first, second) in enumerate(wanted):
        join = done.get((name, one.id(), (first.score_id, second.score_id)))
        known_of_suite = join and join.model_copy(update={"suite_hash": first.suite_hash})
        computed.append(known_of_suite or _join(one, name, (first, second), arrays, tokens))
        progress(number + 1, len(wanted))
    return computed


def _pairs(one: MetricFamily, records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Ordered pairs of the family's track that differ in the one axis that it compares."""
    axis = str(one.compares)
    records = [record for record in records if record.where.track == one.track]
    ordered = sorted(records, key=lambda record: (record.settings_hash, record.where.model_dump_json()))
    strata: dict[tuple[str, str], list[Record]] = {}
    for record in ordered:
        rest = record.where.model_dump_json(exclude={axis, "source"})
        strata.setdefault((record.settings_hash, rest), []).append(record)
    for members in strata.values():
        yield from itertools.permutations(members, 2)


def _join(
    one: MetricFamily, name: str, pair: tuple[Record, Record], arrays: Stored, tokens: Callable[[], NDArray[np.int64]]
) -> Join:
    first, second = pair
    value = _value(one, name, pair, arrays, tokens)
    if value.value is not None and not np.isfinite(value.value):
        value = undefined(f"came out as {value.value}")
    return Join(
        metric=name,
        family=one.id(),
        where=first.where,
        other=int(getattr(second.where, str(one.compares))),
        score_ids=(first.score_id, second.score_id),
        suite_hash=first.suite_hash,
        settings_hash=first.settings_hash,
        value=value.value,
        reason=value.reason,
    )


def _value(
    one: MetricFamily, name: str, pair: tuple[Record, Record], arrays: Stored, tokens: Callable[[], NDArray[np.int64]]
) -> Value:
    for record in pair:
        if not record.counts:
            return undefined(next((metric.reason for metric in record.metrics.values() if metric.reason), GONE))
    mine, theirs = (arrays(record.score_id) for record in pair)
    if mine is None or theirs is None:
        return undefined(GONE)
    if one.compares == "replicate":
        drawn = mine.codes[:, mine.drawn].tocsr()
        return one.compute(drawn, theirs.codes, tokens()[: mine.codes.shape[0]])[name]
    if mine.directions is None or theirs.directions is None:
        return undefined("the method does not decode")
    where = pair[0].where
    rng = keyed.rng("stability chance", where.subject, where.place, len(mine.directions), len(theirs.directions))
    return one.compute(mine.directions.float(), theirs.directions.float(), rng)[name]
