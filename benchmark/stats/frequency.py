"""The gap at equal firing frequency: wide dictionaries on random networks spend latents on single words, so a mean over
latents compares different kinds of latents.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

EDGES = 10.0 ** np.arange(-5.0, 0.5, 0.5)
FEWEST = 10


class RatedLatents(NamedTuple):
    """Firing rates and scores of one variant's latents and the replicate of each, all [latent]."""

    rates: NDArray[np.float64]
    scores: NDArray[np.float64]
    replicates: NDArray[np.int64]


class Resolved(NamedTuple):
    """Gap per bin [bin] (NaN where a side has under `FEWEST` latents), share of latents per bin [bin], gaps with common
    weights per replicate [replicate], and the share of latents in bins that were left out.
    """

    gaps: NDArray[np.float64]
    shares: NDArray[np.float64]
    standardised: NDArray[np.float64]
    left_out: float


def resolve(trained: RatedLatents, null: RatedLatents) -> Resolved:
    """Trained minus null per half decade of firing rate, and standardised with the pooled frequencies as weights.

    A replicate's standardised gap is over the bins that both its sides have, with the weights renormalised.
    """
    bins = len(EDGES) - 1
    sides = [(side, (np.digitize(side.rates, EDGES) - 1).clip(0, bins - 1)) for side in (trained, null)]
    counts = np.array([np.bincount(place, minlength=bins) for _, place in sides])
    shares = counts.sum(axis=0) / max(counts.sum(), 1)
    kept = (counts >= FEWEST).all(axis=0)
    replicates = np.unique(trained.replicates)
    means = np.full((2, len(replicates), bins), np.nan)
    for side, (latents, place) in enumerate(sides):
        for row, replicate in enumerate(replicates):
            for column in np.flatnonzero(kept):
                chosen = latents.scores[(latents.replicates == replicate) & (place == column)]
                means[side, row, column] = chosen.mean() if len(chosen) else np.nan
    differences = means[0] - means[1]
    known = ~np.isnan(differences)
    weights = np.where(known, shares, 0.0)
    total = weights.sum(axis=1)
    standardised = np.divide(
        np.where(known, differences * weights, 0.0).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0
    )
    count = known.sum(axis=0)
    gaps = np.divide(np.where(known, differences, 0.0).sum(axis=0), count, out=np.full(bins, np.nan), where=count > 0)
    return Resolved(gaps, shares, standardised, float(shares[~kept].sum()))
