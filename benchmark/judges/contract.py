"""What a judge is asked and what it answers. A judge sees tokens and marks, never a label or the variant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

LEFT_CONTEXT = 8
Grades = NDArray[np.float64]
Progress = Callable[[str, int, int], None]


class Examples(NamedTuple):
    """What an explainer sees of one latent: token ids and activations, both [example, pos], 0 where it is silent."""

    tokens: NDArray[np.int64]
    activations: NDArray[np.float64]


class Questions(NamedTuple):
    """Token ids and marks, both [item, pos]: does the latent fire on the marked tokens; in the window, if none is."""

    tokens: NDArray[np.int64]
    marked: NDArray[np.bool_]

    def part(self, items: slice) -> Questions:
        """Some of the items."""
        return Questions(self.tokens[items], self.marked[items])


@dataclass(frozen=True)
class Explanation:
    """What a latent stands for, in words that a person can read; empty is no explanation. `failed`: the judge was asked
    for one and gave none, so that there is nothing to grade.
    """

    text: str
    failed: bool = False


class Language(NamedTuple):
    """What anybody may know of the text: how often each token id occurs, [vocab], and how token ids read."""

    counts: NDArray[np.int64]
    decode: Callable[[Sequence[int]], str]


@dataclass
class Usage:
    """What a judge was asked and what it cost: requests answered, found in transcripts and failed; items without a
    usable grade and latents without an explanation; tokens and US dollars, None where nobody counted.
    """

    requests: int = 0
    replayed: int = 0
    failed: int = 0
    unusable: int = 0
    unexplained: int = 0
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    dollars: float | None = None

    def counts(self) -> dict[str, float]:
        """What was counted, for a record."""
        return {f"judge_{name}": float(value) for name, value in vars(self).items() if value is not None}


@runtime_checkable
class Judge(Protocol):
    """`identity` names everything that an answer depends on."""

    identity: str

    def explain(self, latents: Sequence[Examples], progress: Progress) -> list[Explanation]:
        """One explanation per latent."""
        ...

    def grade(self, asked: Sequence[tuple[Explanation, Questions]], progress: Progress) -> list[Grades]:
        """For each explanation and its questions, one grade in [0, 1] per item, [item]; NaN is no usable answer."""
        ...

    def usage(self) -> Usage | None:
        """What was asked since the last call; None for a judge that costs nothing."""
        ...

    def close(self) -> None:
        """Let go of what the judge holds open."""
        ...
