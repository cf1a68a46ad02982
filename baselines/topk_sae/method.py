"""TopK sparse autoencoder with hand-written sparse gradients.

Gao et al., "Scaling and evaluating sparse autoencoders" (arXiv 2406.04093): the k largest pre-activations per token,
a unit-norm decoder, and AuxK, an auxiliary loss through latents that have stopped firing. The decoder and both backward
passes touch the k active latents of a token; no dense (token, latent) gradient exists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmark.api import ActivationStream, FitJob, Latents

SLICE_ELEMENTS = 1 << 26


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


class Parameters(NamedTuple):
    """encoder [latent, d_model], encoder_bias [latent], decoder [latent, d_model] with unit rows, bias [d_model]."""

    encoder: Tensor
    encoder_bias: Tensor
    decoder: Tensor
    bias: Tensor


class Codes(NamedTuple):
    """The active latents of each token: values >= 0 and ids, both [token, k]."""

    values: Float[Tensor, "token k"]
    indices: Int[Tensor, "token k"]


class FittedSAE:
    """A trained TopK SAE: `api.Featurizer`, `api.Decoder` and `api.Persistent`."""

    def __init__(self, parameters: Parameters, k: int) -> None:
        self.parameters, self.k = parameters, k
        self.n_latents = len(parameters.encoder_bias)

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        self._move_to(x.device)
        return Latents(*top_codes(pre_activations(self.parameters, x), self.k))

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

    def __init__(self, **settings: object) -> None:
        self.settings = Settings(**settings)  # type: ignore[arg-type]

    def check(self, d_model: int) -> None:
        settings, n_latents = self.settings, self.settings.expansion_factor * d_model
        if not 1 <= settings.k <= n_latents:
            raise ValueError(f"k = {settings.k} exceeds n_latents = {n_latents}: lower k or raise expansion_factor")
        if settings.batch_size < 1 or settings.epochs < 1 or settings.learning_rate <= 0:
            raise ValueError("batch_size, epochs and learning_rate must be positive")
        if not 0 <= settings.warmup <= settings.decay_from <= 1:
            raise ValueError("0 <= warmup <= decay_from <= 1 must hold")

    def fit(self, activations: ActivationStream, *, seed: int) -> FittedSAE:
        return self.fit_many([FitJob(activations, seed, asdict(self.settings))])[0]

    def fit_many(self, jobs: Sequence[FitJob]) -> list[FittedSAE]:
        trainers = [Trainer(Settings(**job.settings), job.stream, job.seed) for job in jobs]
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
        return [trainer.finish() for trainer in trainers]


class Trainer:
    """State of one training run."""

    def __init__(self, settings: Settings, stream: ActivationStream, seed: int) -> None:
        self.settings, self.stream = settings, stream
        self.n_latents = settings.expansion_factor * stream.d_model
        self.total_steps = settings.epochs * -(-stream.n_tokens // settings.batch_size)
        self.steps = 0
        self.scale = torch.ones(())
        self.generator = torch.Generator().manual_seed(seed)
        self.silent_for = torch.zeros(self.n_latents, dtype=torch.long, device=stream.device)
        self.parameters: Parameters | None = None
        self.optimizer: torch.optim.Adam | None = None

    def step(self, batch: Float[Tensor, "token d_model"]) -> float:
        """One optimizer step; returns the batch's FVU before it."""
        if self.parameters is None or self.optimizer is None:
            self.parameters = self._initialise(batch)
            self.optimizer = self._optimizer(self.parameters)
        parameters = self.parameters
        x = batch / self.scale
        dead = torch.nonzero(self.silent_for >= self.settings.dead_after_tokens).squeeze(1)
        fvu, codes, gradients = loss_and_gradients(parameters, x, self.settings.k, dead, self.settings.auxk_coefficient)
        remove_parallel_(gradients.decoder, parameters.decoder)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        peak = self.settings.learning_rate / math.sqrt(self.n_latents / 2**14)
        for group in self.optimizer.param_groups:
            group["lr"] = peak * schedule((self.steps + 1) / self.total_steps, self.settings)
        self.optimizer.step()
        parameters.decoder.div_(parameters.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12))
        self.silent_for += len(x)
        self.silent_for[codes.indices[codes.values > 0]] = 0
        self.steps += 1
        return fvu

    def finish(self) -> FittedSAE:
        """The trained SAE in the units of the stream: a TopK SAE is scale-equivariant, so only biases change."""
        if self.parameters is None:
            raise ValueError("the stream held no activations")
        encoder, encoder_bias, decoder, bias = (parameter.detach() for parameter in self.parameters)
        scaled = Parameters(encoder, encoder_bias * self.scale, decoder, bias * self.scale)
        return FittedSAE(scaled, self.settings.k)

    def _initialise(self, batch: Tensor) -> Parameters:
        mean = batch.mean(dim=0)
        if self.settings.unit_scale:
            self.scale = (batch - mean).square().mean().sqrt().clamp(min=1e-12)
        draw = torch.randn(self.n_latents, batch.shape[1], generator=self.generator)
        decoder = torch.nn.functional.normalize(draw, dim=1).to(batch.device)
        zeros = torch.zeros(self.n_latents, device=batch.device)
        return Parameters(decoder.clone(), zeros, decoder, mean / self.scale)

    def _optimizer(self, parameters: Parameters) -> torch.optim.Adam:
        return torch.optim.Adam(list(parameters), lr=self.settings.learning_rate, betas=(0.9, 0.999), fused=True)


