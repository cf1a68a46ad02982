"""Ground truth of a document: one row of labels per unit, and how tokens find their unit."""

from __future__ import annotations

from enum import IntEnum
from typing import Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.data.world.senses import SENSES
from benchmark.data.world.topics import TOPICS

Field = TypeVar("Field")

TOPIC_NAMES = ("", *TOPICS)
SENSE_NAMES = ("", *(f"{sense.word}:{sense.topic}" for by_topic in SENSES.values() for sense in by_topic.values()))


class Register(IntEnum):
    """What kind of text a document is."""

    NARRATIVE = 1
    DIALOGUE = 2
    NEWS = 3
    INSTRUCTIONS = 4
    LETTER = 5
    LIST = 6
    CODE = 7


class WordClass(IntEnum):
    """Part of speech of a unit."""

    DETERMINER = 1
    ADJECTIVE = 2
    NOUN = 3
    NAME = 4
    PRONOUN = 5
    VERB = 6
    AUXILIARY = 7
    ADVERB = 8
    PREPOSITION = 9
    CONJUNCTION = 10
    NUMBER = 11
    PUNCTUATION = 12
    QUOTE = 13
    BRACKET = 14
    LAYOUT = 15


class Role(IntEnum):
    """Grammatical role in the clause."""

    NONE = 0
    SUBJECT = 1
    PREDICATE = 2
    OBJECT = 3
    MODIFIER = 4


class Number(IntEnum):
    """Number of the subject of the clause, from its head on."""

    NONE = 0
    SINGULAR = 1
    PLURAL = 2


class Tense(IntEnum):
    """Tense of the clause."""

    NONE = 0
    PRESENT = 1
    PAST = 2
    FUTURE = 3


class Mention(IntEnum):
    """Whether a name stands for the first time in its document."""

    NONE = 0
    FIRST = 1
    REPEAT = 2


class Referent(IntEnum):
    """What a pronoun stands for."""

    NONE = 0
    WOMAN = 1
    MAN = 2
    PERSON = 3
    PEOPLE = 4
    THING = 5
    THINGS = 6
    ANIMAL = 7
    ANIMALS = 8
    PLACE = 9
    PLACES = 10
    US = 11


class Labels(NamedTuple, Generic[Field]):
    """Labels of one unit, or of many when each field holds one entry per unit or token; 0 stands for none.

    `intervening` is 0 outside the span between a subject's head and its verb; inside it, and at the verb, 1 + the nouns
    since the head. `entity` numbers the names of a document from 1. `sentence_place` and `document_place` count units
    from 0.
    """

    topic: Field
    register: Field
    sense: Field
    word_class: Field
    role: Field
    number: Field
    intervening: Field
    tense: Field
    quote_depth: Field
    bracket_depth: Field
    mention: Field
    entity: Field
    referent: Field
    sentence_place: Field
    document_place: Field


class Document(NamedTuple):
    """A document: its text, the end of each unit [unit] in characters, and labels [unit, label]."""

    text: str
    ends: NDArray[np.int64]
    labels: NDArray[np.int16]

    def units(self) -> list[str]:
        """Text of every unit, with the blank before it."""
        starts = [0, *self.ends[:-1].tolist()]
        return [self.text[start:end] for start, end in zip(starts, self.ends.tolist(), strict=True)]

    def of_tokens(self, offsets: list[tuple[int, int]]) -> NDArray[np.int16]:
        """Labels [token, label] of tokens with these character offsets: those of the unit of its last character."""
        last = np.fromiter((end for _, end in offsets), np.int64, len(offsets)) - 1
        rows: NDArray[np.int16] = self.labels[np.searchsorted(self.ends, last, side="right")]
        return rows
