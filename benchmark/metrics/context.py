"""How much of a latent's activation survives when the same token, at the same position, follows another document."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, mean_over_latents

FIRST = 24
SILENT = "latents that fire at none of the compared positions"


class ContextSensitivity(NamedTuple):
    """Sums [latent] over compared positions of the activation, and of its minimum with the one after the swap."""

    original: NDArray[np.float64]
    common: NDArray[np.float64]

    @classmethod
    def of(cls, z: sparse.csr_array, swapped: sparse.csr_array) -> ContextSensitivity:
        """Sums of a batch: activations [token, latent] in their own context and in another document's."""
        return cls(_column_sums(z), _column_sums(z.minimum(swapped)))

    def __add__(self, other: ContextSensitivity) -> ContextSensitivity:  # type: ignore[override]
        return ContextSensitivity(self.original + other.original, self.common + other.common)

    def values(self) -> dict[str, Value]:
        """1 - sum min(z, z') / sum z: 0 = the token alone decides, 1 = nothing is left of the activation."""
        fires = self.original > 0
        per_latent = np.full(len(fires), np.nan)
        per_latent[fires] = 1 - self.common[fires] / self.original[fires]
        return {"context_sensitivity@1": mean_over_latents(per_latent, SILENT)}


def _column_sums(z: sparse.csr_array) -> NDArray[np.float64]:
    return np.bincount(z.indices, weights=z.data.astype(np.float64), minlength=z.shape[1]).astype(np.float64)


FAMILY = MetricFamily(
    "context",
    1,
    {"context_sensitivity@1": Metric("share of an activation that changes with the prefix, token kept", "share")},
    ("context",),
    ContextSensitivity.values,
)
