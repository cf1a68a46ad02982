"""The headline's gap by layer, as a simultaneous band, and the effect size over latents within layers. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.records import Record
from benchmark.stats.effect import superiority
from benchmark.stats.multiplicity import band
from benchmark.stats.null_gap import FEWEST_FOR_INTERVAL, Gap, constant, gap
from leaderboard.resolved import Tables, asked
from leaderboard.standings import differences, key_of, long, natural, per_replicate

HEADLINE = registry.HEADLINE
Stratum = tuple[int, int, str]
LatentScores = dict[str, dict[Stratum, NDArray[np.float64]]]


class Layers(NamedTuple):
    """Trained against one null: mean gap per hookpoint with its simultaneous band (95 %, all hookpoints at once), over
    replicates that have all of them, and the probability that a latent of trained scores above one of the null, within
    replicate and hookpoint, with its t interval over replicates. Band and effect are None where there is none.
    """

    suite: str
    subject: str
    method: str
    label: str
    null: str
    hookpoints: tuple[str, ...]
    gaps: NDArray[np.float64]
    band: tuple[NDArray[np.float64], NDArray[np.float64]] | None
    superiority: Gap | None


def layers(records: Sequence[Record], tables: Tables) -> list[Layers]:
    """Of every entry and null with paired replicates."""
    scored = [record for record in records if record.status == "scored" and HEADLINE in record.metrics]
    frame, latents = long(scored), _latents(scored, tables)
    entries: dict[tuple[str, str, str, str], dict[str, dict[str, pd.Series]]] = {}
    for hookpoint, lines in frame[frame["metric"] == HEADLINE].groupby("hookpoint"):
        for (suite, subject, method, label, _), table in per_replicate(lines).items():
            entry = entries.setdefault((suite, subject, method, label), {})
            entry[str(hookpoint)] = differences(HEADLINE, table)
    found = []
    for place, by_hookpoint in sorted(entries.items()):
        own = latents.get(place, {})
        names = tuple(sorted(by_hookpoint, key=natural))
        for null in registry.NULLS:
            if all(null in by_hookpoint[name] for name in names):
                d = pd.concat([by_hookpoint[name][null] for name in names], axis=1).dropna().to_numpy(float)
                if len(d):
                    spread = len(d) >= FEWEST_FOR_INTERVAL and not any(map(constant, d.T))
                    around = band(d) if spread else None
                    effect = gap(_superior(own.get("trained", {}), own.get(null, {})))
                    found.append(Layers(*place, null, names, d.mean(axis=0), around, effect))
    return found


def _superior(
    trained: Mapping[Stratum, NDArray[np.float64]], null: Mapping[Stratum, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Probability of superiority [replicate], averaged over the hookpoints and method seeds that both sides have."""
    pairs: dict[int, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
    for stratum in sorted(trained.keys() & null.keys()):
        pairs.setdefault(stratum[0], []).append((trained[stratum], null[stratum]))
    return np.array([superiority(strata) for strata in pairs.values()])


def _latents(records: Sequence[Record], tables: Tables) -> dict[tuple[str, str, str, str], LatentScores]:
    """Headline scores of latents [latent] by entry, variant and stratum; chance where a latent could not be asked."""
    found: dict[tuple[str, str, str, str], LatentScores] = {}
    for record, table in asked(records, tables):
        if len(table):
            where, own = record.where, found.setdefault(key_of(record), {})
            stratum = where.replicate, where.method_seed, where.hookpoint
            own.setdefault(where.variant, {})[stratum] = table[HEADLINE].to_numpy(float)
    return found
