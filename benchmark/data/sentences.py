"""A plain generated corpus, so that the default suite runs with no download: short seeded documents about one topic.

It is a stand-in for the built-in language with known latent state and has only what a small model needs to be worth
training: topics that hold through a document, agreement in number across a phrase, and names that return.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark import keyed

_TOPICS: dict[str, tuple[Sequence[str], Sequence[str], Sequence[str]]] = {
    "harbour": (
        ("boat", "sailor", "net", "tide", "gull", "anchor", "dock", "captain"),
        ("drift", "return", "sink", "float", "wait", "sail"),
        ("salty", "grey", "slow", "wet", "distant"),
    ),
    "kitchen": (
        ("cook", "pan", "onion", "knife", "oven", "loaf", "spoon", "guest"),
        ("simmer", "burn", "cool", "rise", "shine", "fall"),
        ("hot", "sweet", "clean", "heavy", "fresh"),
    ),
    "court": (
        ("judge", "lawyer", "witness", "case", "clerk", "letter", "rule", "claim"),
        ("speak", "fail", "stand", "pause", "object", "agree"),
        ("formal", "long", "strict", "quiet", "final"),
    ),
    "garden": (
        ("tree", "root", "bee", "flower", "path", "gardener", "wall", "seed"),
        ("grow", "bloom", "fade", "spread", "sleep", "bend"),
        ("green", "old", "wild", "bright", "small"),
    ),
    "station": (
        ("train", "driver", "signal", "ticket", "platform", "porter", "clock", "bag"),
        ("arrive", "leave", "stop", "move", "change", "whistle"),
        ("late", "fast", "empty", "loud", "red"),
    ),
    "school": (
        ("teacher", "pupil", "book", "desk", "lesson", "bell", "map", "question"),
        ("learn", "answer", "begin", "end", "listen", "help"),
        ("new", "hard", "young", "clear", "short"),
    ),
}
_NAMES = ("Ada", "Bruno", "Clara", "Dov", "Elsa", "Femi", "Greta", "Hugo", "Iris", "Jonas", "Kemi", "Lena")
_PLACES = ("near", "behind", "beside", "above", "under")
_TIMES = ("In the morning", "Later", "That evening", "Again", "Before noon", "After a while")


def documents(seed: int) -> Iterator[str]:
    """An endless sequence of documents of about 60 to 250 words, the same for a seed on every platform."""
    number = 0
    while True:
        yield _document(seed, number)
        number += 1


def _document(seed: int, number: int) -> str:
    rng = keyed.rng("sentences", seed, number)
    draws = iter(rng.integers(0, 1 << 30, size=4096).tolist())

    def pick(options: Sequence[str]) -> str:
        return options[int(len(options) * (next(draws) / (1 << 30)) ** 1.5)]

    nouns, verbs, adjectives = _TOPICS[sorted(_TOPICS)[int(rng.integers(len(_TOPICS)))]]
    hero = _NAMES[int(rng.integers(len(_NAMES)))]

    def phrase() -> tuple[str, bool]:
        plural = next(draws) % 2 == 0
        noun = pick(nouns) + ("s" if plural else "")
        return f"the {pick(adjectives)} {noun}" if next(draws) % 3 else f"the {noun}", plural

    def sentence() -> str:
        subject, plural = phrase()
        kind = next(draws) % 5
        if kind == 0:
            return f"{hero} saw {subject} {pick(_PLACES)} {phrase()[0]}."
        if kind == 1:
            return f'"{subject.capitalize()} {"are" if plural else "is"} {pick(adjectives)}," said {hero}.'
        if kind == 2:
            subject = f"{subject} {pick(_PLACES)} {phrase()[0]}"
        verb = pick(verbs) + ("" if plural else "s")
        opening = f"{pick(_TIMES)} {subject}" if kind == 3 else subject.capitalize()
        return f"{opening} {verb}."

    return " ".join(sentence() for _ in range(8 + next(draws) % 24))
