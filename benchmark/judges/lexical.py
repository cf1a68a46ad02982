"""A judge without a model: an explanation is a weighted list of tokens, tokens before them and words nearby.

Weights are log-likelihood ratios of active tokens against the corpus, smoothed by corpus frequencies; what an item's
marked tokens sum to goes through a logistic fitted on the explainer's own examples. It is rounded before, so that items
which differ in the order of summing alone are a tie on every machine. What this judge can tell is what could be said
from tokens alone: a yardstick beside any language model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from benchmark.judges.contract import LEFT_CONTEXT, Examples, Explanation, Grades, Language, Progress, Questions, Usage

VERSION = 2
PRIOR = 2.0
DECIMALS = 9
KEPT = {"token": 24, "previous": 16, "nearby": 24}
SHOWN = {"token": 6, "previous": 3, "nearby": 5}
WEIGHT = {"token": 1.0, "previous": 1.0, "nearby": 0.5}
OFFSETS = {"token": (0,), "previous": (1,), "nearby": tuple(range(2, LEFT_CONTEXT + 1))}
LADDER = {
    "lexical:token": ("token",),
    "lexical:previous": ("token", "previous"),
    "lexical": ("token", "previous", "nearby"),
}


@dataclass(frozen=True)
class Terms:
    """Weights of listed token ids, [term] each, and of any other id."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float64]
    other: float

    def of(self, tokens: NDArray[np.int64], vocab: int) -> NDArray[np.float64]:
        """The weight of each token."""
        table = np.full(vocab, self.other)
        table[self.ids] = self.weights
        found: NDArray[np.float64] = table[tokens]
        return found


@dataclass(frozen=True)
class LexicalExplanation(Explanation):
    """The words, and the numbers behind them: terms per part, and slope and intercept of the logistic."""

    terms: dict[str, Terms] = field(default_factory=dict)
    slope: float = 1.0
    intercept: float = 0.0


class Lexical:
    """Judge by likelihood ratios of tokens; `rung` is a name of `LADDER`."""

    def __init__(self, rung: str, language: Language) -> None:
        self.parts = LADDER[rung]
        self.identity = f"{rung}/{VERSION}"
        self._language = language
        self._share = (language.counts + 1) / (language.counts.sum() + len(language.counts))

    def explain(self, latents: Sequence[Examples], progress: Progress) -> list[Explanation]:
        """Weighted lists, learned from the examples' active tokens; one logistic for all of them."""
        active = [examples.activations > 0 for examples in latents]
        terms = [
            {part: self._terms(part, examples.tokens, fires) for part in self.parts}
            for examples, fires in zip(latents, active, strict=True)
        ]
        sums = [self._sums(found, examples.tokens) for found, examples in zip(terms, latents, strict=True)]
        slope, intercept = _calibrated(sums, active)
        return [LexicalExplanation(self._text(found), terms=found, slope=slope, intercept=intercept) for found in terms]

    def grade(self, asked: Sequence[tuple[Explanation, Questions]], progress: Progress) -> list[Grades]:
        """Probabilities; one half for every item of an explanation that says nothing."""
        return [self._grade(explanation, questions) for explanation, questions in asked]

    def usage(self) -> Usage | None:
        return None

    def close(self) -> None:
        pass

    def _terms(self, part: str, tokens: NDArray[np.int64], active: NDArray[np.bool_]) -> Terms:
        """Log-likelihood ratios of the ids that say most, by their pull on the whole: count x ratio."""
        seen = _related(part, tokens)[active]
        ids, counts = np.unique(seen[seen >= 0], return_counts=True)
        total = counts.sum()
        ratios = np.log((counts + PRIOR * self._share[ids]) / (total + PRIOR) / self._share[ids])
        kept = np.lexsort((ids, -counts * ratios))[: KEPT[part]]
        kept = kept[ratios[kept] > 0]
        rest = max(1 - self._share[ids[kept]].sum(), 1e-9)
        left = (total - counts[kept].sum() + PRIOR * rest) / (total + PRIOR)
        return Terms(ids[kept], WEIGHT[part] * ratios[kept], float(WEIGHT[part] * np.log(left / rest)))

    def _sums(self, terms: dict[str, Terms], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-likelihood ratio of every token, [item, pos]."""
        vocab, total = len(self._share), np.zeros(tokens.shape)
        for part, listed in terms.items():
            related = _related(part, tokens)
            total += np.where(related >= 0, listed.of(related, vocab), 0.0).sum(axis=2)
        return total

    def _grade(self, explanation: Explanation, questions: Questions) -> Grades:
        if not isinstance(explanation, LexicalExplanation):
            return np.full(len(questions.tokens), 0.5)
        sums, marked = self._sums(explanation.terms, questions.tokens), questions.marked
        strongest = sums[:, LEFT_CONTEXT:].max(axis=1)
        mean = np.divide((sums * marked).sum(axis=1), marked.sum(axis=1), out=strongest, where=marked.any(axis=1))
        log_odds = explanation.slope * mean.round(DECIMALS) + explanation.intercept
        grades: Grades = 1 / (1 + np.exp(-log_odds))
        return grades

    def _text(self, terms: dict[str, Terms]) -> str:
        """Such as: `bank` near river, water; after `the`."""
        words = {part: self._words(part, listed) for part, listed in terms.items()}
        said = ", ".join(f"`{word}`" for word in words["token"]) or "no token in particular"
        if words.get("nearby"):
            said += f" near {', '.join(words['nearby'])}"
        if words.get("previous"):
            said += "; after " + ", ".join(f"`{word}`" for word in words["previous"])
        return said

    def _words(self, part: str, listed: Terms) -> list[str]:
        read = (self._language.decode([int(number)]).strip() for number in listed.ids)
        return list(dict.fromkeys(_visible(word) for word in read))[: SHOWN[part]]


def _related(part: str, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every token the ids that a part looks at, -1 outside the window: [item, pos, offset]."""
    return np.stack([_shifted(tokens, offset) for offset in OFFSETS[part]], axis=2)


def _shifted(tokens: NDArray[np.int64], offset: int) -> NDArray[np.int64]:
    shifted = np.full_like(tokens, -1)
    shifted[:, offset:] = tokens[:, : tokens.shape[1] - offset]
    return shifted


def _calibrated(sums: list[NDArray[np.float64]], active: list[NDArray[np.bool_]]) -> tuple[float, float]:
    """Slope and intercept of P(active | sum) over own tokens, classes weighing the same; 1 and 0 for one class."""
    x, y = (
        np.concatenate([np.zeros(0), *(part[:, LEFT_CONTEXT:].ravel() for part in parts)]) for parts in (sums, active)
    )
    if len(np.unique(y)) < 2:
        return 1.0, 0.0
    fitted = LogisticRegression(class_weight="balanced").fit(x[:, None], y)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def _visible(word: str) -> str:
    return {"": "(space)", "\n": "(line break)"}.get(word, word)
