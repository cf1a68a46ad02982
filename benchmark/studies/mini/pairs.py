"""Minimal pairs from labelled documents: a continuation that the latent state makes right, and one it makes wrong.

agreement-N    the verb after N nouns that stand between it and its subject's head, against its other number
sense          the verb right after an ambiguous noun, against the same form of a verb of the noun's other sense
entity         the name of somebody who was introduced, against one of the same kind who was not
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark.data.world import general
from benchmark.data.world.labels import Document, Labels, Mention, Number, Tense, WordClass
from benchmark.data.world.lexicon import LEXICON, Noun, Verb
from benchmark.data.world.senses import SENSES

KINDS = ("agreement-1", "agreement-2", "agreement-3", "sense", "entity")
_COPULAS = {"is": "are", "are": "is", "was": "were", "were": "was", "does": "do", "do": "does"}
_NAMES = {kind: tuple(names.split()) for kind, names in (("woman", general.WOMEN), ("man", general.MEN))}
_KIND_OF = {name: kind for kind, names in _NAMES.items() for name in names}


class Pair(NamedTuple):
    """Two continuations, each with its leading blank, of the first `start` characters of a document."""

    kind: str
    start: int
    right: str
    wrong: str


class Question(NamedTuple):
    """A pair as token ids: which of two tokens follows `prefix`."""

    kind: str
    prefix: list[int]
    right: int
    wrong: int


def _verbs() -> Iterator[Verb]:
    for words in LEXICON.values():
        yield from words.do
        for noun in (*words.people, *words.animals, *words.things, *words.places, *words.ambiguous):
            yield from noun.verbs


_OTHER_NUMBER = {verb.base: verb.third for verb in _verbs()} | {verb.third: verb.base for verb in _verbs()} | _COPULAS
_BY_SENSE: dict[int, Noun] = {noun.sense: noun for words in LEXICON.values() for noun in words.ambiguous}
_OTHER_SENSE = {
    sense.number: _BY_SENSE[other.number]
    for by_topic in SENSES.values()
    for sense in by_topic.values()
    for other in by_topic.values()
    if other is not sense
}


def of_document(document: Document) -> Iterator[Pair]:
    """All minimal pairs of a document, in order."""
    units, rows = document.units(), [Labels(*row) for row in document.labels.tolist()]
    present = {unit.strip() for unit in units}
    ends = [0, *document.ends.tolist()]
    for place, (unit, row) in enumerate(zip(units, rows, strict=True)):
        word, blank = unit.strip(), unit[: len(unit) - len(unit.lstrip())]
        if row.intervening > 1 and row.word_class in {WordClass.VERB, WordClass.AUXILIARY}:
            other = _OTHER_NUMBER.get(word)
            if other and row.tense != Tense.FUTURE and row.number != Number.NONE and row.intervening <= 4:
                yield Pair(f"agreement-{row.intervening - 1}", ends[place], unit, blank + other)
        elif row.word_class == WordClass.VERB and place and (sense := rows[place - 1].sense):
            wrong = _in_other_sense(sense, word)
            if wrong:
                yield Pair("sense", ends[place], unit, blank + wrong)
        elif row.mention == Mention.REPEAT and word in _KIND_OF:
            pool = [name for name in _NAMES[_KIND_OF[word]] if name not in present]
            yield Pair("entity", ends[place], unit, blank + pool[ends[place] % len(pool)])


def _in_other_sense(sense: int, word: str) -> str | None:
    """The same form of a verb of the other sense, or None when the word is no verb of this sense alone."""
    noun, other = _BY_SENSE[sense], _OTHER_SENSE[sense]
    known = {form for verb in other.verbs for form in verb}
    for place, verb in enumerate(noun.verbs):
        if word in verb and word not in known:
            return other.verbs[place % len(other.verbs)][verb.index(word)]
    return None


def questions(documents: Iterable[Document], tokenizer: PreTrainedTokenizerFast, context: int) -> Iterator[Question]:
    """Pairs as tokens: both words up to where they part; those where one is the beginning of the other are left out."""
    encode = tokenizer.backend_tokenizer.encode
    for document in documents:
        whole = encode(document.text, add_special_tokens=False)
        ends = np.array([end for _, end in whole.offsets])
        for pair in of_document(document):
            right, wrong = (encode(word, add_special_tokens=False).ids for word in (pair.right, pair.wrong))
            shared = next((n for n, (a, b) in enumerate(zip(right, wrong, strict=False)) if a != b), None)
            before = int(np.searchsorted(ends, pair.start, side="right"))
            if shared is None or before + shared >= context or before == 0:
                continue
            yield Question(pair.kind, whole.ids[:before] + right[:shared], right[shared], wrong[shared])


@torch.no_grad()
def model_prefers(model: GPTNeoXForCausalLM, asked: list[Question], batch: int = 64) -> NDArray[np.float64]:
    """1 where the model gives the right token more probability, .5 for a tie, else 0, [question]."""
    grades = np.zeros(len(asked))
    order = sorted(range(len(asked)), key=lambda place: len(asked[place].prefix))
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        width = len(asked[rows[-1]].prefix)
        ids = torch.tensor([asked[row].prefix + [0] * (width - len(asked[row].prefix)) for row in rows])
        last = torch.tensor([len(asked[row].prefix) - 1 for row in rows])
        hidden = model.gpt_neox(ids).last_hidden_state[torch.arange(len(rows)), last]
        logits = torch.nn.functional.linear(hidden, model.get_output_embeddings().weight)
        right, wrong = (
            logits.gather(1, torch.tensor([[getattr(asked[row], side)] for row in rows]))[:, 0]
            for side in ("right", "wrong")
        )
        grades[rows] = ((right > wrong).double() + 0.5 * (right == wrong).double()).numpy()
    return grades


class Counts(NamedTuple):
    """Token counts of a text: unigrams [vocab] and bigrams [vocab, vocab]."""

    single: NDArray[np.float64]
    double: NDArray[np.float64]

    @classmethod
    def of(cls, tokens: NDArray[np.uint16], vocab: int) -> Counts:
        """Count a stream of token ids."""
        ids = tokens.astype(np.int64)
        double = np.bincount(ids[:-1] * vocab + ids[1:], minlength=vocab * vocab).reshape(vocab, vocab)
        return cls(np.bincount(ids, minlength=vocab).astype(float), double.astype(float))

    def prefer(self, asked: list[Question]) -> dict[str, NDArray[np.float64]]:
        """Grades [question] of the unigram and of the bigram model, the latter with the unigram as one observation."""
        share = (self.single + 1) / (self.single + 1).sum()
        previous = np.array([question.prefix[-1] for question in asked])
        right, wrong = (np.array([getattr(question, side) for question in asked]) for side in ("right", "wrong"))
        unigram = share[right] - share[wrong]
        bigram = self.double[previous, right] + share[right] - self.double[previous, wrong] - share[wrong]
        return {"unigram": (1 + np.sign(unigram)) / 2, "bigram": (1 + np.sign(bigram)) / 2}


def accuracy(asked: list[Question], grades: NDArray[np.float64]) -> dict[str, float]:
    """Mean grade of each kind of pair."""
    kinds = np.array([question.kind for question in asked])
    return {kind: float(grades[kinds == kind].mean()) for kind in KINDS}
