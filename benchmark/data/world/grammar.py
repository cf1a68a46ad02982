"""Phrases and clauses: who does what, with agreement, tense, pronouns that refer and phrases in between."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.data.world import general
from benchmark.data.world.labels import Number, Referent, Register, Role, Tense, WordClass
from benchmark.data.world.lexicon import Noun, Verb, verbs, zipfian
from benchmark.data.world.morphology import article
from benchmark.data.world.writer import Writer

_BETWEEN, _WHERE = general.BEFORE_NOUN.split(), zipfian(general.WHERE.split())
_ADVERBS, _TIMES = zipfian(general.ADVERBS.split()), general.TIMES.split("|")
_NUMBERS, _ANYBODY = zipfian(general.NUMBERS.split()), verbs(general.ANYBODY_DOES)
_PEOPLE_ACT = verbs(general.PEOPLE_ACT)
_PEOPLE_ADJECTIVES = zipfian(general.PEOPLE_ADJECTIVES.split())
_SPEAK, _ASK = verbs(general.SPEAK), verbs(general.ASK)
_SINGULAR_DETERMINERS = ("the",) * 11 + ("a",) * 5 + ("this", "that", "every")
_PLURAL_DETERMINERS = ("the",) * 11 + ("some",) * 4 + ("these", "many", "several", "those")
_REFERENTS = {
    "person": (Referent.PERSON, Referent.PEOPLE),
    "thing": (Referent.THING, Referent.THINGS),
    "animal": (Referent.ANIMAL, Referent.ANIMALS),
    "place": (Referent.PLACE, Referent.PLACES),
    "woman": (Referent.WOMAN, Referent.WOMAN),
    "man": (Referent.MAN, Referent.MAN),
}
_PEOPLE = {"person", "woman", "man"}
_PRONOUNS = {Referent.WOMAN: "she", Referent.MAN: "he"}


class Subject(NamedTuple):
    """What a predicate has to know of its subject."""

    kind: str
    plural: bool
    verbs: Sequence[Verb]
    sense: int = 0

    @property
    def person(self) -> bool:
        return self.kind in _PEOPLE


def any_noun(w: Writer) -> Noun:
    """A noun of the topic, of any kind."""
    place = w.below(100)
    words = w.words
    if place < 38:
        return w.pick(words.things)
    if place < 62:
        return w.pick(words.ambiguous)
    if place < 80:
        return w.pick(words.people)
    return w.pick(words.places) if place < 93 else w.pick(words.animals)


def adjective_for(w: Writer, kind: str) -> str:
    """An adjective that suits people or the things of the topic."""
    return w.pick(_PEOPLE_ADJECTIVES if kind in _PEOPLE else w.words.adjectives)


def noun_phrase(w: Writer, noun: Noun, role: int, *, plural: bool, head: bool = False) -> None:
    """Determiner, perhaps adjectives, and noun; `head` begins the span between a subject and its verb."""
    adjective = adjective_for(w, noun.kind) if w.chance(26) else ""
    if plural and w.chance(12):
        w.put(w.pick(_NUMBERS), WordClass.NUMBER, role)
    else:
        determiner = w.pick(_PLURAL_DETERMINERS if plural else _SINGULAR_DETERMINERS)
        if determiner == "a":
            determiner = article(adjective or noun.singular)
        w.put(determiner, WordClass.DETERMINER, role)
    if adjective:
        w.put(adjective, WordClass.ADJECTIVE, role)
    if head:
        w.number = Number.PLURAL if plural else Number.SINGULAR
    elif w.between:
        w.between += 1
    w.put(noun.plural if plural else noun.singular, WordClass.NOUN, role, noun.sense)
    if head:
        w.between = 1


def preposition_phrase(w: Writer, noun: Noun) -> None:
    """A phrase that stands behind a noun."""
    w.put(w.pick(_BETWEEN), WordClass.PREPOSITION, Role.MODIFIER)
    noun_phrase(w, noun, Role.MODIFIER, plural=w.chance(45))


def where(w: Writer) -> None:
    """Where something is: a place of the topic or a town."""
    if w.chance(35):
        w.put("in", WordClass.PREPOSITION, Role.MODIFIER)
        town, new = w.entity(town=True, limit=2)
        w.name(town, Role.MODIFIER, new=new)
    else:
        w.put(w.pick(_WHERE), WordClass.PREPOSITION, Role.MODIFIER)
        noun_phrase(w, w.pick(w.words.places), Role.MODIFIER, plural=w.chance(15))


def common_subject(w: Writer, noun: Noun, *, short: bool = False) -> Subject:
    """A noun as subject, perhaps with phrases or a relative clause before its verb."""
    plural = w.chance(45)
    noun_phrase(w, noun, Role.SUBJECT, plural=plural, head=True)
    kind = w.below(100)
    if not short and kind < 38:
        for _ in range((1, 1, 1, 1, 1, 2, 2, 2, 3, 3)[w.below(10)]):
            preposition_phrase(w, any_noun(w))
    elif not short and kind < 46 and noun.kind == "person":
        with w.inner_clause():
            w.put("who", WordClass.PRONOUN, Role.SUBJECT)
            w.number = Number.PLURAL if plural else Number.SINGULAR
            verb_phrase(w, w.pick(w.words.do), plural=plural)
            noun_phrase(w, w.pick(w.words.things), Role.OBJECT, plural=w.chance(45))
    elif not short and kind < 46:
        with w.inner_clause():
            w.put("that", WordClass.PRONOUN, Role.OBJECT)
            other = w.chance(45)
            noun_phrase(w, w.pick(w.words.people), Role.SUBJECT, plural=other, head=True)
            verb_phrase(w, w.pick(w.words.do), plural=other)
    return Subject(noun.kind, plural, noun.verbs, noun.sense)


def named_subject(w: Writer, *, short: bool = False) -> Subject:
    """A named person as subject; a new one is mostly introduced by what she is and where she is from."""
    person, new = w.entity()
    w.number = Number.SINGULAR
    w.name(person, Role.SUBJECT, new=new)
    w.between = 1
    if new and not short and w.chance(60):
        w.mark(",")
        noun = w.pick(w.words.people)
        adjective = adjective_for(w, noun.kind) if w.chance(40) else ""
        w.put(article(adjective or noun.singular), WordClass.DETERMINER, Role.MODIFIER)
        if adjective:
            w.put(adjective, WordClass.ADJECTIVE, Role.MODIFIER)
        w.between += 1
        w.put(noun.singular, WordClass.NOUN, Role.MODIFIER)
        if w.chance(50):
            w.put("from", WordClass.PREPOSITION, Role.MODIFIER)
            town, first = w.entity(town=True, limit=2)
            w.name(town, Role.MODIFIER, new=first)
        w.mark(",")
    return Subject(person.kind, False, _PEOPLE_ACT)


def pronoun_subject(w: Writer, before: Subject) -> Subject:
    """A pronoun that stands for the subject of the sentence before."""
    referent = _REFERENTS[before.kind][before.plural]
    if before.plural or before.kind == "person":
        word, plural = "they", True
    else:
        word, plural = _PRONOUNS.get(referent, "it"), False
    w.number = Number.PLURAL if plural else Number.SINGULAR
    w.put(word, WordClass.PRONOUN, Role.SUBJECT, 0, 0, 0, referent)
    w.between = 1
    return before._replace(plural=plural)


def us_subject(w: Writer) -> Subject:
    """The writer or speaker and their people."""
    w.number = Number.PLURAL
    w.put("we", WordClass.PRONOUN, Role.SUBJECT, 0, 0, 0, Referent.US)
    w.between = 1
    return Subject("person", True, _PEOPLE_ACT)


def subject(w: Writer, before: Subject | None) -> Subject:
    """Any subject; `before` may be meant by a pronoun."""
    place = w.below(100)
    if before is not None and place < 22:
        return pronoun_subject(w, before)
    if place < 42:
        return named_subject(w)
    if place < 70:
        return common_subject(w, w.pick(w.words.ambiguous), short=w.chance(50))
    return common_subject(w, any_noun(w))


def verb_phrase(w: Writer, verb: Verb, *, plural: bool) -> None:
    """The verb in the tense of the passage, agreeing with its subject; ends the span since the subject's head."""
    if w.tense == Tense.FUTURE:
        w.put("will", WordClass.AUXILIARY, Role.PREDICATE)
        w.between = 0
        w.put(verb.base, WordClass.VERB, Role.PREDICATE)
        return
    if w.chance(5):
        negated = "did" if w.tense == Tense.PAST else ("do" if plural else "does")
        w.put(negated, WordClass.AUXILIARY, Role.PREDICATE)
        w.between = 0
        w.put("not", WordClass.ADVERB, Role.PREDICATE)
        w.put(verb.base, WordClass.VERB, Role.PREDICATE)
        return
    form = verb.past if w.tense == Tense.PAST else (verb.base if plural else verb.third)
    w.put(form, WordClass.VERB, Role.PREDICATE)
    w.between = 0


