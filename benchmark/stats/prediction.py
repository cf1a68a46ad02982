"""How far one new value may lie from n calibration values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

ALPHA = 0.05


def tolerance(deviation: float, n: int, *, values: int = 1) -> float:
    """Half width of the 95 % prediction interval of one new value, t(.975, n - 1) s sqrt(1 + 1/n); of so many new
    values that hold at once by Bonferroni.
    """
    return float(stats.t.ppf(1 - ALPHA / 2 / values, n - 1) * deviation * np.sqrt(1 + 1 / n))


def apart(deviation: float, n: int, *, values: int = 1) -> float:
    """How far two new values may lie apart in 95 % of cases, t(.975, n - 1) s sqrt(2), s over n others; so many pairs
    at once by Bonferroni.
    """
    return tolerance(deviation, n, values=values) * float(np.sqrt(2 / (1 + 1 / n)))


def unlikely(outside: int, of: int, at: float) -> bool:
    """Whether chance puts so many of some values outside their own intervals less often than `at`."""
    return bool(stats.binom.sf(outside - 1, of, ALPHA) < at)


def lowest(values: NDArray[np.float64]) -> float:
    """The least that one more value of these [replicate], two at least, is expected to be."""
    return float(values.mean()) - tolerance(float(values.std(ddof=1)), len(values))
