"""Concepts from labels: families, tiers and the answers of a hand-read sentence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmark.data.world.concepts import FAMILIES, TIERS, Family, families
from benchmark.data.world.documents import document
from benchmark.data.world.labels import Labels, Mention, Number, Referent, Tense, WordClass


def asked(labels: NDArray[np.int16], blocks: NDArray[np.int64]) -> dict[str, Family]:
    previous = np.concatenate([labels[:1], labels[:-1]])
    return {family.name: family for family in families(labels, previous, blocks)}


def test_families_are_those_of_the_tiers_and_rows_fit() -> None:
    labels = np.concatenate([document(3, number).labels for number in range(30)])
    found = asked(labels, np.zeros(len(labels), np.int64))
    assert set(found) == set(FAMILIES)
    assert {family.tier for family in found.values()} == {*TIERS, "other"}
    for family in found.values():
        assert family.y.shape == (len(family.rows), len(family.concepts))
    for name in ("word_class", "topic", "register", "sense", "entity", "referent"):
        assert (found[name].y.sum(axis=1) == 1).all(), "exactly one answer is yes"


def row(**labels: int) -> list[int]:
    return list(Labels(*[0] * len(Labels._fields))._replace(**labels))


def test_agreement_is_asked_between_the_first_noun_and_the_verb() -> None:
    plural = {"number": Number.PLURAL, "tense": Tense.PRESENT}
    sentence = [
        row(word_class=WordClass.DETERMINER),
        row(word_class=WordClass.NOUN, **plural),
        row(word_class=WordClass.PREPOSITION, intervening=1, **plural),
        row(word_class=WordClass.NOUN, intervening=2, **plural),
        row(word_class=WordClass.ADVERB, intervening=2, **plural),
        row(word_class=WordClass.VERB, intervening=2, **plural),
    ]
    family = asked(np.array(sentence, np.int16), np.zeros(6, np.int64))["agreement"]
    assert family.rows.tolist() == [3, 4]
    assert family.y[:, family.concepts.index("plural")].all()


def test_an_entity_returns_within_its_block_only() -> None:
    name = {"word_class": WordClass.NAME, "entity": 1}
    sentence = [
        row(**name, mention=Mention.FIRST, document_place=4),
        row(**name, mention=Mention.FIRST, document_place=4),
        row(**name, mention=Mention.REPEAT, document_place=9),
        row(**name, mention=Mention.REPEAT, document_place=30),
        row(**name, mention=Mention.REPEAT, document_place=35),
    ]
    family = asked(np.array(sentence, np.int16), np.array([0, 0, 0, 1, 1]))["entity"]
    assert family.y[:, family.concepts.index("returning")].tolist() == [False, False, True, False, True]


def test_the_previous_class_is_that_of_the_token_before() -> None:
    sentence = [
        row(word_class=WordClass.DETERMINER),
        row(word_class=WordClass.NOUN, referent=Referent.NONE),
        row(word_class=WordClass.VERB),
    ]
    family = asked(np.array(sentence, np.int16), np.zeros(3, np.int64))["previous_word_class"]
    assert family.y[2, family.concepts.index("noun")]
    assert family.y[1, family.concepts.index("determiner")]
