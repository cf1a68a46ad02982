"""AUROC of one list of grades: golden values, ties, intervals at the ends."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmark.metrics.ranking import auroc, auroc_error, auroc_interval, paired_share, roc

P, Q = (0.9, 0.8, 0.8, 0.4, 0.0), (0.5, 0.0, 0.0, 0.1, 0.4)
GRADES, POSITIVE = np.array(P + Q), np.arange(10) < 5


def test_golden_values() -> None:
    assert auroc(GRADES, POSITIVE) == pytest.approx(0.78)
    assert auroc_error(GRADES, POSITIVE) == pytest.approx(0.166733, abs=1e-6)


def test_ties_count_half_as_in_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    grades, positive = rng.integers(4, size=200).astype(float), rng.random(200) < 0.3
    assert auroc(grades, positive) == pytest.approx(roc_auc_score(positive, grades))
    assert auroc(np.ones(10), POSITIVE) == 0.5


def test_one_class_has_no_auroc() -> None:
    assert auroc(np.ones(3), np.ones(3, bool)) is None
    assert auroc_interval(np.ones(3), np.zeros(3, bool)) is None


def test_the_interval_holds_the_value_and_at_the_ends_is_the_exact_bound() -> None:
    low, high = auroc_interval(GRADES, POSITIVE) or (0, 0)
    assert 0 < low < 0.78 < high < 1
    bound = 0.05 ** (1 / 5)
    assert auroc_interval(POSITIVE.astype(float), POSITIVE) == pytest.approx((bound, 1.0))
    assert auroc_interval(-POSITIVE.astype(float), POSITIVE) == pytest.approx((0.0, 1 - bound))


def test_the_interval_covers_near_one() -> None:
    """Positives one and a half standard deviations above: 40 of each, true AUROC .856."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(400):
        grades = np.concatenate([rng.normal(1.5, 1, 40), rng.normal(0, 1, 40)])
        low, high = auroc_interval(grades, np.arange(80) < 40) or (0, 0)
        inside += low <= 0.8556 <= high
    assert 0.92 <= inside / 400 <= 0.98


def test_points_of_a_curve_have_its_area_and_a_tie_is_a_straight_line() -> None:
    rng = np.random.default_rng(2)
    grades, positive = rng.normal(size=4000), rng.random(4000) < 0.5
    grades[positive] += 1
    false, true = roc(grades, positive, points=401)
    assert np.trapezoid(true, false) == pytest.approx(auroc(grades, positive), abs=0.005)
    flat, straight = roc(np.ones(10), POSITIVE, points=5)
    np.testing.assert_allclose(straight, flat)


def test_pairs() -> None:
    assert paired_share(np.array([2.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, -1.0])) == 0.625
