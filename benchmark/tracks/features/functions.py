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

ROWS_AT_ONCE = 8192
TWICE, PROBED, MIXED, ADDED = 256, 256, 64, 4096
SAME, CLOSE = 0.999, 1e-4
"""Least share of active latents that two answers have in common; how far their values may lie apart, relative to the
largest.
"""
TIED, AS_CLOSE = 4, 1e-2
"""In a run, where a device or half precision may round otherwise: entries that may differ in any case, which is two
ties, and how far values may lie apart.
"""
LEAST = 1e-2
"""Differences count against the reconstructions themselves where what latents add to the bias is less than that."""


class Probed(NamedTuple):
    """Codes that a decoder was asked for before the first encode of its cell, its answers, and whether these add up."""

    codes: Latents
    x: Float[Tensor, "probe d_model"]
    linear: bool


def encoded(
    featurizer: ScoredFeaturizer, parts: Sequence[Float[Tensor, "_ d_model"]], rng: np.random.Generator
) -> list[Latents]:
    """Latents of several sets of activations, each as wide as its own tokens need.

    Raises:
        MethodError: tokens that were asked for twice got other codes.
    """
    starts = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    order = torch.from_numpy(rng.permutation(starts[-1]))
    found: list[list[tuple[Tensor, Latents]]] = [[] for _ in parts]
    for batch in order.split(ROWS_AT_ONCE):
        answer = featurizer.encode(_rows(parts, starts, batch))
        for kept, start, end in zip(found, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            here = (batch >= start) & (batch < end)
            kept.append((batch[here] - start, _narrow(Latents(*(part[here] for part in answer)))))
    whole = [_assembled(kept, len(part)) for kept, part in zip(found, parts, strict=True)]
    again = torch.from_numpy(rng.permutation(len(order))[:TWICE])
    second = csr(featurizer.encode(_rows(parts, starts, again)), featurizer.n_latents)
    first = []
    for one, start, end in zip(whole, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        here = again[(again >= start) & (again < end)].sort().values - start
        first.append(csr(Latents(*(part[here] for part in one)), featurizer.n_latents))
    offence = unlike(sparse.vstack(first, format="csr"), second[again.argsort().numpy()], ties=TIED, close=AS_CLOSE)
    if offence:
        raise MethodError(
            f"encode gave {len(again)} tokens other codes when it was asked again, among others and in another order: "
            f"{offence}; a token's code must follow from the token alone"
        )
    return whole


def probed(featurizer: ScoredFeaturizer, rng: np.random.Generator) -> Probed | None:
    """What a decoder says before it can have seen codes of the cell's activations; None where there is none. Mixtures
    are of all scales: what bends at any of them is not called linear.
    """
    if not featurizer.decodes:
        return None
    ids = rng.permutation(featurizer.n_latents)[:PROBED]
    mixed = ids[rng.integers(len(ids), size=(MIXED, 2))]
    weights = (10 ** rng.uniform(-2, 2, size=mixed.shape)).astype(np.float32)
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
    # Each mixture for itself: of the largest alone one would learn nothing of the others.
    off = (x[len(ids) :] - bias - expected).norm(dim=1)
    least = torch.maximum(expected.norm(dim=1), LEAST * x[len(ids) :].norm(dim=1)).clamp(min=1e-30)
    return Probed(codes, x, bool((off / least <= LINEARITY).all()))


def decoded(
    featurizer: ScoredFeaturizer,
    before: Probed,
    answer: Latents,
    codes: sparse.csr_array,
    rng: np.random.Generator,
) -> Reconstructed:
    """Reconstructions of what encode answered, in both of its forms.

    Raises:
        MethodError: decode is not what it was before the first encode of the cell, or adds up what latents write for
            other codes and not for these.
    """
    x = featurizer.decode(answer)
    if (off := _apart(featurizer.decode(before.codes), before.x, before.x)) > CLOSE:
        raise MethodError(
            f"decode answers otherwise than before the first encode, by {off:.2g}: it must follow from the codes alone"
        )
    directions = Directions.of(featurizer, np.unique(codes.indices).astype(np.int64))
    if before.linear and len(x):
        some = rng.permutation(len(x))[:ADDED]
        added, found = directions.sums(codes[some]), x[torch.from_numpy(some)]
        if (off := _apart(found - bias_of(featurizer), added, found)) > LINEARITY:
            raise MethodError(
                "decode adds up what latents write for codes that encode never gave, and for those that it gave is off "
                f"by {off:.2g}: it must follow from the codes alone"
            )
    return Reconstructed(x, directions)


class Directions(NamedTuple):
    """What some latents write, asked for once in a cell."""

    ids: NDArray[np.int64]
    vectors: Float[Tensor, "latent d_model"]

    @classmethod
    def of(cls, featurizer: ScoredFeaturizer, ids: NDArray[np.int64]) -> Directions:
        return cls(ids, directions_of(featurizer, ids))

    def some(self, ids: NDArray[np.int64]) -> Float[Tensor, "latent d_model"]:
        """Those of some of the latents."""
        return self.vectors[torch.from_numpy(np.searchsorted(self.ids, ids))]

    def sums(self, codes: sparse.csr_array) -> Float[Tensor, "token d_model"]:
        """What codes add to the bias."""
        return torch.from_numpy(codes[:, self.ids].astype(np.float32) @ self.vectors.numpy())


class Reconstructed(NamedTuple):
    """Reconstructions, and the directions of all latents that are active in them."""

    x: Float[Tensor, "token d_model"]
    directions: Directions


def unlike(first: sparse.csr_array, second: sparse.csr_array, *, ties: int = 0, close: float = CLOSE) -> str | None:
    """How two codes of the same tokens differ; None where it is rounding. Where there may be `ties`, an exchange of
    latents counts as so many entries, and not by its values.
    """
    common = (first > 0).multiply(second > 0)
    either = first.nnz + second.nnz - common.nnz
    if either and common.nnz / either < SAME and either - common.nnz > ties:
        return f"{common.nnz / either:.1%} of active latents are the same"
    differences = abs(first - second)
    off = (differences.multiply(common) if ties else differences).max() if either else 0.0
    largest = max(first.max(), second.max()) if either else 1.0
    return f"values differ by {off / largest:.2g} of the largest" if off > close * largest else None


def _rows(parts: Sequence[Tensor], starts: NDArray[np.int64], rows: Tensor) -> Tensor:
    """Rows of the parts as if they lay in one."""
    x = torch.empty(len(rows), parts[0].shape[1], dtype=parts[0].dtype)
    for part, start, end in zip(parts, starts[:-1].tolist(), starts[1:].tolist(), strict=True):
        here = (rows >= start) & (rows < end)
        x[here] = part[rows[here] - start]
    return x


def _narrow(latents: Latents) -> Latents:
    """Without the columns behind the last one that any token uses."""
    used = (latents.values > 0).any(dim=0).nonzero()
    k = int(used[-1]) + 1 if len(used) else 1
    return Latents(*(part[:, :k].clone() for part in latents))


def _assembled(kept: Sequence[tuple[Tensor, Latents]], tokens: int) -> Latents:
    k = max((one.values.shape[1] for _, one in kept), default=1)
    whole = Latents(torch.zeros(tokens, k), torch.zeros(tokens, k, dtype=torch.int32))
    for rows, latents in kept:
        for part, given in zip(whole, latents, strict=True):
            part[rows, : given.shape[1]] = given.to(part.dtype)
    return whole


def _apart(found: Tensor, expected: Tensor, scale: Tensor) -> float:
    """How far off, relative to what is expected, or to a hundredth of the scale where that is more."""
    return float((found - expected).norm() / torch.maximum(expected.norm(), LEAST * scale.norm()).clamp(min=1e-30))
