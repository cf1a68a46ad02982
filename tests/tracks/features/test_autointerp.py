"""All scorers and judges on latents whose right scores are known: noise, a token, a token in a context."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from benchmark import keyed, registry
from benchmark.autointerp.windows import WINDOW_TOKENS
from benchmark.judges.contract import Examples, Explanation, Grades, Judge, Progress, Questions
from benchmark.judges.lexical import LADDER, Lexical
from benchmark.judges.prompts import marked
from benchmark.metrics import family
from benchmark.tracks.features.autointerp import Asking, Assessed, _blind, assess, draw, spelled
from tests.autointerp.text import Made, as_text, language, made

EXPLAIN, SCORE = made(1, blocks=250), made(2, blocks=250)
TEXT = as_text(EXPLAIN, SCORE)
MATCHED, FUZZING, DETECTION = "fuzzing-token-matched@1", "fuzzing@1", "detection@1"
OURS = (FUZZING, MATCHED, DETECTION)


def rng(*parts: object) -> np.random.Generator:
    return keyed.rng("test", *parts)


def quiet(text: str, done: int, total: int) -> None:
    pass


def judges() -> dict[str, Judge]:
    return {rung: Lexical(rung, TEXT.language) for rung in LADDER}


def noise(text: Made, seed: int, latents: int, rate: float = 0.03) -> sparse.csc_array:
    draws = np.random.default_rng(seed)
    shape = len(text.windows.of_row), latents
    return sparse.csc_array((draws.random(shape) < rate) * draws.uniform(0.5, 2, shape))


def of_context(text: Made, seed: int) -> sparse.csc_array:
    """Four latents: token 7 after token 0; token 9; token 3 up to five places after token 5; nearly never."""
    block, position = text.rows
    here = text.tokens[block, position]

    def before(offset: int) -> NDArray[np.int64]:
        return np.where(position >= offset, text.tokens[block, np.maximum(position - offset, 0)], -1)

    near = np.zeros(len(here), bool)
    for offset in range(2, 6):
        near |= before(offset) == 5
    columns = [(here == 7) & (before(1) == 0), here == 9, (here == 3) & near, np.arange(len(here)) < 20]
    strength = np.random.default_rng(seed).uniform(0.5, 2, len(here))
    return sparse.csc_array(np.stack([column * strength for column in columns], axis=1))


def assessed(explain: sparse.csc_array, score: sparse.csc_array, spec: str = "lexical") -> Assessed:
    drawn = draw(np.arange(explain.shape[1]), explain, score, TEXT, rng)
    return assess(drawn, TEXT, Asking(list(registry.SCORERS), judges(), spec), rng, quiet)


@pytest.fixture(scope="module")
def control() -> Assessed:
    return assessed(noise(EXPLAIN, 1, 80), noise(SCORE, 2, 80))


@pytest.fixture(scope="module")
def structured() -> Assessed:
    return assessed(of_context(EXPLAIN, 1), of_context(SCORE, 2))


@pytest.mark.parametrize("scorer", OURS)
@pytest.mark.parametrize("judge", ["", *registry.BLIND, *registry.JUDGES])
def test_noise_scores_one_half_under_every_judge(control: Assessed, scorer: str, judge: str) -> None:
    name = registry.beside(scorer, judge) if judge else scorer
    assert control.values[name].value == pytest.approx(0.5, abs=0.02)


class Blind:
    """A judge that sees where marks stand, which window it is, and the order of the items: nothing else."""

    identity = "blind"

    def __init__(self, by: str) -> None:
        self.by = by

    def explain(self, latents: Sequence[Examples], progress: Progress) -> list[Explanation]:
        return [Explanation("x")] * len(latents)

    def grade(self, asked: Sequence[tuple[Explanation, Questions]], progress: Progress) -> list[Grades]:
        return [self._grade(questions) for _, questions in asked]

    def usage(self) -> None:
        return None

    def close(self) -> None:
        pass

    def _grade(self, questions: Questions) -> Grades:
        if self.by == "order":
            return np.arange(len(questions.tokens), dtype=float)
        if self.by == "count":
            return np.asarray(questions.marked.sum(axis=1), dtype=float)
        return np.asarray(questions.marked.argmax(axis=1), dtype=float)


@pytest.mark.parametrize("by", ["place", "count", "order"])
def test_a_judge_without_words_scores_one_half_on_noise(by: str) -> None:
    drawn = draw(np.arange(60), noise(EXPLAIN, 5, 60), noise(SCORE, 6, 60), TEXT, rng)
    found = assess(drawn, TEXT, Asking(OURS, judges() | {"blind": Blind(by)}, "blind"), rng, quiet)
    for scorer in OURS:
        assert found.values[scorer].value == pytest.approx(0.5, abs=0.02)


def test_documents_that_both_see_would_leak() -> None:
    """The test above can fail: where explainer and scorer share documents, rare noise looks explained."""
    one, other = made(3, blocks=250, vocab=1000), made(4, blocks=250, vocab=1000)
    words = language(one)
    judges: dict[str, Judge] = {rung: Lexical(rung, words) for rung in LADDER}
    found = []
    for scored in (one, other):
        text = as_text(one, scored)._replace(language=words)
        codes = noise(one, 1, 40, rate=0.004), noise(scored, 1 if scored is one else 2, 40, rate=0.004)
        drawn = draw(np.arange(40), *codes, text, rng)
        found.append(assess(drawn, text, Asking([FUZZING], judges, "lexical"), rng, quiet).values[FUZZING].value)
    leaked, apart = found
    assert leaked is not None
    assert leaked > 0.65
    assert apart == pytest.approx(0.5, abs=0.03)


def test_a_token_in_a_context_is_told_from_the_token(structured: Assessed) -> None:
    per_latent = structured.values[MATCHED].per_latent
    assert per_latent is not None
    assert per_latent[0] > 0.9
    assert per_latent[1] == 0.5
    assert per_latent[2] > 0.7
    assert np.isnan(per_latent[3])
    token = structured.values[registry.beside(MATCHED, "lexical:token")].per_latent
    assert token is not None
    assert (token[:3] == 0.5).all()
    previous = structured.values[registry.beside(MATCHED, "lexical:previous")].per_latent
    assert previous is not None
    assert previous[0] > 0.9
    assert previous[2] == pytest.approx(0.5, abs=0.15)


def test_a_pure_token_is_well_explained_by_plain_fuzzing_and_counted_by_the_matched(structured: Assessed) -> None:
    fuzzing = structured.values[FUZZING].per_latent
    assert fuzzing is not None
    assert fuzzing[1] > 0.95
    assert structured.counts[f"lacking_negatives.{MATCHED}"] == 1
    assert structured.counts["eligible_drawn"] == 3


def test_what_cannot_be_asked_scores_chance_and_is_not_dropped(structured: Assessed) -> None:
    value, per_latent = structured.values[FUZZING].value, structured.values[FUZZING].per_latent
    assert per_latent is not None
    assert value == pytest.approx(0.75 * np.nanmean(per_latent) + 0.25 * 0.5)


def test_another_latents_explanation_is_never_ones_own(structured: Assessed) -> None:
    words = [Explanation(str(number)) for number in range(7)]
    told = _blind(words, rng)["shuffled"]
    assert sorted(one.text for one in told) == sorted(one.text for one in words)
    assert all(one is not other for one, other in zip(told, words, strict=True))
    shuffled = structured.values[registry.beside(FUZZING, "shuffled")].value
    assert shuffled is not None
    assert shuffled < 0.7 < structured.values[FUZZING].value  # type: ignore[operator]
    assert structured.values[registry.beside(FUZZING, "empty")].value == 0.5


def test_words_examples_contexts_and_curves_are_kept(structured: Assessed) -> None:
    words = structured.columns["explanation"]
    assert str(words[0]).startswith("`w7`")
    assert "after `w0`" in str(words[0])
    assert words[3] is None
    contexts = structured.tables["contexts"]
    assert contexts.groupby("latent").size().loc[[0, 1, 2]].tolist() == [5, 5, 5]
    for tokens, activations in contexts.loc[contexts["latent"] == 1, ["tokens", "activations"]].to_numpy():
        assert len(tokens) == len(activations) == WINDOW_TOKENS
        assert {token for token, active in zip(tokens, activations, strict=True) if active > 0} == {" w9"}
    assert contexts.loc[contexts["latent"] == 0, "activation"].is_monotonic_decreasing
    addresses = np.asarray(structured.columns["examples"][1])
    assert len(addresses) == 40
    assert (addresses % 10_000 % 24 == 0).all()
    curves = structured.tables["roc"]
    assert set(OURS) <= set(curves["scorer"])
    for _, curve in curves.groupby("scorer"):
        assert curve["true_positive_rate"].is_monotonic_increasing
        assert curve["true_positive_rate"].iloc[-1] == 1


def test_only_wanted_scorers_ask_and_their_values_do_not_depend_on_the_others(structured: Assessed) -> None:
    assert list(family.asked([registry.beside(MATCHED, "empty")], "features")) == ["fuzzing-token-matched"]
    assert list(family.asked([registry.POOLED, "fvu@1"], "features")) == ["reconstruction", "fuzzing.paper"]
    drawn = draw(np.arange(4), of_context(EXPLAIN, 1), of_context(SCORE, 2), TEXT, rng)
    alone = assess(drawn, TEXT, Asking([MATCHED], judges(), "lexical"), rng, quiet)
    assert alone.values[MATCHED].value == structured.values[MATCHED].value
    assert FUZZING not in alone.values


def test_the_suites_judge_stands_under_the_plain_name() -> None:
    by_token = assessed(of_context(EXPLAIN, 1), of_context(SCORE, 2), "lexical:token")
    assert by_token.values[MATCHED].value == by_token.values[registry.beside(MATCHED, "lexical:token")].value
    assert by_token.values[registry.beside(MATCHED, "lexical")].value > by_token.values[MATCHED].value  # type: ignore[operator]


def test_no_latent_has_no_score_and_breaks_nothing() -> None:
    nothing = sparse.csc_array((len(EXPLAIN.windows.of_row), 0)), sparse.csc_array((len(SCORE.windows.of_row), 0))
    found = assessed(*nothing)
    for scorer in (*OURS, "fuzzing@paper"):
        assert found.values[scorer].value is None
        assert found.values[scorer].reason


def test_marks_enclose_runs_of_tokens() -> None:
    active = np.array([True, True, False, True])
    assert marked(np.array([1, 2, 3, 4]), active, language(EXPLAIN).decode) == "<< w1 w2>> w3<< w4>>"


def test_a_character_of_several_tokens_belongs_to_the_last() -> None:
    pieces = [b"na", b"\xc3", b"\xaf", b"ve ", b"\xe2", b"\x80", b"\x94", b"\xff", b"x"]

    def decode(ids: Sequence[int]) -> str:
        return b"".join(pieces[number] for number in ids).decode(errors="replace")

    words = spelled(range(len(pieces)), decode)
    assert words[:7] == ["na", "", "ï", "ve ", "", "", "—"]
    assert len(words) == len(pieces)
    assert "".join(words) == decode(range(len(pieces)))
