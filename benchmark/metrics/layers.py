"""Where in the network latents that several layers share are active (after 2409.04185, conditioned on firing).

The published ratio compares a second moment that is not centred, over all tokens, with a variance within a token. Here
a layer is drawn in proportion to a latent's activation, over all tokens and layers or within a token: the variance of
the former is the mean of the latter's plus the variance of the latter's mean.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, undefined

MOST = 0.9


class LayerMass(NamedTuple):
    """Of each token and latent [token, latent] the activation summed over layers, bare and times the layer's number;
    per latent the same times its square, and the largest layer's share of the bare sum. All float64.
    """

    mass: sparse.csr_array
    first: sparse.csr_array
    second: NDArray[np.float64]
    largest: NDArray[np.float64]

    @classmethod
    def none(cls, shape: tuple[int, int]) -> LayerMass:
        """Nothing yet."""
        zeros = np.zeros(shape[1])
        return cls(sparse.csr_array(shape), sparse.csr_array(shape), zeros, zeros)

    @classmethod
    def of(cls, codes: sparse.csr_array, layer: int) -> LayerMass:
        """Of one layer's codes [token, latent]."""
        codes = codes.astype(np.float64)
        own = np.asarray(codes.sum(axis=0), np.float64).ravel()
        return cls(codes, codes * layer, own * layer**2, own)

    def __add__(self, other: LayerMass) -> LayerMass:  # type: ignore[override]
        return LayerMass(
            self.mass + other.mass,
            self.first + other.first,
            self.second + other.second,
            np.maximum(self.largest, other.largest),
        )

    def values(self) -> dict[str, Value]:
        """Means over the latents that are active anywhere."""
        total = np.asarray(self.mass.sum(axis=0)).ravel()
        active = total > 0
        if not active.any():
            return dict.fromkeys(FAMILY.metrics, undefined("no latent is active at any hookpoint"))
        total = total[active]
        mean = np.asarray(self.first.sum(axis=0)).ravel()[active] / total
        inverse = self.mass.copy()
        inverse.data = 1 / inverse.data
        of_means = np.asarray(self.first.multiply(self.first).multiply(inverse).sum(axis=0)).ravel()[active] / total
        within, between = self.second[active] / total - of_means, of_means - mean**2
        alone = self.largest[active] / total >= MOST
        return {
            "layer_variance@1": Value(float((within + between).mean())),
            "layer_variance_within@1": Value(float(within.mean())),
            "layer_variance_between@1": Value(float(between.mean())),
            "one_layer@1": Value(float(alone.mean())),
        }


FAMILY = MetricFamily(
    "layers",
    1,
    {
        "layer_variance@1": Metric("variance of the layer at which a latent is active", "layers squared"),
        "layer_variance_within@1": Metric("its part within a token, over the layers that see it", "layers squared"),
        "layer_variance_between@1": Metric("its part between tokens", "layers squared"),
        "one_layer@1": Metric("share of latents with nine tenths of their activation at one layer", "share"),
    },
    ("layers",),
    LayerMass.values,
    usual=False,
)
