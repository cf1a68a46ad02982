"""Effect size over latents: how often a latent of the trained network scores above one of the null."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def superiority(strata: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float:
    """Probability of superiority, ties half, averaged over strata (one layer of one replicate each).

    Args:
        strata: scores of latents on trained and on the null, each [latent].
    """
    probabilities = []
    for trained, null in strata:
        wins = stats.mannwhitneyu(trained, null, method="asymptotic").statistic
        probabilities.append(wins / (len(trained) * len(null)))
    return float(np.mean(probabilities))
