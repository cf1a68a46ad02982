"""Which windows an explainer sees."""

from __future__ import annotations

import numpy as np

from benchmark.autointerp.examples import to_explain


def test_few_windows_are_all_shown() -> None:
    strengths = np.arange(40.0)
    assert sorted(to_explain(strengths, np.zeros(40)).tolist()) == list(range(40))


def test_many_windows_give_the_top_and_three_of_each_tenth_by_priority() -> None:
    rng = np.random.default_rng(0)
    strengths, priorities = rng.permutation(110).astype(float), rng.random(110)
    chosen = to_explain(strengths, priorities)
    assert len(chosen) == len(set(chosen)) == 40
    assert sorted(strengths[chosen[:10]]) == list(range(100, 110))
    for stratum in range(10):
        members = np.flatnonzero((strengths < 100 - 10 * stratum) & (strengths >= 90 - 10 * stratum))
        shown = set(chosen.tolist()) & set(members.tolist())
        assert shown == set(members[np.argsort(priorities[members])[:3]].tolist())
