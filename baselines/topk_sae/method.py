"""The reference baseline's two ends: what the benchmark calls to train TopK sparse autoencoders, and what it gets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.api import ActivationStream, FitJob, Latents

from . import engines
from .gradients import Parameters, combine
from .training import Settings, Trainer


class FittedSAE:
    """A trained TopK SAE: `api.Featurizer`, `api.Decoder` and `api.Persistent`."""

    def __init__(self, parameters: Parameters, k: int) -> None:
        self.parameters, self.k = parameters, k
        self.n_latents = len(parameters.encoder_bias)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        self._move_to(x.device)
        return Latents(*engines.encode(self.parameters, x, self.k))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        self._move_to(latents.values.device)
        return combine(latents.values, latents.indices, self.parameters.decoder) + self.parameters.bias

    def _move_to(self, device: torch.device) -> None:
        """A loaded SAE is on the CPU until it meets its first activations."""
        self.parameters = Parameters(*(parameter.to(device) for parameter in self.parameters))

    def save(self, folder: Path) -> None:
        save_file(
            {name: value.contiguous() for name, value in self.parameters._asdict().items()}, folder / "sae.safetensors"
        )
        (folder / "sae.json").write_text(json.dumps({"k": self.k}) + "\n")

    @classmethod
    def load(cls, folder: Path) -> FittedSAE:
        return cls(
            Parameters(**load_file(folder / "sae.safetensors")), json.loads((folder / "sae.json").read_text())["k"]
        )


class TopKSAE:
    """`api.FeatureMethod` with `fit_many`: jobs that share a stream share its batches."""

    load = staticmethod(FittedSAE.load)
    trainer = Trainer
    """One training run; floors that hold a part of it fixed put their own in its place."""

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]

    def check(self, d_model: int) -> None:
        settings, n_latents = self.settings, self.settings.expansion_factor * d_model
        if settings.expansion_factor < 1 or settings.dead_after_tokens < 1:
            raise ValueError("expansion_factor and dead_after_tokens must be positive")
        if settings.auxk_coefficient < 0 or settings.decay_to < 0:
            raise ValueError("auxk_coefficient and decay_to must not be negative")
        if not 1 <= settings.k <= n_latents:
            raise ValueError(f"k = {settings.k} exceeds n_latents = {n_latents}: lower k or raise expansion_factor")
        if settings.batch_size < 1 or settings.epochs < 1 or settings.learning_rate <= 0:
            raise ValueError("batch_size, epochs and learning_rate must be positive")
        if not 0 <= settings.warmup <= settings.decay_from <= 1:
            raise ValueError("0 <= warmup <= decay_from <= 1 must hold")

    def fit(self, activations: ActivationStream, *, seed: int) -> FittedSAE:
        return self.fit_many([FitJob(activations, seed, asdict(self.settings))])[0]

    def fit_many(self, jobs: Sequence[FitJob]) -> list[FittedSAE]:
        trainers = [self.trainer(Settings(**job.settings), job.stream, job.seed) for job in jobs]
        shared: dict[tuple[int, int, int], list[Trainer]] = {}
        for trainer, job in zip(trainers, jobs, strict=True):
            key = (id(job.stream), trainer.settings.batch_size, trainer.settings.epochs)
            shared.setdefault(key, []).append(trainer)
        passes = [
            (members[0].stream.batches(members[0].settings.batch_size, epochs=members[0].settings.epochs), members)
            for members in shared.values()
        ]
        while passes:
            for batches, members in passes.copy():
                batch = next(batches, None)
                if batch is None:
                    passes.remove((batches, members))
                    continue
                for trainer in members:
                    trainer.step(batch)
        return [FittedSAE(trainer.finish(), trainer.settings.k) for trainer in trainers]