def schedule(progress: float, settings: Settings) -> float:
    """Learning rate as a share of its peak at `progress` in (0, 1], counted in optimizer steps."""
    if progress < settings.warmup:
        return progress / settings.warmup
    if progress <= settings.decay_from or settings.decay_from == 1:
        return 1.0
    return 1 - (1 - settings.decay_to) * (progress - settings.decay_from) / (1 - settings.decay_from)


def pre_activations(parameters: Parameters, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token latent"]:
    """Encoder outputs before the selection, with the decoder's bias taken off the input."""
    return torch.addmm(parameters.encoder_bias, x - parameters.bias, parameters.encoder.T)


def top_codes(pre: Float[Tensor, "token latent"], k: int) -> Codes:
    """The k largest pre-activations of each token, clipped at 0."""
    values, indices = pre.topk(k, dim=1, sorted=False)
    return Codes(values.clamp(min=0), indices)


def combine(
    values: Float[Tensor, "token k"], indices: Int[Tensor, "token k"], rows: Float[Tensor, "latent d_model"]
) -> Float[Tensor, "token d_model"]:
    """Sum of the chosen rows, weighted; without a (token, k, d_model) intermediate."""
    return torch.nn.functional.embedding_bag(indices, rows, per_sample_weights=values.to(rows.dtype), mode="sum")


def loss_and_gradients(
    parameters: Parameters,
    x: Float[Tensor, "token d_model"],
    k: int,
    dead: Int[Tensor, " dead"],
    auxk_coefficient: float,
) -> tuple[float, Codes, Parameters]:
    """FVU of a batch, its codes, and the gradient of FVU + coefficient * AuxK for every parameter.

    FVU = |x - xhat|^2 / |x - mean(x)|^2 over the batch. AuxK (2406.04093, A.2) reconstructs the residual x - xhat,
    held constant, from the d_model / 2 strongest dead latents; it adds no bias, and its gradient reaches decoder,
    encoder and encoder bias of those latents. Its weight falls in proportion where fewer are dead.
    """
    aux_k = min(x.shape[1] // 2, len(dead)) if auxk_coefficient else 0
    codes, aux = _select(parameters, x, k, dead, aux_k)
    error = combine(*codes, parameters.decoder) + parameters.bias - x
    variance = (x - x.mean(dim=0)).square().sum().clamp(min=1e-30)
    upstream = error * (2 / variance)
    gradients = _backward(parameters, x, codes, upstream)
    gradients.bias.add_(upstream.sum(dim=0))
    if aux_k:
        residual_error = combine(*aux, parameters.decoder) + error
        weight = auxk_coefficient * aux_k / max(x.shape[1] // 2, 1)
        for total, part in zip(
            gradients, _backward(parameters, x, aux, residual_error * (2 * weight / variance)), strict=True
        ):
            total.add_(part)
    return float(error.square().sum() / variance), codes, gradients


def _select(
    parameters: Parameters, x: Float[Tensor, "token d_model"], k: int, dead: Int[Tensor, " dead"], aux_k: int
) -> tuple[Codes, Codes]:
    """The k largest latents of each token and its aux_k largest dead ones, pre-activations a slice at a time."""
    main, aux = [], []
    for part in x.split(max(1, SLICE_ELEMENTS // len(parameters.encoder))):
        pre = pre_activations(parameters, part)
        main.append(top_codes(pre, k))
        values, place = pre[:, dead].topk(aux_k, dim=1, sorted=False)
        aux.append(Codes(values.clamp(min=0), dead[place]))
    return _joined(main), _joined(aux)


def _joined(parts: list[Codes]) -> Codes:
    return Codes(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))


def _backward(parameters: Parameters, x: Tensor, codes: Codes, upstream: Float[Tensor, "token d_model"]) -> Parameters:
    """Gradients through codes and decoder, for an upstream gradient of the reconstruction without its own bias."""
    scores = _dot_rows(codes.indices, parameters.decoder, upstream) * (codes.values > 0)
    centred = x - parameters.bias
    encoder_bias = torch.zeros_like(parameters.encoder_bias).index_add_(0, codes.indices.flatten(), scores.flatten())
    return Parameters(
        scatter_rows(scores, codes.indices, centred, len(encoder_bias)),
        encoder_bias,
        scatter_rows(codes.values, codes.indices, upstream, len(encoder_bias)),
        -(encoder_bias @ parameters.encoder),
    )


def _dot_rows(indices: Tensor, rows: Tensor, x: Tensor) -> Float[Tensor, "token k"]:
    """Product of each token with its chosen rows, in slices that bound the (token, k, d_model) intermediate."""
    size = max(1, SLICE_ELEMENTS // (indices.shape[1] * x.shape[1]))
    pairs = zip(indices.split(size), x.split(size), strict=True)
    return torch.cat([torch.einsum("tkd,td->tk", rows[chosen], part) for chosen, part in pairs])


def scatter_rows(
    weights: Float[Tensor, "token k"], indices: Int[Tensor, "token k"], rows: Float[Tensor, "token d_model"], size: int
) -> Float[Tensor, "latent d_model"]:
    """Row j of the result is the sum over tokens of weight(token, j) * rows[token], summed segment by segment."""
    flat = indices.flatten()
    order = torch.argsort(flat, stable=True)
    starts = torch.bincount(flat, minlength=size).cumsum(0).roll(1)
    starts[0] = 0
    return torch.nn.functional.embedding_bag(
        order // indices.shape[1], rows, starts, per_sample_weights=weights.flatten()[order].to(rows.dtype), mode="sum"
    )


def remove_parallel_(gradient: Float[Tensor, "latent d_model"], decoder: Float[Tensor, "latent d_model"]) -> None:
    """Take out, in place, the part of each row's gradient that would only change its norm."""
    gradient.addcmul_((gradient * decoder).sum(dim=1, keepdim=True), decoder, value=-1)
