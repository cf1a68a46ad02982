"""Labels that a text carries by itself, on a text that can be read off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmark.data import text_labels
from benchmark.data.text_labels import KINDS

TEXT = [
    "The",
    " cat",
    " (",
    "the",
    ' "',
    "old",
    '"',
    " one",
    ")",
    " sat",
    ".",
    " It",
    " sat",
    " 12",
    "th",
    "\n",
    " Cat",
    " x",
]
KNOWN = sorted(set(TEXT))
TOKENS = np.array([[KNOWN.index(one) for one in TEXT], [KNOWN.index(one) for one in TEXT[::-1]]])
LENGTHS = np.array([len(TEXT), 4])


def decode(ids: Sequence[int]) -> str:
    return "".join(KNOWN[one] for one in ids)


def answers(name: str) -> list[str]:
    """Of the first block, a class for each token, empty where it is not asked."""
    found = text_labels.of(TOKENS, LENGTHS, decode)[name]
    return [
        found.classes[answer] if asked else "" for asked, answer in zip(found.asked[0], found.answers[0], strict=True)
    ]


def test_what_encloses_a_token() -> None:
    inside = answers("inside_quotes")
    assert [word for word, said in zip(TEXT, inside, strict=True) if said == "yes"] == [' "', "old"]
    depth = answers("brackets")
    assert depth[2:8] == ["one"] * 6
    assert depth[8] == "none"


def test_what_stands_before_and_after() -> None:
    assert answers("previous_kind")[1:5] == ["capitalised", "word", "mark", "continued"]
    assert answers("previous_kind")[14] == "number"
    following = answers("next_capitalised")
    assert following[10] == "yes"
    assert following[15] == "yes"
    assert following[0] == "no"
    assert following[1] == "", "a bracket is no word"
    assert following[-1] == "", "nothing follows"


def test_what_was_there_and_where_a_sentence_is() -> None:
    assert [place for place, said in enumerate(answers("seen_before")) if said == "yes"] == [12]
    place = answers("sentence_place")
    assert place[:4] == ["start"] * 4
    assert place[4:8] == ["early"] * 4
    assert place[8:11] == ["middle"] * 3
    assert place[11] == "start"
    assert place[16] == "start"


def test_blocks_stand_alone_and_padding_is_not_asked_about() -> None:
    for found in text_labels.of(TOKENS, LENGTHS, decode).values():
        assert not found.asked[1, 4:].any()
    closing = text_labels.of(TOKENS[:, 8:], LENGTHS - 8, decode)["brackets"]
    assert (closing.answers[0] == 0).all(), "what an earlier block opened is not known here"
    assert set(KINDS) >= {"word", "mark"}
