"""The headline's gap by firing frequency, from drawn latents: per half decade, and standardised. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark.spec.variant import nulls_among
from benchmark.stats import frequency
from benchmark.stats.frequency import RatedLatents, Resolved
from benchmark.stats.null_gap import Gap, gap
from benchmark.tracks.contract import track_class
from leaderboard.gates import CHANCE
from leaderboard.rows import PLACE, ResultRow


class Curve(NamedTuple):
    """Trained against one null: gap per bin, and the standardised gap with its interval (None under 3 replicates)."""

    method: str
    label: str
    null: str
    resolved: Resolved
    standardised: Gap | None


def curves(row: ResultRow) -> list[Curve]:
    """Of every null of a row."""
    latents = asked(row)
    sides = {str(variant): _latents(part) for variant, part in latents.groupby("variant", sort=False)}
    made = []
    for null in nulls_among(sides):
        if "trained" in sides and null in sides:
            resolved = frequency.resolve(sides["trained"], sides[null])
            standardised = resolved.standardised[~np.isnan(resolved.standardised)]
            made.append(Curve(*row.name, null, resolved, gap(standardised)))
    return made


def asked(row: ResultRow) -> pd.DataFrame:
    """Drawn latents of cells with a headline score, with their `score` and `rate`; those that could not be asked about
    score chance.
    """
    headline = track_class(row.info.track).headline
    every = row.samples()
    if headline not in row.scores or not {"rate", headline} <= set(every):
        return pd.DataFrame(columns=[*PLACE, "rate", "score"])
    known = row.scores[headline].dropna().index
    kept = every[pd.MultiIndex.from_frame(every[PLACE]).isin(known)]
    return kept.assign(score=kept[headline].fillna(CHANCE).astype(float))


def _latents(part: pd.DataFrame) -> RatedLatents:
    ordered = part.sort_values("replicate", kind="stable")
    return RatedLatents(
        ordered["rate"].to_numpy(float), ordered["score"].to_numpy(float), ordered["replicate"].to_numpy(np.int64)
    )
