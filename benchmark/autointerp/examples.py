"""Windows that an explainer would see: the strongest ones, and a sample across the quantiles of the rest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

WINDOW_TOKENS = 32
TOP = 10
QUANTILE_DRAWS = 30
STRATA = 10
SCORED = 50


class ActiveTokens(NamedTuple):
    """Active tokens in the chosen windows: latent, row of the token, activation; and the windows chosen per latent."""

    latents: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    windows: NDArray[np.int64]


def explainer_tokens(z: sparse.csc_array, windows: NDArray[np.int64], priorities: NDArray[np.float64]) -> ActiveTokens:
    """Active tokens of each latent's explainer windows.

    Args:
        z: activations [token, latent] of the drawn latents on the explain split, stored entries positive.
        windows: window number of each token, [token], non-decreasing.
        priorities: one keyed draw per window, common to all variants: who is sampled within a quantile.
    """
    chosen = [_latent(z, latent, windows, priorities) for latent in range(z.shape[1])]
    owners = [np.full(len(rows), latent, np.int64) for latent, (rows, _, _) in enumerate(chosen)]
    return ActiveTokens(
        np.concatenate([np.zeros(0, np.int64), *owners]),
        np.concatenate([np.zeros(0, np.int64), *(rows for rows, _, _ in chosen)]),
        np.concatenate([np.zeros(0), *(weights for _, weights, _ in chosen)]),
        np.array([count for _, _, count in chosen], dtype=np.int64),
    )


def windows_of(places: NDArray[np.int64], block_tokens: int) -> NDArray[np.int64]:
    """Window number [token] of places (block, position), [token, 2]."""
    block, position = places.T
    windows: NDArray[np.int64] = block * -(-block_tokens // WINDOW_TOKENS) + position // WINDOW_TOKENS
    return windows


def firing_windows(codes: sparse.csr_array, windows: NDArray[np.int64]) -> NDArray[np.int64]:
    """In how many windows each latent fires, [latent], of codes [token, latent] and non-decreasing windows [token]."""
    size = codes.shape[1]
    rows = np.repeat(windows, np.diff(codes.indptr))
    distinct = np.unique(rows * size + codes.indices)
    return np.bincount(distinct % size, minlength=size)


def select(strengths: NDArray[np.float64], priorities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of the windows to show: the 10 strongest, and 3 from each tenth of the rest by lowest priority.

    With 30 or fewer beside the top, all of them. Ties in strength go to the lower priority.
    """
    order = np.lexsort((priorities, -strengths))
    top, rest = order[:TOP], order[TOP:]
    if len(rest) > QUANTILE_DRAWS:
        strata = np.array_split(rest, STRATA)
        each = QUANTILE_DRAWS // STRATA
        rest = np.concatenate([part[np.argsort(priorities[part], kind="stable")[:each]] for part in strata])
    return np.concatenate([top, rest])


def _latent(
    z: sparse.csc_array, latent: int, windows: NDArray[np.int64], priorities: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    span = slice(z.indptr[latent], z.indptr[latent + 1])
    rows, weights = z.indices[span].astype(np.int64), z.data[span].astype(np.float64)
    if not len(rows):
        return rows, weights, 0
    order = np.argsort(rows, kind="stable")
    rows, weights = rows[order], weights[order]
    firing, place = np.unique(windows[rows], return_inverse=True)
    strengths = np.zeros(len(firing))
    np.maximum.at(strengths, place, weights)
    shown = np.isin(place, select(strengths, priorities[firing]))
    return rows[shown], weights[shown], min(len(firing), TOP + QUANTILE_DRAWS)
