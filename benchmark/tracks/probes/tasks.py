"""Tasks of the probes track: one question about some tokens of a split, each with one class."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark import keyed
from benchmark.data import text_labels
from benchmark.data.blocks import Blocks
from benchmark.data.world.concepts import Family
from benchmark.metrics.control import control_classes
from benchmark.metrics.probing import CONCEPTS
from benchmark.tracks.tokens import TokenTable, known_families

DEPTH, OTHERWISE = "depth", "otherwise"


class Task(NamedTuple):
    """Classes, the usable tokens that are asked about [row], and their classes [row]."""

    classes: tuple[str, ...]
    rows: NDArray[np.int64]
    y: NDArray[np.int64]

    def drawn(self, most: int, rng: np.random.Generator) -> Task:
        """At most so many of its tokens, in a drawn order."""
        order = rng.permutation(len(self.rows))[:most]
        return self._replace(rows=self.rows[order], y=self.y[order])


def tasks(
    names: Sequence[str], blocks: Blocks, table: TokenTable, decode: Callable[[Sequence[int]], str]
) -> dict[str, Task]:
    """These tasks on a split, in their order."""
    known = dict(_of_concepts(known_families(blocks, table.places))) if set(names) & set(CONCEPTS) else {}
    if set(names) - set(CONCEPTS):
        known |= dict(_of_text(blocks, table, decode))
    return {name: known[name] for name in names}


def control_labels(like: Task, ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The control task, of classes as frequent as a task's; an id has the same one in any split."""
    frequencies = np.bincount(like.y, minlength=len(like.classes))
    return control_classes(frequencies, ids, keyed.rng("control labels", like.classes))


def _of_concepts(families: Sequence[Family]) -> Iterator[tuple[str, Task]]:
    for family in families:
        if family.name == DEPTH:
            for kind in ("quote", "bracket"):
                levels = [number for number, name in enumerate(family.concepts) if name.startswith(kind)]
                classes = ("none", *(family.concepts[number] for number in levels))
                yield f"{kind}_depth", Task(classes, family.rows, family.y[:, levels].sum(axis=1).astype(np.int64))
        else:
            y = np.where(family.y.any(axis=1), family.y.argmax(axis=1) + 1, 0)
            yield family.name, Task((OTHERWISE, *family.concepts), family.rows, y)


def _of_text(blocks: Blocks, table: TokenTable, decode: Callable[[Sequence[int]], str]) -> Iterator[tuple[str, Task]]:
    block, position = table.places.T
    for name, found in text_labels.of(blocks.tokens.astype(np.int64), blocks.lengths.astype(np.int64), decode).items():
        rows = np.flatnonzero(found.asked[block, position])
        yield name, Task(found.classes, rows, found.answers[block[rows], position[rows]])
