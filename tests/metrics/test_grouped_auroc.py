"""AUROC within groups, against all pairs counted one by one."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.grouped_auroc import aurocs


def by_pairs(z: NDArray[np.float64], y: NDArray[np.bool_], groups: NDArray[np.int64]) -> float:
    wins = pairs = 0.0
    for a, b in itertools.product(np.flatnonzero(y), np.flatnonzero(~y)):
        if groups[a] == groups[b]:
            pairs += 1
            wins += 1.0 if z[a] > z[b] else 0.5 if z[a] == z[b] else 0.0
    return wins / pairs if pairs else np.nan


@pytest.mark.parametrize("density", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("n_groups", [1, 4, 60])
def test_equals_all_pairs_with_ties_and_zeros(density: float, n_groups: int) -> None:
    rng = np.random.default_rng(n_groups)
    z = rng.integers(1, 4, size=(60, 5)) * (rng.random((60, 5)) < density).astype(float)
    y = rng.random((60, 3)) < (0.5, 0.1, 0.0)
    groups = rng.permutation(60) % n_groups * 7
    found = aurocs(sparse.csr_array(z), y, groups)
    expected = [[by_pairs(z[:, latent], y[:, label], groups) for latent in range(5)] for label in range(3)]
    np.testing.assert_allclose(found.values, expected, rtol=1e-12)


def test_the_golden_value() -> None:
    z = sparse.csr_array(np.array([[0.9, 0.8, 0.8, 0.4, 0, 0.5, 0, 0, 0.1, 0.4]]).T)
    y = np.arange(10)[:, None] < 5
    assert aurocs(z, y, np.zeros(10, np.int64)).values[0, 0] == pytest.approx(0.78)


def test_what_only_knows_the_group_gets_a_half_and_what_knows_the_label_gets_one() -> None:
    rng = np.random.default_rng(0)
    groups = rng.integers(5, size=400)
    y = rng.random((400, 1)) < 0.1 + 0.15 * groups[:, None]
    z = np.concatenate([np.eye(5)[groups], y, ~y], axis=1)
    found = aurocs(sparse.csr_array(z.astype(float)), y, groups)
    np.testing.assert_allclose(found.values[0], [0.5] * 5 + [1.0, 0.0])


def test_partners_are_counted_in_groups_with_both_classes() -> None:
    y = np.array([[True], [True], [False], [True], [False], [False]])
    groups = np.array([0, 0, 0, 1, 2, 2])
    found = aurocs(sparse.csr_array((6, 1), dtype=float), y, groups)
    assert (found.positives[0], found.negatives[0]) == (2, 1)
