"""One optimizer step on one batch, which minimises FVU + coefficient * AuxK: fused kernels on a CPU and on CUDA, torch
elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from subprocess import CalledProcessError
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor

from . import gradients, kernels
from .gradients import Codes, Parameters
from .kernels import Backward, Floats, Found, Rates, Rows

BETAS, EPSILON = (0.9, 0.999), 1e-8
CHUNK_ELEMENTS, FEWEST_ROWS = 1 << 22, 256
BITS = {torch.bfloat16: torch.int16, torch.float32: torch.int32}


class Step(NamedTuple):
    """FVU of the batch before the step, and which latents fired on it."""

    fvu: Float[Tensor, ""]
    fired: Bool[Tensor, " latent"]


@runtime_checkable
class Engine(Protocol):
    """Parameters and the state of their optimizer."""

    parameters: Parameters

    def step(self, x: Float[Tensor, "token d_model"], dead: Bool[Tensor, " latent"] | None, rate: float) -> Step:
        """One step of Adam at a learning rate; `dead` latents are offered what is left over (AuxK)."""
        ...


def engine(parameters: Parameters, k: int, auxk_coefficient: float) -> Engine:
    """The engine for the device that the parameters are on."""
    return engine_for(parameters.bias.device)(parameters, k, auxk_coefficient, selection_dtype(parameters.bias))


@cache
def engine_for(device: torch.device) -> Callable[[Parameters, int, float, torch.dtype], Engine]:
    """Which engine: torch's own on an accelerator where Triton is not there or cannot compile."""
    if device.type == "cuda":
        # Without a C compiler Triton imports, and fails at its first kernel: a step of nothing much is tried.
        with suppress(ImportError, OSError, RuntimeError, CalledProcessError):
            from .cuda import TritonEngine  # noqa: PLC0415

            one = torch.eye(16, device=device)
            TritonEngine(Parameters(one, one[0], one.clone(), one[1]), 1, 0.0, torch.float32).step(one, None, 0.0)
            return TritonEngine
    return FusedEngine if device.type == "cpu" else TorchEngine


def adam_rates(rate: float, steps: int) -> tuple[float, float, float, float, float]:
    """Adam's step size, both betas, 1 / sqrt of the second moment's correction, and epsilon, at the `steps`-th step."""
    first, second = (1 - beta**steps for beta in BETAS)
    return rate / first, *BETAS, 1 / math.sqrt(second), EPSILON


def fired(codes: Codes, n_latents: int) -> Bool[Tensor, " latent"]:
    """Latents that are active anywhere, without a wait for the device."""
    active = torch.zeros(n_latents, device=codes.values.device)
    active.index_add_(0, codes.indices.flatten(), (codes.values > 0).flatten().float())
    return active > 0


