"""Hard assignment to the nearest of many centres."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor

from baselines.random_directions.dictionary import sample
from benchmark.api import ActivationStream, Latents


class FittedCentres:
    """One latent a centre, active with 1 on the tokens that are nearest to it: `api.Featurizer`, `api.Decoder` and
    `api.Persistent`.
    """

    def __init__(self, centres: Float[Tensor, "latent d_model"], mean: Float[Tensor, " d_model"]) -> None:
        self.centres, self.mean = centres, mean
        self.n_latents = len(centres)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        centres = self.centres.to(x.device)
        nearest = (centres.square().sum(dim=1) / 2 - x @ centres.T).argmin(dim=1, keepdim=True)
        return Latents(torch.ones_like(nearest, dtype=torch.float32), nearest)

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        mean = self.mean.to(latents.values.device)
        offsets = self.centres.to(mean.device) - mean
        return mean + (latents.values[:, :, None] * offsets[latents.indices]).sum(dim=1)

    def save(self, folder: Path) -> None:
        kept = {"centres": self.centres.contiguous(), "mean": self.mean.contiguous()}
        save_file(kept, folder / "centres.safetensors")

    @classmethod
    def load(cls, folder: Path) -> FittedCentres:
        return cls(**load_file(folder / "centres.safetensors"))


class KMeans:
    """`api.FeatureMethod`."""

    load = staticmethod(FittedCentres.load)

    def __init__(self, *, expansion_factor: int, k: int, sample_tokens: int, batch_size: int, epochs: int) -> None:
        self.expansion_factor, self.k, self.sample_tokens = expansion_factor, k, sample_tokens
        self.batch_size, self.epochs = batch_size, epochs

    def check(self, d_model: int) -> None:
        if min(self.expansion_factor, self.batch_size, self.epochs) < 1:
            raise ValueError("expansion_factor, batch_size and epochs must be positive")
        if self.k != 1:
            raise ValueError("k must be 1: a token has one nearest centre")
        if self.sample_tokens < self.expansion_factor * d_model:
            raise ValueError(f"sample_tokens must be at least n_latents = {self.expansion_factor * d_model}")

    def fit(self, activations: ActivationStream, *, seed: int) -> FittedCentres:
        x = sample(activations, self.sample_tokens)
        n_latents = self.expansion_factor * activations.d_model
        if len(x) < n_latents:
            raise ValueError(f"the stream holds {len(x)} tokens, fewer than the {n_latents} centres asked for")
        found = MiniBatchKMeans(
            n_latents,
            batch_size=self.batch_size,
            max_iter=self.epochs,
            n_init=1,
            init="random",
            random_state=seed % 2**32,
        )
        found.fit(x.cpu().numpy())
        return FittedCentres(torch.from_numpy(found.cluster_centers_).float(), x.mean(dim=0).cpu())
