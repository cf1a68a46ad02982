"""Cells: the unit of record and of resume, with stable content ids; a suite times a method gives them in order."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from benchmark import keyed, registry
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant


class Group(NamedTuple):
    """The unit of execution: all cells of it share one forward pass."""

    subject: str
    replicate: int
    variant: Variant


class Cell(NamedTuple):
    """One fit and its scores."""

    method: str
    row: RunSettings
    group: Group
    method_seed: int
    hookpoint: str

    @property
    def key(self) -> tuple[object, ...]:
        """What identifies the cell within a suite, as plain values."""
        group = self.group
        where = (group.subject, group.replicate, str(group.variant))
        return (self.method, self.row.settings, *where, self.method_seed, self.hookpoint)

    @property
    def opaque(self) -> str:
        """A name that tells a method nothing about the variant."""
        return keyed.short("opaque", *self.key)


class Ids(NamedTuple):
    """Content ids of a cell: `fit` names the featurizer, `score` the record."""

    fit: str
    score: str


def cells(suite: Suite, method: Method, rows: Iterable[RunSettings]) -> list[Cell]:
    """All cells of a method under a suite, in the suite's order."""
    axes = itertools.product(suite.subject.replicates, _variants(suite), rows, suite.method_seeds, suite.hookpoints)
    return [
        Cell(method.name, row, Group(suite.subject.name, replicate, variant), seed, hookpoint)
        for replicate, variant, row, seed, hookpoint in axes
    ]


def _variants(suite: Suite) -> list[Variant]:
    """Variants of every replicate: in case mode all draws of the nulls, and the checkpoint's own step-0 beside."""
    found, draws = [], suite.subject.null_draws
    for variant in map(Variant.parse, suite.variants):
        if draws is None or variant.kind not in registry.NULLS:
            found.append(variant)
            continue
        own = [variant] if variant.kind == "step0" else []
        found += own + [variant._replace(draw=draw) for draw in range(draws)]
    return found


def grouped(cells: Iterable[Cell]) -> list[tuple[Group, list[Cell]]]:
    """Cells by group, groups and cells in a keyed order that says nothing about the variant."""
    groups: dict[Group, list[Cell]] = {}
    for cell in cells:
        groups.setdefault(cell.group, []).append(cell)
    ordered = sorted(groups, key=lambda group: keyed.digest("group order", group.replicate, str(group.variant)))
    return [(group, sorted(groups[group], key=lambda cell: cell.opaque)) for group in ordered]
