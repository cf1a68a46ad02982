"""Whether a record agrees with itself: a score with its own table of latents, and values with one another. Pure.

A number that was raised by hand, in record or table alone, is found without computing the cell again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.records import Record
from leaderboard.gates import CHANCE

RELATIVE, ABSOLUTE = 1e-4, 1e-6
"""Tables hold float32."""
PUBLISHED = 1e-3
"""Six digits are published: what follows from small differences of them is known to fewer."""
JUDGED = tuple(name for name in (*registry.SCORERS, *registry.LADDER) if not name.endswith("@paper"))


def disagreements(record: Record, latents: pd.DataFrame | None, *, relative: float = RELATIVE) -> list[str]:
    """What does not fit within `relative`, a phrase each; none where all does."""
    if latents is None and record.counts.get("drawn"):
        return ["it has no table of latents"]
    told = [*_identities(record), *(() if latents is None else _of_latents(record, latents))]
    return [
        f"{name} is {said}, and {why} gives {value:.6f}"
        for name, said, why, value in told
        if said is None or not abs(said - value) <= relative * abs(value) + ABSOLUTE
    ]


def _of_latents(record: Record, latents: pd.DataFrame) -> Iterator[tuple[str, float | None, str, float]]:
    """A mean over latents, or by intention to score: q times the mean of eligible latents, and chance for the rest."""
    drawn, asked = len(latents), record.counts.get("eligible_drawn", 0.0)
    if "explanation" in latents and asked != latents["explanation"].notna().sum():
        yield "eligible_drawn", asked, "its table of latents", float(latents["explanation"].notna().sum())
    for name, metric in record.metrics.items():
        if name not in latents or metric.value is None:
            continue
        values = latents[name].to_numpy(float)
        known = values[~np.isnan(values)]
        mean = float(known.mean()) if len(known) else float("nan")
        if name in JUDGED:
            q = asked / max(drawn, 1)
            mean = q * mean + (1 - q) * CHANCE
        yield name, metric.value, "its table of latents", mean
    if drawn != record.counts.get("drawn", drawn):
        yield "drawn", record.counts.get("drawn"), "its table of latents", float(drawn)


def _identities(record: Record) -> Iterator[tuple[str, float | None, str, float]]:
    """Values that follow from others of the record."""
    values = {name: metric.value for name, metric in record.metrics.items()}
    judge = str(record.suite.get("judge", "")).partition("/")[0]
    for scorer in registry.SCORERS:
        twin = registry.beside(scorer, judge)
        yield from _same(values, scorer, "its twin under the same judge", values.get(twin))
    yield from _same(values, "explained_variance@1", "fvu@1", _less(1.0, values.get("fvu@1")))
    both = _less(values.get("bigram_r2@1"), values.get("token_r2@1"))
    yield from _same(values, "bigram_r2_increment@1", "bigram_r2@1 less token_r2@1", both)
    spliced, mean = values.get("kl_spliced@1"), values.get("kl_mean@1")
    if spliced is not None and mean:
        yield from _same(values, "kl_score@1", "kl_spliced@1 and kl_mean@1", 1 - spliced / mean)
    zero = values.get("ce_zero@1")
    lost, possible = _less(zero, values.get("ce_spliced@1")), _less(zero, values.get("ce_clean@1"))
    if lost is not None and possible:
        yield from _same(values, "ce_score@1", "ce_zero@1, ce_spliced@1 and ce_clean@1", lost / possible)
    tiers = [values.get(f"concept_recovery.{tier}@1") for tier in ("bigram", "latent_state")]
    if None not in tiers:
        yield from _same(values, "concept_recovery@1", "its two tiers", sum(map(float, filter(None, tiers))) / 2)


def _same(
    values: dict[str, float | None], name: str, why: str, wanted: float | None
) -> Iterator[tuple[str, float | None, str, float]]:
    own = values.get(name)
    if own is not None and wanted is not None:
        yield name, own, why, wanted


def _less(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one - other
