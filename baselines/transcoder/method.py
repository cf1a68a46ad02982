"""A TopK transcoder: sparse codes of the stream one block below a hookpoint, decoded to the stream at it."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from baselines.topk_sae.gradients import Parameters, combine, remove_parallel_, top_codes
from baselines.topk_sae.method import FittedSAE, TopKSAE
from baselines.topk_sae.training import Settings, schedule, tied
from benchmark.api import PairedStream


class Transcoder:
    """`api.PairFeatureMethod` (Dunefsky et al., arXiv 2406.11944, with TopK). The residual stream carries what a block
    adds nothing to, so that encoder and decoder start along the same directions.
    """

    load = staticmethod(FittedSAE.load)

    def __init__(self, **settings: Any) -> None:
        self.settings = Settings(**settings, unit_scale=True)

    def check(self, d_model: int) -> None:
        TopKSAE(**asdict(self.settings)).check(d_model)

    def fit(self, activations: PairedStream, *, seed: int) -> FittedSAE:
        settings = self.settings
        training: Training | None = None
        for x, y in activations.batches(settings.batch_size, epochs=settings.epochs):
            training = training or Training(settings, activations.n_tokens, x, y, seed)
            if len(x) > 1:
                training.step(x, y)
        if training is None:
            raise ValueError("the stream held no activations")
        return FittedSAE(training.finish(), settings.k)


class Training:
    """One run. Inputs and targets are centred on the first batch's means and divided by its root mean square
    deviations; the decoder's bias goes on from 0.
    """

    def __init__(self, settings: Settings, n_tokens: int, x: Tensor, y: Tensor, seed: int) -> None:
        self.settings, self.steps = settings, 0
        self.total = settings.epochs * -(-n_tokens // settings.batch_size)
        self.moments = [(part.mean(dim=0), _deviation(part)) for part in (x, y)]
        n_latents = settings.expansion_factor * x.shape[1]
        draw = torch.randn(n_latents, x.shape[1], generator=torch.Generator().manual_seed(seed)).to(x.device)
        (mean, scale), _ = self.moments
        start = tied(draw, torch.zeros_like(mean), (x - mean) / scale, settings.k)
        self.parameters = Parameters(*(part.requires_grad_() for part in start))
        self.optimizer = torch.optim.Adam(list(self.parameters))
        self.silent_for = torch.zeros(n_latents, dtype=torch.long, device=x.device)

    def step(self, x: Float[Tensor, "token d_model"], y: Float[Tensor, "token d_model"]) -> None:
        """One step of Adam on FVU + coefficient * AuxK."""
        settings, parameters = self.settings, self.parameters
        x, y = ((part - mean) / scale for part, (mean, scale) in zip((x, y), self.moments, strict=True))
        pre = torch.addmm(parameters.encoder_bias, x, parameters.encoder.T)
        codes = top_codes(pre, settings.k)
        error = combine(*codes, parameters.decoder) + parameters.bias - y
        variance = (y - y.mean(dim=0)).square().sum().clamp(min=1e-30)
        loss = error.square().sum() / variance
        dead = self.silent_for >= settings.dead_after_tokens
        if settings.auxk_coefficient and dead.any():
            loss = loss + settings.auxk_coefficient * _auxk(pre, parameters.decoder, dead, error.detach()) / variance
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            assert parameters.decoder.grad is not None
            remove_parallel_(parameters.decoder.grad, parameters.decoder)
            self.steps += 1
            peak = settings.learning_rate / math.sqrt(len(parameters.encoder) / 2**14)
            self.optimizer.param_groups[0]["lr"] = peak * schedule(self.steps / self.total, settings)
            self.optimizer.step()
            parameters.decoder.div_(parameters.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12))
        self.silent_for += len(x)
        self.silent_for[codes.indices[codes.values > 0]] = 0

    def finish(self) -> Parameters:
        """As a TopK SAE that takes its decoder's bias off the input, in the units of both streams."""
        encoder, encoder_bias, decoder, bias = (part.detach() for part in self.parameters)
        (mean, scale), (to_mean, to_scale) = self.moments
        encoder, bias = encoder * (to_scale / scale), bias * to_scale + to_mean
        return Parameters(encoder, encoder_bias * to_scale + encoder @ (bias - mean), decoder, bias)


def _auxk(
    pre: Float[Tensor, "token latent"],
    decoder: Float[Tensor, "latent d_model"],
    dead: Bool[Tensor, " latent"],
    error: Float[Tensor, "token d_model"],
) -> Float[Tensor, ""]:
    """Squared error with which the strongest dead latents reconstruct what is left (arXiv 2406.04093, A.2)."""
    count = min(max(decoder.shape[1] // 2, 1), int(dead.sum()))
    codes = top_codes(pre.masked_fill(~dead, -torch.inf), count)
    weight = count / max(decoder.shape[1] // 2, 1)
    return weight * (combine(*codes, decoder) + error).square().sum()


def _deviation(x: Float[Tensor, "token d_model"]) -> Float[Tensor, ""]:
    return (x - x.mean(dim=0)).square().mean().sqrt().clamp(min=1e-12)
