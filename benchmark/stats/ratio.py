"""How much of what a method sees is owed to training: gap to the null over gap to the control."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FLOOR = 0.05
"""Smallest lead over the control that a ratio may rest on, for scores that are like an AUROC."""
INSENSITIVE = "undefined (assay insensitive)"


class Ratio(NamedTuple):
    """Ratio of means with Fieller's interval (95 %); 0 = the null is as good, 1 = it is no better than the control."""

    value: float
    interval: tuple[float, float]


def normalised(u: NDArray[np.float64], v: NDArray[np.float64], *, floor: float, alpha: float = 0.05) -> Ratio | None:
    """sum u / sum v over replicates, u = trained - null and v = trained - control, both [replicate].

    None, to be shown as `INSENSITIVE`, when v is not bounded away from 0 (Fieller's interval would not be one) or its
    mean is below the metric's own floor. Fieller 1954.
    """
    m = len(u)
    if m < 3 or v.mean() < floor:
        return None
    t2 = stats.t.ppf(1 - alpha / 2, m - 1) ** 2
    cov = np.cov(u, v, ddof=1) / m
    a = v.mean() ** 2 - t2 * cov[1, 1]
    b = u.mean() * v.mean() - t2 * cov[0, 1]
    c = u.mean() ** 2 - t2 * cov[0, 0]
    if a <= 0:
        return None
    root = float(np.sqrt(max(b * b - a * c, 0.0)))
    return Ratio(float(u.sum() / v.sum()), (float((b - root) / a), float((b + root) / a)))
