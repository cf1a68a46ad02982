"""How far one new value may lie from n calibration values."""

from __future__ import annotations

import numpy as np
from scipy import stats


def tolerance(deviation: float, n: int) -> float:
    """Half width of the 95 % prediction interval of one new value: t(.975, n - 1) s sqrt(1 + 1/n)."""
    return float(stats.t.ppf(0.975, n - 1) * deviation * np.sqrt(1 + 1 / n))
