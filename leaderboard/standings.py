"""From the cells of a row to what they say: the score of each variant, the raw gap to each null, and the claim. Pure.

S(variant, replicate) is the mean over places and method seeds, equal weights; a replicate counts for a variant when all
its cells are there and defined. The spread is the standard deviation over replicates. Gaps are trained minus null,
paired by replicate, in the metric's own direction. A claim (intervals, worst null, verdict, ratio) needs independent
replicates: metrics that join replicates carry none. In case mode (one trained checkpoint, many draws of each null) a
variant is written `null:draw`, a null's score is over its draws, and the claim is conditional on the checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.metrics import family
from benchmark.metrics.family import Metric
from benchmark.spec.variant import Variant, nulls_among, ordered
from benchmark.stats.case import CaseClaim
from benchmark.stats.case import claim as case_claim
from benchmark.stats.null_gap import Gap, Verdict, WorstGap, gaps_of, verdict, worst
from benchmark.stats.ratio import FLOOR, Ratio, normalised
from leaderboard.rows import ResultRow

ALL = "all"
OWN_STEP0 = "step0 (its own)"
UNKNOWN = Metric("", "")
"""A metric that no family of this version has: shown, without a direction."""


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


@dataclass(frozen=True)
class BoardRow:
    """One method with one setting under one metric, at one place or over all; `table` is S [replicate, variant]. What
    it says is computed when it is read. In case mode `case` takes the place of `claim`, and `draws` is how many
    draws every null has.
    """

    suite: str
    subject: str
    method: str
    label: str
    metric: str
    place: str
    table: pd.DataFrame
    reasons: tuple[str, ...]

    @cached_property
    def scores(self) -> dict[str, Score]:
        """The score of each variant."""
        return scores(self.table)

    @cached_property
    def apart(self) -> dict[str, pd.Series]:
        """Trained minus each null and the control, per replicate."""
        return differences(self.metric, self.table)

    @cached_property
    def gaps(self) -> dict[str, Score]:
        """Trained minus each null."""
        plain = {name: one for name, one in self.apart.items() if name != registry.CONTROL}
        return {name: score(values) for name, values in (_to_draws(self.metric, self.table) or plain).items()}

    @cached_property
    def claim(self) -> Claim | None:
        """What replicates support."""
        return claim_of(self.metric, self.apart)

    @cached_property
    def case(self) -> CaseClaim | None:
        """What one checkpoint supports."""
        return case(self.metric, self.table)

    @cached_property
    def draws(self) -> int | None:
        """Draws that every null has at least; None outside case mode."""
        return fewest_draws(self.table)


def rows(row: ResultRow, metrics: Sequence[str] | None = None) -> list[BoardRow]:
    """All metrics of a row, or some, over all places and at each, in the order of the board."""
    places = sorted(row.scores.index.unique("place"), key=natural)
    shown = [name for name in in_order(row) if metrics is None or name in metrics]
    made = []
    scopes = {ALL: replicated(row), **{place: replicated(row, place) for place in places}}
    for metric in shown:
        why = {one.reason for one in row.info.undefined if one.metric == metric}
        for place, found in scopes.items():
            table = found[metric].unstack("variant")
            made.append(BoardRow(*row.table, *row.name, metric, place, table, tuple(sorted(why))))
    return made


def in_order(row: ResultRow) -> list[str]:
    """Metrics of a row in the order of the board, those of no known family behind."""
    known = family.names()
    return sorted(row.scores.columns, key=lambda name: (known.index(name) if name in known else len(known), name))


def replicated(row: ResultRow, place: str | None = None, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """S [variant and replicate, metric], over all places or at one, of all metrics or of those among some, NaN where a
    cell is missing or undefined.
    """
    scored = row.scores if metrics is None else row.scores[[name for name in metrics if name in row.scores]]
    lines = scored if place is None else scored[scored.index.get_level_values("place") == place]
    wanted = len({index[2:] for index in lines.index})
    cells = lines.groupby(level=["variant", "replicate"])
    means: pd.DataFrame = cells.mean()
    return means.where(cells.count() == wanted)


def differences(metric: str, table: pd.DataFrame) -> dict[str, pd.Series]:
    """Trained minus each null and the control, per replicate, turned so that larger is better."""
    plain = [str(name) for name in table if Variant.parse(str(name)).draw is None]
    others = [name for name in ordered(plain) if name != "trained"] if "trained" in table else []
    values = {name: table[name].to_numpy(float) for name in ("trained", *others)} if others else {}
    apart = {name: sign(metric) * (values["trained"] - values[name]) for name in others}
    known = {name: ~np.isnan(one) for name, one in apart.items()}
    return {name: pd.Series(one[known[name]], table.index[known[name]]) for name, one in apart.items()}


def to_worst(metric: str, scores: pd.DataFrame) -> pd.Series:
    """Gap per replicate [replicate] to the null that trained beats least, from scores [replicate, variant]."""
    apart = differences(metric, scores)
    gaps = [apart[null] for null in nulls_among(apart) if len(apart[null])]
    return min(gaps, key=lambda values: float(values.mean())) if gaps else pd.Series(dtype=float)


def claim(metric: str, table: pd.DataFrame) -> Claim | None:
    """What scores [replicate, variant] of a metric support; None where they support nothing."""
    return claim_of(metric, differences(metric, table))


def claim_of(metric: str, apart: Mapping[str, pd.Series]) -> Claim | None:
    """The same, from `differences`."""
    one, known = family.family_of(metric), _read(metric)
    if one is None or one.compares or known.better is None:
        return None
    d = {null: apart[null].to_numpy() for null in nulls_among(apart)}
    gaps = gaps_of(d)
    if gaps is None:
        return None
    lowest, ratio = worst(gaps), None
    if known.chance is not None and registry.CONTROL in apart:
        pairs = pd.concat([apart[lowest.null], apart[registry.CONTROL]], axis=1).dropna().to_numpy()
        ratio = normalised(pairs[:, 0], pairs[:, 1], floor=FLOOR)
    return Claim(gaps, lowest, verdict(d, gaps, delta=known.delta), ratio)


def score(values: pd.Series) -> Score:
    """Mean and spread of a score over replicates [replicate]."""
    known, count = values.to_numpy(float), len(values)
    return Score(
        float(known.mean()) if count else None,
        float(known.std(ddof=1)) if count > 1 else None,
        count,
    )


def scores(table: pd.DataFrame) -> dict[str, Score]:
    """The score of each variant from S [replicate, variant]; in case mode a null's is over its draws, with the
    checkpoint's own step-0 beside.
    """
    drawn = draws(table)
    listed = {
        variant: score(pd.Series(drawn[variant]) if variant in drawn else table[variant].dropna())
        for variant in ordered(map(str, table))
    }
    return listed | ({OWN_STEP0: score(table["step0"].dropna())} if drawn and "step0" in table else {})


def draws(table: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Null -> scores [draw] in case mode, from S [replicate, variant] with one column per draw."""
    columns: dict[str, list[str]] = {}
    for name in map(str, table):
        variant = Variant.parse(name)
        if variant.draw is not None:
            columns.setdefault(variant.name, []).append(name)
    return {null: table[columns[null]].iloc[0].dropna().to_numpy(float) for null in ordered(columns)}


