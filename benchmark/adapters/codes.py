"""Dense codes of a library into the sparse ones of the api, and back."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from benchmark.api import Latents


def sparse(codes: Float[Tensor, "token latent"]) -> Latents:
    """Positive entries, as many columns as the fullest token needs."""
    most = max(1, int((codes > 0).sum(dim=1).max())) if len(codes) else 1
    return Latents(*codes.topk(most, dim=1, sorted=False))


def dense(latents: Latents, n_latents: int) -> Float[Tensor, "token latent"]:
    """All latents of each token; entries of one id add up."""
    empty = latents.values.new_zeros(len(latents.values), n_latents)
    return empty.scatter_add(1, latents.indices.long(), latents.values)
