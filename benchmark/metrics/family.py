"""Families: metrics that are computed together, declared in one file with how they are read and how they are made.

A record keeps the id of every family beside its values, so that a new or changed family is computed alone, from
featurizers that are kept, and all other values stay what they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from benchmark import keyed, registry
from benchmark.metrics.value import Value

USUAL_DELTA = 0.02


class Metric(NamedTuple):
    """How a metric is read: one sentence, unit, which way is better (None: neither, and no verdict), the smallest
    difference that matters, and what chance scores, where the control scores chance.
    """

    says: str
    unit: str
    better: Literal["higher", "lower"] | None = None
    delta: float = USUAL_DELTA
    chance: float | None = None

    @property
    def sign(self) -> int:
        """What turns the metric so that larger is better; one without a direction stays as it is."""
        return -1 if self.better == "lower" else 1


class MetricFamily(NamedTuple):
    """`compute` takes what `needs` names, in that order, and returns values by metric id. `needs` are quantities that
    the track makes; `compares` is the axis along which a family joins two cells (None: it is of single cells);
    `labelled` families need a corpus whose latent state is known; those `of_decoder` ask what latents write; a suite
    that names no metrics asks the `usual` ones.
    """

    name: str
    version: int
    metrics: Mapping[str, Metric]
    needs: tuple[str, ...]
    compute: Callable[..., Mapping[str, Value]]
    track: str = "features"
    compares: Literal["replicate", "method_seed"] | None = None
    labelled: bool = False
    of_decoder: bool = False
    usual: bool = True

    def id(self, *parts: object) -> str:
        """What stands in a record beside the values; `parts` is what else decides them."""
        return keyed.short("family", self.name, self.version, *parts)


def families(track: str | None = None) -> list[MetricFamily]:
    """Families of single cells, of one track or of all, in the order of the board."""
    return [family for family in _known(registry.FAMILIES) if not family.compares and track in (None, family.track)]


def joins() -> list[MetricFamily]:
    """Families that compare two cells of a row."""
    return [family for family in _known(registry.FAMILIES) if family.compares]


def names() -> list[str]:
    """All metric ids, in the order of the board."""
    return list(_metrics(registry.FAMILIES))


def metric(name: str) -> Metric | None:
    """How a metric is read; None where nothing is known of it."""
    known = _metrics(registry.FAMILIES).get(name)
    return known[1] if known else None


def says(name: str) -> str:
    """What a metric is, in words; nothing where nothing is known of it."""
    known = metric(name)
    return known.says if known else ""


def family_of(name: str) -> MetricFamily | None:
    """The family of a metric."""
    known = _metrics(registry.FAMILIES).get(name)
    return known[0] if known else None


def asked(metrics: Iterable[str], track: str) -> dict[str, MetricFamily]:
    """Families of single cells that any of these metrics belongs to, by name."""
    wanted = set(metrics)
    return {family.name: family for family in families(track) if wanted.intersection(family.metrics)}


def delta(name: str) -> float:
    """Smallest difference that matters, in the metric's units."""
    known = metric(name)
    return known.delta if known else USUAL_DELTA


def chance(name: str) -> float:
    """What chance scores, where the control scores chance; 0 where nothing is known of it."""
    known = metric(name)
    return known.chance or 0.0 if known else 0.0


@functools.cache
def _known(targets: tuple[str, ...]) -> tuple[MetricFamily, ...]:
    listed: list[MetricFamily] = []
    for target in targets:
        entry = registry.resolve(target)
        listed += [entry] if isinstance(entry, MetricFamily) else entry
    return tuple(listed)


@functools.cache
def _metrics(targets: tuple[str, ...]) -> dict[str, tuple[MetricFamily, Metric]]:
    return {name: (family, metric) for family in _known(targets) for name, metric in family.metrics.items()}
