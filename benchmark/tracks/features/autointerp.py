"""Auto-interpretability of one cell: latents are explained on some documents, explanations are graded on others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from benchmark import registry
from benchmark.autointerp import examples, items, scores
from benchmark.autointerp.items import Items, Split
from benchmark.autointerp.windows import Firing, Windows
from benchmark.judges.contract import Examples, Explanation, Grades, Judge, Language, Progress
from benchmark.metrics.ranking import auroc, roc
from benchmark.metrics.token_distribution import TokenDistribution
from benchmark.metrics.value import Value

PAPER, MATCHED = "fuzzing@paper", "fuzzing-token-matched@1"
CONTEXTS, ROC_POINTS = 5, 101
FAR = 10_000
BROKEN, MOST_BYTES = "\N{REPLACEMENT CHARACTER}", 4
"""What a part of a character decodes to, and of how many tokens it has at most."""
Rng = Callable[..., np.random.Generator]


class Text(NamedTuple):
    """What is read: the explainer's and the scorer's windows, from disjoint documents."""

    explain: Windows
    score: Windows
    language: Language


class Asking(NamedTuple):
    """Which scorers ask, the judges by name, and which of them is the suite's."""

    scorers: Sequence[str]
    judges: dict[str, Judge]
    spec: str


class Round(NamedTuple):
    """One scorer: which drawn latents it asks about [asked], and for each the explainer's examples and the items."""

    latents: NDArray[np.int64]
    examples: list[Examples]
    items: list[Items]


class Drawn(NamedTuple):
    """Ids of the drawn latents [latent], where each fires, the explainer's choice among its windows, and whether it is
    eligible [latent].
    """

    ids: NDArray[np.int64]
    explain: list[Firing]
    score: list[Firing]
    chosen: list[NDArray[np.int64]]
    eligible: NDArray[np.bool_]


class Assessed(NamedTuple):
    """Metric values, counts, columns for the table of latents, and further tables: contexts and ROC points."""

    values: dict[str, Value]
    counts: dict[str, float]
    columns: dict[str, list[object]]
    tables: dict[str, pd.DataFrame]


def draw(ids: NDArray[np.int64], explained: sparse.csc_array, z: sparse.csc_array, text: Text, rng: Rng) -> Drawn:
    """Windows of the drawn latents `ids` [latent], from their activations [token, latent] on both splits."""
    explain = [Firing.of(explained, latent, text.explain) for latent in range(z.shape[1])]
    score = [Firing.of(z, latent, text.score) for latent in range(z.shape[1])]
    priorities = rng("windows").random(len(text.explain.rows))
    chosen = [examples.to_explain(firing.strengths, priorities[firing.windows]) for firing in explain]
    enough = [
        len(first.windows) >= examples.EXPLAINED and len(second.windows) >= examples.SCORED
        for first, second in zip(explain, score, strict=True)
    ]
    return Drawn(ids, explain, score, chosen, np.array(enough, bool))


def token_distribution(drawn: Drawn, text: Text) -> TokenDistribution:
    """Of the active tokens in the windows that an explainer sees."""
    shown = [firing.activations[chosen] for firing, chosen in zip(drawn.explain, drawn.chosen, strict=True)]
    where = [activations > 0 for activations in shown]
    ids = [
        text.explain.ids[firing.windows[chosen]][active]
        for firing, chosen, active in zip(drawn.explain, drawn.chosen, where, strict=True)
    ]
    return TokenDistribution.of(
        np.repeat(np.arange(len(shown)), [int(active.sum()) for active in where]),
        np.concatenate([np.zeros(0, np.int64), *ids]),
        np.concatenate([np.zeros(0), *(found[active] for found, active in zip(shown, where, strict=True))]),
        (len(shown), len(text.language.counts)),
    )


