"""Random data points as directions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.random_directions.dictionary import Dictionary


class RandomDataPoints(Dictionary):
    """Activations of tokens that are drawn, minus the mean; drawn again where there are fewer than latents."""

    def directions(
        self, centred: Float[Tensor, "token d_model"], n_latents: int, generator: torch.Generator
    ) -> Float[Tensor, "latent d_model"]:
        rounds = -(-n_latents // len(centred))
        order = torch.cat([torch.randperm(len(centred), generator=generator) for _ in range(rounds)])
        return centred[order[:n_latents].to(centred.device)]
