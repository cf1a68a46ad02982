"""The judge without a model: what it learns, what it says, and that it is the same to the byte."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from benchmark.judges.contract import Examples, Explanation, Judge, Language, Questions
from benchmark.judges.lexical import LADDER, Lexical, LexicalExplanation

VOCAB = 60
LANGUAGE = Language(np.arange(VOCAB, 0, -1) * 10, lambda ids: " ".join(f"w{number}" for number in ids))
RNG = np.random.default_rng


def draw(seed: int, items: int) -> tuple[np.ndarray[tuple[int, int], np.dtype[np.int64]], np.random.Generator]:
    rng = RNG(seed)
    return rng.choice(VOCAB, size=(items, 32), p=LANGUAGE.counts / LANGUAGE.counts.sum()).astype(np.int64), rng


def told(tokens: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Examples:
    """A latent that fires on the token at place 20."""
    return Examples(tokens, np.tile((np.arange(32) == 20) * 2.0, (len(tokens), 1)))


def quiet(text: str, done: int, total: int) -> None:
    pass


def asked(tokens: np.ndarray[tuple[int, int], np.dtype[np.int64]]) -> Questions:
    return Questions(tokens, np.tile(np.arange(32) == 20, (len(tokens), 1)))


def share(rung: str, kind: str) -> float:
    """How often a judge prefers the right one of two items that differ in `kind` alone."""
    shown, _ = draw(0, 40)
    change = {"token": (20, 40), "previous": (19, 41), "nearby": (15, 42)}
    where, what = change[kind]
    shown[:, where] = what
    judge = Lexical(rung, LANGUAGE)
    words = judge.explain([told(shown)], quiet)[0]
    right, _ = draw(1, 200)
    wrong = right.copy()
    right[:, where] = what
    first, second = judge.grade([(words, asked(right)), (words, asked(wrong))], quiet)
    return float(((first > second) + 0.5 * (first == second)).mean())


@pytest.mark.parametrize(("rung", "kind", "knows"), [
    ("lexical:token", "token", True), ("lexical:token", "previous", False), ("lexical:token", "nearby", False),
    ("lexical:previous", "token", True), ("lexical:previous", "previous", True), ("lexical:previous", "nearby", False),
    ("lexical", "token", True), ("lexical", "previous", True), ("lexical", "nearby", True),
])  # fmt: skip
def test_each_rung_knows_what_it_may_know(rung: str, kind: str, knows: bool) -> None:
    if knows:
        assert share(rung, kind) > 0.9
    else:
        assert share(rung, kind) == 0.5


def test_an_explanation_is_short_and_readable() -> None:
    shown, _ = draw(0, 40)
    shown[:, 20], shown[:, 19], shown[:, 15] = 40, 41, 42
    words = Lexical("lexical", LANGUAGE).explain([told(shown)], quiet)[0]
    assert words.text.startswith("`w40` near w4")
    assert "; after `w41`" in words.text
    assert len(words.text) < 200


def test_grades_are_calibrated_probabilities() -> None:
    """Of items graded about p, about a share p fires, where half of all do."""
    shown, rng = draw(3, 400)
    fires = rng.random(400) < 0.5
    shown[fires, 20] = np.where(rng.random(fires.sum()) < 0.7, 40, shown[fires, 20])
    examples = Examples(shown, np.where(fires[:, None] & (np.arange(32) == 20), 1.0, 0.0))
    judge = Lexical("lexical:token", LANGUAGE)
    grades = judge.grade([(judge.explain([examples], quiet)[0], asked(shown))], quiet)[0]
    assert ((grades > 0) & (grades < 1)).all()
    high = grades > 0.5
    assert fires[high].mean() > 0.9
    assert fires[~high].mean() < 0.5


def test_a_window_is_graded_by_its_strongest_own_token() -> None:
    shown, _ = draw(0, 40)
    shown[:, 20] = 40
    judge = Lexical("lexical:token", LANGUAGE)
    words = judge.explain([told(shown)], quiet)[0]
    plain = np.full((3, 32), 5, np.int64)
    plain[1, 25], plain[2, 3] = 40, 40
    grades = judge.grade([(words, Questions(plain, np.zeros((3, 32), bool)))], quiet)[0]
    assert grades[1] > grades[0] == grades[2]


def test_no_explanation_grades_one_half() -> None:
    tokens, _ = draw(0, 4)
    for rung in LADDER:
        grades = Lexical(rung, LANGUAGE).grade([(Explanation(""), asked(tokens))], quiet)[0]
        assert (grades == 0.5).all()


def test_the_same_tokens_nearby_in_another_order_are_a_tie() -> None:
    shown, rng = draw(5, 400)
    words = Lexical("lexical", LANGUAGE).explain([told(shown)], quiet)[0]
    one, _ = draw(6, 300)
    other = one.copy()
    other[:, 12:19] = rng.permuted(one[:, 12:19], axis=1)
    first, second = Lexical("lexical", LANGUAGE).grade([(words, asked(one)), (words, asked(other))], quiet)
    np.testing.assert_array_equal(first, second)
    assert len(np.unique(first)) > 50


def test_an_unknown_token_grades_below_a_known_one_and_not_at_infinity() -> None:
    shown, _ = draw(0, 40)
    shown[:, 20] = 40
    judge = Lexical("lexical:token", LANGUAGE)
    words = judge.explain([told(shown)], quiet)[0]
    assert isinstance(words, LexicalExplanation)
    assert words.slope > 0
    tokens = np.full((2, 32), 40, np.int64)
    tokens[1] = 59
    known, unknown = judge.grade([(words, asked(tokens))], quiet)[0]
    assert 0 < unknown < known < 1


PROGRAM = """
import hashlib, sys
sys.path.insert(0, ".")
from tests.judges.test_lexical import *
judge = Lexical("lexical", LANGUAGE)
shown, _ = draw(0, 40)
words = judge.explain([told(shown), told(shown[::-1])], quiet)
grades = judge.grade([(word, asked(draw(7, 50)[0])) for word in words], quiet)
said = repr([word.text for word in words]).encode()
print(hashlib.sha256(b"".join(found.tobytes() for found in grades) + said).hexdigest())
"""


def test_two_processes_give_the_same_bytes() -> None:
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1


@pytest.mark.parametrize("rung", LADDER)
def test_rungs_are_judges(rung: str) -> None:
    assert isinstance(Lexical(rung, LANGUAGE), Judge)
    assert Lexical(rung, LANGUAGE).usage() is None
