"""A row as others are held against it, paired by replicate, and which of the baselines are floors. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.metrics import family
from benchmark.tracks.contract import Track, track_class
from leaderboard.rows import ResultRow
from leaderboard.standings import draws, replicated

REFERENCE = "topk_sae"


class KnownFloors(NamedTuple):
    """Baselines that learn nothing, with the metrics that each is a floor for, and those that a suite needs."""

    known: Mapping[str, Literal["all", "decoder"]]
    needed: Callable[[str], Sequence[str]]


NO_FLOORS = KnownFloors({}, lambda suite: ())


class Contender(NamedTuple):
    """A row, scores [replicate, variant] by metric, and which metrics it is a floor for, if it is one."""

    row: ResultRow
    tables: dict[str, pd.DataFrame]
    floor: Literal["all", "decoder"] | None

    @classmethod
    def of(cls, row: ResultRow, metrics: Iterable[str], floors: KnownFloors) -> Contender:
        """With the means of some metrics, as far as the row has them."""
        means = replicated(row, metrics=[*dict.fromkeys(metrics)])
        tables = {str(name): pd.DataFrame(means[name].unstack("variant")) for name in means}
        return cls(row, tables, floors.known.get(row.info.method))

    @property
    def track(self) -> type[Track]:
        return track_class(self.row.info.track)

    @property
    def name(self) -> str:
        """Method and settings in one text."""
        return " ".join(self.row.name)

    @property
    def is_reference(self) -> bool:
        return self.row.info.method == REFERENCE

    @property
    def n_latents(self) -> float | None:
        counts = self.row.cells.get("count.n_latents", pd.Series(dtype=float)).dropna()
        return float(counts.iloc[0]) if len(counts) else None

    @property
    def replicates(self) -> int:
        """Replicates that the row has cells of."""
        return int(self.row.scores.index.unique("replicate").size)

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


def nearest_reference(mine: Contender, others: Iterable[Contender]) -> Contender | None:
    """The row of the reference whose width is nearest, as a ratio; of the reference itself that row."""
    if mine.is_reference:
        return mine
    known = [(other.n_latents, other) for other in others if other.is_reference]
    width = mine.n_latents
    apart = [(abs(math.log(theirs / width)) if theirs and width else math.inf, other) for theirs, other in known]
    return min(apart, key=lambda one: (one[0], one[1].row.name), default=(None, None))[1]
