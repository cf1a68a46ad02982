"""Case mode: one trained checkpoint against many draws of each null. Claims are conditional on that checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmark.stats.null_gap import ALPHA, Verdict

FEWEST_DRAWS = 19


class Case(NamedTuple):
    """Trained minus the mean of the draws, Crawford and Howell's t (1998) with R - 1 degrees of freedom and its
    one-sided p, and the Monte-Carlo rank p, whose floor is 1 / (R + 1).
    """

    gap: float
    t: float
    p: float
    rank_p: float
    draws: int


class CaseClaim(NamedTuple):
    """One case per null, the null with the smallest gap, and the largest p of both kinds: all nulls must be beaten."""

    cases: dict[str, Case]
    worst: str
    p: float
    rank_p: float
    verdict: Verdict

    @property
    def gap(self) -> float:
        """Gap to the worst null."""
        return self.cases[self.worst].gap


def against(trained: float, nulls: NDArray[np.float64]) -> Case:
    """One score against R null scores [draw] with some spread, larger is better."""
    r, gap = len(nulls), float(trained - nulls.mean())
    rank_p = float((1 + (nulls >= trained).sum()) / (r + 1))
    t = float(gap / (nulls.std(ddof=1) * np.sqrt(1 + 1 / r)))
    return Case(gap, t, float(stats.t.sf(t, r - 1)), rank_p, r)


def claim(trained: float, nulls: Mapping[str, NDArray[np.float64]], *, delta: float) -> CaseClaim | None:
    """What one checkpoint supports; None where a null has under `FEWEST_DRAWS` draws, or draws without any spread.

    `beats the null` needs both p of every null at .05 and the worst gap at `delta`; `reversed` a null that trained is
    below at .05 over the number of nulls, by `delta`. Equivalence cannot be shown from one checkpoint.
    """
    if not nulls or min(map(len, nulls.values())) < FEWEST_DRAWS or any(map(_constant, nulls.values())):
        return None
    cases = {null: against(trained, values) for null, values in nulls.items()}
    worst = min(cases, key=lambda null: cases[null].gap)
    p, rank_p = max(case.p for case in cases.values()), max(case.rank_p for case in cases.values())
    verdict = Verdict.INCONCLUSIVE
    if any(1 - case.p < ALPHA / len(cases) and case.gap <= -delta for case in cases.values()):
        verdict = Verdict.REVERSED
    elif max(p, rank_p) <= ALPHA and cases[worst].gap >= delta:
        verdict = Verdict.BEATS
    return CaseClaim(cases, worst, p, rank_p, verdict)


def _constant(draws: NDArray[np.float64]) -> bool:
    """Whether only rounding tells the draws apart."""
    return bool(np.ptp(draws) <= 1e-12 * float(np.abs(draws).max()))
