"""Case mode: the golden case, verdicts, and what the wrong unit of inference would do."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats.case import FEWEST_DRAWS, against, claim
from benchmark.stats.null_gap import Verdict

DRAWS = 0.52 + np.linspace(-0.01, 0.01, FEWEST_DRAWS)


def test_golden_case() -> None:
    found = against(0.80, np.array([0.74, 0.76, 0.75, 0.73, 0.77]))
    assert found.gap == pytest.approx(0.05)
    assert found.t == pytest.approx(2.88675, abs=1e-5)
    assert found.p == pytest.approx(0.0223543, abs=1e-7)
    assert found.rank_p == pytest.approx(1 / 6)


def test_all_nulls_must_be_beaten_and_the_worst_is_named() -> None:
    found = claim(0.60, {"near": DRAWS + 0.02, "far": DRAWS}, delta=0.02)
    assert found is not None
    assert found.worst == "near"
    assert found.gap == pytest.approx(0.06)
    assert found.rank_p == pytest.approx(1 / (FEWEST_DRAWS + 1))
    assert found.verdict == Verdict.BEATS
    inside = claim(0.60, {"near": DRAWS + 0.08, "far": DRAWS}, delta=0.02)
    assert inside is not None
    assert inside.verdict == Verdict.INCONCLUSIVE
    assert inside.p == pytest.approx(0.5)
    below = claim(0.50, {"near": DRAWS + 0.08, "far": DRAWS}, delta=0.02)
    assert below is not None
    assert below.verdict == Verdict.REVERSED


def test_a_gap_below_delta_beats_nothing_and_few_draws_claim_nothing() -> None:
    small = claim(0.545, {"a": DRAWS}, delta=0.03)
    assert small is not None
    assert small.p < 0.05
    assert small.verdict == Verdict.INCONCLUSIVE
    assert claim(0.6, {"a": DRAWS, "b": DRAWS[:-1]}, delta=0.02) is None
    assert claim(0.6, {}, delta=0.02) is None


@pytest.mark.parametrize("value", [0.1, 0.5, 0.7])
def test_draws_that_are_all_the_same_support_no_claim(value: float) -> None:
    same = np.full(FEWEST_DRAWS, value)
    assert claim(value + 0.1, {"same": same, "other": DRAWS}, delta=0.02) is None
    assert claim(value + 0.1, {"other": DRAWS}, delta=0.02) is not None


def test_type_one_error_over_checkpoints_drawn_like_the_nulls() -> None:
    rng = np.random.default_rng(1)
    runs = 10_000
    found = [against(one[0], one[1:]) for one in rng.standard_normal((runs, FEWEST_DRAWS + 1))]
    allowed = 3 * np.sqrt(0.05 * 0.95 / runs)
    assert abs(np.mean([case.p < 0.05 for case in found]) - 0.05) < allowed
    assert abs(np.mean([case.rank_p <= 0.05 for case in found]) - 0.05) < allowed