def selection_dtype(like: Tensor) -> torch.dtype:
    """What latents are nominated in: bfloat16 where the device of `like` multiplies it natively."""
    if like.device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def encode(parameters: Parameters, x: Float[Tensor, "token d_model"], k: int) -> Codes:
    """Codes in float32, pre-activations a slice of tokens at a time; a latent that is not active has value 0."""
    if x.device.type != "cpu":
        size = max(1, gradients.SLICE_ELEMENTS // len(parameters.encoder))
        return gradients.joined(
            [gradients.top_codes(gradients.pre_activations(parameters, part), k) for part in x.split(size)]
        )
    kernels.use_threads(torch.get_num_threads())
    indices, values = np.zeros((len(x), k), np.int32), []
    for rows, pre in _slices(parameters.encoder, parameters.encoder_bias, x - parameters.bias):
        kernels.select(pre.view(BITS[pre.dtype]).numpy(), indices[rows])
        chosen = torch.from_numpy(indices[rows]).long()
        values.append(pre.gather(1, chosen.clamp(min=0)) * (chosen >= 0))
    none = torch.zeros(0, k)
    return Codes(torch.cat([none, *values]), torch.from_numpy(indices).long().clamp_(min=0))


class TorchEngine:
    """Sparse gradients and Adam as torch has them, without a wait for the device within a step."""

    def __init__(self, parameters: Parameters, k: int, auxk_coefficient: float, dtype: torch.dtype) -> None:
        self.parameters, self.k, self.auxk_coefficient, self.dtype = parameters, k, auxk_coefficient, dtype
        self.optimizer = torch.optim.Adam(list(parameters), betas=BETAS, eps=EPSILON, fused=True)

    def step(self, x: Float[Tensor, "token d_model"], dead: Bool[Tensor, " latent"] | None, rate: float) -> Step:
        parameters = self.parameters
        fvu, codes, found = gradients.objective(parameters, x, self.k, dead, self.auxk_coefficient, self.dtype)
        gradients.remove_parallel_(found.decoder, parameters.decoder)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        parameters.decoder.div_(parameters.decoder.norm(dim=1, keepdim=True).clamp(min=1e-12))
        return Step(fvu, fired(codes, len(parameters.encoder)))


class FusedEngine:
    """The same step in float32 on a CPU, a token's and a latent's work at once.

    Latents that are nominated in bfloat16 are chosen among in float32.
    """

    def __init__(self, parameters: Parameters, k: int, auxk_coefficient: float, dtype: torch.dtype) -> None:
        self.parameters = Parameters(*(parameter.contiguous() for parameter in parameters))
        self.k, self.auxk_coefficient, self.dtype = k, auxk_coefficient, dtype
        self.steps = 0
        self._moments = [Parameters(*map(torch.zeros_like, self.parameters)) for _ in BETAS]
        self._rows, *self._moment_rows = map(_rows, (self.parameters, *self._moments))

    def step(self, x: Float[Tensor, "token d_model"], dead: Bool[Tensor, " latent"] | None, rate: float) -> Step:
        kernels.use_threads(torch.get_num_threads())
        variance, centred = _variance(x), x - self.parameters.bias
        half, silent = max(x.shape[1] // 2, 1), _places(dead)
        aux_k = min(x.shape[1] // 2, len(silent)) if self.auxk_coefficient else 0
        upstream = np.empty((1 + bool(aux_k), *x.shape), np.float32)
        own = centred.numpy()
        main, error = self._forward(own, own, self._nominees(centred), self.k, 2 / variance, upstream[0])
        found = [main]
        if aux_k:
            residual = upstream[0] * np.float32(-variance / 2)
            scale = 2 * self.auxk_coefficient * aux_k / half / variance
            offered = self._strongest(centred, silent, aux_k)
            aux, _ = self._forward(own, residual, offered, aux_k, scale, upstream[1])
            found.append(aux)
        self._update(own, upstream, found, rate)
        active = torch.zeros(len(self.parameters.encoder_bias), dtype=torch.bool)
        active[torch.from_numpy(main.indices[main.indices >= 0]).long()] = True
        return Step(torch.tensor(error / variance), active)

    def _nominees(self, centred: Float[Tensor, "token d_model"]) -> NDArray[np.int32]:
        """Candidates [token, c]: the largest positive pre-activations, `NONE` where there are fewer."""
        offered = gradients.nominees(self.k, self.dtype, len(self.parameters.encoder))
        found = np.empty((len(centred), offered), np.int32)
        low = [part.to(self.dtype) for part in (self.parameters.encoder, self.parameters.encoder_bias, centred)]
        for rows, pre in _slices(*low):
            kernels.select(pre.view(BITS[pre.dtype]).numpy(), found[rows])
        return found

    def _strongest(self, centred: Tensor, silent: Int[Tensor, " dead"], aux_k: int) -> NDArray[np.int32]:
        """The aux_k largest of the silent latents of each token [token, aux_k]."""
        encoder, bias = self.parameters.encoder[silent], self.parameters.encoder_bias[silent]
        found = [silent[pre.topk(aux_k, dim=1, sorted=False).indices] for _, pre in _slices(encoder, bias, centred)]
        strongest: NDArray[np.int32] = torch.cat(found).int().numpy()
        return strongest

    def _forward(
        self, x: Floats, target: Floats, candidates: NDArray[np.int32], k: int, scale: float, upstream: Floats
    ) -> tuple[Found, float]:
        """What is active of the candidates, and the squared error of what it reconstructs; writes `upstream`."""
        shape = (len(x), min(k, candidates.shape[1]))
        chosen = np.empty(shape, np.int32), np.empty(shape, np.float32), np.empty(shape, np.float32)
        found = Found(*chosen, upstream)
        squares = kernels.forward(x, target, self._rows, candidates, scale, found)
        return found, float(squares.sum())

    def _update(self, x: Floats, upstream: Floats, found: list[Found], rate: float) -> None:
        self.steps += 1
        indices, values, scores = (np.hstack(some) for some in zip(*(part[:3] for part in found), strict=True))
        starts, entries = np.empty(len(self._rows.encoder) + 1, np.int64), np.empty(indices.size, np.int64)
        kernels.by_latent(indices, starts, entries)
        rates = Rates(*map(np.float32, adam_rates(rate, self.steps)))
        to_bias = np.empty((kernels.BLOCKS, x.shape[1]))
        back = Backward(x, upstream, values, scores, found[0].indices.shape[1], starts, entries)
        kernels.update(back, self._rows, *self._moment_rows, rates, to_bias)
        gradient = (_column_sums(upstream[0])[0] - to_bias.sum(axis=0)).astype(np.float32)
        bias, *moments = (part.bias.numpy() for part in (self.parameters, *self._moments))
        kernels.adam(bias, gradient, *moments, rates)


def _slices(encoder: Tensor, bias: Tensor, centred: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Pre-activations [token, latent], a slice of tokens at a time in a buffer that stays in the processor's cache."""
    size = min(len(centred), max(FEWEST_ROWS, CHUNK_ELEMENTS // len(bias)))
    buffer = torch.empty(size, len(bias), dtype=centred.dtype)
    for start in range(0, len(centred), max(size, 1)):
        part = centred[start : start + size]
        yield slice(start, start + len(part)), torch.addmm(bias, part, encoder.T, out=buffer[: len(part)])


def _places(dead: Bool[Tensor, " latent"] | None) -> Int[Tensor, " dead"]:
    return torch.zeros(0, dtype=torch.long) if dead is None else torch.nonzero(dead).squeeze(1)


def _rows(parameters: Parameters) -> Rows:
    """The same memory, as the kernels see it."""
    return Rows(*(parameter.numpy() for parameter in parameters[:3]))


def _column_sums(x: Floats) -> tuple[NDArray[np.float64], float]:
    total, squares = np.empty((kernels.BLOCKS, x.shape[1])), np.empty(kernels.BLOCKS)
    kernels.sums(x, total, squares)
    return total.sum(axis=0), float(squares.sum())


def _variance(x: Float[Tensor, "token d_model"]) -> float:
    """Sum of squared distances from the batch's mean."""
    total, square = _column_sums(x.contiguous().numpy())
    return max(square - float(total @ total) / len(x), 1e-30)
