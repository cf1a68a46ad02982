"""Items give away nothing but what an explanation can know."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from benchmark.autointerp import items
from benchmark.autointerp.examples import SCORED
from benchmark.autointerp.items import Items, Split
from benchmark.autointerp.windows import OWN, Firing
from benchmark.metrics.ranking import auroc, paired_share
from tests.autointerp.text import Made, made

Scorer = Callable[[Firing, Split, np.random.Generator], Items]
SCORERS: dict[str, Scorer] = {
    "fuzzing": items.fuzzing, "matched": items.token_matched, "detection": items.detection
}  # fmt: skip


@pytest.fixture(scope="module")
def text() -> Made:
    return made(11, blocks=200)


def early(text: Made, rng: np.random.Generator) -> Firing:
    """A latent that fires mostly early in a document, in runs, whatever the tokens."""
    _, position = text.rows
    start = rng.random(len(position)) < 0.25 * np.exp(-position / 30)
    return Firing.of(text.column(start | np.roll(start, 1) | np.roll(start, 2), rng), 0, text.windows)


def of_token(text: Made, rng: np.random.Generator, token: int = 9) -> Firing:
    block, position = text.rows
    return Firing.of(text.column(text.tokens[block, position] == token, rng), 0, text.windows)


def share(items: Items, grades: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    value = auroc(grades, items.positive)
    assert value is not None
    return value


def sees(asked: Items, text: Made) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Grades of judges that see marked positions alone: in the window, in the document, and how many there are."""
    marks = asked.marked
    middle = (marks * np.arange(OWN)).sum(axis=1) / np.maximum(marks.sum(axis=1), 1)
    return {
        "offset": middle,
        "first": marks.argmax(axis=1).astype(float),
        "document": text.windows.start[asked.windows] + middle,
        "marks": marks.sum(axis=1).astype(float),
    }


@pytest.mark.parametrize("scorer", ["fuzzing", "detection"])
def test_a_judge_that_sees_marked_positions_alone_scores_one_half(text: Made, scorer: str) -> None:
    """Of a latent that fires early in documents and in runs."""
    found: dict[str, list[float]] = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        asked = SCORERS[scorer](early(text, rng), text.split(seed), rng)
        for name, grades in sees(asked, text).items():
            found.setdefault(name, []).append(share(asked, grades))
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.02), name


@pytest.mark.parametrize("vocab", [60, 400])
def test_matched_pairs_do_not_say_which_is_right_by_position(vocab: int) -> None:
    """Of latents that fire anywhere: neither the earlier nor the later of a pair is right more often."""
    found: dict[str, list[float]] = {}
    for seed in range(40):
        rng = np.random.default_rng(seed)
        other = made(100 + seed, blocks=120, vocab=vocab)
        active = rng.random(len(other.windows.of_row)) < 0.03
        asked = items.token_matched(
            Firing.of(other.column(active, rng), 0, other.windows), other.split(seed, vocab), rng
        )
        order = np.lexsort((~asked.positive, asked.pair))
        for name, grades in sees(asked, other).items():
            found.setdefault(name, []).append(paired_share(*grades[order].reshape(-1, 2).T))
    for name, values in found.items():
        assert np.mean(values) == pytest.approx(0.5, abs=0.02), name


@pytest.mark.parametrize("scorer", SCORERS)
def test_the_order_of_items_says_nothing(text: Made, scorer: str) -> None:
    values = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        asked = SCORERS[scorer](early(text, rng), text.split(seed), rng)
        values.append(share(asked, np.arange(len(asked.positive), dtype=float)))
    assert np.mean(values) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("scorer", SCORERS)
