"""One optimizer step on CUDA: a dense product in bfloat16, everything after it sparse and in float32."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from . import gradients
from . import triton_kernels as kernels
from .engines import Step, adam_rates, fired
from .gradients import Codes, Parameters
from .triton_kernels import Sparse

PRE_ELEMENTS = 1 << 30
"""Pre-activations that exist at once, 2 GiB of them in bfloat16."""


class Late:
    """Whether anything was true the last time it was asked: what the device has answered while a step went by."""

    def __init__(self) -> None:
        self._answer: Tensor | None = None
        self._given: torch.cuda.Event | None = None

    def any(self, where: Bool[Tensor, " latent"]) -> bool:
        """Of the mask before this one; False at first."""
        if self._given is not None:
            self._given.synchronize()
        known = self._answer is not None and bool(self._answer)
        on_device = where.is_cuda
        self._answer = torch.empty((), dtype=torch.bool, pin_memory=on_device).copy_(where.any(), non_blocking=True)
        if on_device:
            self._given = torch.cuda.Event()
            self._given.record()
        return known


class TritonEngine:
    """Master weights and moments in float32, a copy of the encoder in what latents are nominated in.

    No gradient of a weight's size exists, unless a latent is dead: AuxK, with half the model's width of latents per
    token, is left to torch. No step waits for what it has asked the device; whether a latent is dead is known a step
    late.
    """

    def __init__(self, parameters: Parameters, k: int, auxk_coefficient: float, dtype: torch.dtype) -> None:
        self.parameters = Parameters(*(parameter.contiguous() for parameter in parameters))
        self.k, self.auxk_coefficient, self.dtype = k, auxk_coefficient, dtype
        self.steps = 0
        self._low = self.parameters.encoder.to(dtype)
        self._moments = [(torch.zeros_like(one), torch.zeros_like(one)) for one in self.parameters]
        self._dead = Late()

    def step(self, x: Float[Tensor, "token d_model"], dead: Bool[Tensor, " latent"] | None, rate: float) -> Step:
        # Triton launches on the current device, whichever its arguments are on.
        with torch.cuda.device_of(x):
            return self._step(x, dead, rate)

    def _step(self, x: Float[Tensor, "token d_model"], dead: Bool[Tensor, " latent"] | None, rate: float) -> Step:
        if dead is not None and self.auxk_coefficient and self._dead.any(dead):
            fvu, codes, found = gradients.objective(self.parameters, x, self.k, dead, self.auxk_coefficient, self.dtype)
            self._update(found.encoder, found.decoder, found.encoder_bias, found.bias, rate)
            return Step(fvu, fired(codes, len(found.encoder)))
        encoder, _, decoder, bias = self.parameters
        centred = x - bias
        variance = (x - x.mean(dim=0)).square().sum().clamp(min=1e-30)
        values, indices = self._active(centred)
        upstream, scores, squares = kernels.forward(centred, decoder, indices, values, 2 / variance)
        order, starts = kernels.by_latent(indices, len(encoder))
        to_encoder_bias = kernels.sums(scores, order, starts)
        to_bias = upstream.sum(dim=0) - to_encoder_bias @ encoder
        to_encoder, to_decoder = Sparse(scores, centred, order, starts), Sparse(values, upstream, order, starts)
        self._update(to_encoder, to_decoder, to_encoder_bias, to_bias, rate)
        return Step(squares.sum() / variance, starts[1:] > starts[:-1])

    def _active(self, centred: Float[Tensor, "token d_model"]) -> Codes:
        """The k active latents of each token: nominated in low precision, chosen and valued in float32."""
        encoder, bias = self.parameters.encoder, self.parameters.encoder_bias
        count, low_bias = gradients.nominees(self.k, self.dtype, len(encoder)), bias.to(self.dtype)
        parts = centred.to(self.dtype).split(max(1, PRE_ELEMENTS // len(encoder)))
        nominees = torch.cat([kernels.strongest(torch.addmm(low_bias, part, self._low.T), count) for part in parts])
        return kernels.best(nominees, kernels.exact_values(nominees, encoder, bias, centred), self.k)

    def _update(
        self,
        to_encoder: Sparse | Tensor,
        to_decoder: Sparse | Tensor,
        to_encoder_bias: Float[Tensor, " latent"],
        to_bias: Float[Tensor, " d_model"],
        rate: float,
    ) -> None:
        self.steps += 1
        weights, rates = self.parameters, adam_rates(rate, self.steps)
        of_encoder, of_encoder_bias, of_decoder, of_bias = self._moments
        kernels.update(weights.encoder, to_encoder, of_encoder, rates, unit=False, low=self._low)
        kernels.update(weights.decoder, to_decoder, of_decoder, rates, unit=True, low=None)
        kernels.adam(weights.encoder_bias, to_encoder_bias, of_encoder_bias, rates)
        kernels.adam(weights.bias, to_bias, of_bias, rates)
