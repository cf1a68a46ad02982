"""What grades probes, on scores whose grade is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.metrics import probing
from benchmark.metrics.probing import Grades, Portion

TOKENS, CLASSES, VOCAB = 4_000, 3, 40


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_what_knows_the_token_alone_has_no_lift(rng: np.random.Generator) -> None:
    ids = rng.integers(VOCAB, size=TOKENS)
    # Which class a token has depends on the token, so that a table of tokens is often right.
    y = np.where(rng.random(TOKENS) < 0.7, ids % CLASSES, rng.integers(CLASSES, size=TOKENS))
    table = rng.normal(size=(VOCAB, CLASSES))
    table[np.arange(VOCAB), np.arange(VOCAB) % CLASSES] += 3
    assert probing.balanced_accuracy(table[ids], y) > 0.7
    assert probing.lift(table[ids], y, ids) == pytest.approx(0, abs=1e-12)


def test_lift_is_one_at_best_minus_one_at_worst_and_as_auroc_between(rng: np.random.Generator) -> None:
    y, ids = rng.integers(2, size=TOKENS), rng.integers(VOCAB, size=TOKENS)
    right = np.eye(2)[y]
    assert probing.lift(right, y, ids) == pytest.approx(1)
    assert probing.lift(1 - right, y, ids) == pytest.approx(-1)
    # Of two normal distributions a distance of d apart, AUROC is Phi(d / sqrt(2)).
    scores = rng.normal(size=(TOKENS, 2)) + right
    assert probing.lift(scores, y, ids) == pytest.approx(2 * 0.7602 - 1, abs=0.03)


def test_a_token_s_own_offset_changes_nothing(rng: np.random.Generator) -> None:
    y, ids = rng.integers(CLASSES, size=TOKENS), rng.integers(VOCAB, size=TOKENS)
    scores = rng.normal(size=(TOKENS, CLASSES)) + np.eye(CLASSES)[y]
    moved = scores + 10 * rng.normal(size=(VOCAB, CLASSES))[ids]
    assert probing.lift(moved, y, ids) == pytest.approx(probing.lift(scores, y, ids), abs=1e-9)


def test_classes_with_few_partners_are_left_out_and_none_is_no_number() -> None:
    ids = np.zeros(60, np.int64)
    y = np.r_[np.zeros(30, np.int64), np.ones(25, np.int64), np.full(5, 2)]
    scores = np.eye(3)[y]
    scores[y == 2] = 0
    assert probing.lift(scores, y, ids) == pytest.approx(1), "the third class has under ten tokens"
    assert np.isnan(probing.lift(scores, y, np.arange(60)))


def test_accuracy_weighs_classes_alike() -> None:
    y = np.r_[np.zeros(90, np.int64), np.ones(10, np.int64)]
    always_first = np.tile([1.0, 0.0], (100, 1))
    assert probing.balanced_accuracy(always_first, y) == 0.5
    assert probing.balanced_accuracy(np.eye(3)[y], y) == 1, "a class without tokens does not count"


def test_code_length_of_what_is_known(rng: np.random.Generator) -> None:
    y = rng.integers(4, size=800)
    flat, sure = np.zeros((800, 4)), 40 * np.eye(4)[y]
    assert probing.code_length([Portion(None, y)], 4) == pytest.approx(2)
    assert probing.code_length([Portion(None, y[:100]), Portion(flat[100:], y[100:])], 4) == pytest.approx(2)
    assert probing.code_length([Portion(None, y[:100]), Portion(sure[100:], y[100:])], 4) == pytest.approx(
        0.25, abs=1e-6
    )
    shares = np.log([0.5, 0.25, 0.125, 0.125])
    assert probing.bits(np.tile(shares, (4, 1)), np.arange(4)) == pytest.approx(1 + 2 + 3 + 3)


def test_a_task_without_a_number_leaves_no_mean_and_names_itself() -> None:
    found = probing.lifts(Grades({"topic": 0.5, "sense": float("nan")}))
    assert found["probe_lift.topic@1"].value == 0.5
    assert found["probe_lift@1"].value is None
    assert "sense" in str(found["probe_lift@1"].reason)
    apart = probing.selectivities(Grades({"topic": 0.7, "sense": 0.6}), Grades({"topic": 0.4, "sense": 0.6}))
    assert apart["probe_selectivity@1"].value == pytest.approx(0.15)
