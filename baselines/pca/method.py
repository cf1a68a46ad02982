"""Principal components."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.random_directions.dictionary import Dictionary


class PCA(Dictionary):
    """The principal components of most variance, upwards and downwards."""

    def check(self, d_model: int) -> None:
        super().check(d_model)
        if self.expansion_factor > 2:
            raise ValueError("expansion_factor is at most 2: there are d_model components, and each has two ways to go")

    def directions(
        self, centred: Float[Tensor, "token d_model"], n_latents: int, generator: torch.Generator
    ) -> Float[Tensor, "latent d_model"]:
        covariance = centred.double().T @ centred.double()
        vectors = torch.linalg.eigh(covariance).eigenvectors.flip(dims=(1,)).T
        # An eigenvector has no sign of its own, and what is drawn of the latents must not hang on one.
        largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
        first = (vectors * largest.sign())[: n_latents // 2].float()
        return torch.cat([first, -first])
