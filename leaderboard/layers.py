"""The headline's gap by place, as a simultaneous band, and the effect size over latents within places. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.spec.variant import nulls_among
from benchmark.stats.effect import superiority
from benchmark.stats.multiplicity import band
from benchmark.stats.null_gap import FEWEST_FOR_INTERVAL, Gap, constant, gap
from benchmark.tracks.contract import track_class
from leaderboard.resolved import asked
from leaderboard.rows import ResultRow
from leaderboard.standings import differences, natural, replicated

Stratum = tuple[int, int, str]
LatentScores = Mapping[str, Mapping[Stratum, NDArray[np.float64]]]


class Layers(NamedTuple):
    """Trained against one null: mean gap per place with its simultaneous band (95 %, all places at once), over
    replicates that have all of them, and the probability that a latent of trained scores above one of the null, within
    replicate and place, with its t interval over replicates. Band and effect are None where there is none.
    """

    method: str
    label: str
    null: str
    places: tuple[str, ...]
    gaps: NDArray[np.float64]
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    superiority: Gap | None


def layers(row: ResultRow) -> list[Layers]:
    """Of every null with paired replicates."""
    headline = track_class(row.info.track).headline
    if headline not in row.scores:
        return []
    places = sorted(row.scores.index.unique("place"), key=natural)
    apart = {place: differences(headline, replicated(row, place)[headline].unstack("variant")) for place in places}
    latents, made = _latents(asked(row)), []
    for null in nulls_among(row.scores.index.unique("variant")):
        if all(null in apart[place] for place in places):
            d = pd.concat([apart[place][null] for place in places], axis=1).dropna().to_numpy(float)
            if len(d):
                effect = gap(_superior(latents.get("trained", {}), latents.get(null, {})))
                made.append(Layers(*row.name, null, tuple(places), d.mean(axis=0), banded(d), effect))
    return made


def banded(d: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """The band of values [replicate, place]; None for too few replicates, or without spread."""
    spread = len(d) >= FEWEST_FOR_INTERVAL and not any(map(constant, d.T))
    return band(d) if spread else None


def _superior(
    trained: Mapping[Stratum, NDArray[np.float64]], null: Mapping[Stratum, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Probability of superiority [replicate], averaged over the places and method seeds that both sides have."""
    pairs: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for stratum in sorted(trained.keys() & null.keys()):
        pairs.setdefault(stratum[0], []).append((trained[stratum], null[stratum]))
    return np.array([superiority(strata) for strata in pairs.values()])


def _latents(latents: pd.DataFrame) -> LatentScores:
    """Headline scores of latents [latent] by variant and stratum."""
    strata: dict[str, dict[Stratum, NDArray[np.float64]]] = {}
    for key, part in latents.groupby(["variant", "replicate", "method_seed", "place"]):
        variant, replicate, seed, place = cast("tuple[str, int, int, str]", key)
        strata.setdefault(variant, {})[int(replicate), int(seed), place] = part["score"].to_numpy(float)
    return strata
