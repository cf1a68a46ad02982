"""One training run: initialisation, learning-rate schedule, which latents are dead, and the engine's steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.api import ActivationStream

from .engines import Engine, encode, engine
from .gradients import Parameters, combine


@dataclass(frozen=True)
class Settings:
    """As in method.toml."""

    expansion_factor: int
    k: int
    batch_size: int
    epochs: int
    learning_rate: float
    warmup: float
    decay_to: float
    decay_from: float
    auxk_coefficient: float
    dead_after_tokens: int
    unit_scale: bool


class Trainer:
    """State of one training run."""

    def __init__(self, settings: Settings, stream: ActivationStream, seed: int) -> None:
        self.settings, self.stream = settings, stream
        self.n_latents = settings.expansion_factor * stream.d_model
        self.total_steps = settings.epochs * -(-stream.n_tokens // settings.batch_size)
        self.steps = self.tokens = 0
        self.scale = torch.ones(())
        self.generator = torch.Generator().manual_seed(seed)
        self.silent_for = torch.zeros(self.n_latents, dtype=torch.long, device=stream.device)
        self.engine: Engine | None = None

    def step(self, batch: Float[Tensor, "token d_model"]) -> Float[Tensor, ""]:
        """One optimizer step; returns the batch's FVU before it. A single token has no variance to explain: no step."""
        settings = self.settings
        if self.engine is None:
            self.engine = engine(self.initial(batch), settings.k, settings.auxk_coefficient)
        dead = self.silent_for >= settings.dead_after_tokens if self.tokens >= settings.dead_after_tokens else None
        peak = settings.learning_rate / math.sqrt(self.n_latents / 2**14)
        rate = peak * schedule((self.steps + 1) / self.total_steps, settings)
        self.steps += 1
        if len(batch) < 2:
            return torch.tensor(math.nan)
        fvu, fired = self.engine.step(batch / self.scale, dead, rate)
        self.silent_for = (self.silent_for + len(batch)).masked_fill_(fired, 0)
        self.tokens += len(batch)
        return fvu

    def finish(self) -> Parameters:
        """The trained SAE in the units of the stream: a TopK SAE is scale-equivariant, so only biases change."""
        if self.engine is None:
            raise ValueError("the stream held no activations")
        encoder, encoder_bias, decoder, bias = (parameter.detach() for parameter in self.engine.parameters)
        return Parameters(encoder, encoder_bias * self.scale, decoder, bias * self.scale)

    def initial(self, batch: Float[Tensor, "token d_model"]) -> Parameters:
        """Encoder and decoder the same random directions, the bias the first batch's mean; sets the scale.

        The encoder's rows have the one length with which the first batch is reconstructed best: rows of length 1 say
        far too much where many latents are active in few dimensions, and the first steps would go on taking it back.
        """
        mean = batch.mean(dim=0)
        if self.settings.unit_scale:
            self.scale = (batch - mean).double().square().mean().sqrt().clamp(min=1e-12).float()
        draw = torch.randn(self.n_latents, batch.shape[1], generator=self.generator)
        return tied(draw.to(batch.device), mean / self.scale, batch / self.scale, self.settings.k)


def tied(
    directions: Float[Tensor, "latent d_model"],
    bias: Float[Tensor, " d_model"],
    x: Float[Tensor, "token d_model"],
    k: int,
) -> Parameters:
    """Decoder rows along these directions, and an encoder of the same, of the one length that reconstructs x best."""
    decoder = torch.nn.functional.normalize(directions, dim=1)
    zeros = torch.zeros(len(decoder), device=x.device)
    made = Parameters(decoder.clone(), zeros, decoder, bias)
    codes = encode(made, x, k)
    total = combine(*codes, decoder).square().sum()
    made.encoder.mul_(torch.where(total > 0, codes.values.square().sum() / total, 1.0))
    return made


def schedule(progress: float, settings: Settings) -> float:
    """Learning rate as a share of its peak at `progress` in (0, 1], counted in optimizer steps."""
    if progress < settings.warmup:
        return progress / settings.warmup
    if progress <= settings.decay_from or settings.decay_from == 1:
        return 1.0
    return 1 - (1 - settings.decay_to) * (progress - settings.decay_from) / (1 - settings.decay_from)
