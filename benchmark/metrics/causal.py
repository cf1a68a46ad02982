"""Does the network use a latent's direction more than a random one of the same length?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, mean_over_latents

POSITIONS = 30
EPSILON = 1e-12
SILENT = "latents that fire at no position with a next token"


class CausalEffect(NamedTuple):
    """Sums [latent] over interventions: their number, and the KL in nats of removing the latent or a random vector."""

    events: NDArray[np.float64]
    removed: NDArray[np.float64]
    random: NDArray[np.float64]

    @classmethod
    def of(
        cls, latents: NDArray[np.int64], removed: NDArray[np.float64], random: NDArray[np.float64], size: int
    ) -> CausalEffect:
        """Sums of a batch of interventions [event] on drawn latents numbered below `size`."""
        count, first, second = (
            np.bincount(latents, weights=weights, minlength=size).astype(np.float64)
            for weights in (np.ones(len(latents)), removed, random)
        )
        return cls(count, first, second)

    def __add__(self, other: CausalEffect) -> CausalEffect:  # type: ignore[override]
        return CausalEffect(*(a + b for a, b in zip(self, other, strict=True)))

    def values(self) -> dict[str, Value]:
        """ln of the ratio of mean KLs, averaged over latents: 0 = no more than a random direction."""
        per_latent = np.full(len(self.events), np.nan)
        some = self.events > 0
        removed, random = self.removed[some] / self.events[some], self.random[some] / self.events[some]
        per_latent[some] = np.log((removed + EPSILON) / (random + EPSILON))
        return {"causal_effect@1": mean_over_latents(per_latent, SILENT)}


FAMILY = MetricFamily(
    "causal",
    1,
    {
        "causal_effect@1": Metric(
            "log ratio of the KL of removing a latent and of removing a random direction", "nats", "higher", 0.05
        )
    },
    ("causal",),
    CausalEffect.values,
    of_decoder=True,
)
