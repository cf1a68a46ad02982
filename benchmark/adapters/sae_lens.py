"""SAELens (https://github.com/jbloomAus/SAELens): its configs, its trainer, its inference SAEs and their format."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from sae_lens import SAE, LoggingConfig, TrainingSAE
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from torch import Tensor

from benchmark.adapters.codes import dense, sparse
from benchmark.api import ActivationStream, Latents

SCALED = "expected_average_only_in"
WITHOUT_STATE = ("none", SCALED, "covariance_whitening")
"""Normalisations that are folded into the weights; the others decode with what the last encode left behind."""


class SAELensFeaturizer:
    """An inference SAE of the library, `SAE.encode` and `SAE.decode` as they are."""

    def __init__(self, sae: Any) -> None:
        normalised = sae.cfg.normalize_activations
        if normalised not in WITHOUT_STATE:
            raise ValueError(
                f"normalize_activations = {normalised!r} needs the token that was encoded to decode its code, and "
                "decode gets codes alone: take an SAE whose scale is folded into its weights"
            )
        self.sae = sae.eval()
        self.n_latents = int(sae.cfg.d_sae)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        return sparse(self._codes(x))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        found: Tensor = self.sae.decode(dense(latents, self.n_latents))
        return found

    @torch.no_grad()
    def original(self, x: Float[Tensor, "token d_model"]) -> tuple[Tensor, Tensor]:
        return self._codes(x), self.sae(x)

    def save(self, folder: Path) -> None:
        self.sae.save_model(folder)

    @classmethod
    def load(cls, folder: Path) -> SAELensFeaturizer:
        return cls(SAE.load_from_disk(folder))

    def _codes(self, x: Tensor) -> Tensor:
        found: Tensor = self.sae.to(x.device).encode(x)
        return found.to_dense() if found.is_sparse else found


class SAELensMethod:
    """`api.FeatureMethod`: trains what `config` says with the library's trainer. Settings that are not named here are
    the config's own.
    """

    config: ClassVar[Any]
    """A training config of the library, such as `TopKTrainingSAEConfig`."""
    load = staticmethod(SAELensFeaturizer.load)

    def __init__(
        self,
        *,
        expansion_factor: int,
        batch_size: int,
        learning_rate: float,
        epochs: int,
        warmup: float,
        decay: float,
        dead_feature_window: int,
        **architecture: Any,
    ) -> None:
        self.expansion_factor, self.batch_size, self.epochs = expansion_factor, batch_size, epochs
        self.learning_rate, self.warmup, self.decay = learning_rate, warmup, decay
        self.dead_feature_window, self.architecture = dead_feature_window, architecture

    def check(self, d_model: int) -> None:
        self.made(d_model, "cpu")

    def made(self, d_model: int, device: str) -> Any:
        """The library's config for activations of this width."""
        d_sae = self.expansion_factor * d_model
        return self.config(d_in=d_model, d_sae=d_sae, device=device, **self.options(d_sae))

    def options(self, d_sae: int) -> dict[str, Any]:
        """What the config takes beside the widths."""
        return self.architecture

    def fit(self, activations: ActivationStream, *, seed: int) -> SAELensFeaturizer:
        torch.manual_seed(seed)
        config = self.made(activations.d_model, str(activations.device))
        sae = TrainingSAE.get_sae_class_for_architecture(config.architecture())(config)
        samples = self.epochs * activations.n_tokens
        steps = max(1, samples // self.batch_size)
        per_epoch = -(-activations.n_tokens // self.batch_size)
        trained = SAETrainerConfig(
            total_training_samples=samples,
            train_batch_size_samples=self.batch_size,
            lr=self.learning_rate,
            lr_end=self.learning_rate / 10,
            lr_warm_up_steps=int(self.warmup * steps),
            lr_decay_steps=int(self.decay * steps),
            device=str(activations.device),
            dead_feature_window=self.dead_feature_window,
            n_batches_for_norm_estimate=per_epoch,
            logger=LoggingConfig(log_to_wandb=False),
        )
        batches = activations.batches(self.batch_size, epochs=self.epochs)
        if config.normalize_activations == SCALED:
            batches = itertools.chain(activations.batches(self.batch_size), batches)
        SAETrainer(trained, sae, batches).fit()
        with tempfile.TemporaryDirectory() as folder:
            sae.save_inference_model(folder)
            return SAELensFeaturizer.load(Path(folder))
