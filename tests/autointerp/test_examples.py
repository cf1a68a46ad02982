"""Which windows an explainer sees."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmark.autointerp.examples import explainer_tokens, select


def test_few_windows_are_all_shown() -> None:
    strengths = np.arange(40.0)
    assert sorted(select(strengths, np.zeros(40)).tolist()) == list(range(40))


def test_many_windows_give_the_top_and_three_of_each_tenth_by_priority() -> None:
    rng = np.random.default_rng(0)
    strengths, priorities = rng.permutation(110).astype(float), rng.random(110)
    chosen = select(strengths, priorities)
    assert len(chosen) == len(set(chosen)) == 40
    assert sorted(strengths[chosen[:10]]) == list(range(100, 110))
    for stratum in range(10):
        members = np.flatnonzero((strengths < 100 - 10 * stratum) & (strengths >= 90 - 10 * stratum))
        shown = set(chosen.tolist()) & set(members.tolist())
        assert shown == set(members[np.argsort(priorities[members])[:3]].tolist())


def test_active_tokens_of_the_chosen_windows() -> None:
    z = np.zeros((8, 3))
    z[[0, 1, 5], 0] = [1, 2, 3]
    z[7, 2] = 4
    windows = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    found = explainer_tokens(sparse.csc_array(z), windows, np.zeros(2))
    assert found.latents.tolist() == [0, 0, 0, 2]
    assert found.rows.tolist() == [0, 1, 5, 7]
    assert found.weights.tolist() == [1, 2, 3, 4]
    assert found.windows.tolist() == [2, 0, 1]
