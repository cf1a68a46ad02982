"""A row as others are held against it, paired by replicate, and which of the baselines are floors. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.metrics import family
from benchmark.tracks.contract import Track, track_class
from leaderboard.rows import CellPlace, ResultRow, as_place, wanted
from leaderboard.standings import draws, replicated, to_worst

SuiteRow = tuple[str, str]
"""Method and settings."""


class KnownFloors(NamedTuple):
    """Baselines that learn nothing, with the metrics that each is a floor for; which rows of them a suite of this name
    needs in a track; and which rows of its reference it has (None: every one, where the suite is not the repository's).
    """

    known: Mapping[str, Literal["all", "decoder"]]
    needed: Callable[[str, str], Collection[SuiteRow]]
    references: Callable[[str, str], Collection[SuiteRow] | None] = lambda suite, track: None


NO_FLOORS = KnownFloors({}, lambda suite, track: ())


@dataclass(frozen=True, eq=False)
class Contender:
    """A row, scores [replicate, variant] by metric, which metrics it is a floor for, if it is one, and whether it is
    the reference as the suite runs it.
    """

    row: ResultRow
    tables: dict[str, pd.DataFrame]
    floor: Literal["all", "decoder"] | None
    is_reference: bool

    @classmethod
    def of(cls, row: ResultRow, metrics: Iterable[str], floors: KnownFloors) -> Contender:
        """With the means of some metrics, as far as the row has them."""
        means = replicated(row, metrics=[*dict.fromkeys(metrics)])
        tables = {str(name): pd.DataFrame(means[name].unstack("variant")) for name in means}
        own = floors.references(row.info.suite, row.info.track)
        is_reference = row.info.method == track_class(row.info.track).reference and (
            own is None or suite_row(row) in own
        )
        return cls(row, tables, floors.known.get(row.info.method), is_reference)

    @property
    def track(self) -> type[Track]:
        return track_class(self.row.info.track)

    @property
    def name(self) -> str:
        """Method and settings in one text."""
        return " ".join(self.row.name)

    @property
    def n_latents(self) -> float | None:
        """Width on trained."""
        cells = self.row.cells.reindex(columns=["count.n_latents"])["count.n_latents"]
        known = cells[cells.index.get_level_values("variant") == "trained"].dropna()
        return float(known.iloc[0]) if len(known) else None

    @cached_property
    def cells(self) -> set[CellPlace]:
        """Cells that have a value of the headline."""
        return set(map(as_place, self.row.scores[self.track.headline].dropna().index))

    @cached_property
    def undefined(self) -> set[CellPlace]:
        """Cells that were scored and have no value of the headline."""
        return set(map(as_place, self.row.scores.index)) - self.cells

    @cached_property
    def lacking(self) -> set[CellPlace]:
        """Cells of the suite without a value of the headline."""
        return wanted(self.row.info.content, self.row.info.settings) - self.cells

    @cached_property
    def fidelity(self) -> float | None:
        """What floors are matched by: the first of the track's fidelities on trained, None where there is none."""
        return self.trained(self.track.fidelity[0]) if self.track.fidelity else None

    @property
    def faithful(self) -> bool:
        """Whether its fidelity is known, as far as the track has any."""
        return self.fidelity is not None or not self.track.fidelity

    @cached_property
    def gaps(self) -> dict[str, pd.Series]:
        """Gap to the worst null [replicate], by metric."""
        return {metric: to_worst(metric, table) for metric, table in self.tables.items()}

    def table(self, metric: str) -> pd.DataFrame:
        """Scores [replicate, variant] of a metric, empty where there are none."""
        return self.tables.get(metric, pd.DataFrame())

    def on(self, metric: str, variant: str) -> NDArray[np.float64]:
        """Known scores on a variant [replicate], or [draw] of a null in case mode."""
        table = self.table(metric)
        drawn = draws(table)
        if variant in drawn:
            return drawn[variant]
        return table[variant].dropna().to_numpy(float) if variant in table else np.zeros(0)

    def trained(self, metric: str) -> float | None:
        """Mean score on trained; None where there is none."""
        known = self.on(metric, "trained")
        return float(known.mean()) if len(known) else None

    def is_floor_for(self, metric: str) -> bool:
        """Whether what this one does not learn is something that the metric asks about."""
        read = family.family_of(metric)
        return self.floor == "all" or (self.floor == "decoder" and read is not None and read.of_decoder)


def suite_row(row: ResultRow) -> SuiteRow:
    """Method and settings as a suite lists them, under whichever judge."""
    return row.info.method, row.info.label.partition(", judge ")[0]


def nearest_reference(mine: Contender, others: Iterable[Contender]) -> Contender | None:
    """The row of the reference whose width is nearest, as a ratio, and of those the most faithful; of the reference
    itself that row.
    """
    if mine.is_reference:
        return mine
    width = mine.n_latents

    def order(other: Contender) -> tuple[float, float, str]:
        theirs = other.n_latents
        apart = abs(math.log(theirs / width)) if theirs and width else math.inf
        return apart, -(other.fidelity or 0), other.name

    return min((other for other in others if other.is_reference and other.faithful), key=order, default=None)
