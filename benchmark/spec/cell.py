"""Cells: the unit of record and of resume, with stable content ids; a suite times a method gives them in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from benchmark import keyed
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.pretrained import has_fit, is_pretrained, source_of
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant


class Group(NamedTuple):
    """The unit of execution: all cells of it, of all methods of a run, share one network and its forward pass."""

    subject: str
    replicate: int
    variant: Variant


class CellKeys(NamedTuple):
    """What the draws of a cell are keyed by: never the variant, so that variants are paired. All but the salt may be
    guessed by a method.
    """

    subject: str
    replicate: int
    method_seed: int
    place: str
    salt: str = ""
    blind: bool = False

    def rng(self, purpose: str, *more: object) -> np.random.Generator:
        """The generator of one purpose."""
        return keyed.rng(*self._of(purpose), *more)

    def seed(self, purpose: str) -> int:
        """A seed for a method, of its fit or of the order of its batches."""
        return keyed.seed(*self._of(purpose))

    def _of(self, purpose: str) -> tuple[object, ...]:
        where = self.subject, self.replicate, self.method_seed, self.place
        return (self._secret(purpose), *where)

    def of_replicate(self, purpose: str) -> np.random.Generator:
        """The generator of what all cells of a replicate share."""
        return keyed.rng(self._secret(purpose), self.subject, self.replicate)

    def _secret(self, purpose: str) -> object:
        return [purpose, self.salt] if self.salt else purpose


class Cell(NamedTuple):
    """One fit and its scores, at a place of the method's track."""

    method: str
    row: RunSettings
    group: Group
    method_seed: int
    place: str

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies the cell within a suite, as plain values."""
        group = self.group
        where = (group.subject, group.replicate, str(group.variant))
        return (self.method, *self.row.identity, *where, self.method_seed, self.place)

    @property
    def keys(self) -> CellKeys:
        """What its draws are keyed by."""
        where = self.group.subject, self.group.replicate, self.method_seed, self.place
        return CellKeys(*where, self.row.salt, self.row.blind)

    @property
    def opaque(self) -> str:
        """A name that tells a method nothing about the variant."""
        return keyed.short("opaque", *self.key)


class Ids(NamedTuple):
    """Content ids of a cell: `fit` names what the method fitted, `score` the record."""

    fit: str
    score: str


def cells(suite: Suite, method: Method, rows: Iterable[RunSettings], places: Sequence[str]) -> list[Cell]:
    """All cells of a method under a suite, in the suite's order; of one that was trained elsewhere those that it has
    fits for.
    """
    axes = itertools.product(suite.subject.replicates, variants(suite), rows, suite.method_seeds, places)
    every = [
        Cell(method.name, row, Group(suite.subject.name, replicate, variant), seed, place)
        for replicate, variant, row, seed, place in axes
    ]
    return [cell for cell in every if not is_pretrained(cell.row.settings) or _has_fit(suite, method, cell)]


def _has_fit(suite: Suite, method: Method, cell: Cell) -> bool:
    network, variant = suite.subject.replicates[cell.group.replicate], str(cell.group.variant)
    where = network, variant, cell.place, cell.method_seed
    return network in method.manifest.pretrained and has_fit(cell.row.settings, *where, suite.method_seeds)


def source_of_cell(suite: Suite, cell: Cell) -> str | None:
    """Where the fit of a cell lies that was made elsewhere."""
    network = suite.subject.replicates[cell.group.replicate]
    return source_of(cell.row.settings, network, str(cell.group.variant), cell.place)


def variants(suite: Suite) -> list[Variant]:
    """Variants of every replicate: in case mode all draws of the nulls, and the checkpoint's own step-0 beside."""
    every, draws = [], suite.subject.null_draws
    for variant in map(Variant.parse, suite.variants):
        if draws is None or not variant.is_null:
            every.append(variant)
            continue
        own = [variant] if variant.kind == "step0" else []
        every += own + [variant._replace(draw=draw) for draw in range(draws)]
    return every


def grouped(cells: Iterable[Cell]) -> list[tuple[Group, list[Cell]]]:
    """Cells by group, groups and cells in a keyed order that says nothing about the variant."""
    groups: dict[Group, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    ordered = sorted(groups, key=lambda group: keyed.digest("group order", group.replicate, str(group.variant)))
    return [(group, sorted(groups[group], key=lambda cell: cell.opaque)) for group in ordered]
