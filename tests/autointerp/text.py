"""Made-up text and latents whose right scores are known."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.autointerp.items import Split
from benchmark.autointerp.windows import Windows
from benchmark.judges.contract import Language
from benchmark.tracks.features.autointerp import Text

VOCAB, BLOCK = 60, 128


class Made(NamedTuple):
    """Tokens [block, pos], lengths [block] and windows; rows are all positions but the first."""

    tokens: NDArray[np.int64]
    lengths: NDArray[np.int64]
    windows: Windows

    @property
    def rows(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Block and position of each row."""
        block = np.repeat(np.arange(len(self.lengths)), self.lengths - 1)
        starts = np.cumsum(self.lengths - 1) - (self.lengths - 1)
        return block, np.arange(len(block)) - starts[block] + 1

    def column(self, active: NDArray[np.bool_], rng: np.random.Generator) -> sparse.csc_array:
        """One latent [token, 1] that fires where `active` [token] with drawn strengths."""
        return sparse.csc_array((active * rng.uniform(0.5, 3.0, len(active)))[:, None])

    def split(self, seed: int = 5, vocab: int = VOCAB) -> Split:
        return Split.of(self.windows, np.random.default_rng(seed).random(len(self.windows.rows)), vocab)


def made(seed: int, blocks: int = 120, vocab: int = VOCAB) -> Made:
    """Zipfian tokens in documents of 60 to 128 tokens."""
    rng = np.random.default_rng(seed)
    share = 1 / np.arange(1, vocab + 1)
    tokens = rng.choice(vocab, size=(blocks, BLOCK), p=share / share.sum())
    lengths = rng.integers(60, BLOCK + 1, size=blocks)
    return Made(tokens, lengths, Windows.of(tokens, lengths))


def language(text: Made) -> Language:
    counts = np.bincount(text.tokens.ravel(), minlength=text.tokens.max() + 1)
    return Language(counts, lambda ids: "".join(f" w{number}" for number in ids))


def as_text(explain: Made, score: Made) -> Text:
    return Text(explain.windows, score.windows, language(explain))
