"""Honest featurizers answer as they would in any order; one that answers anything but its input fails."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmark import keyed
from benchmark.api import Latents
from benchmark.execution.contract import MethodError
from benchmark.tracks.features import functions
from benchmark.tracks.features.featurizer import Siblings, csr

D_MODEL, N_LATENTS = 6, 12


class Honest:
    """A TopK autoencoder; `asked` keeps what it was asked for."""

    n_latents, decodes, below = N_LATENTS, True, False

    def __init__(self) -> None:
        self.siblings = Siblings()
        self.asked: list[Tensor] = []
        draw = torch.Generator().manual_seed(3)
        self.weights = torch.randn(N_LATENTS, D_MODEL, generator=draw)
        self.bias = torch.randn(D_MODEL, generator=draw)

    def encode(self, x: Tensor) -> Latents:
        self.asked.append(x)
        values, indices = ((x - self.bias) @ self.weights.T).clamp(min=0).topk(3, dim=1)
        return Latents(values, indices.int())

    def decode(self, latents: Latents) -> Tensor:
        return self.bias + (latents.values[:, :, None] * self.weights[latents.indices.long()]).sum(dim=1)


class Bent(Honest):
    """Not linear, and says so by what it answers."""

    def decode(self, latents: Latents) -> Tensor:
        return super().decode(latents).tanh()


class Blind(Honest):
    """Asks for no input: it counts the tokens that it was asked for, whose order it knows."""

    count = 0

    def encode(self, x: Tensor) -> Latents:
        self.asked.append(x)
        places = torch.arange(self.count, self.count + len(x))
        self.count += len(x)
        return Latents(torch.ones(len(x), 1), (places % N_LATENTS)[:, None].int())


class Noisy(Honest):
    def encode(self, x: Tensor) -> Latents:
        return super().encode(x + 0.1 * torch.randn_like(x))


class OfItsBatch(Honest):
    """BatchTopK without a stored threshold."""

    def encode(self, x: Tensor) -> Latents:
        codes = ((x - self.bias) @ self.weights.T).clamp(min=0)
        threshold = codes.flatten().topk(3 * len(x)).values[-1] if len(x) else torch.tensor(0.0)
        values, indices = (codes * (codes >= threshold)).topk(8, dim=1)
        return Latents(values, indices.int())


class Memo(Honest):
    """Gives back what it encoded, for any codes that it knows again."""

    def __init__(self) -> None:
        super().__init__()
        self.known: dict[bytes, Tensor] = {}

    def encode(self, x: Tensor) -> Latents:
        latents = super().encode(x)
        for row, values in zip(x, latents.values, strict=True):
            self.known[values.numpy().tobytes()] = row
        return latents

    def decode(self, latents: Latents) -> Tensor:
        x = super().decode(latents)
        for number, values in enumerate(latents.values):
            x[number] = self.known.get(values.numpy().tobytes(), x[number])
        return x


class Turncoat(Honest):
    """Learns to decode from what it is asked to encode."""

    def encode(self, x: Tensor) -> Latents:
        self.turned = True
        return super().encode(x)

    def decode(self, latents: Latents) -> Tensor:
        return super().decode(latents) * (2.0 if getattr(self, "turned", False) else 1.0)


@pytest.fixture
def parts() -> list[Tensor]:
    draw = torch.Generator().manual_seed(9)
    return [torch.randn(count, D_MODEL, generator=draw) for count in (700, 5, 400, 0)]


def reconstructed(featurizer: Any, parts: list[Tensor]) -> Tensor:
    """As a cell asks: first what codes add up to, then everything at once."""
    before = functions.probed(featurizer, keyed.rng("before"))
    assert before is not None
    answer, *_ = functions.encoded(featurizer, parts, keyed.rng("order"))
    return functions.decoded(featurizer, before, answer, csr(answer, N_LATENTS), keyed.rng("some")).x


@pytest.mark.parametrize("made", [Honest, Bent])
def test_an_honest_featurizer_gives_what_it_gives_in_any_order(
    made: Callable[[], Honest], parts: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "ROWS_AT_ONCE", 300)
    featurizer = made()
    found = functions.encoded(featurizer, parts, keyed.rng("order"))
    for part, latents in zip(parts, found, strict=True):
        expected = featurizer.encode(part)
        if not len(part):
            assert latents.values.shape == (0, 1)
            continue
        assert torch.equal(latents.values, expected.values)
        assert torch.equal(latents.indices, expected.indices)
    assert torch.equal(reconstructed(featurizer, parts), featurizer.decode(featurizer.encode(parts[0])))


def test_requests_say_nothing_of_where_tokens_stand(parts: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "ROWS_AT_ONCE", 300)
    place = {row.numpy().tobytes(): (number, at) for number, part in enumerate(parts) for at, row in enumerate(part)}
    featurizer = Honest()
    functions.encoded(featurizer, parts, keyed.rng("order"))
    *batches, again = featurizer.asked
    assert len(again) == functions.TWICE
    seen = [place[row.numpy().tobytes()] for batch in batches for row in batch]
    assert sorted(seen) == sorted(place.values()), "each token is asked for once, and some once more"
    for batch in batches:
        where = [place[row.numpy().tobytes()] for row in batch]
        assert {number for number, _ in where} >= {0, 2}, "splits share requests"
        follow = [one == (number, at + 1) for (number, at), one in itertools.pairwise(where)]
        assert np.mean(follow) < 0.05
    other = Honest()
    functions.encoded(other, parts, keyed.rng("another order"))
    assert not torch.equal(other.asked[0], featurizer.asked[0])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (Blind, "encode gave 256 tokens other codes when it was asked again"),
        (Noisy, "a token's code must follow from the token alone"),
        (OfItsBatch, "among others and in another order: .*of active latents are the same"),
        (Memo, "for those that it gave is off by"),
        (Turncoat, "decode answers otherwise than before the first encode"),
    ],
)
def test_what_is_no_function_fails(made: Callable[[], Honest], said: str, parts: list[Tensor]) -> None:
    with pytest.raises(MethodError, match=said):
        reconstructed(made(), parts)


def test_nothing_asked_and_nothing_active_are_no_offence() -> None:
    featurizer = Honest()
    assert reconstructed(featurizer, [torch.zeros(0, D_MODEL)] * 2).shape == (0, D_MODEL)
    featurizer.bias = torch.full((D_MODEL,), 1e6)
    silent = [torch.zeros(40, D_MODEL)]
    featurizer.weights = featurizer.weights.abs()
    assert torch.equal(reconstructed(featurizer, silent), featurizer.bias.expand(40, -1))


class Shifted(Honest):
    """Subtracts a constant from codes and adds it again through its weights: what is 0 is so to rounding alone."""

    def decode(self, latents: Latents) -> Tensor:
        shift = torch.full((N_LATENTS,), 3.0)
        dense = torch.zeros(len(latents.values), N_LATENTS).scatter_add(1, latents.indices.long(), latents.values)
        return (dense - shift) @ self.weights + shift @ self.weights + self.bias


class OfAllSizes(Honest):
    """Far off the origin, with decoder rows of a thousandth: rounding of the bias is much of what they write."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = torch.full((D_MODEL,), 100.0)
        self.rows = self.weights.clone()
        self.rows[::2] *= 1e-3

    def encode(self, x: Tensor) -> Latents:
        return super().encode(x + self.bias)

    def decode(self, latents: Latents) -> Tensor:
        return self.bias + (latents.values[:, :, None] * self.rows[latents.indices.long()]).sum(dim=1)


