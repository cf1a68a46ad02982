"""Floors whose directions nobody trains: the k strongest are active, as in a TopK SAE whose encoder is its decoder."""

from __future__ import annotations

import itertools

import torch
from jaxtyping import Float
from torch import Tensor

from baselines.topk_sae.method import FittedSAE
from baselines.topk_sae.training import tied
from benchmark.api import ActivationStream

BATCH = 4096


class Dictionary:
    """`api.FeatureMethod`; a floor says what the directions are."""

    load = staticmethod(FittedSAE.load)

    def __init__(self, *, expansion_factor: int, k: int, sample_tokens: int) -> None:
        self.expansion_factor, self.k, self.sample_tokens = expansion_factor, k, sample_tokens

    def check(self, d_model: int) -> None:
        if self.expansion_factor < 1 or self.sample_tokens < 2:
            raise ValueError("expansion_factor must be positive, and sample_tokens at least 2")
        if not 1 <= self.k <= self.expansion_factor * d_model:
            raise ValueError(
                f"k = {self.k} exceeds n_latents = {self.expansion_factor * d_model}: lower k or raise expansion_factor"
            )

    def fit(self, activations: ActivationStream, *, seed: int) -> FittedSAE:
        x = sample(activations, self.sample_tokens)
        mean, generator = x.mean(dim=0), torch.Generator().manual_seed(seed)
        directions = self.directions(x - mean, self.expansion_factor * activations.d_model, generator)
        return FittedSAE(tied(directions, mean, x, self.k), self.k)

    def directions(
        self, centred: Float[Tensor, "token d_model"], n_latents: int, generator: torch.Generator
    ) -> Float[Tensor, "latent d_model"]:
        """Directions of any length, from activations minus their mean."""
        raise NotImplementedError


def sample(activations: ActivationStream, tokens: int) -> Float[Tensor, "token d_model"]:
    """The first tokens of a stream, which comes shuffled."""
    batches = activations.batches(BATCH)
    return torch.cat(list(itertools.islice(batches, -(-tokens // BATCH))))[:tokens]
