"""The coordinates themselves."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.random_directions.dictionary import Dictionary


class Neurons(Dictionary):
    """Every coordinate of the residual stream, upwards and downwards."""

    def check(self, d_model: int) -> None:
        super().check(d_model)
        if self.expansion_factor != 2:
            raise ValueError("expansion_factor must be 2: a coordinate has two ways to go")

    def directions(
        self, centred: Float[Tensor, "token d_model"], n_latents: int, generator: torch.Generator
    ) -> Float[Tensor, "latent d_model"]:
        own = torch.eye(centred.shape[1], device=centred.device)
        return torch.cat([own, -own])