class Clamped(Honest):
    """Linear for small codes alone."""

    def decode(self, latents: Latents) -> Tensor:
        return super().decode(latents).clamp(-4, 4)


class Tied(Honest):
    """A tie of two latents is decided by what else is asked for."""

    def encode(self, x: Tensor) -> Latents:
        values, indices = super().encode(x)
        if len(x) == functions.TWICE:
            indices[0, 0] = next(one for one in range(N_LATENTS) if one not in indices[0])
            values[1] *= 1.002
        return Latents(values, indices)


@pytest.mark.parametrize("made", [Shifted, OfAllSizes, Clamped, Tied])
def test_rounding_ties_and_bends_are_no_offence(made: Callable[[], Honest], parts: list[Tensor]) -> None:
    assert reconstructed(made(), parts).shape == parts[0].shape
    silent = made()
    silent.encode = lambda x: Latents(torch.zeros(len(x), 1), torch.zeros(len(x), 1, dtype=torch.int32))  # type: ignore[method-assign]
    assert reconstructed(silent, parts).shape == parts[0].shape


def test_parts_are_as_wide_as_their_own_tokens_need(parts: list[Tensor]) -> None:
    """Some first tokens activate everything: the others do not pay for that."""

    class Wide(Honest):
        def encode(self, x: Tensor) -> Latents:
            codes = ((x - self.bias) @ self.weights.T).clamp(min=0)
            few = codes * (codes >= codes.topk(2, dim=1).values[:, -1:])
            values, indices = torch.where(x[:, :1] > 50, codes.abs() + 1, few).sort(dim=1, descending=True)
            return Latents(values, indices.int())

    parts[1] = torch.full((5, D_MODEL), 100.0)
    widths = [one.values.shape[1] for one in functions.encoded(Wide(), parts, keyed.rng("order"))]
    assert widths == [2, N_LATENTS, 2, 1]