def fewest_draws(table: pd.DataFrame) -> int | None:
    """Draws that every null of S [replicate, variant] has at least; None outside case mode."""
    return min(map(len, draws(table).values()), default=None)


def case(metric: str, table: pd.DataFrame) -> CaseClaim | None:
    """What one trained checkpoint supports against draws of the nulls; None outside case mode."""
    directed = _read(metric).better is not None
    drawn = draws(table) if directed and "trained" in table else {}
    trained = table["trained"].dropna() if drawn else pd.Series(dtype=float)
    if trained.empty:
        return None
    signed = {null: sign(metric) * values for null, values in drawn.items()}
    return case_claim(sign(metric) * float(trained.iloc[0]), signed, delta=family.delta(metric))


def sign(metric: str) -> int:
    """What turns a metric so that larger is better."""
    return _read(metric).sign


def natural(place: str) -> tuple[str, int, str]:
    """Order of places: hookpoints by depth."""
    name, _, number = place.partition(".")
    return (name, int(number), "") if number.isdecimal() else (name, 0, number)


def _read(metric: str) -> Metric:
    return family.metric(metric) or UNKNOWN


def _to_draws(metric: str, table: pd.DataFrame) -> dict[str, pd.Series]:
    """Trained minus each draw [draw] of each null, larger is better; empty outside case mode."""
    if "trained" not in table:
        return {}
    trained = table["trained"].iloc[0]
    return {null: pd.Series(sign(metric) * (trained - values)) for null, values in draws(table).items()}
