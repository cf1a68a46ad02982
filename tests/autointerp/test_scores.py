"""Scores per latent and per dictionary: what is left out, what counts as chance, what is undefined."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.autointerp.items import Items
from benchmark.autointerp.scores import of_dictionary, of_latent, of_survivors
from benchmark.autointerp.windows import OWN

NAN = float("nan")


def items(pairs: int) -> Items:
    """Positives first; item i and item i + pairs are a pair."""
    order = np.arange(2 * pairs)
    return Items(order, np.zeros((2 * pairs, OWN), bool), order < pairs, order % pairs)


def test_items_that_are_all_right_score_one_and_all_equal_one_half() -> None:
    asked = items(25)
    for paired in (False, True):
        assert of_latent(asked, asked.positive.astype(float), paired=paired).score == 1
        assert of_latent(asked, np.full(50, 0.3), paired=paired).score == 0.5


def test_pairs_are_compared_within_and_not_across() -> None:
    """Every pair is right, though pairs differ so much that the AUROC over items is near one half."""
    asked = items(40)
    grades = np.where(asked.positive, 0.01, 0.0) + asked.pair.astype(float)
    assert of_latent(asked, grades, paired=True).score == 1
    assert of_latent(asked, grades, paired=False).score == pytest.approx(0.5, abs=0.02)


def test_under_twenty_pairs_is_chance_and_counted() -> None:
    assert of_latent(items(19), np.ones(38), paired=True) == (0.5, True)
    assert of_latent(items(20), items(20).positive.astype(float), paired=True) == (1.0, False)


def test_unanswered_items_are_left_out_and_never_zero() -> None:
    """Ten positives unanswered: as zeros they would cost a fifth of the score."""
    asked = items(25)
    grades = asked.positive.astype(float)
    grades[:10] = NAN
    assert of_latent(asked, grades, paired=False).score == 1
    assert of_latent(asked, grades, paired=True).score == 1


def test_a_latent_with_under_half_of_its_answers_is_unjudged() -> None:
    asked = items(25)
    grades = asked.positive.astype(float)
    grades[:26] = NAN
    assert of_latent(asked, grades, paired=False).score is None
    assert of_latent(asked, grades, paired=True).score is None


def test_intention_to_score() -> None:
    found = of_dictionary(np.array([0.9, 0.7, NAN, NAN]), np.array([True, True, False, False]))
    assert found.value == pytest.approx(0.5 * 0.8 + 0.5 * 0.5)
    assert found.undefined == 2


def test_where_nobody_could_be_asked_there_is_no_score() -> None:
    """One half would be evidence of chance, on a null and on the trained network alike."""
    for count in (5, 0):
        found = of_dictionary(np.full(count, NAN), np.zeros(count, bool))
        assert found.value is None
        assert f"none of {count} drawn latents" in str(found.reason)


def test_over_a_fifth_unjudged_is_undefined() -> None:
    asked = np.ones(10, bool)
    scores = np.full(10, 0.9)
    scores[:2] = NAN
    assert of_dictionary(scores, asked).value == pytest.approx(0.9)
    scores[:3] = NAN
    found = of_dictionary(scores, asked)
    assert found.value is None
    assert "3 of 10 latents are unjudged" in str(found.reason)


def test_the_papers_mean_is_over_survivors() -> None:
    assert of_survivors(np.array([0.9, NAN]), np.array([True, False])).value == 0.9
    assert of_survivors(np.array([NAN]), np.array([False])).reason
