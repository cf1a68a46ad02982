"""Word lists as pools to draw from: Zipfian, each noun with its forms, kind, sense and verbs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from benchmark.data.world import general, morphology
from benchmark.data.world.senses import SENSES, Sense
from benchmark.data.world.topics import TOPICS

Item = TypeVar("Item")


class Verb(NamedTuple):
    """A verb's base form, third person singular and past."""

    base: str
    third: str
    past: str

    @classmethod
    def of(cls, base: str) -> Verb:
        return cls(base, morphology.third_person(base), morphology.past(base))


class Noun(NamedTuple):
    """A noun; `kind` is person, animal, thing or place, `verbs` what it does by itself, `sense` 0 unless ambiguous."""

    singular: str
    plural: str
    kind: str
    verbs: Sequence[Verb]
    sense: int = 0


class Words(NamedTuple):
    """Everything that a document about one topic draws from, as pools."""

    number: int
    people: list[Noun]
    animals: list[Noun]
    things: list[Noun]
    places: list[Noun]
    ambiguous: list[Noun]
    do: list[Verb]
    adjectives: list[str]


def zipfian(items: Iterable[Item]) -> list[Item]:
    """A pool in which the item of rank r stands about 1/r times as often as the first."""
    ranked = list(items)
    return [item for rank, item in enumerate(ranked) for _ in range(max(1, round(1.5 * len(ranked) / (rank + 2))))]


def verbs(text: str) -> list[Verb]:
    """A pool of the verbs of a word list."""
    return zipfian(Verb.of(base) for base in dict.fromkeys(text.split()))


def _nouns(text: str, kind: str, own: Sequence[Verb]) -> list[Noun]:
    return zipfian(Noun(noun, morphology.plural(noun), kind, own) for noun in text.split())


def _ambiguous(sense: Sense) -> Noun:
    forms = sense.word, morphology.plural(sense.word)
    return Noun(*forms, "thing", [Verb.of(base) for base in sense.verbs], sense.number)


def _words(number: int, name: str) -> Words:
    topic = TOPICS[name]
    people = verbs(f"{topic.act} {general.PEOPLE_ACT}")
    things = verbs(f"{topic.happen} {general.THINGS_HAPPEN}")
    return Words(
        number,
        _nouns(topic.people, "person", people),
        _nouns(topic.animals, "animal", verbs(general.ANIMALS_ACT)),
        _nouns(topic.things, "thing", things),
        _nouns(topic.places, "place", verbs(general.PLACES_HAPPEN)),
        [_ambiguous(by_topic[name]) for by_topic in SENSES.values() if name in by_topic],
        verbs(topic.do),
        zipfian(f"{topic.adjectives} {general.ADJECTIVES}".split()),
    )


LEXICON = {name: _words(number, name) for number, name in enumerate(TOPICS, start=1)}
"""Topic -> its pools."""
NEIGHBOURS = {
    name: [other for by_topic in SENSES.values() if name in by_topic for other in by_topic if other != name]
    for name in TOPICS
}
"""Topic -> topics it drifts to: those it shares a word with, as often as they share one."""