def assess(drawn: Drawn, text: Text, asking: Asking, rng: Rng, progress: Progress) -> Assessed:
    """Scorers under the suite's judge, under the same with no explanation and with another latent's, and under the
    judges of the ladder.
    """
    judge, rounds = asking.judges[asking.spec], _rounds(drawn, text, asking.scorers, rng)
    judge.usage()
    words = _explained(judge, rounds, progress)
    values: dict[str, Value] = {}
    curves, counts = [], _counts(drawn, rounds)
    for scorer, asked in rounds.items():
        grades = _graded(judge, words[scorer], asked, text, progress)
        values[scorer] = _value(scorer, asked, grades, drawn)
        if scorer == PAPER:
            values[registry.POOLED] = _pooled(asked, grades)
        curves.append(_curve(scorer, asked, grades))
        counts |= _unjudged(scorer, asked, grades, values[scorer])
        for view, told in _blind(words[scorer], rng).items():
            blind = _graded(judge, told, asked, text, progress)
            values[registry.beside(scorer, view)] = _value(scorer, asked, blind, drawn)._replace(per_latent=None)
    for name in registry.JUDGES:
        rung = asking.judges[name]
        if name == asking.spec:
            values |= {registry.beside(scorer, name): values[scorer]._replace(per_latent=None) for scorer in rounds}
            continue
        words_of_rung = _explained(rung, rounds, progress)
        for scorer, asked in rounds.items():
            grades = _graded(rung, words_of_rung[scorer], asked, text, progress)
            values[registry.beside(scorer, name)] = _value(scorer, asked, grades, drawn)
    usage = judge.usage()
    counts |= usage.counts() if usage else {}
    tables = {"contexts": _contexts(drawn, text), "roc": pd.concat(curves, ignore_index=True)}
    return Assessed(values, counts, _columns(drawn, rounds, words, text), tables)


def _rounds(drawn: Drawn, text: Text, scorers: Sequence[str], rng: Rng) -> dict[str, Round]:
    vocab = len(text.language.counts)
    split = Split.of(text.score, rng("scored windows").random(len(text.score.rows)), vocab)
    latents = np.flatnonzero(drawn.eligible)
    shown = [drawn.explain[latent].examples(drawn.chosen[latent], text.explain) for latent in latents]
    rounds = {}
    for scorer in scorers:
        if scorer == PAPER:
            rounds[scorer] = _paper(drawn, split, rng)
            continue
        ask = registry.resolve(registry.SCORERS[scorer])
        asked = [ask(drawn.score[latent], split, rng(scorer, int(drawn.ids[latent]))) for latent in latents]
        rounds[scorer] = Round(latents, shown, asked)
    return rounds


def _paper(drawn: Drawn, split: Split, rng: Rng) -> Round:
    asked = [
        items.paper(firing, split, rng("fixed positions"), rng(PAPER, int(latent)))
        for latent, firing in zip(drawn.ids, drawn.score, strict=True)
    ]
    survivors = [latent for latent, (shown, _) in enumerate(asked) if len(shown)]
    shown = [drawn.score[latent].examples(asked[latent][0], split.windows) for latent in survivors]
    return Round(np.array(survivors, np.int64), shown, [asked[latent][1] for latent in survivors])


def _explained(judge: Judge, rounds: dict[str, Round], progress: Progress) -> dict[str, list[Explanation]]:
    """Explanations per scorer: the paper's has examples of its own, the others share theirs."""
    told: dict[int, list[Explanation]] = {}
    for asked in rounds.values():
        if id(asked.examples) not in told:
            told[id(asked.examples)] = judge.explain(asked.examples, progress)
    return {scorer: told[id(asked.examples)] for scorer, asked in rounds.items()}


def _graded(judge: Judge, words: list[Explanation], asked: Round, text: Text, progress: Progress) -> list[Grades]:
    shown = [one.questions(text.score) for one in asked.items]
    return judge.grade(list(zip(words, shown, strict=True)), progress)


def _blind(words: list[Explanation], rng: Rng) -> dict[str, list[Explanation]]:
    """No explanation, and that of the next latent in a drawn circle."""
    nothing = [Explanation("")] * len(words)
    circle, shuffled = rng("shuffled").permutation(len(words)), list(nothing)
    for own, other in zip(circle, np.roll(circle, 1), strict=True):
        if own != other:
            shuffled[own] = words[other]
    return dict(zip(registry.BLIND, (nothing, shuffled), strict=True))


def _value(scorer: str, asked: Round, grades: list[Grades], drawn: Drawn) -> Value:
    found, mask = np.full(len(drawn.score), np.nan), np.zeros(len(drawn.score), bool)
    mask[asked.latents] = True
    if mask.any() and not sum(len(one.positive) for one in asked.items):
        return Value(None, "not a single item has a partner to be told from", found, len(found))
    for latent, one, graded in zip(asked.latents, asked.items, grades, strict=True):
        score = scores.of_latent(one, graded, paired=scorer == MATCHED).score
        found[latent] = np.nan if score is None else score
    return scores.of_survivors(found, mask) if scorer == PAPER else scores.of_dictionary(found, mask)


