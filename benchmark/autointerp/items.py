"""Items: windows that a judge grades, half of them right.

`fuzzing`                 are the marked tokens those on which the latent fires?
`fuzzing-token-matched`   the same with one mark, against the same token where the latent is silent
`detection`               does the latent fire anywhere in the window? Nothing is marked.
`fuzzing@paper`           as the reference pipeline did it, with its quirks: see `paper`

Positives and negatives have equally many marks, at the same places of a document (as near as the token allows where it
is matched), and come in a drawn order: what can be told without an explanation scores one half. A positive without a
partner is left out.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.autointerp import examples
from benchmark.autointerp.windows import OWN, Firing, Windows
from benchmark.judges.contract import LEFT_CONTEXT, Questions

VERSION = 2
MARKED_FROM = 0.3
PAPER_FIRINGS = 200


class Items(NamedTuple):
    """Windows and marked own tokens [item, 24], what is right [item], and the number of each item's pair [item]."""

    windows: NDArray[np.int64]
    marked: NDArray[np.bool_]
    positive: NDArray[np.bool_]
    pair: NDArray[np.int64]

    def questions(self, windows: Windows) -> Questions:
        """What a judge is shown."""
        none = np.zeros((len(self.windows), LEFT_CONTEXT), bool)
        return Questions(windows.tokens[self.windows], np.concatenate([none, self.marked], axis=1))


class Split(NamedTuple):
    """The scorer's windows, a priority per window [window], and own tokens by id: rows sorted by id and position
    [token], and where each id starts [vocab + 1].
    """

    windows: Windows
    priorities: NDArray[np.float64]
    by_id: NDArray[np.int64]
    starts: NDArray[np.int64]
    position: NDArray[np.int64]

    @classmethod
    def of(cls, windows: Windows, priorities: NDArray[np.float64], vocab: int) -> Split:
        window = np.repeat(np.arange(len(windows.rows)), OWN)
        offset = np.tile(np.arange(OWN), len(windows.rows))
        position = windows.start[window] + LEFT_CONTEXT + offset
        ids = windows.ids.ravel()
        order = np.lexsort((priorities[window], position, ids))
        return cls(windows, priorities, order, np.searchsorted(ids[order], np.arange(vocab + 1)), position)


def fuzzing(firing: Firing, split: Split, rng: np.random.Generator) -> Items:
    """True marks on tokens of at least .3 of the window's largest activation; false ones at the same positions of
    other windows, where the latent is silent: in turn in windows where it fires on other tokens and where it fires on
    none (or the other way where no such window is left).
    """
    chosen = _scored(firing, split)
    right = _true_marks(firing, chosen)
    order = rng.permutation(len(chosen))
    active = _Pool(firing.windows, firing.activations > 0, split)
    quiet = _silent(firing.windows, split)
    silent = _Pool(quiet, np.zeros((len(quiet), OWN), bool), split)
    chosen_items: list[tuple[int, int, NDArray[np.bool_]]] = []
    for number, place in enumerate(order):
        pools = (active, silent) if number % 2 else (silent, active)
        taken = (pool.take(firing.windows[chosen[place]], right[place]) for pool in pools)
        window = next((window for window in taken if window is not None), None)
        if window is not None:
            chosen_items.append((place, window, right[place]))
    return _shuffled(firing.windows[chosen], right, chosen_items, rng)


