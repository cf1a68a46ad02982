"""Records to rows: the score of each variant and the raw gap to each null. Pure.

S(variant, replicate) is the mean over hookpoints and method seeds, equal weights; a replicate counts for a variant when
all its cells are there and defined. The spread is the standard deviation over replicates. Gaps are trained minus null,
paired by replicate, in the metric's own direction. A claim (intervals, worst null, verdict, ratio) needs independent
replicates: metrics that join replicates carry none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from benchmark import registry
from benchmark.records import Join, Record
from benchmark.stats.null_gap import Gap, Verdict, WorstGap, gap, verdict, worst
from benchmark.stats.ratio import Ratio, normalised

KEYS = ["suite", "subject", "method", "label", "metric"]
ALL = "all"


class Score(NamedTuple):
    """Mean and standard deviation over `replicates` replicates; None where there is none."""

    mean: float | None
    spread: float | None
    replicates: int


class Claim(NamedTuple):
    """What paired replicates support: gap per null, the worst one, the verdict (None for under five replicates), and
    the worst null's gap over the control's (None where that is undefined or makes no sense).
    """

    gaps: dict[str, Gap]
    worst: WorstGap
    verdict: Verdict | None
    ratio: Ratio | None


class Row(NamedTuple):
    """One method with one setting under one metric, for one hookpoint or for all of them together."""

    suite: str
    subject: str
    method: str
    label: str
    metric: str
    hookpoint: str
    scores: dict[str, Score]
    gaps: dict[str, Score]
    reasons: tuple[str, ...]
    claim: Claim | None = None


def rows(records: Sequence[Record], joins: Sequence[Join] = ()) -> list[Row]:
    """All rows, in an order that depends on their keys alone; of a row's older settings only the records say."""
    frame = long(records, joins)
    found = []
    for key, part in frame.groupby(KEYS, sort=True):
        named = dict(zip(KEYS, map(str, key if isinstance(key, tuple) else (key,)), strict=True))
        for hookpoint in [ALL, *sorted(part["hookpoint"].unique(), key=_natural)]:
            chosen = part if hookpoint == ALL else part[part["hookpoint"] == hookpoint]
            found.append(_row(named, hookpoint, chosen))
    return found


def long(records: Iterable[Record], joins: Iterable[Join] = ()) -> pd.DataFrame:
    """One line per cell and metric: keys, variant, replicate, method_seed, hookpoint, value (NaN) and reason."""
    lines = [
        {
            **_keys(record),
            "metric": name,
            "value": metric.value,
            "reason": metric.reason if metric.value is None else None,
        }
        for record in records
        if record.status == "scored"
        for name, metric in record.metrics.items()
    ]
    keys = ("metric", "suite", "method", "label", "variant", "replicate", "method_seed", "hookpoint")
    places = [tuple(line[key] for key in keys) for line in lines]
    if len(set(places)) < len(places):
        raise ValueError("two records of one cell: a row must not mix settings")
    lines += [
        {
            **_keys(join),
            "metric": join.metric,
            "value": join.value,
            "reason": join.reason if join.value is None else None,
        }
        for join in joins
    ]
    columns = [*KEYS, "variant", "replicate", "method_seed", "hookpoint", "value", "reason"]
    frame = pd.DataFrame(lines, columns=columns)
    return frame.astype({"value": float}).sort_values(columns[:-2], ignore_index=True, kind="stable")


def claim(metric: str, scores: pd.DataFrame) -> Claim | None:
    """What scores [replicate, variant] of a metric support; None where they support nothing."""
    return _claim(metric, differences(metric, scores))


def differences(metric: str, scores: pd.DataFrame) -> dict[str, pd.Series]:
    """Trained minus each null and the control, per replicate, turned so that larger is better."""
    sign = 1 if registry.HIGHER_IS_BETTER.get(metric, True) else -1
    others = [name for name in (*registry.NULLS, registry.CONTROL) if "trained" in scores and name in scores]
    return {name: (sign * (scores["trained"] - scores[name])).dropna() for name in others}


def _row(key: dict[str, str], hookpoint: str, part: pd.DataFrame) -> Row:
    scores = per_replicate(part)
    found = differences(key["metric"], scores)
    return Row(
        **key,
        hookpoint=hookpoint,
        scores={variant: score(scores[variant].dropna()) for variant in _ordered(scores)},
        gaps={name: score(values) for name, values in found.items() if name != registry.CONTROL},
        reasons=tuple(sorted(set(part["reason"].dropna()))),
        claim=_claim(key["metric"], found),
    )


def _claim(metric: str, differences: dict[str, pd.Series]) -> Claim | None:
    if metric in registry.JOINS or metric not in registry.HIGHER_IS_BETTER:
        return None
    d = {null: differences[null].to_numpy() for null in registry.NULLS if null in differences}
    found = {null: gap(values) for null, values in d.items()}
    gaps = {null: value for null, value in found.items() if value is not None}
    if not gaps or len(gaps) < len(d):
        return None
    lowest = worst(gaps)
    ratio = None
    if metric in registry.RATIO_FLOOR and registry.CONTROL in differences:
        pairs = pd.concat([differences[lowest.null], differences[registry.CONTROL]], axis=1).dropna().to_numpy()
        ratio = normalised(pairs[:, 0], pairs[:, 1], floor=registry.RATIO_FLOOR[metric])
    return Claim(gaps, lowest, verdict(d, delta=registry.delta(metric)), ratio)


def per_replicate(part: pd.DataFrame) -> pd.DataFrame:
    """S[replicate, variant] of one metric's lines: NaN where a cell is missing or undefined."""
    cells = part.groupby(["variant", "replicate", "hookpoint", "method_seed"])["value"].mean()
    wanted = part.groupby(["hookpoint", "method_seed"]).ngroups
    grouped = cells.groupby(["variant", "replicate"])
    means = grouped.mean().where(grouped.count() == wanted)
    return means.unstack("variant")


def score(values: pd.Series) -> Score:
    """Mean and spread of a score over replicates [replicate]."""
    count = len(values)
    return Score(
        float(values.mean()) if count else None,
        float(values.std(ddof=1)) if count > 1 else None,
        count,
    )


def _ordered(scores: pd.DataFrame) -> list[str]:
    return [variant for variant in registry.VARIANTS if variant in scores]


def key_of(entry: Record | Join) -> tuple[str, str, str, str]:
    """Suite, subject, method and settings: what a row of the board belongs to."""
    where = entry.where
    return where.suite, where.subject, where.method, where.label


def _keys(entry: Record | Join) -> dict[str, object]:
    fields = ("suite", "subject", "method", "label", "variant", "replicate", "method_seed", "hookpoint")
    return {field: getattr(entry.where, field) for field in fields}


def _natural(hookpoint: str) -> tuple[str, int]:
    name, _, number = hookpoint.partition(".")
    return name, int(number or 0)