def _pooled(asked: Round, grades: list[Grades]) -> Value:
    value = auroc(*_together(asked, grades))
    return Value(value, None if value is not None else "no item was asked and answered")


def _together(asked: Round, grades: list[Grades]) -> tuple[Grades, NDArray[np.bool_]]:
    every = np.concatenate([np.zeros(0), *grades])
    right = np.concatenate([np.zeros(0, bool), *(one.positive for one in asked.items)])
    answered = ~np.isnan(every)
    return every[answered], right[answered]


def _curve(scorer: str, asked: Round, grades: list[Grades]) -> pd.DataFrame:
    """Points of the ROC curve over all items of all latents, for plots like the paper's alone."""
    every, right = _together(asked, grades)
    if auroc(every, right) is None:
        return pd.DataFrame(columns=["scorer", "false_positive_rate", "true_positive_rate"])
    false, true = roc(every, right, points=ROC_POINTS)
    points = {"false_positive_rate": false, "true_positive_rate": true}
    return pd.DataFrame({"scorer": scorer} | {name: values.astype(np.float32) for name, values in points.items()})


def _counts(drawn: Drawn, rounds: dict[str, Round]) -> dict[str, float]:
    few = 2 * scores.FEWEST_PAIRS
    lacking = {
        f"lacking_negatives.{scorer}": float(sum(len(one.positive) < few for one in asked.items))
        for scorer, asked in rounds.items()
    }
    return {
        "eligible_drawn": float(drawn.eligible.sum()),
        **({"paper_survivors": float(len(rounds[PAPER].latents))} if PAPER in rounds else {}),
        **lacking,
    }


def _unjudged(scorer: str, asked: Round, grades: list[Grades], value: Value) -> dict[str, float]:
    assert value.per_latent is not None
    return {
        f"unjudged.{scorer}": float(np.isnan(value.per_latent[asked.latents]).sum()),
        f"unusable_items.{scorer}": float(sum(np.isnan(graded).sum() for graded in grades)),
    }


def _columns(
    drawn: Drawn, rounds: dict[str, Round], said: dict[str, list[Explanation]], text: Text
) -> dict[str, list[object]]:
    """Explanations, None where there is none, and where the examples are: block x 10,000 + first position."""
    columns: dict[str, list[object]] = {}
    for scorer, asked in rounds.items():
        words: list[object] = [None] * len(drawn.score)
        for latent, told in zip(asked.latents, said[scorer], strict=True):
            words[latent] = told.text
        columns["explanation_paper" if scorer == PAPER else "explanation"] = words
    places = [firing.windows[chosen] for firing, chosen in zip(drawn.explain, drawn.chosen, strict=True)]
    columns["examples"] = [
        (text.explain.block[window] * FAR + text.explain.start[window]).astype(np.int32) for window in places
    ]
    return columns


def _contexts(drawn: Drawn, text: Text) -> pd.DataFrame:
    """The strongest examples of each drawn latent: tokens as they read in turn, and its activation on each."""
    lines = []
    for latent, firing, chosen in zip(drawn.ids, drawn.explain, drawn.chosen, strict=True):
        for rank, place in enumerate(chosen[:CONTEXTS]):
            window = firing.windows[place]
            activations = np.concatenate([firing.left[place], firing.activations[place]])
            lines.append(
                {
                    "latent": int(latent),
                    "rank": rank,
                    "block": int(text.explain.block[window]),
                    "start": int(text.explain.start[window]),
                    "activation": float(firing.strengths[place]),
                    "tokens": spelled([int(token) for token in text.explain.tokens[window]], text.language.decode),
                    "activations": activations.astype(np.float32),
                }
            )
    return pd.DataFrame(lines, columns=["latent", "rank", "block", "start", "activation", "tokens", "activations"])


def spelled(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> list[str]:
    """Token ids as they read, each its own text; a character that several make up belongs to the last of them."""
    words: list[str] = []
    begun = 0
    for end in range(1, len(ids) + 1):
        read = decode(ids[begun:end])
        if BROKEN in read and end < len(ids) and end - begun < MOST_BYTES:
            words.append("")
            continue
        words.append(read)
        begun = end
    return words
