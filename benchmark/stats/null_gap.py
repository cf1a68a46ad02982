"""Paired gaps over replicates, the gap to the worst null as an intersection-union test, and the verdict.

The replicate is the unit of inference: one number each, the mean over latents, hookpoints and method seeds. Arrays are
[replicate]; larger is better (the caller turns metrics round).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

ALPHA = 0.05
FEWEST_FOR_INTERVAL, FEWEST_FOR_CLAIM = 3, 5
Replicates = NDArray[np.float64]


class Gap(NamedTuple):
    """Mean of paired differences with its t interval (95 %), one-sided lower bound (95 %) and p of "not above 0".

    `p_sign_flip` is the exact permutation p, printed beside; its floor is 1 / 2^m. t and both p are for the alternative
    that trained is above.
    """

    mean: float
    interval: tuple[float, float]
    lower: float
    t: float
    p: float
    p_sign_flip: float
    replicates: int


class WorstGap(NamedTuple):
    """Smallest gap over nulls, the smallest lower bound and the largest p of both kinds: all gaps must be above 0 at
    once.
    """

    mean: float
    lower: float
    p: float
    p_sign_flip: float
    null: str


class Verdict(StrEnum):
    """What a row may say."""

    REVERSED = "reversed"
    EQUIVALENT = "equivalent to the null"
    BEATS = "beats the null"
    INCONCLUSIVE = "inconclusive"


def gap(d: Replicates, *, alpha: float = ALPHA) -> Gap | None:
    """The gap of paired differences `d`; None for under three replicates, and for differences that only rounding tells
    apart: copies of one number are no evidence of how it varies.
    """
    m = len(d)
    if m < FEWEST_FOR_INTERVAL or constant(d):
        return None
    mean = float(d.mean())
    test = stats.ttest_1samp(d, 0.0)
    low, high = test.confidence_interval(1 - alpha)
    lower = test.confidence_interval(1 - 2 * alpha).low
    p = float(test.pvalue) / 2 if test.statistic > 0 else 1 - float(test.pvalue) / 2
    return Gap(mean, (float(low), float(high)), float(lower), float(test.statistic), p, _sign_flip(d), m)


def worst(gaps: Mapping[str, Gap]) -> WorstGap:
    """The gap to the null that trained beats least (intersection-union: no correction over nulls)."""
    null = min(gaps, key=lambda name: gaps[name].mean)
    return WorstGap(
        gaps[null].mean,
        min(found.lower for found in gaps.values()),
        max(found.p for found in gaps.values()),
        max(found.p_sign_flip for found in gaps.values()),
        null,
    )


def gaps_of(d: Mapping[str, Replicates]) -> dict[str, Gap] | None:
    """The gap to each null; None where one of them, or the only one, has none."""
    found = {null: gap(values) for null, values in d.items()}
    gaps = {null: value for null, value in found.items() if value is not None}
    return gaps if gaps and len(gaps) == len(d) else None


def verdict(
    d: Mapping[str, Replicates], gaps: Mapping[str, Gap], *, delta: float, alpha: float = ALPHA
) -> Verdict | None:
    """The first that holds of reversed, equivalent, beats; else inconclusive. None for under five replicates.

    Args:
        d: null -> paired differences trained minus null, larger is better.
        gaps: what `gaps_of` makes of them.
        delta: smallest difference that matters, in the metric's units.
    """
    if min(len(values) for values in d.values()) < FEWEST_FOR_CLAIM:
        return None
    each = alpha / len(d)
    if any(1 - found.p < each and found.mean <= -delta for found in gaps.values()):
        return Verdict.REVERSED
    if delta > 0 and any(equivalence_p(values, delta=delta) < each for values in d.values()):
        return Verdict.EQUIVALENT
    found = worst(gaps)
    return Verdict.BEATS if found.lower > 0 and found.mean >= delta else Verdict.INCONCLUSIVE


def equivalence_p(d: Replicates, *, delta: float) -> float:
    """p of two one-sided t tests (Schuirmann 1987) that the mean lies outside (-delta, delta)."""
    if constant(d):
        return 0.0 if abs(float(d.mean())) < delta else 1.0
    return float(DescrStatsW(d).ttost_mean(-delta, delta)[0])


def constant(d: Replicates) -> bool:
    """Whether only rounding tells the differences apart: no t statistic then."""
    return bool(np.ptp(d) <= 1e-12 * max(abs(float(d.mean())), 1e-300))


def _sign_flip(d: Replicates) -> float:
    found = stats.permutation_test(
        (d,),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**14,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)
