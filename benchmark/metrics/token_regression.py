"""How much of a latent's activation the current token, or the last two, predict: cross-fitted R2.

Means come from one half of the documents and errors from the other, and back, averaged; a mean is shrunk towards its
parent (bigram to token to global) as if 10 more observations had the parent's value. In-sample R2 is biased up; this
form errs low, equally for every variant.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, mean_over_latents

PRIOR = 10.0
CONSTANT = "latents that do not vary in one half of the documents"


class Means(NamedTuple):
    """Counts [key] and sums [key, latent] of activations for sorted, distinct integer keys."""

    keys: NDArray[np.int64]
    counts: NDArray[np.float64]
    sums: NDArray[np.float64]

    @classmethod
    def of(cls, keys: NDArray[np.int64], z: NDArray[np.float32]) -> Means:
        distinct, place = np.unique(keys, return_inverse=True)
        rows = sparse.csr_array((np.ones(len(keys)), (place, np.arange(len(keys)))), shape=(len(distinct), len(keys)))
        return cls(distinct, np.bincount(place, minlength=len(distinct)).astype(float), rows @ z.astype(np.float64))

    def __add__(self, other: Means) -> Means:  # type: ignore[override]
        keys = np.concatenate([self.keys, other.keys])
        distinct, place = np.unique(keys, return_inverse=True)
        counts, sums = np.zeros(len(distinct)), np.zeros((len(distinct), self.sums.shape[1]))
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        np.add.at(sums, place, np.concatenate([self.sums, other.sums]))
        return Means(distinct, counts, sums)

    def shrunk(self, parent: NDArray[np.float64]) -> NDArray[np.float64]:
        """Means [key, latent] shrunk towards `parent`, which broadcasts to the same shape."""
        return (self.sums + PRIOR * parent) / (self.counts[:, None] + PRIOR)

    def at(
        self, keys: NDArray[np.int64], shrunk: NDArray[np.float64], parent: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Predictions for `keys`: the shrunk mean where the key is known, else its parent's."""
        place = np.searchsorted(self.keys, keys).clip(max=max(len(self.keys) - 1, 0))
        known = self.keys[place] == keys if len(self.keys) else np.zeros(len(keys), bool)
        return np.where(known[:, None], shrunk[place], parent)


class TokenSums(NamedTuple):
    """Sums of one half of the documents; a bigram's key is previous * vocab + current."""

    vocab: int
    tokens: Means
    bigrams: Means
    squares: NDArray[np.float64]

    @classmethod
    def of(
        cls, current: NDArray[np.int64], previous: NDArray[np.int64], z: NDArray[np.float32], vocab: int
    ) -> TokenSums:
        squares = np.square(z, dtype=np.float64).sum(axis=0)
        return cls(vocab, Means.of(current, z), Means.of(previous * vocab + current, z), squares)

    def __add__(self, other: TokenSums) -> TokenSums:  # type: ignore[override]
        return TokenSums(
            self.vocab, self.tokens + other.tokens, self.bigrams + other.bigrams, self.squares + other.squares
        )

    def r2_on(self, test: TokenSums) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """R2 [latent] on `test` of this half's token means and bigram means; NaN where `test` does not vary."""
        total = max(self.tokens.counts.sum(), 1.0)
        overall = self.tokens.sums.sum(axis=0) / total
        token_means = self.tokens.shrunk(overall[None])

        def by_token(keys: NDArray[np.int64]) -> NDArray[np.float64]:
            return self.tokens.at(keys, token_means, np.broadcast_to(overall, (len(keys), len(overall))))

        bigram_means = self.bigrams.shrunk(by_token(self.bigrams.keys % self.vocab))
        by_bigram = self.bigrams.at(test.bigrams.keys, bigram_means, by_token(test.bigrams.keys % self.vocab))
        count = max(test.tokens.counts.sum(), 1.0)
        variation = test.squares - test.tokens.sums.sum(axis=0) ** 2 / count
        variation = np.where(variation > 1e-12 * np.maximum(test.squares, 1e-300), variation, np.nan)
        return (
            1 - _error(test.tokens, by_token(test.tokens.keys), test.squares) / variation,
            1 - _error(test.bigrams, by_bigram, test.squares) / variation,
        )


class TokenRegression(NamedTuple):
    """Sums of both halves."""

    halves: tuple[TokenSums, TokenSums]

    @classmethod
    def of(
        cls,
        current: NDArray[np.int64],
        previous: NDArray[np.int64],
        documents: NDArray[np.int64],
        z: NDArray[np.float32],
        vocab: int,
    ) -> TokenRegression:
        """Sums of a batch: token ids, previous token ids and documents [token], activations z [token, latent]."""
        sides = (documents % 2 == 0, documents % 2 == 1)
        first, second = (TokenSums.of(current[side], previous[side], z[side], vocab) for side in sides)
        return cls((first, second))

    def __add__(self, other: TokenRegression) -> TokenRegression:  # type: ignore[override]
        first, second = (mine + theirs for mine, theirs in zip(self.halves, other.halves, strict=True))
        return TokenRegression((first, second))

    def values(self) -> dict[str, Value]:
        """token_r2, bigram_r2 and their difference, each averaged over both directions; 1 = fully predicted."""
        first, second = self.halves
        both = np.mean([first.r2_on(second), second.r2_on(first)], axis=0)
        r2 = {"token_r2@1": both[0], "bigram_r2@1": both[1], "bigram_r2_increment@1": both[1] - both[0]}
        return {name: mean_over_latents(values, CONSTANT) for name, values in r2.items()}


def _error(means: Means, predicted: NDArray[np.float64], squares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Squared error [latent] of predictions [key, latent], from sums alone."""
    cross = (means.sums * predicted).sum(axis=0)
    error: NDArray[np.float64] = squares - 2 * cross + (means.counts[:, None] * predicted**2).sum(axis=0)
    return error


FAMILY = MetricFamily(
    "token_regression",
    1,
    {
        "token_r2@1": Metric("cross-fitted R2 of a latent given the current token", "R2", "lower"),
        "bigram_r2@1": Metric("cross-fitted R2 of a latent given the current and the previous token", "R2"),
        "bigram_r2_increment@1": Metric("what the previous token adds to that R2", "R2", "higher"),
    },
    ("token_regression",),
    TokenRegression.values,
)
