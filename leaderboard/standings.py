"""Records to rows: the score of each variant and the raw gap to each null. Pure.

S(variant, replicate) is the mean over hookpoints and method seeds, equal weights; a replicate counts for a variant when
all its cells are there and defined. The spread is the standard deviation over replicates. Gaps are trained minus null,
paired by replicate, in the metric's own direction. A claim (intervals, worst null, verdict, ratio) needs independent
replicates: metrics that join replicates carry none. In case mode (one trained checkpoint, many draws of each null) a
variant is written `null:draw`, a null's score is over its draws, and the claim is conditional on the checkpoint.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.records import Join, Record, log
from benchmark.spec.variant import Variant
from benchmark.stats.case import CaseClaim
from benchmark.stats.case import claim as case_claim
from benchmark.stats.null_gap import Gap, Verdict, WorstGap, gaps_of, verdict, worst
from benchmark.stats.ratio import Ratio, normalised
from leaderboard import contents

KEYS = ["suite", "subject", "method", "label", "metric"]
ALL = "all"
OWN_STEP0 = "step0 (its own)"
RowKey = tuple[str, str, str, str, str]


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


class BoardRow(NamedTuple):
    """One method with one setting under one metric, for one hookpoint or for all of them together. In case mode `case`
    takes the place of `claim`, and `draws` is how many draws every null has.
    """

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
    case: CaseClaim | None = None
    draws: int | None = None


def distinct(records: Iterable[Record]) -> list[Record]:
    """Records without cells that stand twice in their row: nobody knows which one is right, so that none is shown."""
    places: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        where = record.where
        cell = (*key_of(record), where.variant, where.replicate, where.method_seed, where.hookpoint)
        places.setdefault(cell, []).append(record)
    doubled = [members for members in places.values() if len(members) > 1]
    if doubled:
        which = ", ".join(record.score_id for record in doubled[0])
        log.warning("left out: %d cells that have several records, such as %s", len(doubled), which)
    return [members[0] for members in places.values() if len(members) == 1]


def rows(records: Sequence[Record], joins: Sequence[Join] = ()) -> list[BoardRow]:
    """All rows, in an order that depends on their keys alone; of a row's older settings only the records say."""
    frame = long(records, joins)
    each = frame.groupby("hookpoint", sort=False)
    over = {ALL: (per_replicate(frame), _reasons(frame))}
    over |= {str(hookpoint): (per_replicate(lines), _reasons(lines)) for hookpoint, lines in each}
    found = []
    for found_key, hookpoints in frame.groupby(KEYS, sort=True)["hookpoint"].unique().items():
        key = _key(found_key)
        for hookpoint in (ALL, *sorted(hookpoints, key=natural)):
            scored, reasons = over[hookpoint]
            found.append(_row(key, hookpoint, scored[key], reasons.get(key, ())))
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


def claim(metric: str, table: pd.DataFrame) -> Claim | None:
    """What scores [replicate, variant] of a metric support; None where they support nothing."""
    return _claim(metric, differences(metric, table))


def differences(metric: str, table: pd.DataFrame) -> dict[str, pd.Series]:
    """Trained minus each null and the control, per replicate, turned so that larger is better."""
    others = [name for name in (*registry.NULLS, registry.CONTROL) if "trained" in table and name in table]
    return {name: (_sign(metric) * (table["trained"] - table[name])).dropna() for name in others}


def _row(key: RowKey, hookpoint: str, table: pd.DataFrame, reasons: tuple[str, ...]) -> BoardRow:
    metric, found = key[-1], differences(key[-1], table)
    nulls = {name: values for name, values in found.items() if name != registry.CONTROL}
    return BoardRow(
        *key,
        hookpoint=hookpoint,
        scores=scores(table),
        gaps={name: score(values) for name, values in (_to_draws(metric, table) or nulls).items()},
        reasons=reasons,
        claim=_claim(metric, found),
        case=case(metric, table),
        draws=fewest_draws(table),
    )


def _reasons(lines: pd.DataFrame) -> dict[RowKey, tuple[str, ...]]:
    """Why values are missing, by key."""
    given = lines.dropna(subset="reason").groupby(KEYS)["reason"]
    return {_key(key): tuple(sorted(set(reasons))) for key, reasons in given}


def _to_draws(metric: str, table: pd.DataFrame) -> dict[str, pd.Series]:
    """Trained minus each draw [draw] of each null, larger is better; empty outside case mode."""
    if "trained" not in table:
        return {}
    trained = table["trained"].iloc[0]
    return {null: pd.Series(_sign(metric) * (trained - values)) for null, values in draws(table).items()}


def _sign(metric: str) -> int:
    """What turns a metric so that larger is better; one without a direction stays as it is."""
    return 1 if registry.HIGHER_IS_BETTER.get(metric, True) else -1