def test_positives_fire_negatives_are_silent_and_pairs_are_complete(text: Made, scorer: str) -> None:
    rng = np.random.default_rng(3)
    firing = early(text, rng)
    asked = SCORERS[scorer](firing, text.split(), rng)
    dense = np.zeros((len(text.windows.rows), OWN))
    dense[firing.windows] = firing.activations
    here = dense[asked.windows]
    pairs = int(asked.positive.sum())
    assert pairs > 0.4 * SCORED
    assert np.bincount(asked.pair).tolist() == [2] * pairs
    if scorer == "detection":
        assert not asked.marked.any()
        assert (here.max(axis=1) > 0).tolist() == asked.positive.tolist()
        assert not np.isin(asked.windows[~asked.positive], firing.touched).any()
    else:
        assert (here[asked.marked] > 0).tolist() == np.repeat(asked.positive, asked.marked.sum(axis=1)).tolist()
        by_pair = asked.marked.sum(axis=1)[np.argsort(asked.pair, kind="stable")].reshape(-1, 2)
        np.testing.assert_array_equal(by_pair[:, 0], by_pair[:, 1])


def test_half_of_fuzzing_negatives_stand_where_the_latent_fires_elsewhere_in_the_window(text: Made) -> None:
    rng = np.random.default_rng(3)
    firing = early(text, rng)
    asked = items.fuzzing(firing, text.split(), rng)
    assert np.isin(asked.windows[~asked.positive], firing.windows).sum() == pytest.approx(SCORED / 2, abs=5)


def test_fuzzing_marks_tokens_from_a_third_of_the_largest_activation(text: Made) -> None:
    rng = np.random.default_rng(4)
    firing = early(text, rng)
    asked = items.fuzzing(firing, text.split(), rng)
    place = {int(window): number for number, window in enumerate(firing.windows)}
    for window, marks in zip(asked.windows[asked.positive], asked.marked[asked.positive], strict=True):
        activations = firing.activations[place[int(window)]]
        np.testing.assert_array_equal(marks, activations >= 0.3 * activations.max())


def test_token_matched_pairs_share_the_token_at_the_nearest_free_position(text: Made) -> None:
    rng = np.random.default_rng(5)
    firing = early(text, rng)
    asked = items.token_matched(firing, text.split(), rng)
    token = text.windows.ids[asked.windows][asked.marked]
    assert (asked.marked.sum(axis=1) == 1).all()
    order = np.argsort(asked.pair, kind="stable")
    np.testing.assert_array_equal(*token[order].reshape(-1, 2).T)
    partners = (asked.windows * OWN + asked.marked.argmax(axis=1))[~asked.positive]
    assert len(np.unique(partners)) == len(partners)
    position = text.windows.start[asked.windows] + asked.marked.argmax(axis=1)
    apart = np.abs(np.diff(position[order].reshape(-1, 2), axis=1))
    assert np.median(apart) <= 8


def test_a_pure_token_latent_has_no_partner(text: Made) -> None:
    rng = np.random.default_rng(6)
    assert len(items.token_matched(of_token(text, rng), text.split(), rng).positive) == 0


def test_paired_share_counts_ties_half() -> None:
    assert paired_share(np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 1.0])) == 0.5


def test_the_papers_protocol_keeps_its_quirks(text: Made) -> None:
    rng = np.random.default_rng(7)
    firing = early(text, rng)
    shown, asked = items.paper(firing, text.split(), np.random.default_rng(0), rng)
    overlap = np.isin(asked.windows[asked.positive], firing.windows[shown])
    assert overlap.any()
    assert not np.isin(asked.windows[~asked.positive], firing.windows).any()
    wrong = asked.marked[~asked.positive]
    assert (wrong == wrong[0]).all()
    dense = np.zeros((len(text.windows.rows), OWN))
    dense[firing.windows] = firing.activations
    assert wrong[0].sum() == np.ceil((dense[asked.windows[asked.positive]] > 0).sum(axis=1).mean())
    count = int(np.searchsorted((firing.activations > 0).sum(axis=1).cumsum(), items.PAPER_FIRINGS))
    few = firing._replace(windows=firing.windows[:count], activations=firing.activations[:count])
    assert len(items.paper(few, text.split(), rng, rng)[1].positive) == 0