def token_matched(firing: Firing, split: Split, rng: np.random.Generator) -> Items:
    """One mark, on the window's largest activation; its partner marks the same token id where the latent is silent, at
    the nearest block position (before or after at random), without replacement. Positives without a partner are left
    out.
    """
    chosen = _scored(firing, split)
    offsets = firing.activations[chosen].argmax(axis=1)
    places = firing.windows[chosen] * OWN + offsets
    free = np.ones(len(split.position), bool)
    window, offset = np.nonzero(firing.activations)
    free[firing.windows[window] * OWN + offset] = False
    matched: list[tuple[int, int, NDArray[np.bool_]]] = []
    for place in rng.permutation(len(chosen)):
        own = places[place]
        token = split.windows.ids.flat[own]
        alike = split.by_id[split.starts[token] : split.starts[token + 1]]
        alike = alike[free[alike]]
        if len(alike):
            apart = np.abs(split.position[alike] - split.position[own])
            partner = rng.choice(alike[apart == apart.min()])
            free[partner] = False
            matched.append((place, partner // OWN, np.arange(OWN) == partner % OWN))
    return _shuffled(firing.windows[chosen], offsets[:, None] == np.arange(OWN), matched, rng)


def detection(firing: Firing, split: Split, rng: np.random.Generator) -> Items:
    """Windows in which the latent fires, against windows at the same place of a document in which it does not, neither
    on own tokens nor in left context.
    """
    chosen = _scored(firing, split)
    quiet = _silent(firing.touched, split)
    pool, nothing = _Pool(quiet, np.zeros((len(quiet), OWN), bool), split), np.zeros(OWN, bool)
    negatives = [
        (int(place), window, nothing)
        for place in rng.permutation(len(chosen))
        if (window := pool.take(firing.windows[chosen[place]], nothing)) is not None
    ]
    return _shuffled(firing.windows[chosen], np.zeros((len(chosen), OWN), bool), negatives, rng)


def paper(
    firing: Firing, split: Split, fixed: np.random.Generator, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Items]:
    """The protocol of arXiv 2501.17727: firing windows [example] that its explainer sees, and items.

    Its quirks are kept: explainer and scorer draw, 4 and 5 from each tenth, from one list of windows, so that they
    overlap; negatives are other contexts, in which the latent is silent, and always have the same positions marked
    (`fixed` is the same for all latents), as many as the positives have active tokens on average; a latent with under
    200 firings has no items. The window is ours: 32 tokens with 8 of left context.
    """
    order = examples.strongest_first(firing.strengths, split.priorities[firing.windows])
    quiet = _silent(firing.touched, split)
    if np.count_nonzero(firing.activations) < PAPER_FIRINGS or len(quiet) < examples.SCORED:
        return order[:0], _nothing()
    shown = examples.stratified(order, rng.random(len(order)), examples.EXPLAINED)
    chosen = examples.stratified(order, rng.random(len(order)), examples.SCORED)
    right = _true_marks(firing, chosen)
    marks = min(int(np.ceil((firing.activations[chosen] > 0).sum(axis=1).mean())), OWN)
    wrong = np.isin(np.arange(OWN), fixed.permutation(OWN)[:marks])
    others = rng.choice(quiet, len(chosen), replace=False)
    wrong_items = [(place, int(other), wrong) for place, other in enumerate(others)]
    return shown, _shuffled(firing.windows[chosen], right, wrong_items, rng)


class _Pool:
    """Windows that may hold a negative, used once each, by priority."""

    def __init__(self, windows: NDArray[np.int64], active: NDArray[np.bool_], split: Split) -> None:
        order = np.argsort(split.priorities[windows], kind="stable")
        self._windows, self._active = windows[order], active[order]
        self._place_of = split.windows.start
        self._places = self._place_of[self._windows]
        self._free = np.ones(len(windows), bool)

    def take(self, own: int, marks: NDArray[np.bool_]) -> int | None:
        """A window at the place of `own` in its document in which the latent is silent at the marks."""
        alike = np.flatnonzero(self._free & (self._places == self._place_of[own]) & (self._windows != own))
        silent = alike[~(self._active[alike] & marks).any(axis=1)]
        if not len(silent):
            return None
        self._free[silent[0]] = False
        return int(self._windows[silent[0]])


def _true_marks(firing: Firing, chosen: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tokens [chosen, 24] of at least .3 of their window's largest activation."""
    marks: NDArray[np.bool_] = firing.activations[chosen] >= MARKED_FROM * firing.strengths[chosen][:, None]
    return marks


def _scored(firing: Firing, split: Split) -> NDArray[np.int64]:
    return examples.to_score(firing.strengths, split.priorities[firing.windows])


def _silent(fires: NDArray[np.int64], split: Split) -> NDArray[np.int64]:
    quiet = np.ones(len(split.windows.rows), bool)
    quiet[fires] = False
    return np.flatnonzero(quiet)


def _nothing() -> Items:
    return Items(np.zeros(0, np.int64), np.zeros((0, OWN), bool), np.zeros(0, bool), np.zeros(0, np.int64))


def _shuffled(
    positives: NDArray[np.int64],
    right: NDArray[np.bool_],
    negatives: list[tuple[int, int, NDArray[np.bool_]]],
    rng: np.random.Generator,
) -> Items:
    """Pairs of a positive and its negative, given as (place of the positive, window, marks), in a drawn order."""
    if not negatives:
        return _nothing()
    places = np.array([place for place, _, _ in negatives])
    windows = np.concatenate([positives[places], [window for _, window, _ in negatives]])
    marked = np.concatenate([right[places], [marks for _, _, marks in negatives]])
    pair = np.tile(np.arange(len(negatives)), 2)
    order = rng.permutation(2 * len(negatives))
    return Items(windows[order], marked[order], (np.arange(len(order)) < len(negatives))[order], pair[order])
