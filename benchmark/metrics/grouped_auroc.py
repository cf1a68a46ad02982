"""AUROC of many latents for many labels at once, over pairs of tokens that share a group.

With the token id as group nothing that only knows the token scores above .5: a pair is a positive and a negative of the
same token, groups with one class hold none, and groups weigh by their pairs. With one group for all it is the plain
AUROC. Ties count half (mid-ranks; Hanley and McNeil 1982).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse


class Aurocs(NamedTuple):
    """AUROC [label, latent], NaN where a label has no pair; positives and negatives with a partner, both [label]."""

    values: NDArray[np.float64]
    positives: NDArray[np.int64]
    negatives: NDArray[np.int64]


def aurocs(z: sparse.csr_array, y: NDArray[np.bool_], groups: NDArray[np.int64]) -> Aurocs:
    """Of activations z [token, latent] >= 0 for labels y [token, label] within groups [token].

    The rank of a token within its group does not depend on the label, so one sort of the stored activations serves all
    labels: U = sum of the positives' ranks - sum over groups of n_pos (n_pos + 1) / 2.
    """
    distinct, group = np.unique(groups, return_inverse=True)
    size = np.bincount(group, minlength=len(distinct)).astype(float)
    labels = y.astype(np.float64)
    member = sparse.csr_array((np.ones(len(group)), (group, np.arange(len(group)))), shape=(len(distinct), len(group)))
    positive = np.asarray(member @ labels)
    negative = size[:, None] - positive
    pairs = (positive * negative).sum(axis=0)
    ranks, active = _ranks(z, group, size)
    with_zeros = (positive * (size[:, None] + 1) / 2).sum(axis=0)[:, None] - (active.T @ positive).T / 2
    u = (ranks.T @ labels).T + with_zeros - (positive * (positive + 1) / 2).sum(axis=0)[:, None]
    values = np.divide(u, pairs[:, None], out=np.full(u.shape, np.nan), where=pairs[:, None] > 0)
    return Aurocs(
        values,
        (positive * (negative > 0)).sum(axis=0).astype(np.int64),
        (negative * (positive > 0)).sum(axis=0).astype(np.int64),
    )


def _ranks(
    z: sparse.csr_array, group: NDArray[np.int64], size: NDArray[np.float64]
) -> tuple[sparse.csr_array, sparse.csr_array]:
    """Rank within its group of each stored activation, less the mid-rank of that group's zeros, [token, latent]; and
    how many activations are stored, [group, latent].
    """
    rows = np.repeat(np.arange(z.shape[0]), np.diff(z.indptr))
    key = z.indices.astype(np.int64) * len(size) + group[rows]
    order = _order(key, z.data)
    key, values = key[order], z.data[order]
    place = np.arange(len(order))
    new_key = np.diff(key, prepend=-1) != 0
    new_value = new_key | (np.diff(values, prepend=-1) != 0)
    first = place[new_key]
    stored = np.diff(np.append(first, len(order)))
    segment = np.cumsum(new_key) - 1
    run = np.cumsum(new_value) - 1
    starts = place[new_value]
    ends = np.append(starts[1:], len(order))
    within = (starts[run] + ends[run] - 1) / 2 - first[segment] + 1
    zeros = size[group[rows[order]]] - stored[segment]
    above = np.empty(len(order))
    above[order] = within + zeros - (zeros + 1) / 2
    ranks = sparse.csr_array((above, z.indices, z.indptr), shape=z.shape)
    where = key[first] % len(size), key[first] // len(size)
    return ranks, sparse.csr_array((stored.astype(float), where), shape=(len(size), z.shape[1]))


def _order(key: NDArray[np.int64], values: NDArray[np.floating[Any]]) -> NDArray[np.int64]:
    """The order by key, then by value: two plain sorts, several times faster than numpy's lexsort."""
    by_value = np.argsort(values)
    level = np.empty(len(values), dtype=np.int64)
    level[by_value] = np.cumsum(np.diff(values[by_value], prepend=values[by_value[:1]]) != 0)
    order: NDArray[np.int64] = np.argsort(key * (level.max(initial=0) + 1) + level)
    return order
