"""How sparse codes are, and which latents ever fire."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, undefined

ALIVE_RATE = 1e-5


class Sparsity(NamedTuple):
    """Sums over tokens: firing counts and mass per latent, both [n_latents]."""

    tokens: int
    firings: NDArray[np.int64]
    mass: NDArray[np.float64]

    @classmethod
    def of(cls, codes: sparse.csr_array) -> Sparsity:
        """Sums of a batch of codes [token, latent] whose stored entries are positive."""
        size = codes.shape[1]
        return cls(
            codes.shape[0],
            np.bincount(codes.indices, minlength=size).astype(np.int64),
            np.bincount(codes.indices, weights=codes.data, minlength=size).astype(np.float64),
        )

    def __add__(self, other: Sparsity) -> Sparsity:  # type: ignore[override]
        return Sparsity(self.tokens + other.tokens, self.firings + other.firings, self.mass + other.mass)

    @property
    def rates(self) -> NDArray[np.float64]:
        """Share of tokens on which each latent fires."""
        return self.firings / max(self.tokens, 1)

    @property
    def alive(self) -> NDArray[np.bool_]:
        """Latents that fire on at least 1e-5 of the tokens, and at least once."""
        return (self.firings > 0) & (self.rates >= ALIVE_RATE)

    def values(self) -> dict[str, Value]:
        """l0: mean number of active latents; l1: mean summed activation; dead: share that never fires; alive: share."""
        if self.tokens == 0:
            return dict.fromkeys(("l0@1", "l1@1", "dead@1", "alive@1"), undefined("no tokens"))
        return {
            "l0@1": Value(float(self.firings.sum() / self.tokens)),
            "l1@1": Value(float(self.mass.sum() / self.tokens)),
            "dead@1": Value(float((self.firings == 0).mean())),
            "alive@1": Value(float(self.alive.mean())),
        }


FAMILY = MetricFamily(
    "sparsity",
    1,
    {
        "l0@1": Metric("mean number of latents that fire on a token", "latents"),
        "l1@1": Metric("mean summed activation of a token", "activation"),
        "dead@1": Metric("latents that never fire on the score split", "share"),
        "alive@1": Metric("latents that fire on at least 1e-5 of the tokens", "share"),
    },
    ("sparsity",),
    Sparsity.values,
)
