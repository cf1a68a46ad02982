"""Do two replicates find the same latents, beyond what shared tokens explain?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, mean_over_latents

MIN_FIRINGS = 30
RARE = f"latents that fire on fewer than {MIN_FIRINGS} of the shared tokens"


def universality(drawn: sparse.csr_array, other: sparse.csr_array, tokens: NDArray[np.int64]) -> dict[str, Value]:
    """Best correlation of each drawn latent with any latent of another replicate, after removing token means.

    Args:
        drawn: activations [token, latent] of the drawn latents of one replicate.
        other: activations [token, n_latents] of all latents of the other, on the same tokens.
        tokens: token ids [token].

    Latents under 30 firings are left out on both sides: one coincidence would read as correlation 1.
    """
    per_latent = np.full(drawn.shape[1], np.nan)
    mine, theirs = (_firings(side) >= MIN_FIRINGS for side in (drawn, other))
    if mine.any() and theirs.any():
        per_latent[mine] = _correlations(drawn[:, mine], other[:, theirs], tokens).max(axis=1)
    return {"universality@1": mean_over_latents(per_latent, RARE)}


def _correlations(a: sparse.csr_array, b: sparse.csr_array, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
    """Correlations [latent of a, latent of b] of activations less their token means."""
    distinct, place, counts = np.unique(tokens, return_inverse=True, return_counts=True)
    rows = sparse.csr_array((np.ones(len(tokens)), (place, np.arange(len(tokens)))), shape=(len(distinct), len(tokens)))
    scale = sparse.diags_array(1 / np.sqrt(counts))
    a, b = a.astype(np.float64), b.astype(np.float64)
    scaled_a, scaled_b = scale @ (rows @ a), scale @ (rows @ b)
    cross = np.asarray((a.T @ b - scaled_a.T @ scaled_b).todense())
    norms = [_squares(x) - _squares(y) for x, y in ((a, scaled_a), (b, scaled_b))]
    length = np.sqrt(np.maximum(norms[0], 0)[:, None] * np.maximum(norms[1], 0)[None, :])
    correlations: NDArray[np.float64] = np.divide(cross, length, out=np.zeros_like(cross), where=length > 1e-12)
    return correlations


def _firings(z: sparse.csr_array) -> NDArray[np.int64]:
    return np.bincount(z.indices, minlength=z.shape[1])


def _squares(z: sparse.csr_array) -> NDArray[np.float64]:
    return np.asarray(z.multiply(z).sum(axis=0)).ravel()


FAMILY = MetricFamily(
    "universality",
    1,
    {
        "universality@1": Metric(
            "best correlation of a latent with one of another training seed, token means removed",
            "correlation",
            "higher",
        )
    },
    (),
    universality,
    compares="replicate",
)
