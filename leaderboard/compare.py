"""Method against method: paired differences of their gaps to the worst null, on the replicates that both have. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from benchmark import registry
from benchmark.errors import BadInput, unknown
from benchmark.records import Record
from benchmark.spec.variant import Variant
from benchmark.stats.null_gap import Gap, gap
from leaderboard import contents
from leaderboard.contents import Shipped
from leaderboard.standings import differences, long, per_replicate


class Difference(NamedTuple):
    """Worst-null gaps of both under one metric, and first minus second over shared replicates; None under three."""

    metric: str
    first: float
    second: float
    difference: Gap | None
    replicates: int


def compare(
    records: Sequence[Record], suite: str, first: str, second: str, shipped: Shipped = lambda name: None
) -> list[Difference]:
    """All metrics with a direction that both have; an entry is `method` or `method:settings`.

    Raises:
        BadInput: an entry that is not there, that is one of several, or that was run on a suite of another content.
    """
    own = [record for record in records if record.where.suite == suite and record.status == "scored"]
    frame = long(_of_one_content(own, suite, (first, second), shipped))
    tables = [_tables(frame, suite, name) for name in (first, second)]
    shared = [name for name in (*registry.METRICS, *registry.JOINS) if all(name in found for found in tables)]
    return [_difference(metric, *(found[metric] for found in tables)) for metric in shared]


def to_worst(metric: str, scores: pd.DataFrame) -> pd.Series:
    """Gap per replicate [replicate] to the null that trained beats least, from scores [replicate, variant]."""
    gaps = [values for null, values in differences(metric, scores).items() if null in registry.NULLS and len(values)]
    return min(gaps, key=lambda values: float(values.mean())) if gaps else pd.Series(dtype=float)


def _of_one_content(records: Sequence[Record], suite: str, names: tuple[str, str], shipped: Shipped) -> list[Record]:
    """Records of the first content of the suite that both entries were run on."""
    by_key: dict[str, list[Record]] = {}
    for record in records:
        by_key.setdefault(contents.key_of(record), []).append(record)
    having = [
        [key for key in contents.ordered(records, shipped) if any(_is(name, record) for record in by_key[key])]
        for name in names
    ]
    shared = [key for key in having[0] if key in having[1]]
    if shared:
        return by_key[shared[0]]
    if all(having):
        said = contents.different(*(by_key[keys[0]][0].suite for keys in having))
        raise BadInput(
            f"{names[0]} and {names[1]} were run on suites of different content under the name {suite}: "
            + "; ".join(said)
        )
    return list(records)


def _is(name: str, record: Record) -> bool:
    method, _, label = name.partition(":")
    return record.where.method == method and label in ("", record.where.label)


def _difference(metric: str, first: pd.DataFrame, second: pd.DataFrame) -> Difference:
    one, other = to_worst(metric, first), to_worst(metric, second)
    d = (one - other).dropna().to_numpy()
    return Difference(metric, float(one.mean()), float(other.mean()), gap(d), len(d))


def _tables(frame: pd.DataFrame, suite: str, name: str) -> dict[str, pd.DataFrame]:
    method, _, label = name.partition(":")
    part = frame[frame["method"] == method]
    if part.empty:
        raise unknown(f"method with records of suite {suite}", method, sorted(set(frame["method"])))
    labels = sorted(set(part["label"]))
    if label and label not in labels:
        raise unknown(f"settings of {method} on suite {suite}", label, labels)
    if not label and len(labels) > 1:
        raise BadInput(
            f"{method} has several settings on suite {suite}: write {method}:{labels[0]} or another of {labels}"
        )
    part = part[part["label"] == (label or labels[0])]
    if any(Variant.parse(variant).draw is not None for variant in part["variant"].unique()):
        raise BadInput(f"suite {suite} is in case mode, with one checkpoint: there are no replicates to compare over")
    return {
        metric: table
        for (*_, metric), table in per_replicate(part).items()
        if registry.HIGHER_IS_BETTER.get(metric) is not None and metric not in (*registry.JOINS, *registry.LADDER)
    }
