"""sparsify (https://github.com/EleutherAI/sparsify): its trainer on recorded activations, its coders, their format."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.api import ActivationStream, Latents

# With Triton installed, as PyTorch's CUDA build brings it, the library decodes by it even where there is no device.
if not torch.cuda.is_available():
    os.environ.setdefault("SPARSIFY_DISABLE_TRITON", "1")

from sparsify import SparseCoder, SparseCoderConfig, TrainConfig, Trainer

POINT = "point"


class SparsifyFeaturizer:
    """A sparse coder of the library, `SparseCoder.encode` and `SparseCoder.decode` as they are."""

    def __init__(self, coder: SparseCoder) -> None:
        self.coder = coder.eval()
        self.n_latents = int(coder.num_latents)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        found = self.coder.to(x.device).encode(x)
        return Latents(found.top_acts.clamp(min=0), found.top_indices)

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        found: Tensor = self.coder.decode(latents.values, latents.indices)
        return found

    @torch.no_grad()
    def original(self, x: Float[Tensor, "token d_model"]) -> tuple[Tensor, Tensor]:
        found = self.coder(x)
        codes = x.new_zeros(len(x), self.n_latents).scatter(1, found.latent_indices, found.latent_acts)
        return codes, found.sae_out

    def save(self, folder: Path) -> None:
        self.coder.save_to_disk(folder)

    @classmethod
    def load(cls, folder: Path) -> SparsifyFeaturizer:
        return cls(SparseCoder.load_from_disk(folder))


class SparsifyMethod:
    """`api.FeatureMethod`: trains with the library's trainer. Settings that are not named here are those of its
    `TrainConfig`, and those of `coder` its `SparseCoderConfig`'s.
    """

    load = staticmethod(SparsifyFeaturizer.load)

    def __init__(
        self, *, expansion_factor: int, k: int, batch_size: int, epochs: int, coder: dict[str, Any], **trainer: Any
    ) -> None:
        self.batch_size, self.epochs, self.trainer = batch_size, epochs, trainer
        self.coder = {"expansion_factor": expansion_factor, "k": k, **coder}

    def check(self, d_model: int) -> None:
        if not 1 <= self.coder["k"] <= self.coder["expansion_factor"] * d_model:
            raise ValueError(f"k = {self.coder['k']} must be from 1 to expansion_factor * {d_model}")
        SparseCoderConfig(**self.coder)

    def fit(self, activations: ActivationStream, *, seed: int) -> SparsifyFeaturizer:
        torch.manual_seed(seed)
        size = min(self.batch_size, activations.n_tokens)
        whole = (batch for batch in activations.batches(size, epochs=self.epochs) if len(batch) == size)
        steps = activations.n_tokens // size * self.epochs
        recorded = Recorded(whole, activations.d_model).to(activations.device)
        with tempfile.TemporaryDirectory() as folder:
            config = TrainConfig(
                SparseCoderConfig(**self.coder),
                batch_size=1,
                hookpoints=[POINT],
                init_seeds=[seed],
                log_to_wandb=False,
                save_dir=folder,
                run_name="fit",
                **self.trainer,
            )
            # One sequence a step, as long as a batch: what is read at the hookpoint is the next batch.
            Trainer(config, [{"input_ids": torch.zeros(size, dtype=torch.long)}] * steps, recorded).fit()
            return SparsifyFeaturizer.load(Path(folder) / "fit" / POINT)


class Recorded(nn.Module):
    """What the trainer takes for a model: a forward on one batch of tokens puts a batch of activations through the
    hookpoint.
    """

    def __init__(self, batches: Iterator[Tensor], d_model: int) -> None:
        super().__init__()
        self._batches, self._d_model = batches, d_model
        self.point = nn.Identity()
        self.register_buffer("_where", torch.empty(0), persistent=False)
        self.dummy_inputs = {"input_ids": torch.zeros(1, 1, dtype=torch.long)}

    @property
    def base_model(self) -> Recorded:
        return self

    @property
    def device(self) -> torch.device:
        where = self._where
        assert isinstance(where, Tensor)
        return where.device

    def forward(self, input_ids: Tensor) -> Tensor:
        width = torch.zeros(1, 1, self._d_model, device=self.device)
        found: Tensor = self.point(width if input_ids.shape[1] == 1 else next(self._batches)[None])
        return found
