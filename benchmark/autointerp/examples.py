"""Which firing windows an explainer sees, and which a scorer asks about.

Priorities are one keyed draw per window, common to all variants, so that variants are asked about the same text where
their latents allow it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOP, ACROSS = 10, 30
EXPLAINED = TOP + ACROSS
SCORED = 50
STRATA = 10


def to_explain(strengths: NDArray[np.float64], priorities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The 10 strongest windows, and 3 from each tenth of the rest by lowest priority; all where there are no more.

    Ties in strength go to the lower priority.
    """
    order = strongest_first(strengths, priorities)
    return np.concatenate([order[:TOP], stratified(order[TOP:], priorities, ACROSS)])


def to_score(strengths: NDArray[np.float64], priorities: NDArray[np.float64]) -> NDArray[np.int64]:
    """5 windows from each tenth of activation by lowest priority."""
    return stratified(strongest_first(strengths, priorities), priorities, SCORED)


def stratified(order: NDArray[np.int64], priorities: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """`count` of the windows in `order`, as many from each tenth, by lowest priority; all where there are no more."""
    if len(order) <= count:
        return order
    each = count // STRATA
    strata = np.array_split(order, STRATA)
    return np.concatenate([part[np.argsort(priorities[part], kind="stable")[:each]] for part in strata])


def strongest_first(strengths: NDArray[np.float64], priorities: NDArray[np.float64]) -> NDArray[np.int64]:
    """The order by strength, ties to the lower priority."""
    return np.lexsort((priorities, -strengths))
