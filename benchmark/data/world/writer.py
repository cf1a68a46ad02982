"""Writes a document unit by unit, each with the labels of the state that the writer is in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import numpy as np

from benchmark import keyed
from benchmark.data.world import general
from benchmark.data.world.labels import Document, Mention, Number, Register, Tense, WordClass
from benchmark.data.world.lexicon import LEXICON, NEIGHBOURS, Words, zipfian
from benchmark.data.world.topics import TOPICS

Item = TypeVar("Item")
_TOPIC_NAMES = tuple(TOPICS)
_WOMEN, _MEN, _TOWNS = (zipfian(names.split()) for names in (general.WOMEN, general.MEN, general.TOWNS))
_NAMING = (WordClass.NOUN, WordClass.NAME)
_OF_KIND = {"woman": _WOMEN, "man": _MEN, "town": _TOWNS}


class Entity(NamedTuple):
    """A named person or town of a document; `kind` is woman, man or town."""

    name: str
    kind: str
    number: int


class Writer:
    """The state of a document under way.

    Draws are raw PCG64 output reduced here, so that a seed gives the same text on every platform and numpy release.
    """

    def __init__(self, seed: int, number: int) -> None:
        bits = np.random.PCG64(keyed.seed("world", seed, number))
        self._draw = _draws(bits).__next__
        self._text: list[str] = []
        self._labels: list[tuple[int, ...]] = []
        self._capital, self._glue, self._place, self._nouns = False, "", 0, 0
        self.home = self.pick(_TOPIC_NAMES)
        self.words: Words = LEXICON[self.home]
        self.register = self.pick(tuple(Register))
        self.tense = Tense.NONE
        self.number, self.between, self._quotes, self._brackets = Number.NONE, 0, 0, 0
        self.entities: list[Entity] = []
        self.items = 0

    def __len__(self) -> int:
        return len(self._text)

    def below(self, limit: int) -> int:
        """An integer in [0, limit)."""
        return self._draw() % limit

    def chance(self, percent: int) -> bool:
        """True this often."""
        return self._draw() % 100 < percent

    def pick(self, pool: Sequence[Item]) -> Item:
        """An item of a pool."""
        return pool[self._draw() % len(pool)]

    def put(  # noqa: PLR0917  one argument a label
        self, word: str, word_class: int, role: int = 0, sense: int = 0, mention: int = 0, entity: int = 0,
        referent: int = 0,
    ) -> None:  # fmt: skip
        """Write one unit after a blank."""
        if self._capital and word[0].isalpha():
            word, self._capital = word[0].upper() + word[1:], False
        self._text.append(self._glue + word)
        self._glue = " "
        self._nouns += word_class in _NAMING
        self._labels.append(
            (
                self.words.number,
                self.register,
                sense,
                word_class,
                role,
                self.number,
                self.between,
                self.tense,
                self._quotes,
                self._brackets,
                mention,
                entity,
                referent,
                self._place,
                len(self._labels),
            )
        )
        self._place += 1

    def mark(self, mark: str) -> None:
        """Write a punctuation mark without a blank before it."""
        self._glue = ""
        self.put(mark, WordClass.PUNCTUATION)

    def tight(self) -> None:
        """Leave out the next blank."""
        self._glue = ""

    def new_line(self, count: int = 1) -> None:
        """Write line ends."""
        for _ in range(count):
            self._glue = ""
            self.put("\n", WordClass.LAYOUT)
        self._glue = ""

    def begin(self, *, capital: bool = True) -> None:
        """Begin a sentence."""
        self._capital, self._place = capital, 0
        self.number, self.between = Number.NONE, 0

    def start_clause(self) -> None:
        """Forget the subject of the clause before."""
        self.number, self.between = Number.NONE, 0

    @contextmanager
    def inner_clause(self) -> Iterator[None]:
        """A clause inside another one, whose nouns stand between the outer subject and its verb."""
        outer, between, first = self.number, self.between, self._nouns
        self.start_clause()
        yield
        self.number, self.between = outer, between + self._nouns - first if between else 0

    @contextmanager
    def quoted(self) -> Iterator[None]:
        """Quotation marks, double outside and single inside."""
        quote = "'" if self._quotes else '"'
        self._quotes += 1
        self.put(quote, WordClass.QUOTE)
        self._glue = ""
        yield
        self._glue = ""
        self.put(quote, WordClass.QUOTE)
        self._quotes -= 1

    @contextmanager
    def bracketed(self, pair: str = "()", *, glued: bool = False) -> Iterator[None]:
        """Brackets; `glued` leaves out the blank before them."""
        self._brackets += 1
        if glued:
            self._glue = ""
        self.put(pair[0], WordClass.BRACKET)
        self._glue = ""
        yield
        self._glue = ""
        self.put(pair[1], WordClass.BRACKET)
        self._brackets -= 1

    @contextmanager
    def in_tense(self, tense: Tense) -> Iterator[None]:
        """Another tense for a while."""
        outer, self.tense = self.tense, tense
        yield
        self.tense = outer

    @property
    def nested(self) -> bool:
        """Whether the writer is inside quotation marks."""
        return self._quotes > 0

    def capitalise(self) -> None:
        """Begin the next word with a capital."""
        self._capital = True

    def drift(self) -> None:
        """Now and then the topic moves to one that shares a word with the document's own, and mostly comes back."""
        if self.words is not LEXICON[self.home]:
            if self.chance(45):
                self.words = LEXICON[self.home]
        elif self.chance(7):
            self.words = LEXICON[self.pick(NEIGHBOURS[self.home])]

    def entity(self, *, town: bool = False, limit: int = 3, not_first: bool = False) -> tuple[Entity, bool]:
        """A named person or town of this document and whether it is new: mostly one that was introduced."""
        known = [entity for entity in self.entities if (entity.kind == "town") == town]
        others = known[1:] if known and not_first else known
        if others and (len(known) >= limit or not self.chance(22)):
            return self.pick(others), False
        kind = "town" if town else self.pick(("woman", "man"))
        names = {entity.name for entity in known}
        name = next(name for name in iter(lambda: self.pick(_OF_KIND[kind]), None) if name not in names)
        entity = Entity(name, kind, len(self.entities) + 1)
        self.entities.append(entity)
        return entity, True

    def name(self, entity: Entity, role: int, *, new: bool) -> None:
        """Write the name of an entity."""
        if self.between:
            self.between += 1
        mention = Mention.FIRST if new else Mention.REPEAT
        self.put(entity.name, WordClass.NAME, role, 0, mention, entity.number)

    def finish(self) -> Document:
        """The document."""
        ends = np.cumsum([len(text) for text in self._text])
        return Document("".join(self._text), ends.astype(np.int64), np.array(self._labels, dtype=np.int16))


def _draws(bits: np.random.PCG64) -> Iterator[int]:
    while True:
        yield from (bits.random_raw(512) >> np.uint64(24)).tolist()
