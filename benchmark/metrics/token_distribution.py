"""How a latent's activation spreads over token ids in the windows an explainer would see (arXiv 2501.17727, 3.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, mean_over_latents

SILENT = "latents without an active token in the explainer's windows"


class TokenDistribution:
    """Total activation per (latent, token id), and the sums of activations and their squares per latent."""

    def __init__(self, mass: sparse.csr_array, squares: NDArray[np.float64]) -> None:
        self.mass, self.squares = mass, squares

    @classmethod
    def of(
        cls, latents: NDArray[np.int64], tokens: NDArray[np.int64], weights: NDArray[np.float64], shape: tuple[int, int]
    ) -> TokenDistribution:
        """Sums of active tokens given as (latent, token id, activation); `shape` is (latents, vocab)."""
        mass = sparse.coo_array((weights, (latents, tokens)), shape=shape).tocsr()
        return cls(mass, np.bincount(latents, weights=weights**2, minlength=shape[0]).astype(np.float64))

    def __add__(self, other: TokenDistribution) -> TokenDistribution:
        return TokenDistribution((self.mass + other.mass).tocsr(), self.squares + other.squares)

    def values(self) -> dict[str, Value]:
        """Entropy in nats, plug-in and with the Miller-Madow correction, and the largest token's share, 0 to 1.

        The correction is (K - 1) / 2n for K observed token ids and effective count n = (sum w)^2 / sum w^2.
        """
        figures = np.full((3, self.mass.shape[0]), np.nan)
        for latent in range(self.mass.shape[0]):
            weights = self.mass.data[self.mass.indptr[latent] : self.mass.indptr[latent + 1]]
            if weights.sum() > 0:
                n = weights.sum() ** 2 / self.squares[latent]
                plain = entropy(weights)
                figures[:, latent] = (
                    plain,
                    plain + (np.count_nonzero(weights) - 1) / (2 * n),
                    weights.max() / weights.sum(),
                )
        names = ("token_entropy@2", "token_entropy_mm@2", "top_token_share@2")
        return {name: mean_over_latents(values, SILENT) for name, values in zip(names, figures, strict=True)}


def entropy(weights: NDArray[np.float64]) -> float:
    """Entropy in nats of non-negative weights, normalised here."""
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log(shares)).sum())


FAMILY = MetricFamily(
    "token_distribution",
    2,
    {
        "token_entropy@2": Metric("entropy of a latent's activation over token ids", "nats"),
        "token_entropy_mm@2": Metric("the same with Miller and Madow's correction", "nats"),
        "top_token_share@2": Metric("largest share that one token has of a latent's activation", "share", "lower"),
    },
    ("token_distribution",),
    TokenDistribution.values,
)
