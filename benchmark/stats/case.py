"""One trained checkpoint against many draws of a null: the claim is conditional on that checkpoint."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

FEWEST_DRAWS = 19


class Case(NamedTuple):
    """Crawford and Howell's t (1998) with R - 1 degrees of freedom and its one-sided p, and the Monte-Carlo rank p."""

    t: float
    p: float
    rank_p: float
    draws: int


def against(trained: float, nulls: NDArray[np.float64]) -> Case:
    """One score against R null scores [draw]; the rank p can only reach .05 from 19 draws on."""
    r = len(nulls)
    t = float((trained - nulls.mean()) / (nulls.std(ddof=1) * np.sqrt(1 + 1 / r)))
    return Case(t, float(stats.t.sf(t, r - 1)), float((1 + (nulls >= trained).sum()) / (r + 1)), r)