def _claim(metric: str, differences: dict[str, pd.Series]) -> Claim | None:
    if metric in registry.JOINS or metric not in registry.HIGHER_IS_BETTER:
        return None
    d = {null: differences[null].to_numpy() for null in registry.NULLS if null in differences}
    gaps = gaps_of(d)
    if gaps is None:
        return None
    lowest = worst(gaps)
    ratio = None
    if metric in registry.RATIO_FLOOR and registry.CONTROL in differences:
        pairs = pd.concat([differences[lowest.null], differences[registry.CONTROL]], axis=1).dropna().to_numpy()
        ratio = normalised(pairs[:, 0], pairs[:, 1], floor=registry.RATIO_FLOOR[metric])
    return Claim(gaps, lowest, verdict(d, gaps, delta=registry.delta(metric)), ratio)


def per_replicate(lines: pd.DataFrame) -> dict[RowKey, pd.DataFrame]:
    """S[replicate, variant] of every suite, subject, method, setting and metric among lines, NaN where a cell is
    missing or undefined: over the hookpoints and method seeds that the lines have.
    """
    cells = lines.groupby([*KEYS, "variant", "replicate", "hookpoint", "method_seed"])["value"].mean()
    wanted = lines.drop_duplicates([*KEYS, "hookpoint", "method_seed"]).groupby(KEYS).size()
    replicates = cells.groupby([*KEYS, "variant", "replicate"])
    means, defined = replicates.mean(), replicates.count()
    keys = means.reset_index(["variant", "replicate"], drop=True).index
    whole = defined.to_numpy() == wanted.reindex(keys).to_numpy()
    tables = means.where(whole).groupby(KEYS)
    return {_key(key): table.reset_index(KEYS, drop=True).unstack("variant") for key, table in tables}


def score(values: pd.Series) -> Score:
    """Mean and spread of a score over replicates [replicate]."""
    count = len(values)
    return Score(
        float(values.mean()) if count else None,
        float(values.std(ddof=1)) if count > 1 else None,
        count,
    )


def scores(table: pd.DataFrame) -> dict[str, Score]:
    """The score of each variant from S [replicate, variant]; in case mode a null's is over its draws, with the
    checkpoint's own step-0 beside.
    """
    drawn = draws(table)
    found = {
        variant: score(pd.Series(drawn[variant]) if variant in drawn else table[variant].dropna())
        for variant in registry.VARIANTS
        if variant in drawn or variant in table
    }
    return found | ({OWN_STEP0: score(table["step0"].dropna())} if drawn and "step0" in table else {})


def draws(table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Null -> scores [draw] in case mode, from S [replicate, variant] with one column per draw."""
    columns = [(name, Variant.parse(str(name))) for name in table]
    found = {
        null: [name for name, variant in columns if variant.kind == null and variant.draw is not None]
        for null in registry.NULLS
    }
    return {null: table[names].iloc[0].dropna().to_numpy(float) for null, names in found.items() if names}


def fewest_draws(table: pd.DataFrame) -> int | None:
    """Draws that every null of S [replicate, variant] has at least; None outside case mode."""
    return min(map(len, draws(table).values()), default=None)


def case(metric: str, table: pd.DataFrame) -> CaseClaim | None:
    """What one trained checkpoint supports against draws of the nulls; None outside case mode."""
    directed = registry.HIGHER_IS_BETTER.get(metric) is not None
    drawn = draws(table) if directed and "trained" in table else {}
    trained = table["trained"].dropna() if drawn else pd.Series(dtype=float)
    if trained.empty:
        return None
    sign = _sign(metric)
    signed = {null: sign * values for null, values in drawn.items()}
    return case_claim(sign * float(trained.iloc[0]), signed, delta=registry.delta(metric))


def _key(found: Hashable) -> RowKey:
    """What pandas gives as the key of a group."""
    assert isinstance(found, tuple)
    suite, subject, method, label, metric = found
    return suite, subject, method, label, metric


def key_of(entry: Record | Join) -> tuple[str, str, str, str]:
    """Suite (by content), subject, method and settings: what a row of the board belongs to."""
    where = entry.where
    return contents.key_of(entry), where.subject, where.method, where.label


def _keys(entry: Record | Join) -> dict[str, object]:
    fields = ("subject", "method", "label", "variant", "replicate", "method_seed", "hookpoint")
    return {"suite": contents.key_of(entry)} | {field: getattr(entry.where, field) for field in fields}


def natural(hookpoint: str) -> tuple[str, int]:
    """Order of hookpoints: by depth."""
    name, _, number = hookpoint.partition(".")
    return name, int(number or 0)
