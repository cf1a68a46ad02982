"""Labels that any text carries by itself: what stands before a token, what encloses it, what it repeats.

All are of a token and what stands before it in its block, but `next_capitalised`, which is of the token after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

OPENING, CLOSING, QUOTES, ENDS = "([{", ")]}", '"\u201c\u201d', ".!?\n"
KINDS = ("blank", "word", "capitalised", "continued", "number", "mark")
DEEPEST = 2
PLACES = (4, 8, 16)
"""From which place in a sentence on the next class begins."""


class Labelled(NamedTuple):
    """A question: its classes, and of which tokens [block, pos] it is asked; answers [block, pos] are numbers of
    classes.
    """

    classes: tuple[str, ...]
    asked: NDArray[np.bool_]
    answers: NDArray[np.int64]


class _Signs(NamedTuple):
    """What each token of a vocabulary does, [token id]."""

    kind: NDArray[np.int64]
    opened: NDArray[np.int64]
    quotes: NDArray[np.int64]
    ends: NDArray[np.bool_]


def of(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], decode: Callable[[Sequence[int]], str]
) -> dict[str, Labelled]:
    """All questions about blocks of tokens [block, pos], each `lengths` long."""
    signs = _signs(tokens, decode)
    here = np.arange(tokens.shape[1])[None, :] < lengths[:, None]
    kind = signs.kind[tokens]
    word = np.isin(kind, (KINDS.index("word"), KINDS.index("capitalised")))
    after = np.roll(word, -1, axis=1) & (np.arange(tokens.shape[1])[None, :] + 1 < lengths[:, None])
    quoted = signs.quotes[tokens].cumsum(axis=1) % 2
    # A bracket that closes what an earlier block opened closes nothing here.
    depth = signs.opened[tokens].cumsum(axis=1)
    depth -= np.minimum(np.minimum.accumulate(depth, axis=1), 0)
    capital = np.roll(kind == KINDS.index("capitalised"), -1, axis=1)
    return {
        "previous_kind": Labelled(KINDS, here, np.roll(kind, 1, axis=1)),
        "next_capitalised": Labelled(("no", "yes"), here & after, capital.astype(np.int64)),
        "inside_quotes": Labelled(("no", "yes"), here, quoted),
        "brackets": Labelled(("none", "one", "more"), here, np.minimum(depth, DEEPEST)),
        "seen_before": Labelled(("no", "yes"), here & word, _seen(tokens).astype(np.int64)),
        "sentence_place": Labelled(
            ("start", "early", "middle", "late"),
            here,
            np.searchsorted(PLACES, _since(signs.ends[tokens]), side="right"),
        ),
    }


def _signs(tokens: NDArray[np.int64], decode: Callable[[Sequence[int]], str]) -> _Signs:
    known = np.unique(tokens)
    texts = [decode([int(token)]) for token in known]
    size = int(known.max(initial=0)) + 1
    kind, opened, quotes = (np.zeros(size, np.int64) for _ in range(3))
    ends = np.zeros(size, bool)
    kind[known] = [KINDS.index(_kind(text)) for text in texts]
    opened[known] = [_count(text, OPENING) - _count(text, CLOSING) for text in texts]
    quotes[known] = [_count(text, QUOTES) for text in texts]
    ends[known] = [any(one in text for one in ENDS) for text in texts]
    return _Signs(kind, opened, quotes, ends)


def _count(text: str, marks: str) -> int:
    return sum(text.count(mark) for mark in marks)


def _kind(text: str) -> str:
    """What a token looks like; a word begins with a blank, and goes on without one."""
    bare = text.strip()
    if not bare:
        return "blank"
    if not bare[0].isalnum():
        return "mark"
    if bare[0].isdigit():
        return "number"
    if bare[0].isupper():
        return "capitalised"
    return "word" if text[0].isspace() else "continued"


def _seen(tokens: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the same token stands earlier in the block."""
    order = np.argsort(tokens, axis=1, kind="stable")
    ordered = np.take_along_axis(tokens, order, axis=1)
    again = np.zeros(tokens.shape, bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    seen = np.zeros(tokens.shape, bool)
    np.put_along_axis(seen, order, again, axis=1)
    return seen


def _since(ends: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Tokens since the last end of a sentence; of the block's first sentence since its start."""
    place = np.broadcast_to(np.arange(ends.shape[1]), ends.shape)
    # An end closes its own sentence: counting begins with the token after it.
    before = np.concatenate([np.zeros((len(ends), 1), bool), ends[:, :-1]], axis=1)
    start: NDArray[np.int64] = np.maximum.accumulate(np.where(before, place, 0), axis=1)
    return np.asarray(place - start, np.int64)
