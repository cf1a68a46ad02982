"""Concepts of the built-in language, from the labels of tokens: families of yes-or-no questions in three tiers.

token_class    what the token itself says
bigram         what the token before it was
latent_state   what neither says: it must be computed from further back
other          state that is told as well, and that enters no tier's mean
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.data.world.labels import (
    SENSE_NAMES,
    TOPIC_NAMES,
    Labels,
    Number,
    Referent,
    Register,
    Tense,
    WordClass,
)

TIERS = ("token_class", "bigram", "latent_state")
FAMILIES = {
    "word_class": "token_class",
    "previous_word_class": "bigram",
    "topic": "latent_state",
    "sense": "latent_state",
    "agreement": "latent_state",
    "depth": "latent_state",
    "entity": "latent_state",
    "register": "other",
    "tense": "other",
    "referent": "other",
}
"""Family -> tier."""


Columns = Labels[NDArray[np.int64]]


class Family(NamedTuple):
    """Concepts that are asked about the same tokens: `rows` [row] are theirs, `y` [row, concept] the answers."""

    name: str
    concepts: tuple[str, ...]
    rows: NDArray[np.int64]
    y: NDArray[np.bool_]

    @property
    def tier(self) -> str:
        return FAMILIES[self.name]


def families(labels: NDArray[np.int16], previous: NDArray[np.int16], blocks: NDArray[np.int64]) -> list[Family]:
    """All families, from labels of each token and of the token before it, both [token, label], and its block [token].

    A name counts as returning when an earlier one in the same block is the same entity: nobody can know of others.
    """
    here = _columns(labels)
    everywhere = np.ones(len(labels), dtype=bool)
    predicate = np.isin(here.word_class, (WordClass.VERB, WordClass.AUXILIARY))
    known = here.tense > 0
    between = (here.intervening > 1) & ~predicate
    named = here.entity > 0
    return [
        _one_of("word_class", here.word_class, WordClass, everywhere),
        _one_of("previous_word_class", _columns(previous).word_class, WordClass, everywhere),
        _named("topic", here.topic, TOPIC_NAMES, everywhere),
        _named("sense", here.sense, SENSE_NAMES, here.sense > 0),
        _one_of("agreement", here.number, Number, between),
        _family("depth", dict(_depths(here)), everywhere),
        _family("entity", {"returning": _returning(here, blocks), "new": ~_returning(here, blocks)}, named),
        _one_of("register", here.register, Register, everywhere),
        _one_of("tense", here.tense, Tense, known & ~predicate),
        _one_of("referent", here.referent, Referent, here.referent > 0),
    ]


def _columns(labels: NDArray[np.int16]) -> Columns:
    return Labels(*labels.astype(np.int64).T)


def _depths(here: Columns) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for name, depth in (("quote", here.quote_depth), ("bracket", here.bracket_depth)):
        for least in (1, 2):
            yield f"{name}>={least}", np.asarray(depth) >= least


def _returning(here: Columns, blocks: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the entity was named in the block before this unit."""
    key = np.stack([blocks, here.entity], axis=1)
    _, place = np.unique(key, axis=0, return_inverse=True)
    first = np.full(place.max(initial=0) + 1, np.iinfo(np.int64).max)
    np.minimum.at(first, place.ravel(), here.document_place)
    earlier: NDArray[np.bool_] = np.asarray(here.document_place) > first[place.ravel()]
    return earlier


def _one_of(name: str, values: NDArray[np.int64], kinds: type[IntEnum], scope: NDArray[np.bool_]) -> Family:
    return _family(name, {kind.name.lower(): values == kind for kind in kinds if kind}, scope)


def _named(name: str, values: NDArray[np.int64], names: tuple[str, ...], scope: NDArray[np.bool_]) -> Family:
    return _family(name, {text: values == number for number, text in enumerate(names) if number}, scope)


def _family(name: str, answers: dict[str, NDArray[np.bool_]], scope: NDArray[np.bool_]) -> Family:
    rows = np.flatnonzero(scope)
    return Family(name, tuple(answers), rows, np.stack([answer[rows] for answer in answers.values()], axis=1))
