"""Windows of text, and where latents fire in them.

A window is 32 tokens of one document: 8 of left context, then its own 24. Own tokens tile the document from its ninth
token on, so every token that can be marked is seen with at least 8 tokens before it, and no item shows how long a
document is. Firing is counted, and asked about, in own tokens only; where it is known in left context, an explainer
sees it, and no window with it passes for silent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from benchmark.judges.contract import LEFT_CONTEXT, Examples

WINDOW_TOKENS = 32
OWN = WINDOW_TOKENS - LEFT_CONTEXT
AT_ONCE = 2048


class Windows(NamedTuple):
    """Windows of a split: token ids [window, 32], block and first position [window], row of the first own token
    [window], and of each row of activations the window that owns it and the one that has it as left context, -1 where
    there is none [token].
    """

    tokens: NDArray[np.int64]
    block: NDArray[np.int64]
    start: NDArray[np.int64]
    rows: NDArray[np.int64]
    of_row: NDArray[np.int64]
    left_of_row: NDArray[np.int64]

    @classmethod
    def of(cls, tokens: NDArray[np.int64], lengths: NDArray[np.int64]) -> Windows:
        """Of padded blocks [block, pos] with `lengths` [block], whose rows are all positions but the first."""
        count = np.maximum(lengths - LEFT_CONTEXT, 0) // OWN
        block = np.repeat(np.arange(len(lengths)), count)
        start = (np.arange(len(block)) - np.repeat(np.cumsum(count) - count, count)) * OWN
        first_row = np.cumsum(lengths - 1) - (lengths - 1)
        rows = first_row[block] + start + LEFT_CONTEXT - 1
        of_row, left_of_row = (np.full(int((lengths - 1).sum()), -1, np.int64) for _ in range(2))
        of_row[rows[:, None] + np.arange(OWN)] = np.arange(len(block))[:, None]
        places = start[:, None] + np.arange(WINDOW_TOKENS)
        window, offset = np.nonzero(places[:, :LEFT_CONTEXT] > 0)
        left_of_row[rows[window] - LEFT_CONTEXT + offset] = window
        return cls(tokens[block[:, None], places].astype(np.int64), block, start, rows, of_row, left_of_row)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Token ids of own tokens, [window, 24]."""
        return self.tokens[:, LEFT_CONTEXT:]


class Firing(NamedTuple):
    """The windows [firing] in which one latent fires, in order, its activations there on own tokens [firing, 24] and in
    left context [firing, 8], and all windows that it touches in either [touched].
    """

    windows: NDArray[np.int64]
    activations: NDArray[np.float64]
    left: NDArray[np.float64]
    touched: NDArray[np.int64]

    @classmethod
    def of(cls, z: sparse.csc_array, latent: int, windows: Windows) -> Firing:
        """Of a column of activations [token, latent]."""
        span = slice(z.indptr[latent], z.indptr[latent + 1])
        rows, values = z.indices[span].astype(np.int64), z.data[span]
        own, near = windows.of_row[rows], windows.left_of_row[rows]
        firing = np.unique(own[own >= 0])
        touched = np.union1d(firing, near[near >= 0])
        activations = np.zeros((len(firing), WINDOW_TOKENS))
        for window in (own, near):
            here = np.isin(window, firing)
            offset = rows[here] - windows.rows[window[here]] + LEFT_CONTEXT
            activations[np.searchsorted(firing, window[here]), offset] = values[here]
        return cls(firing, activations[:, LEFT_CONTEXT:], activations[:, :LEFT_CONTEXT], touched)

    @property
    def strengths(self) -> NDArray[np.float64]:
        """Largest activation of each window, [firing]."""
        strongest: NDArray[np.float64] = self.activations.max(axis=1, initial=0.0)
        return strongest

    def examples(self, chosen: NDArray[np.int64], windows: Windows) -> Examples:
        """What an explainer sees of the chosen ones."""
        shown = np.concatenate([self.left[chosen], self.activations[chosen]], axis=1)
        return Examples(windows.tokens[self.windows[chosen]], shown)


def firing_windows(codes: sparse.csr_array, windows: Windows) -> NDArray[np.int64]:
    """In how many windows each latent fires, [latent], of codes [token, latent]."""
    size, counts = codes.shape[1], np.zeros(codes.shape[1], np.int64)
    for first in range(0, len(windows.rows), AT_ONCE):
        rows = windows.rows[first : first + AT_ONCE]
        part = codes[rows[0] : rows[-1] + OWN].tocsc()
        window = windows.of_row[rows[0] : rows[-1] + OWN][part.indices]
        inside = window >= 0
        window, latent = window[inside], np.repeat(np.arange(size), np.diff(part.indptr))[inside]
        first_of_window = (np.diff(window, prepend=-1) != 0) | (np.diff(latent, prepend=-1) != 0)
        counts += np.bincount(latent[first_of_window], minlength=size)
    return counts
