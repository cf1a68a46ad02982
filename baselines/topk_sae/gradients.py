"""The mathematics of a TopK SAE with hand-written sparse gradients, in torch: what every engine must agree with.

Gao et al., "Scaling and evaluating sparse autoencoders" (arXiv 2406.04093): the k largest pre-activations per token,
a unit-norm decoder, and AuxK, an auxiliary loss through latents that have stopped firing. The decoder and both backward
passes touch the k active latents of a token; no dense (token, latent) gradient exists. Nothing here waits for a device.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

SLICE_ELEMENTS = 1 << 26


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


class Objective(NamedTuple):
    """FVU of a batch, its codes, and the gradient of FVU + coefficient * AuxK for every parameter."""

    fvu: Float[Tensor, ""]
    codes: Codes
    gradients: Parameters


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


def objective(
    parameters: Parameters,
    x: Float[Tensor, "token d_model"],
    k: int,
    dead: Bool[Tensor, " latent"] | None,
    auxk_coefficient: float,
    dtype: torch.dtype = torch.float32,
) -> Objective:
    """FVU = |x - xhat|^2 / |x - mean(x)|^2 over the batch, with AuxK and all gradients.

    AuxK (2406.04093, A.2) reconstructs the residual x - xhat, held constant, from the d_model / 2 strongest dead
    latents; it adds no bias, and its gradient reaches decoder, encoder and encoder bias of those latents. Its weight
    falls in proportion where fewer are dead. `dtype` is what latents are nominated in; the active ones are chosen among
    the nominees, and valued, in float32.
    """
    n_latents, half = len(parameters.encoder), max(x.shape[1] // 2, 1)
    aux_k = 0 if dead is None or not auxk_coefficient else min(x.shape[1] // 2, n_latents)
    codes, aux = _select(parameters, x, k, dead, aux_k, dtype)
    error = combine(*codes, parameters.decoder) + parameters.bias - x
    variance = (x - x.mean(dim=0)).square().sum().clamp(min=1e-30)
    upstream = error * (2 / variance)
    gradients = _backward(parameters, x, codes, upstream)
    gradients.bias.add_(upstream.sum(dim=0))
    if dead is not None and aux_k:
        residual_error = combine(*aux, parameters.decoder) + error
        weight = auxk_coefficient * dead.sum().clamp(max=aux_k) / half
        for total, part in zip(
            gradients, _backward(parameters, x, aux, residual_error * (2 * weight / variance)), strict=True
        ):
            total.add_(part)
    return Objective(error.square().sum() / variance, codes, gradients)


def nominees(k: int, dtype: torch.dtype, n_latents: int) -> int:
    """How many latents to nominate so that the k largest are among them: a quarter and four more in low precision."""
    return k if dtype == torch.float32 else min(k + k // 4 + 4, n_latents)


def remove_parallel_(gradient: Float[Tensor, "latent d_model"], decoder: Float[Tensor, "latent d_model"]) -> None:
    """Take out, in place, the part of each row's gradient that would only change its norm."""
    gradient.addcmul_((gradient * decoder).sum(dim=1, keepdim=True), decoder, value=-1)


def _select(
    parameters: Parameters,
    x: Float[Tensor, "token d_model"],
    k: int,
    dead: Bool[Tensor, " latent"] | None,
    aux_k: int,
    dtype: torch.dtype,
) -> tuple[Codes, Codes]:
    """The k largest latents of each token and its aux_k largest dead ones, pre-activations a slice at a time."""
    main, aux = [], []
    low = Parameters(*(parameter.to(dtype) for parameter in parameters))
    for part in x.split(max(1, SLICE_ELEMENTS // len(parameters.encoder))):
        pre = torch.addmm(low.encoder_bias, (part - parameters.bias).to(dtype), low.encoder.T)
        main.append(top_codes(pre, nominees(k, dtype, len(low.encoder))))
        if dead is not None and aux_k:
            aux.append(top_codes(pre.masked_fill_(~dead, -torch.inf), aux_k))
    return _exact(parameters, x, joined(main), k), _exact(parameters, x, joined(aux), aux_k) if aux else NO_CODES


def _exact(parameters: Parameters, x: Float[Tensor, "token d_model"], codes: Codes, k: int) -> Codes:
    """The k largest of some codes by their float32 values; a latent that was not active stays silent."""
    if codes.values.dtype == torch.float32:
        return codes
    values = _dot_rows(codes.indices, parameters.encoder, x - parameters.bias) + parameters.encoder_bias[codes.indices]
    best, place = top_codes(values.masked_fill_(codes.values <= 0, 0), k)
    return Codes(best, codes.indices.gather(1, place))


def joined(parts: Sequence[Codes]) -> Codes:
    """Codes of consecutive tokens, together."""
    return Codes(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))


def _backward(parameters: Parameters, x: Tensor, codes: Codes, upstream: Float[Tensor, "token d_model"]) -> Parameters:
    """Gradients through codes and decoder, for an upstream gradient of the reconstruction without its own bias."""
    scores = _dot_rows(codes.indices, parameters.decoder, upstream) * (codes.values > 0)
    centred = x - parameters.bias
    encoder_bias = torch.zeros_like(parameters.encoder_bias).index_add_(0, codes.indices.flatten(), scores.flatten())
    return Parameters(
        _scatter_rows(scores, codes.indices, centred, len(encoder_bias)),
        encoder_bias,
        _scatter_rows(codes.values, codes.indices, upstream, len(encoder_bias)),
        -(encoder_bias @ parameters.encoder),
    )


def _dot_rows(indices: Tensor, rows: Tensor, x: Tensor) -> Float[Tensor, "token k"]:
    """Product of each token with its chosen rows, in slices that bound the (token, k, d_model) intermediate."""
    size = max(1, SLICE_ELEMENTS // (indices.shape[1] * x.shape[1]))
    pairs = zip(indices.split(size), x.split(size), strict=True)
    return torch.cat([torch.einsum("tkd,td->tk", rows[chosen], part) for chosen, part in pairs])


def _scatter_rows(
    weights: Float[Tensor, "token k"], indices: Int[Tensor, "token k"], rows: Float[Tensor, "token d_model"], size: int
) -> Float[Tensor, "latent d_model"]:
    """Row j of the result is the sum over tokens of weight(token, j) * rows[token], summed segment by segment."""
    latents, order = indices.flatten().sort(stable=True)
    starts = torch.searchsorted(latents, torch.arange(size, device=latents.device))
    return torch.nn.functional.embedding_bag(
        order // indices.shape[1], rows, starts, per_sample_weights=weights.flatten()[order].to(rows.dtype), mode="sum"
    )


NO_CODES = Codes(torch.zeros(0, 0), torch.zeros(0, 0, dtype=torch.long))