def copula(w: Writer, kind: str, *, plural: bool) -> None:
    """A form of to be, and an adjective."""
    forms = {Tense.PRESENT: ("is", "are"), Tense.PAST: ("was", "were"), Tense.NONE: ("is", "are")}
    if w.tense == Tense.FUTURE:
        w.put("will", WordClass.AUXILIARY, Role.PREDICATE)
        w.between = 0
        w.put("be", WordClass.AUXILIARY, Role.PREDICATE)
    else:
        w.put(forms[w.tense][plural], WordClass.AUXILIARY, Role.PREDICATE)
        w.between = 0
    if w.chance(20):
        w.put(w.pick(("very", "too", "not", "still")), WordClass.ADVERB, Role.PREDICATE)
    w.put(adjective_for(w, kind), WordClass.ADJECTIVE, Role.PREDICATE)


def transitive(w: Writer, *, plural: bool) -> None:
    """A verb of people with its object."""
    if w.chance(72):
        verb_phrase(w, w.pick(w.words.do), plural=plural)
        pool = w.words.ambiguous if w.chance(20) else w.words.things
        noun_phrase(w, w.pick(pool), Role.OBJECT, plural=w.chance(45))
    else:
        verb_phrase(w, w.pick(_ANYBODY), plural=plural)
        noun_phrase(w, any_noun(w), Role.OBJECT, plural=w.chance(45))


