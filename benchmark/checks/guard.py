"""The guard on baseline numbers: smoke's raw values against `baselines/<name>/expected.json`.

Where the platform is known a seeded CPU run repeats to the bit, and values are compared at a relative 1e-4; elsewhere
at what one new value may differ from n calibration replicates, t(.975, n - 1) s sqrt(1 + 1/n), with a notice. Of
hundreds of values some lie outside such an interval by chance: elsewhere the numbers have drifted where one lies
outside the interval that holds for all of them at once, more than one in twenty outside its own, or of one metric more
than half.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from benchmark.checks.verify import ABSOLUTE, RELATIVE, tag
from benchmark.errors import BadInput
from benchmark.records import Record
from benchmark.stats.prediction import ALPHA, tolerance
from benchmark.store import write_text

SUITE = "smoke"
FEWEST = 8
Cells = dict[str, dict[str, float | None]]


class Spread(BaseModel):
    """Standard deviation over calibration replicates, and how many there were."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    deviation: float
    replicates: int

    def tolerance(self, values: int = 1) -> float:
        """How far one new value may lie from the mean of the others, or each of so many at once."""
        return tolerance(self.deviation, self.replicates, values=values)


class Expected(BaseModel):
    """What the smoke suite gives: values per platform and cell, and the spread per variant and metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    why: str = Field(description="why it was last regenerated")
    platforms: dict[str, Cells]
    spread: dict[str, dict[str, Spread]]


class Drift(NamedTuple):
    """A value outside its tolerance; `beyond`: outside what holds for all values at once, too."""

    cell: str
    metric: str
    expected: float | None
    found: float | None
    tolerance: float
    beyond: bool


class GuardReport(NamedTuple):
    """What moved, how many values were compared, whether the platform is known, and by metric how many values could
    have moved: those that have a tolerance, and are defined on both sides.
    """

    moved: list[Drift]
    compared: int
    known: bool
    could_move: Mapping[str, int]

    @property
    def drifted(self) -> bool:
        """Whether chance does not explain what moved; on a known platform nothing may."""
        by_metric = Counter(one.metric for one in self.moved)
        return (
            any(one.beyond for one in self.moved)
            or len(self.moved) > ALPHA * sum(self.could_move.values())
            or any(2 * count > self.could_move[metric] for metric, count in by_metric.items())
        )


def cells_of(records: Sequence[Record]) -> Cells:
    """Raw values by cell, in a stable order."""
    values = {
        f"{record.where.label}/{record.where.variant}/{record.where.replicate}/{record.where.place}": {
            name: record.metrics[name].value for name in sorted(record.metrics)
        }
        for record in records
    }
    return dict(sorted(values.items()))


def check(records: Sequence[Record], expected: Expected) -> GuardReport:
    """Hold scored smoke records against what is expected.

    Raises:
        BadInput: a cell that is missing, or that nothing is known of; records of several platforms.
    """
    platform = platform_of(records)
    known = platform in expected.platforms
    values = expected.platforms[platform] if known else next(iter(expected.platforms.values()))
    cells = cells_of(records)
    for cell in sorted(cells.keys() ^ values.keys()):
        where = "expected, and was not scored: run the suite" if cell in values else "not expected: regenerate the file"
        raise BadInput(f"{cell} is {where}, as docs/regression.md says")
    moved, could_move = list[Drift](), Counter[str]()
    compared = sum(len(found.keys() | values[cell].keys()) for cell, found in cells.items())
    for cell, found in cells.items():
        variant = cell.split("/")[1]
        for metric in sorted(found.keys() | values[cell].keys()):
            before, after = values[cell].get(metric), found.get(metric)
            spread = expected.spread.get(variant, {}).get(metric)
            wide = (spread.tolerance(), spread.tolerance(compared)) if spread else (math.inf, math.inf)
            allowed, at_once = (RELATIVE * abs(before or 0) + ABSOLUTE,) * 2 if known else wide
            could_move[metric] += known or (spread is not None and None not in (before, after))
            if not _within(before, after, allowed, strict=known):
                beyond = not _within(before, after, at_once, strict=known)
                moved.append(Drift(cell, metric, before, after, allowed, beyond))
    return GuardReport(moved, compared, known, could_move)


def platform_of(records: Sequence[Record]) -> str:
    """The platform that all records were made on."""
    tags = sorted({tag(record) for record in records})
    if len(tags) > 1:
        raise BadInput(
            f"records of {len(tags)} platforms cannot be held against one ({', '.join(tags)}): run them anew"
        )
    return tags[0]


def regenerated(smoke: Sequence[Record], calibration: Sequence[Record], before: Expected | None, why: str) -> Expected:
    """Expected values of this platform beside those of others, with the spread of calibration replicates.

    Raises:
        BadInput: fewer than eight calibration replicates.
    """
    replicates = {record.where.replicate for record in calibration}
    if len(replicates) < FEWEST:
        raise BadInput(f"{len(replicates)} calibration replicates: {FEWEST} are needed")
    values: dict[str, dict[str, list[float]]] = {}
    for record in calibration:
        for name, metric in record.metrics.items():
            if metric.value is not None:
                values.setdefault(record.where.variant, {}).setdefault(name, []).append(metric.value)
    spread = {
        variant: {
            name: Spread(deviation=float(np.std(found, ddof=1)), replicates=len(found))
            for name, found in sorted(metrics.items())
            if len(found) >= FEWEST
        }
        for variant, metrics in sorted(values.items())
    }
    platforms = dict(before.platforms) if before else {}
    return Expected(why=why, platforms=platforms | {platform_of(smoke): cells_of(smoke)}, spread=spread)


def read(path: Path) -> Expected | None:
    """Expected values of a baseline, None where there are none."""
    return Expected.model_validate_json(path.read_text(encoding="utf-8")) if path.is_file() else None


def write(path: Path, expected: Expected) -> None:
    """Replace the expected values of a baseline."""
    write_text(path, json.dumps(expected.model_dump(mode="json"), indent=1, sort_keys=True) + "\n")


def _within(before: float | None, after: float | None, allowed: float, *, strict: bool) -> bool:
    """Undefined and defined are far apart on a known platform; elsewhere a value near its floor may be either."""
    if before is None or after is None:
        return before is after or not strict
    return abs(before - after) <= allowed
