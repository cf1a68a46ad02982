"""What a step on CUDA does beside its dense product, as Triton kernels: a token's or a latent's work at once.

Sums run in a fixed order and nothing is added atomically, so that a step gives the same bits each time. Shapes are
known without asking the device: nothing here waits for it.
"""

from __future__ import annotations

import math
from typing import NamedTuple, TypeAlias

import torch
import triton
import triton.language as tl
from torch import Tensor

from .gradients import Codes

NONE = -1
"""In the place of a latent where a token has fewer active ones."""
MOST_AT_ONCE, TILE_ELEMENTS = 1 << 13, 1 << 13
GROUPS_AT_ONCE = 128

Rates: TypeAlias = tuple[float, float, float, float, float]
"""As `engines.adam_rates` gives them."""
Moments: TypeAlias = tuple[Tensor, Tensor]


class Sparse(NamedTuple):
    """A weight's gradient: row j is the sum of weights[entry] * rows[token of entry] over the entries of latent j."""

    weights: Tensor
    rows: Tensor
    order: Tensor
    starts: Tensor


def strongest(pre: Tensor, count: int) -> Tensor:
    """Ids of each row's `count` largest positive entries [token, count], int32, in any order, `NONE` where there are
    fewer.

    The largest are looked for in the `count` groups of the largest maxima: no other group can hold one of them.
    """
    tokens, latents = pre.shape
    size = 1 << int(math.log2(max(latents / count, 1)) / 2)
    while latents % size:
        size //= 2
    if max(latents // size, count * size) > MOST_AT_ONCE:
        values, found = pre.topk(count, dim=1, sorted=False)
        return torch.where(values > 0, found, NONE).int()
    if size == 1:
        return _chosen(pre, count)
    maxima = torch.empty(tokens, latents // size, dtype=pre.dtype, device=pre.device)
    _maxima[(triton.cdiv(maxima.numel(), GROUPS_AT_ONCE),)](pre, maxima, maxima.numel(), size, GROUPS_AT_ONCE)
    return _chosen(pre, count, _chosen(maxima, count, keep_silent=True), size)


def _chosen(
    values: Tensor, count: int, groups: Tensor | None = None, size: int = 1, keep_silent: bool = False
) -> Tensor:
    """The `count` largest of each row, or of those entries of it that lie in some `groups` of `size`."""
    tokens, width = values.shape
    offered = width if groups is None else groups.shape[1] * size
    found = torch.empty(tokens, count, dtype=torch.int32, device=values.device)
    padded = triton.next_power_of_2(offered)
    bits = 8 * values.element_size()
    inside = values if groups is None else groups
    _choose[(tokens,)](
        values, inside, found, width, offered, count, size, groups is not None, keep_silent, bits, padded,
        num_warps=min(max(padded // 512, 1), 8),
    )  # fmt: skip
    return found


def exact_values(nominees: Tensor, encoder: Tensor, bias: Tensor, centred: Tensor) -> Tensor:
    """Pre-activations in float32 of each token's nominees [token, nominee]; 0 for `NONE`."""
    found = torch.empty(nominees.shape, dtype=torch.float32, device=centred.device)
    _dots[(len(centred),)](
        centred, encoder, bias, nominees, found, centred.shape[1], nominees.shape[1], *_tile(centred.shape[1], 4)
    )
    return found


def best(nominees: Tensor, values: Tensor, count: int) -> Codes:
    """The `count` largest of the nominees [token, count]; ids are int32, `NONE` with value 0 for a silent one."""
    if values.shape[1] == count:
        return Codes(values.clamp(min=0), torch.where(values > 0, nominees, NONE))
    place = _chosen(values, count).long()
    silent, place = place < 0, place.clamp(min=0)
    return Codes(values.gather(1, place).masked_fill(silent, 0), nominees.gather(1, place).masked_fill(silent, NONE))


def forward(
    centred: Tensor, decoder: Tensor, indices: Tensor, values: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """The upstream gradient `scale * error` [token, d_model], its product with each active latent's decoder row
    [token, k], and each token's squared error [token]."""
    upstream, scores = torch.empty_like(centred), torch.empty_like(values)
    squares = torch.empty(len(centred), device=centred.device)
    _forward[(len(centred),)](
        centred, decoder, indices, values, scale, upstream, scores, squares, centred.shape[1], indices.shape[1],
        *_tile(centred.shape[1], 4),
    )  # fmt: skip
    return upstream, scores, squares


def by_latent(indices: Tensor, latents: int) -> tuple[Tensor, Tensor]:
    """Entries of the codes in the order of their latents, tokens rising, and where each latent's begin [latent + 1]."""
    ids, order = indices.flatten().sort(stable=True)
    starts = torch.searchsorted(ids, torch.arange(latents + 1, dtype=torch.int32, device=ids.device), out_int32=True)
    return order.int(), starts


def sums(scores: Tensor, order: Tensor, starts: Tensor) -> Tensor:
    """Each latent's scores, summed [latent]."""
    found = torch.empty(len(starts) - 1, device=scores.device)
    _sums[(len(found),)](scores, order, starts, found, 64, num_warps=1)
    return found


def update(
    rows: Tensor, gradient: Sparse | Tensor, moments: Moments, rates: Rates, *, unit: bool, low: Tensor | None
) -> None:
    """Adam on the rows [latent, d_model] of a weight, in place, and a copy of them in `low` precision.

    `unit` rows lose the part of the gradient that is parallel to them, and keep length 1.
    """
    dense = isinstance(gradient, Tensor)
    weights, tokens, order, starts = (gradient,) * 4 if isinstance(gradient, Tensor) else gradient
    per_token = 1 if dense else weights.shape[1]
    width = rows.shape[1]
    _update[(len(rows),)](
        rows, *moments, rows if low is None else low, weights, tokens, order, starts, *rates, per_token, width,
        *_tile(width, 4), dense, unit, low is not None,
    )  # fmt: skip


def adam(parameter: Tensor, gradient: Tensor, moments: Moments, rates: Rates) -> None:
    """Adam on a vector, in place."""
    rate, first, second, correction, epsilon = rates
    mean, square = moments
    mean.lerp_(gradient, 1 - first)
    square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
    parameter.addcdiv_(mean, square.sqrt().mul_(correction).add_(epsilon), value=-rate)


def _tile(width: int, most: int) -> tuple[int, int]:
    """Rows read at once and the padded width of one."""
    padded = triton.next_power_of_2(width)
    return max(min(most, TILE_ELEMENTS // padded), 1), padded


@triton.jit
def _maxima(values, found, groups, SIZE: tl.constexpr, AT_ONCE: tl.constexpr):
    group = tl.program_id(0).to(tl.int64) * AT_ONCE + tl.arange(0, AT_ONCE)
    place = group[:, None] * SIZE + tl.arange(0, SIZE)[None, :]
    value = tl.load(values + place, mask=(group < groups)[:, None], other=0.0).to(tl.float32)
    tl.store(found + group, tl.max(value, axis=1).to(found.dtype.element_ty), mask=group < groups)


@triton.jit
def _choose(
    values, groups, found, width, offered, count, SIZE: tl.constexpr,
    GROUPED: tl.constexpr, KEEP_SILENT: tl.constexpr, BITS: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, PADDED)
    here = place < offered
    column = place
    if GROUPED:
        column = tl.load(groups + row * (offered // SIZE) + place // SIZE, mask=here, other=0) * SIZE + place % SIZE
    value = tl.load(values + row * width + column, mask=here, other=0.0)
    value = tl.where(value > 0, value, 0.0).to(values.dtype.element_ty)
    # Bits of floats that are not negative sort as the floats do: the bound is found one bit at a time from the top.
    if BITS == 16:
        key = value.to(tl.int16, bitcast=True).to(tl.int32)
    else:
        key = value.to(tl.int32, bitcast=True)
    key = tl.where(here, key, -1)
    bound = 0
    for step in tl.static_range(BITS - 1):
        higher = bound | (1 << (BITS - 2 - step))
        bound = tl.where(tl.sum((key >= higher).to(tl.int32), axis=0) >= count, higher, bound)
    above, level = (key > bound).to(tl.int32), (key == bound).to(tl.int32)
    # Of those at the bound, the first ones fill what is left.
    taken = above + level * (tl.cumsum(level, axis=0) <= count - tl.sum(above, axis=0)).to(tl.int32)
    at = tl.cumsum(taken, axis=0) - 1
    if not KEEP_SILENT:
        column = tl.where(key > 0, column, -1)
    tl.store(found + row * count + at, column, mask=taken > 0)


@triton.jit
def _dots(
    x, rows, bias, chosen, found, width,
    COUNT: tl.constexpr, AT_ONCE: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, PADDED)
    own = tl.load(x + token * width + column, mask=column < width, other=0.0)
    for first in range(0, COUNT, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        latent = tl.load(chosen + token * COUNT + entry, mask=entry < COUNT, other=-1).to(tl.int64)
        there = latent >= 0
        row = tl.load(
            rows + latent[:, None] * width + column[None, :], mask=there[:, None] & (column < width)[None, :], other=0.0
        )
        value = tl.sum(row * own[None, :], axis=1) + tl.load(bias + latent, mask=there, other=0.0)
        tl.store(found + token * COUNT + entry, value, mask=entry < COUNT)


@triton.jit
def _forward(
    x, rows, chosen, values, scale, upstream, scores, squares,
    width, COUNT: tl.constexpr, AT_ONCE: tl.constexpr, PADDED: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, PADDED)
    error = -tl.load(x + token * width + column, mask=column < width, other=0.0)
    for first in range(0, COUNT, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        latent = tl.load(chosen + token * COUNT + entry, mask=entry < COUNT, other=-1).to(tl.int64)
        value = tl.load(values + token * COUNT + entry, mask=entry < COUNT, other=0.0)
        there = (latent >= 0)[:, None] & (column < width)[None, :]
        row = tl.load(rows + latent[:, None] * width + column[None, :], mask=there, other=0.0)
        error += tl.sum(row * value[:, None], axis=0)
    tl.store(squares + token, tl.sum(error * error, axis=0))
    error = error * tl.load(scale)
    tl.store(upstream + token * width + column, error, mask=column < width)
    for first in range(0, COUNT, AT_ONCE):
        entry = first + tl.arange(0, AT_ONCE)
        latent = tl.load(chosen + token * COUNT + entry, mask=entry < COUNT, other=-1).to(tl.int64)
        there = (latent >= 0)[:, None] & (column < width)[None, :]
        row = tl.load(rows + latent[:, None] * width + column[None, :], mask=there, other=0.0)
        tl.store(scores + token * COUNT + entry, tl.sum(row * error[None, :], axis=1), mask=entry < COUNT)


@triton.jit
def _sums(weights, order, starts, found, AT_ONCE: tl.constexpr):
    latent = tl.program_id(0)
    first, last = tl.load(starts + latent), tl.load(starts + latent + 1)
    total = tl.zeros([AT_ONCE], tl.float32)
    for at in range(first, last, AT_ONCE):
        entry = at + tl.arange(0, AT_ONCE)
        place = tl.load(order + entry, mask=entry < last, other=0)
        total += tl.load(weights + place, mask=entry < last, other=0.0)
    tl.store(found + latent, tl.sum(total, axis=0))


@triton.jit
def _update(
    rows, means, squares, low, weights, tokens, order, starts,
    rate, first, second, correction, epsilon, per_token, width,
    AT_ONCE: tl.constexpr, PADDED: tl.constexpr,
    DENSE: tl.constexpr, UNIT: tl.constexpr, LOW: tl.constexpr,
):  # fmt: skip
    latent = tl.program_id(0)
    column = tl.arange(0, PADDED)
    inside = column < width
    here = latent.to(tl.int64) * width + column
    row = tl.load(rows + here, mask=inside, other=0.0)
    if DENSE:
        gradient = tl.load(weights + here, mask=inside, other=0.0)
    else:
        gradient = tl.zeros([PADDED], tl.float32)
        begin, end = tl.load(starts + latent), tl.load(starts + latent + 1)
        for at in range(begin, end, AT_ONCE):
            entry = at + tl.arange(0, AT_ONCE)
            place = tl.load(order + entry, mask=entry < end, other=0)
            weight = tl.load(weights + place, mask=entry < end, other=0.0)
            token = (place // per_token).to(tl.int64)
            there = (entry < end)[:, None] & inside[None, :]
            read = tl.load(tokens + token[:, None] * width + column[None, :], mask=there, other=0.0)
            gradient += tl.sum(read * weight[:, None], axis=0)
    if UNIT:
        gradient -= tl.sum(gradient * row, axis=0) * row
    mean = tl.load(means + here, mask=inside, other=0.0)
    mean += (1 - first) * (gradient - mean)
    square = tl.load(squares + here, mask=inside, other=0.0) * second + (1 - second) * gradient * gradient
    tl.store(means + here, mean, mask=inside)
    tl.store(squares + here, square, mask=inside)
    row -= rate * mean / (tl.sqrt(square) * correction + epsilon)
    if UNIT:
        row = row / tl.maximum(tl.sqrt(tl.sum(row * row, axis=0)), 1e-12)
    tl.store(rows + here, row, mask=inside)
    if LOW:
        tl.store(low + here, row.to(low.dtype.element_ty), mask=inside)
