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
    answer, *_ = functions.encoded(featurizer, parts, keyed.rng("order"))
    return functions.decoded(featurizer, before, answer, csr(answer, N_LATENTS))


@pytest.mark.parametrize("made", [Honest, Bent])
def test_an_honest_featurizer_gives_what_it_gives_in_any_order(
    made: Callable[[], Honest], parts: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, "ROWS_AT_ONCE", 300)
    featurizer = made()
    found = functions.encoded(featurizer, parts, keyed.rng("order"))
    for part, latents in zip(parts, found, strict=True):
        expected = featurizer.encode(part)
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
