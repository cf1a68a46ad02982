"""A fitted featurizer as scoring sees it: sparse codes, and the direction that each latent writes."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from benchmark.api import Latents
from benchmark.metrics.layers import LayerMass

LINEARITY = 1e-3
ROWS_AT_ONCE = 1 << 16
NO_DECODER = "the method does not decode"


class Siblings(dict[str, "ScoredFeaturizer"]):
    """What one fit made of all hookpoints; `mass` is kept once it is known, for it is the same for all of them."""

    mass: LayerMass | None = None


@runtime_checkable
class ScoredFeaturizer(Protocol):
    """A fitted featurizer as scoring sees it. `below`: it encodes the stream one block below the one it decodes to.
    `siblings`: what one fit made of all hookpoints, itself included, where there is such a fit.
    """

    n_latents: int
    decodes: bool
    below: bool
    siblings: Siblings

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents: ...

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]: ...


def csr(latents: Latents, n_latents: int) -> sparse.csr_array:
    """Codes [token, n_latents] with positive entries only, from the padded form."""
    values, indices = latents.values.float().numpy(), latents.indices.numpy()
    active = values > 0
    indptr = np.concatenate([[0], active.sum(axis=1).cumsum()])
    kept = np.empty(indptr[-1], np.int32 if max(indptr[-1], n_latents) < 2**31 else np.int64)
    for start in range(0, len(values), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        chosen = indices[part][active[part]]
        kept[indptr[start] : indptr[start] + len(chosen)] = chosen
    codes = sparse.csr_array((values[active], kept, indptr.astype(kept.dtype)), shape=(len(values), n_latents))
    codes.sum_duplicates()
    return codes


def directions_of(featurizer: ScoredFeaturizer, ids: NDArray[np.int64]) -> Float[Tensor, "latent d_model"]:
    """decode(e_j) - decode(0) of each latent."""
    one = Latents(torch.ones(len(ids), 1), torch.from_numpy(ids.astype(np.int64))[:, None])
    return featurizer.decode(one) - bias_of(featurizer)


def bends(
    featurizer: ScoredFeaturizer,
    ids: NDArray[np.int64],
    vectors: Float[Tensor, "latent d_model"],
    rng: np.random.Generator,
) -> str | None:
    """Why the directions of some latents, one at least, are not all that they write: mixtures must be linear in them to
    a thousandth. None where they are.
    """
    pairs = rng.integers(len(ids), size=(32, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    weights = torch.from_numpy(rng.uniform(0.5, 2.0, size=pairs.shape)).float()
    mixed = featurizer.decode(Latents(weights, torch.from_numpy(ids[pairs]))) - bias_of(featurizer)
    expected = (weights[:, :, None] * vectors[torch.from_numpy(pairs)]).sum(dim=1)
    error = float((mixed - expected).norm() / expected.norm().clamp(min=1e-30)) if len(pairs) else 0.0
    if error > LINEARITY:
        return f"decode is not linear: mixtures of two latents are off by {error:.2g}, more than {LINEARITY}"
    return None


def bias_of(featurizer: ScoredFeaturizer) -> Tensor:
    """decode(0), [1, d_model]."""
    return featurizer.decode(Latents(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long)))
