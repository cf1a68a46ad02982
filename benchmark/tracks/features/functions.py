"""Encode and decode are functions of what they are given, and asked so that nothing else helps: activations in one
drawn order over all blocks and splits, some of them twice, and codes that encode never gave before it has given any.
What answers otherwise fails the cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from benchmark.api import Latents
from benchmark.execution.contract import MethodError
from benchmark.tracks.features.featurizer import LINEARITY, ScoredFeaturizer, bias_of, csr, directions_of

ROWS_AT_ONCE = 1 << 16
TWICE, PROBED, MIXED = 256, 256, 64
SAME, CLOSE = 0.999, 1e-4
"""Least share of active latents that two answers have in common; how far their values may lie apart, relative to the
largest.
"""


class Probed(NamedTuple):
    """Codes that a decoder was asked for before the first encode, its answers, and whether these add up."""

    codes: Latents
    x: Float[Tensor, "probe d_model"]
    linear: bool


def encoded(
    featurizer: ScoredFeaturizer, parts: Sequence[Float[Tensor, "_ d_model"]], rng: np.random.Generator
) -> list[Latents]:
    """Latents of several sets of activations.

    Raises:
        MethodError: tokens that were asked for twice got other codes.
    """
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    order = torch.from_numpy(rng.permutation(starts[-1]))
    batches = order.split(ROWS_AT_ONCE)
    answers = [featurizer.encode(_rows(parts, starts, batch)) for batch in batches]
    k = max((one.values.shape[1] for one in answers), default=1)
    whole = Latents(torch.zeros(len(order), k), torch.zeros(len(order), k, dtype=torch.int32))
    for batch, answer in zip(batches, answers, strict=True):
        for kept, given in zip(whole, answer, strict=True):
            kept[batch, : given.shape[1]] = given.to(kept.dtype)
    del answers
    again = torch.from_numpy(rng.permutation(len(order))[:TWICE])
    codes = csr(Latents(*(part[again] for part in whole)), featurizer.n_latents)
    if offence := unlike(codes, csr(featurizer.encode(_rows(parts, starts, again)), featurizer.n_latents)):
        raise MethodError(
            f"encode gave {len(again)} tokens other codes when it was asked again, among others and in another order: "
            f"{offence}; a token's code must follow from the token alone"
        )
    spans = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
    return [Latents(*(part[start:end] for part in whole)) for start, end in spans]


def probed(featurizer: ScoredFeaturizer, rng: np.random.Generator) -> Probed | None:
    """What a decoder says before it can have seen codes of activations; None where there is none."""
    if not featurizer.decodes:
        return None
    ids = rng.permutation(featurizer.n_latents)[:PROBED]
    mixed = ids[rng.integers(len(ids), size=(MIXED, 2))]
    weights = rng.uniform(0.5, 2.0, size=mixed.shape).astype(np.float32)
    weights[mixed[:, 0] == mixed[:, 1], 1] = 0
    values = np.zeros((len(ids) + MIXED, 2), np.float32)
    indices = np.zeros((len(ids) + MIXED, 2), np.int64)
    values[: len(ids), 0], indices[: len(ids), 0] = 1, ids
    values[len(ids) :], indices[len(ids) :] = weights, mixed
    codes = Latents(torch.from_numpy(values), torch.from_numpy(indices))
    x, bias = featurizer.decode(codes), bias_of(featurizer)
    place = np.zeros(featurizer.n_latents, np.int64)
    place[ids] = np.arange(len(ids))
    vectors = (x[: len(ids)] - bias)[torch.from_numpy(place[mixed])]
    expected = (torch.from_numpy(weights)[:, :, None] * vectors).sum(dim=1)
    return Probed(codes, x, _apart(x[len(ids) :] - bias, expected) <= LINEARITY)


def decoded(
    featurizer: ScoredFeaturizer, before: Probed | None, answer: Latents, codes: sparse.csr_array
) -> Float[Tensor, "token d_model"]:
    """Reconstructions of what encode answered.

    Raises:
        MethodError: decode is not what it was before the first encode, or adds up what latents write for other codes
            and not for these.
    """
    x = featurizer.decode(answer)
    if before is None:
        return x
    if (off := _apart(featurizer.decode(before.codes), before.x)) > CLOSE:
        raise MethodError(
            f"decode answers otherwise than before the first encode, by {off:.2g}: it must follow from the codes alone"
        )
    if before.linear and len(x):
        active: NDArray[np.int64] = np.unique(codes.indices).astype(np.int64)
        vectors = directions_of(featurizer, active).numpy() if len(active) else np.zeros((0, x.shape[1]), np.float32)
        added = torch.from_numpy(codes[:, active].astype(np.float32) @ vectors)
        if (off := _apart(x - bias_of(featurizer), added)) > LINEARITY:
            raise MethodError(
                "decode adds up what latents write for codes that encode never gave, and for those that it gave is off "
                f"by {off:.2g}: it must follow from the codes alone"
            )
    return x


def unlike(first: sparse.csr_array, second: sparse.csr_array) -> str | None:
    """How two codes of the same tokens differ; None where it is rounding."""
    both = (first > 0).multiply(second > 0).nnz
    either = first.nnz + second.nnz - both
    if either and both / either < SAME:
        return f"{both / either:.1%} of active latents are the same"
    off = abs(first - second).max() if either else 0.0
    largest = max(first.max(), second.max()) if either else 1.0
    return f"values differ by {off / largest:.2g} of the largest" if off > CLOSE * largest else None


def _rows(parts: Sequence[Tensor], starts: NDArray[np.int64], rows: Tensor) -> Tensor:
    """Rows of the parts as if they lay in one."""
    x = torch.empty(len(rows), parts[0].shape[1], dtype=parts[0].dtype)
    for part, start, end in zip(parts, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        here = (rows >= start) & (rows < end)
        x[here] = part[rows[here] - start]
    return x


def _apart(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm().clamp(min=1e-30))
