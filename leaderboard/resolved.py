"""The headline's gap by firing frequency, from tables of latents: per half decade, and standardised. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.records import Record
from benchmark.stats import frequency
from benchmark.stats.frequency import RatedLatents, Resolved
from benchmark.stats.null_gap import Gap, gap
from leaderboard.gates import CHANCE
from leaderboard.standings import key_of

Tables = Callable[[Record], pd.DataFrame | None]


class Curve(NamedTuple):
    """Trained against one null: gap per bin, and the standardised gap with its interval (None under 3 replicates)."""

    suite: str
    subject: str
    method: str
    label: str
    null: str
    resolved: Resolved
    standardised: Gap | None


def curves(records: Sequence[Record], tables: Tables) -> list[Curve]:
    """Of every entry and null."""
    latents: dict[tuple[str, str, str, str], dict[str, list[tuple[int, pd.DataFrame]]]] = {}
    for record, table in asked(records, tables):
        own = latents.setdefault(key_of(record), {})
        own.setdefault(record.where.variant, []).append((record.where.replicate, table))
    found = []
    for key in sorted(latents):
        sides = {variant: _latents(parts) for variant, parts in latents[key].items()}
        for null in registry.NULLS:
            if "trained" in sides and null in sides:
                resolved = frequency.resolve(sides["trained"], sides[null])
                standardised = resolved.standardised[~np.isnan(resolved.standardised)]
                found.append(Curve(*key, null, resolved, gap(standardised)))
    return found


def asked(records: Sequence[Record], tables: Tables) -> Iterator[tuple[Record, pd.DataFrame]]:
    """Records with a headline score, with their latents' own; latents that could not be asked about score chance."""
    for record in records:
        score = record.metrics.get(registry.HEADLINE)
        table = tables(record) if record.status == "scored" and score and score.value is not None else None
        if table is not None and {"rate", registry.HEADLINE} <= set(table):
            yield record, table.assign(**{registry.HEADLINE: table[registry.HEADLINE].fillna(CHANCE)})


def _latents(parts: list[tuple[int, pd.DataFrame]]) -> RatedLatents:
    rates, scores, replicates = [], [], []
    for replicate, table in sorted(parts, key=lambda part: part[0]):
        rates.append(table["rate"].to_numpy(float))
        scores.append(table[registry.HEADLINE].to_numpy(float))
        replicates.append(np.full(len(table), replicate))
    return RatedLatents(np.concatenate(rates), np.concatenate(scores), np.concatenate(replicates))
