"""Windows of text, and where latents fire in them.

A window is 32 tokens of one document: 8 of left context, then its own 24. Own tokens tile the document from its ninth
token on, so every token that can be marked is seen with at least 8 tokens before it, and no item shows how long a
document is. Firing is counted, and marked, in own tokens only.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.judges.contract import LEFT_CONTEXT, Examples

WINDOW_TOKENS = 32
OWN = WINDOW_TOKENS - LEFT_CONTEXT


class Windows(NamedTuple):
    """Windows of a split: token ids [window, 32], block and first position [window], row of the first own token
    [window], and of each row of activations its window, -1 outside [token].
    """

    tokens: NDArray[np.int64]
    block: NDArray[np.int64]
    start: NDArray[np.int64]
    rows: NDArray[np.int64]
    of_row: NDArray[np.int64]

    @classmethod
    def of(cls, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Windows:
        """Of padded blocks [block, pos] with `lengths` [block], whose rows are all positions but the first."""
        count = np.maximum(lengths - LEFT_CONTEXT, 0) // OWN
        block = np.repeat(np.arange(len(lengths)), count)
        start = (np.arange(len(block)) - np.repeat(np.cumsum(count) - count, count)) * OWN
        first_row = np.cumsum(lengths - 1) - (lengths - 1)
        rows = first_row[block] + start + LEFT_CONTEXT - 1
        of_row = np.full(int((lengths - 1).sum()), -1, np.int64)
        of_row[rows[:, None] + np.arange(OWN)] = np.arange(len(block))[:, None]
        places = start[:, None] + np.arange(WINDOW_TOKENS)
        return cls(tokens[block[:, None], places].astype(np.int64), block, start, rows, of_row)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Token ids of own tokens, [window, 24]."""
        return self.tokens[:, LEFT_CONTEXT:]


class Firing(NamedTuple):
    """The windows [firing] in which one latent fires, in order, and its activations there [firing, 24]."""

    windows: NDArray[np.int64]
    activations: NDArray[np.float64]

    @classmethod
    def of(cls, z: sparse.csc_array, latent: int, windows: Windows) -> Firing:
        """Of a column of activations [token, latent]."""
        span = slice(z.indptr[latent], z.indptr[latent + 1])
        rows, values = z.indices[span], z.data[span]
        inside = windows.of_row[rows] >= 0
        rows, values = rows[inside], values[inside]
        firing, place = np.unique(windows.of_row[rows], return_inverse=True)
        activations = np.zeros((len(firing), OWN))
        activations[place, rows - windows.rows[firing[place]]] = values
        return cls(firing, activations)

    @property
    def strengths(self) -> NDArray[np.float64]:
        """Largest activation of each window, [firing]."""
        strongest: NDArray[np.float64] = self.activations.max(axis=1, initial=0.0)
        return strongest

    def examples(self, chosen: NDArray[np.int64], windows: Windows) -> Examples:
        """What an explainer sees of the chosen ones; left context counts as silent."""
        silent = np.zeros((len(chosen), LEFT_CONTEXT))
        return Examples(
            windows.tokens[self.windows[chosen]], np.concatenate([silent, self.activations[chosen]], axis=1)
        )


def firing_windows(codes: sparse.csr_array, windows: Windows) -> NDArray[np.int64]:
    """In how many windows each latent fires, [latent], of codes [token, latent]."""
    size = codes.shape[1]
    window = np.repeat(windows.of_row, np.diff(codes.indptr))
    inside = window >= 0
    distinct = np.unique(window[inside] * size + codes.indices[inside])
    return np.bincount(distinct % size, minlength=size)
