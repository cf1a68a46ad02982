"""The built-in language: the same everywhere, English enough, and its labels true to its text and its tokens."""

from __future__ import annotations

import collections
import hashlib
import itertools
import re
import time

import numpy as np
import pytest
from transformers import PreTrainedTokenizerFast

from benchmark.data.world.documents import document, documents
from benchmark.data.world.labels import (
    Document,
    Labels,
    Mention,
    Number,
    Register,
    Tense,
    WordClass,
)
from benchmark.data.world.lexicon import LEXICON
from benchmark.data.world.senses import SENSES
from benchmark.models.mini import builtin
from benchmark.models.pythia import tokenizer

SAMPLE = [document(7, number) for number in range(1_000)]


@pytest.fixture(scope="module")
def own_tokenizer() -> PreTrainedTokenizerFast:
    return tokenizer(builtin.checkpoint("built-in:pythia-mini/seed0"))


def rows(found: Document) -> list[Labels[int]]:
    return [Labels(*row) for row in found.labels.tolist()]


def test_text_is_pinned_and_a_seed_gives_its_own() -> None:
    text = "".join(found.text for found in itertools.islice(documents(0), 50))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "38dc9e973e6a0878"
    assert document(0, 0).text != document(1, 0).text
    assert np.array_equal(document(0, 3).labels, next(itertools.islice(documents(0), 3, None)).labels)


def test_language_has_what_it_states() -> None:
    assert len(LEXICON) >= 12
    assert len(SENSES) >= 60
    assert all(len(by_topic) == 2 for by_topic in SENSES.values())
    words = collections.Counter(word.lower() for found in SAMPLE for word in re.findall("[A-Za-z]+", found.text))
    assert len(words) >= 1_500
    counts = [count for _, count in words.most_common()]
    assert counts[0] > 5 * counts[30] > 25 * counts[1_000]
    assert {int(found.labels[0, 1]) for found in SAMPLE} == set(Register)
    used = {row.sense for found in SAMPLE for row in rows(found)}
    assert len(used - {0}) == 2 * len(SENSES)


def test_tokens_find_their_unit_in_a_thousand_documents(own_tokenizer: PreTrainedTokenizerFast) -> None:
    for found in SAMPLE:
        encoding = own_tokenizer.backend_tokenizer.encode(found.text, add_special_tokens=False)
        assert own_tokenizer.decode(encoding.ids) == found.text
        assert 60 <= len(encoding.ids) <= 400
        labels = found.of_tokens(encoding.offsets)
        units = found.units()
        assert "".join(units) == found.text
        starts = found.ends - np.array([len(unit) for unit in units])
        for (start, end), row in zip(encoding.offsets, labels, strict=True):
            unit = int(row[Labels._fields.index("document_place")])
            assert starts[unit] <= end - 1 < found.ends[unit]
            if found.text[start:end].strip().isalpha():
                assert start >= starts[unit], "a token of a word never reaches into another unit"


def test_topics_hold_and_drift() -> None:
    stays = changes = 0
    for found in SAMPLE:
        topics = found.labels[:, 0]
        changes += int((np.diff(topics) != 0).sum())
        stays += int((np.diff(topics) == 0).sum())
    assert 0.001 < changes / (stays + changes) < 0.03


def test_a_sense_is_its_topics_and_its_words() -> None:
    known = {
        sense.number: (sense.word, list(LEXICON).index(sense.topic) + 1)
        for by_topic in SENSES.values()
        for sense in by_topic.values()
    }
    forms = {noun.singular: noun for words in LEXICON.values() for noun in words.ambiguous}
    for found in SAMPLE[:200]:
        for unit, row in zip(found.units(), rows(found), strict=True):
            if row.sense:
                word, topic = known[row.sense]
                assert row.topic == topic
                assert unit.strip().lower() in (word, forms[word].plural)


def test_present_verbs_agree_with_the_head_across_what_stands_between() -> None:
    verbs = {
        verb
        for words in LEXICON.values()
        for noun in (*words.people, *words.things, *words.ambiguous)
        for verb in noun.verbs
    }
    singular, plural = {verb.third for verb in verbs}, {verb.base for verb in verbs}
    pasts = {verb.past for verb in verbs}
    seen = collections.Counter[int]()
    for found in SAMPLE[:300]:
        for unit, row in zip(found.units(), rows(found), strict=True):
            word = unit.strip()
            if row.intervening and row.word_class == WordClass.VERB and row.tense == Tense.PRESENT:
                own = (singular if row.number == Number.SINGULAR else plural) | pasts
                assert word in own or word not in singular | plural
                seen[row.intervening - 1] += 1
            if row.intervening and row.word_class == WordClass.AUXILIARY and word in ("is", "was", "are", "were"):
                assert (word in ("is", "was")) == (row.number == Number.SINGULAR)
    assert min(seen[count] for count in range(4)) > 10


def test_tense_holds_outside_quotes_and_headlines() -> None:
    for found in SAMPLE[:300]:
        register = int(found.labels[0, 1])
        if register in (Register.NARRATIVE, Register.LETTER):
            outside = {row.tense for row in rows(found) if not row.quote_depth}
            assert len(outside - {Tense.PAST}) <= 1


def test_quotes_and_brackets_nest_and_close() -> None:
    deepest = collections.Counter[str]()
    for found in SAMPLE:
        depth = quotes = 0
        for unit, row in zip(found.units(), rows(found), strict=True):
            mark = unit.strip()
            if mark in "([{" and mark:
                depth += 1
            assert row.bracket_depth == depth
            if mark in ")]}" and mark:
                depth -= 1
            if row.word_class == WordClass.QUOTE:
                quotes += 1
            deepest["bracket"] = max(deepest["bracket"], row.bracket_depth)
            deepest["quote"] = max(deepest["quote"], row.quote_depth)
        assert depth == 0
        assert quotes % 2 == 0
    assert deepest["bracket"] >= 3
    assert deepest["quote"] == 2


def test_names_are_introduced_once_and_return() -> None:
    returning = 0
    for found in SAMPLE:
        seen: dict[str, int] = {}
        for unit, row in zip(found.units(), rows(found), strict=True):
            if row.word_class == WordClass.NAME:
                name = unit.strip()
                assert row.mention == (Mention.REPEAT if name in seen else Mention.FIRST)
                assert seen.setdefault(name, row.entity) == row.entity
                returning += row.mention == Mention.REPEAT
    assert returning > 1_000


def test_pronouns_say_what_they_stand_for() -> None:
    fitting = {"she": {1}, "he": {2}, "it": {5, 7, 9}, "they": {3, 4, 6, 8, 10}, "we": {11}, "us": {11}}
    seen = collections.Counter[int]()
    for found in SAMPLE:
        for unit, row in zip(found.units(), rows(found), strict=True):
            if row.referent:
                assert row.referent in fitting[unit.strip().lower()]
                seen[row.referent] += 1
    assert len(seen) >= 9


def test_a_million_tokens_take_seconds_not_minutes() -> None:
    """A ratio: writing a document costs less than 60 times finding its words again by a regular expression."""
    started = time.perf_counter()
    texts = [document(8, number) for number in range(200)]
    writing = time.perf_counter() - started
    started = time.perf_counter()
    for found in texts:
        re.findall(r"[A-Za-z]+|[^A-Za-z\s]", found.text)
    reading = time.perf_counter() - started
    assert writing < 60 * reading
