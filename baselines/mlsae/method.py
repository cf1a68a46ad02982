"""A multi-layer sparse autoencoder: one TopK SAE over the residual streams of all hookpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from baselines.topk_sae.method import FittedSAE, TopKSAE
from benchmark.api import ActivationStream, Latents


class LayerSAE:
    """The shared SAE at one hookpoint, with that hookpoint's mean and scale around it."""

    def __init__(self, shared: FittedSAE, mean: Float[Tensor, " d_model"], scale: Float[Tensor, ""]) -> None:
        self.shared, self.mean, self.scale, self.n_latents = shared, mean, scale, shared.n_latents

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        return self.shared.encode((x - self.mean.to(x.device)) / self.scale.to(x.device))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        x = self.shared.decode(latents)
        return x * self.scale.to(x.device) + self.mean.to(x.device)

    def save(self, folder: Path) -> None:
        self.shared.save(folder)
        save_file({"mean": self.mean, "scale": self.scale}, folder / "hookpoint.safetensors")

    @classmethod
    def load(cls, folder: Path) -> LayerSAE:
        return cls(FittedSAE.load(folder), **load_file(folder / "hookpoint.safetensors"))


class Pooled:
    """The streams of all hookpoints as one, each centred and scaled by its first batch. The published method does so to
    each vector, and gives its reconstruction that vector's mean and deviation back; with a hookpoint's own, decoding is
    linear and the codes alone say what is reconstructed.
    """

    def __init__(self, streams: Mapping[str, ActivationStream], own: int) -> None:
        self.streams = streams
        first = next(iter(streams.values()))
        self.d_model, self.device = first.d_model, first.device
        self.n_tokens = sum(stream.n_tokens for stream in streams.values())
        self.moments = {}
        for name, stream in streams.items():
            x = next(iter(stream.batches(own * len(streams))))
            mean = x.mean(dim=0)
            self.moments[name] = mean, (x - mean).square().mean().sqrt().clamp(min=1e-12)

    def batches(self, size: int, *, epochs: int = 1) -> Iterator[Float[Tensor, "token d_model"]]:
        """`size` vectors in equal parts from all hookpoints, of which it is a multiple."""
        parts = zip(
            *(stream.batches(size // len(self.streams), epochs=epochs) for stream in self.streams.values()), strict=True
        )
        for each in parts:
            yield torch.cat([(x - mean) / scale for x, (mean, scale) in zip(each, self.moments.values(), strict=True)])


class MLSAE:
    """`api.ModelFeatureMethod` (Lawson et al., arXiv 2409.04185): an id is the same latent at every hookpoint."""

    load = staticmethod(LayerSAE.load)

    def __init__(self, **settings: Any) -> None:
        self.method = TopKSAE(**settings, unit_scale=False)

    def check(self, d_model: int) -> None:
        self.method.check(d_model)

    def fit(self, activations: Mapping[str, ActivationStream], *, seed: int) -> dict[str, LayerSAE]:
        settings, count = self.method.settings, len(activations)
        own = max(1, settings.batch_size // count)
        pooled = Pooled(activations, own)
        # The schedule counts on batches of one size: a whole number of vectors from each hookpoint.
        shared = TopKSAE(**asdict(replace(settings, batch_size=own * count))).fit(pooled, seed=seed)
        return {name: LayerSAE(shared, *moments) for name, moments in pooled.moments.items()}