def aside(w: Writer) -> None:
    """A remark in brackets, rarely with another one inside."""
    with w.inner_clause(), w.bracketed():
        noun_phrase(w, any_noun(w), Role.MODIFIER, plural=w.chance(45))
        if w.chance(30):
            with w.bracketed("[]"):
                where(w)
        elif w.chance(40):
            preposition_phrase(w, any_noun(w))


def predicate(w: Writer, who: Subject) -> None:
    """What the subject does or is."""
    place = w.below(100)
    state = place < (12 if who.sense else 25)
    if state:
        copula(w, who.kind, plural=who.plural)
    elif who.person and place < 75:
        transitive(w, plural=who.plural)
    else:
        verb_phrase(w, w.pick(who.verbs), plural=who.plural)
    ending = w.below(100)
    if ending < 16 and not state:
        w.put(w.pick(_ADVERBS), WordClass.ADVERB, Role.MODIFIER)
    elif ending < 32:
        where(w)
    elif ending < 38:
        aside(w)
    elif ending < 46:
        w.put("and", WordClass.CONJUNCTION)
        verb_phrase(w, w.pick(who.verbs), plural=who.plural)


def clause(w: Writer, before: Subject | None = None) -> Subject:
    """Subject and predicate; returns the subject, for a pronoun to refer to."""
    w.start_clause()
    who = us_subject(w) if (w.nested or w.register == Register.LETTER) and w.chance(20) else subject(w, before)
    predicate(w, who)
    return who


def sentence(w: Writer, before: Subject | None = None) -> Subject:
    """A whole sentence, now and then with a time in front or two clauses."""
    w.begin()
    if w.chance(14):
        for part in w.pick(_TIMES).split():
            w.put(part, WordClass.PREPOSITION if part[0].isupper() else WordClass.NOUN, Role.MODIFIER)
        w.mark(",")
    who = clause(w, before)
    if w.chance(12):
        w.mark(",")
        w.put(w.pick(("and", "but", "because", "while", "so")), WordClass.CONJUNCTION)
        who = clause(w, who)
    w.mark(".")
    return who


def speech(w: Writer, before: Subject | None = None) -> None:
    """Somebody says something, perhaps what somebody else said."""
    outer = w.tense
    w.begin()
    with w.in_tense(Tense.PRESENT), w.quoted():
        if w.chance(16):
            named_subject(w, short=True)
            w.put("told", WordClass.VERB, Role.PREDICATE)
            w.put("us", WordClass.PRONOUN, Role.OBJECT, 0, 0, 0, Referent.US)
            w.mark(",")
            with w.quoted():
                clause(w)
                w.mark(",")
        else:
            clause(w, before)
            w.mark(",")
    w.start_clause()
    with w.in_tense(Tense.PRESENT if outer == Tense.PRESENT else Tense.PAST):
        _speaker(w, _SPEAK)
    w.mark(".")


def question(w: Writer) -> None:
    """Somebody asks something."""
    w.begin()
    with w.in_tense(Tense.PRESENT), w.quoted():
        plural = w.chance(45)
        noun = any_noun(w)
        w.put(("does", "do")[plural], WordClass.AUXILIARY, Role.PREDICATE)
        noun_phrase(w, noun, Role.SUBJECT, plural=plural)
        w.put(w.pick(noun.verbs).base, WordClass.VERB, Role.PREDICATE)
        w.mark("?")
    w.start_clause()
    with w.in_tense(Tense.PAST):
        _speaker(w, _ASK)
    w.mark(".")


def _speaker(w: Writer, pool: Sequence[Verb]) -> None:
    if w.chance(70):
        person, new = w.entity()
        verb = w.pick(pool)
        w.put(verb.third if w.tense == Tense.PRESENT else verb.past, WordClass.VERB, Role.PREDICATE)
        w.name(person, Role.SUBJECT, new=new)
    else:
        who = common_subject(w, w.pick(w.words.people), short=True)
        verb_phrase(w, w.pick(pool), plural=who.plural)
