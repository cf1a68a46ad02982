"""Random directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .dictionary import Dictionary


class RandomDirections(Dictionary):
    """Directions drawn from a Gaussian, whatever the activations are."""

    def directions(
        self, centred: Float[Tensor, "token d_model"], n_latents: int, generator: torch.Generator
    ) -> Float[Tensor, "latent d_model"]:
        return torch.randn(n_latents, centred.shape[1], generator=generator).to(centred.device)
