"""Metrics that compare two cells of one run: universality across replicates, stability across method seeds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmark import keyed, registry
from benchmark.metrics.value import Value, undefined
from benchmark.records import Arrays, Join, Record, Store

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
    done = {(join.metric, join.score_ids): join for join in known if join.reason != GONE}
    wanted = [(name, *pair) for name in metrics if name in registry.JOINS for pair in _pairs(name, records)]
    found = []
    for number, (name, first, second) in enumerate(wanted):
        join = done.get((name, (first.score_id, second.score_id)))
        known_of_suite = join and join.model_copy(update={"suite_hash": first.suite_hash})
        found.append(known_of_suite or _join(name, first, second, arrays, tokens))
        progress(number + 1, len(wanted))
    return found


def _pairs(name: str, records: Sequence[Record]) -> Iterator[tuple[Record, Record]]:
    """Ordered pairs that differ in the one axis that the metric compares."""
    axis = "replicate" if name.startswith("universality") else "method_seed"
    ordered = sorted(records, key=lambda record: (record.settings_hash, record.where.model_dump_json()))
    strata: dict[tuple[str, str], list[Record]] = {}
    for record in ordered:
        rest = record.where.model_dump_json(exclude={axis, "source"})
        strata.setdefault((record.settings_hash, rest), []).append(record)
    for members in strata.values():
        yield from itertools.permutations(members, 2)


def _join(name: str, first: Record, second: Record, arrays: Stored, tokens: Callable[[], NDArray[np.int64]]) -> Join:
    value = _value(name, first, second, arrays, tokens)
    if value.value is not None and not np.isfinite(value.value):
        value = undefined(f"came out as {value.value}")
    by_replicate = name.startswith("universality")
    return Join(
        metric=name,
        where=first.where,
        other=second.where.replicate if by_replicate else second.where.method_seed,
        score_ids=(first.score_id, second.score_id),
        suite_hash=first.suite_hash,
        settings_hash=first.settings_hash,
        value=value.value,
        reason=value.reason,
    )


def _value(name: str, first: Record, second: Record, arrays: Stored, tokens: Callable[[], NDArray[np.int64]]) -> Value:
    for record in (first, second):
        if not record.counts:
            return undefined(next((metric.reason for metric in record.metrics.values() if metric.reason), GONE))
    mine, theirs = arrays(first.score_id), arrays(second.score_id)
    if mine is None or theirs is None:
        return undefined(GONE)
    metric = registry.resolve(registry.JOINS[name])
    if name.startswith("universality"):
        values = metric(mine.codes[:, mine.drawn].tocsr(), theirs.codes, tokens()[: mine.codes.shape[0]])
        return Value(*values[name])
    if mine.directions is None or theirs.directions is None:
        return undefined("the method does not decode")
    where = first.where
    rng = keyed.rng("stability chance", where.subject, where.hookpoint, len(mine.directions), len(theirs.directions))
    return Value(*metric(mine.directions.float(), theirs.directions.float(), rng)[name])
