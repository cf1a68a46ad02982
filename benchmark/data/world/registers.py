"""Documents of each register: how they open, go on and close."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from benchmark.data.world import general, grammar
from benchmark.data.world.grammar import Subject
from benchmark.data.world.labels import Register, Role, Tense, WordClass
from benchmark.data.world.lexicon import zipfian
from benchmark.data.world.writer import Writer

_CODE_VERBS, _FIELDS = zipfian(general.CODE_VERBS.split()), zipfian(general.CODE_FIELDS.split())
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_TENSES = (Tense.PRESENT,) * 11 + (Tense.PAST,) * 7 + (Tense.FUTURE,) * 2


class Form(NamedTuple):
    """Opening, one further passage, and closing of a register."""

    opening: Callable[[Writer], None]
    passage: Callable[[Writer], None]
    closing: Callable[[Writer], None]


def write(w: Writer, units: int) -> None:
    """A document of at least so many units."""
    form = _FORMS[w.register]
    w.tense = w.pick(_TENSES)
    form.opening(w)
    while len(w) < units:
        form.passage(w)
        w.drift()
    form.closing(w)


def _nothing(w: Writer) -> None:
    pass


def _sentences(w: Writer, most: int) -> None:
    before: Subject | None = None
    for place in range(1 + w.below(most)):
        if place:
            w.drift()
        before = grammar.sentence(w, before)


def _paragraph(w: Writer) -> None:
    if len(w):
        w.new_line(2 if w.chance(40) else 1)
    _sentences(w, 5)
    if w.chance(20):
        grammar.speech(w)


def _exchange(w: Writer) -> None:
    if len(w):
        w.new_line()
    if w.chance(30):
        grammar.question(w)
    else:
        grammar.speech(w)
    if w.chance(30):
        _sentences(w, 2)


def _headline(w: Writer) -> None:
    w.begin()
    with w.in_tense(Tense.PRESENT):
        noun = w.pick(w.words.ambiguous)
        w.put(noun.plural, WordClass.NOUN, Role.SUBJECT, noun.sense)
        w.put(w.pick(noun.verbs).base, WordClass.VERB, Role.PREDICATE)
        w.put("in", WordClass.PREPOSITION, Role.MODIFIER)
        town, new = w.entity(town=True, limit=2)
        w.name(town, Role.MODIFIER, new=new)
    w.new_line(2)
    w.name(town, Role.NONE, new=False)
    w.mark(",")
    w.put(w.pick(_DAYS), WordClass.NOUN)
    w.mark(":")


def _report(w: Writer) -> None:
    place = w.below(100)
    if place < 15:
        w.begin()
        w.put("according", WordClass.PREPOSITION, Role.MODIFIER)
        w.put("to", WordClass.PREPOSITION, Role.MODIFIER)
        person, new = w.entity()
        w.name(person, Role.MODIFIER, new=new)
        w.mark(",")
        grammar.clause(w)
        w.mark(".")
    elif place < 35:
        grammar.speech(w)
    else:
        _sentences(w, 4)
    if w.chance(20):
        w.new_line()


def _how_to(w: Writer) -> None:
    w.begin()
    w.tense = Tense.PRESENT
    w.put("how", WordClass.ADVERB)
    w.put("to", WordClass.PREPOSITION)
    w.put(w.pick(w.words.do).base, WordClass.VERB, Role.PREDICATE)
    grammar.noun_phrase(w, w.pick(w.words.things), Role.OBJECT, plural=w.chance(45))
    w.new_line()


def _step(w: Writer) -> None:
    w.begin(capital=False)
    w.items += 1
    w.put(str(w.items), WordClass.NUMBER)
    w.mark(".")
    w.capitalise()
    if w.chance(25):
        w.put("if", WordClass.CONJUNCTION)
        who = grammar.common_subject(w, w.pick(w.words.ambiguous if w.chance(40) else w.words.things))
        grammar.predicate(w, who)
        w.mark(",")
        w.start_clause()
    _order(w)
    if w.chance(35):
        w.put("and", WordClass.CONJUNCTION)
        _order(w)
    elif w.chance(35):
        w.put(w.pick(("until", "before", "when")), WordClass.CONJUNCTION)
        who = grammar.common_subject(w, w.pick(w.words.ambiguous if w.chance(40) else w.words.things))
        grammar.predicate(w, who)
    w.mark(".")
    w.new_line()


def _order(w: Writer) -> None:
    with w.in_tense(Tense.NONE):
        w.put(w.pick(w.words.do).base, WordClass.VERB, Role.PREDICATE)
        grammar.noun_phrase(w, w.pick(w.words.things), Role.OBJECT, plural=w.chance(45))
        if w.chance(35):
            grammar.where(w)


def _greeting(w: Writer) -> None:
    w.begin()
    w.put("dear", WordClass.ADJECTIVE)
    person, new = w.entity()
    w.name(person, Role.NONE, new=new)
    w.mark(",")
    w.new_line(2)


def _letter(w: Writer) -> None:
    _sentences(w, 4)
    if w.chance(25):
        w.new_line()


def _signature(w: Writer) -> None:
    w.new_line(2)
    w.begin()
    for word in w.pick(general.GREETINGS.split("|")).split():
        w.put(word, WordClass.NOUN)
    w.mark(",")
    w.new_line()
    person, new = w.entity(not_first=True)
    w.name(person, Role.NONE, new=new)


def _title(w: Writer) -> None:
    w.begin()
    w.tense = Tense.PRESENT
    grammar.noun_phrase(w, w.pick(w.words.things), Role.NONE, plural=True)
    w.put("of", WordClass.PREPOSITION)
    grammar.noun_phrase(w, w.pick(w.words.places), Role.MODIFIER, plural=False)
    w.mark(":")
    w.new_line()


def _row(w: Writer) -> None:
    w.begin(capital=False)
    w.put("-", WordClass.PUNCTUATION)
    place = w.below(100)
    if place < 40:
        noun = grammar.any_noun(w)
        w.put(w.pick(("two", "three", "four", "five", "ten")), WordClass.NUMBER)
        w.put(noun.plural, WordClass.NOUN, Role.NONE, noun.sense)
        with w.bracketed():
            w.put(w.pick(w.words.adjectives), WordClass.ADJECTIVE, Role.MODIFIER)
            w.mark(",")
            w.put("from", WordClass.PREPOSITION, Role.MODIFIER)
            town, new = w.entity(town=True, limit=2)
            w.name(town, Role.MODIFIER, new=new)
    elif place < 65:
        person, new = w.entity()
        w.name(person, Role.NONE, new=new)
        w.mark(":")
        grammar.noun_phrase(w, grammar.any_noun(w), Role.NONE, plural=w.chance(45))
    else:
        who = grammar.common_subject(w, grammar.any_noun(w))
        grammar.predicate(w, who)
    w.new_line()


def _code_opening(w: Writer) -> None:
    w.begin(capital=False)
    w.tense = Tense.NONE


def _statement(w: Writer) -> None:
    w.begin(capital=False)
    noun = w.pick(w.words.ambiguous if w.chance(35) else w.words.things)
    place = w.below(100)
    if place < 25:
        w.put("for", WordClass.CONJUNCTION)
        w.put(noun.singular, WordClass.NOUN, Role.NONE, noun.sense)
        w.put("in", WordClass.PREPOSITION)
        w.put(noun.plural, WordClass.NOUN, Role.NONE, noun.sense)
        with w.bracketed("{}"):
            _call(w, noun.singular, noun.sense)
            w.mark(";")
    elif place < 50:
        w.put("if", WordClass.CONJUNCTION)
        with w.bracketed():
            _value(w, noun.singular, noun.sense)
            w.put(w.pick(("<", ">", "==")), WordClass.PUNCTUATION)
            w.put(str(w.below(10)), WordClass.NUMBER)
        with w.bracketed("{}"):
            _call(w, noun.singular, noun.sense)
            w.mark(";")
    else:
        w.put(w.pick(_FIELDS), WordClass.NOUN)
        w.put("=", WordClass.PUNCTUATION)
        _call(w, noun.plural, noun.sense)
        w.mark(";")
    w.new_line()


def _call(w: Writer, word: str, sense: int) -> None:
    w.put(w.pick(_CODE_VERBS), WordClass.VERB)
    with w.bracketed(glued=True):
        if w.chance(25):
            _call(w, word, sense)
        else:
            _value(w, word, sense)


def _value(w: Writer, word: str, sense: int) -> None:
    w.put(word, WordClass.NOUN, Role.NONE, sense)
    if w.chance(50):
        w.mark(".")
        w.tight()
        w.put(w.pick(_FIELDS), WordClass.NOUN)
    else:
        with w.bracketed("[]", glued=True):
            w.put(str(w.below(10)), WordClass.NUMBER)


_FORMS = {
    Register.NARRATIVE: Form(_nothing, _paragraph, _nothing),
    Register.DIALOGUE: Form(_nothing, _exchange, _nothing),
    Register.NEWS: Form(_headline, _report, _nothing),
    Register.INSTRUCTIONS: Form(_how_to, _step, _nothing),
    Register.LETTER: Form(_greeting, _letter, _signature),
    Register.LIST: Form(_title, _row, _nothing),
    Register.CODE: Form(_code_opening, _statement, _nothing),
}
