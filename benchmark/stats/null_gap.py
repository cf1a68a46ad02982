"""Paired gaps over replicates, the gap to the worst null as an intersection-union test, and the verdict.

The replicate is the unit of inference: one number each, the mean over latents, hookpoints and method seeds. Arrays are
[replicate]; larger is better (the caller turns metrics round).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.weightstats import DescrStatsW

ALPHA = 0.05
FEWEST_FOR_INTERVAL, FEWEST_FOR_CLAIM = 3, 5
ROUNDING = 1e-12
"""Relative spread below which differences differ by rounding alone."""
Replicates = NDArray[np.float64]


class Gap(NamedTuple):
    """Mean of paired differences with its t interval (95 %), one-sided lower bound (95 %) and p of "not above 0".

    t and both p are for the alternative that trained is above; `values` are the differences [replicate].
    """

    mean: float
    interval: tuple[float, float]
    lower: float
    t: float
    p: float
    values: tuple[float, ...]

    @property
    def replicates(self) -> int:
        return len(self.values)

    @property
    def p_sign_flip(self) -> float:
        """The exact permutation p, printed beside; its floor is 1 / 2^m. Computed where it is printed: it costs more
        than all else here.
        """
        return _sign_flip(self.values)


class WorstGap(NamedTuple):
    """Smallest gap over nulls, the smallest lower bound and the largest p of both kinds: all gaps must be above 0 at
    once.
    """

    mean: float
    lower: float
    p: float
    null: str
    gaps: tuple[Gap, ...]

    @property
    def p_sign_flip(self) -> float:
        """The largest of all nulls."""
        return max(found.p_sign_flip for found in self.gaps)


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
    return Gap(mean, (float(low), float(high)), float(lower), float(test.statistic), p, tuple(map(float, d)))


def two_sided(d: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Means and two-sided p, both [pair], of many paired differences d [replicate, pair] at once, NaN where a pair
    lacks a replicate. Where `gap` has none, p is 1.
    """
    means, p = np.full(d.shape[1], np.nan), np.ones(d.shape[1])
    whole = ~np.isnan(d).any(axis=0)
    varied = whole & (np.ptp(d, axis=0) > ROUNDING * np.maximum(np.abs(d.mean(axis=0)), 1e-300))
    if len(d) >= FEWEST_FOR_INTERVAL and varied.any():
        means[varied], p[varied] = d[:, varied].mean(axis=0), stats.ttest_1samp(d[:, varied], 0.0, axis=0).pvalue
    for pair in np.flatnonzero(~whole):
        known = gap(d[~np.isnan(d[:, pair]), pair])
        if known:
            means[pair], p[pair] = known.mean, 2 * min(known.p, 1 - known.p)
    return means, p


def worst(gaps: Mapping[str, Gap]) -> WorstGap:
    """The gap to the null that trained beats least (intersection-union: no correction over nulls)."""
    null = min(gaps, key=lambda name: gaps[name].mean)
    return WorstGap(
        gaps[null].mean,
        min(found.lower for found in gaps.values()),
        max(found.p for found in gaps.values()),
        null,
        tuple(gaps.values()),
    )


def gaps_of(d: Mapping[str, Replicates]) -> dict[str, Gap] | None:
    """The gap to each null; None where one of them, or the only one, has none."""
    by_null = {null: gap(values) for null, values in d.items()}
    gaps = {null: value for null, value in by_null.items() if value is not None}
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
    return bool(np.ptp(d) <= ROUNDING * max(abs(float(d.mean())), 1e-300))


@functools.cache
def _sign_flip(d: tuple[float, ...]) -> float:
    permuted = stats.permutation_test(
        (np.array(d),),
        np.mean,
        permutation_type="samples",
        alternative="greater",
        n_resamples=2**14,
        rng=np.random.default_rng(0),
    )
    return float(permuted.pvalue)
