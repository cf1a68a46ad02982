"""Gates on a claim: what must hold before a gap means what it says. A failed gate voids the claim, not the row. Pure.

Arrays are [replicate]; frames are [replicate, variant].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.spec.variant import Variant, nulls_among
from benchmark.stats import case
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, Verdict, constant, equivalence_p, gap, worst
from benchmark.stats.prediction import tolerance
from leaderboard.standings import draws

CHANCE, LEAK = 0.5, 0.02
FLOOR = 0.9
FIDELITY = ("explained_variance@1", "kl_score@1")


Frames = Callable[[str], pd.DataFrame]
"""Scores [replicate, variant] of a metric, empty where there are none."""


class Gate(NamedTuple):
    """Passed, failed, or None where it could not be assessed, and the figure or the reason."""

    name: str
    passed: bool | None
    why: str


def assay(trained_minus_control: NDArray[np.float64]) -> Gate:
    """The score must tell trained from control at all: lower bound (95 %, one-sided) of the gap above 0."""
    above = gap(trained_minus_control)
    if above is None:
        return Gate("assay sensitivity", None, "under three replicates of trained and control, or no spread")
    return Gate("assay sensitivity", above.lower > 0, f"trained - control above {above.lower:+.4f}")


def leak(scores: Mapping[str, NDArray[np.float64]]) -> Gate:
    """The control must score chance, within .02 by two one-sided tests, under every judge in `scores`."""
    known = {name: values for name, values in scores.items() if len(values) >= FEWEST_FOR_INTERVAL}
    if len(known) < len(scores) or not scores:
        return Gate("leak", None, "under three replicates of the control")
    said = ", ".join(f"{name} {values.mean():.4f}" for name, values in known.items())
    passed = all(equivalence_p(values - CHANCE, delta=LEAK) < ALPHA for values in known.values())
    if passed and any(constant(values) for values in known.values()):
        return Gate("leak", None, f"control: {said}, without any spread")
    return Gate("leak", passed, f"control: {said}")


def parity(own: Frames, reference: Frames | None, nulls: Sequence[str]) -> Gate:
    """On every null, fidelity must not be below the reference's by more than the reference's own spread allows: a
    method that fails on nulls on purpose widens the gap.
    """
    name = "fidelity parity"
    if reference is None:
        return Gate(name, None, "no reference with as many latents")
    below, compared = [], 0
    for metric in FIDELITY:
        for null in nulls:
            mine, theirs = (_values(frames, metric, null) for frames in (own, reference))
            if len(mine) and len(theirs) >= FEWEST_FOR_INTERVAL:
                compared += 1
                lowest = theirs.mean() - tolerance(float(theirs.std(ddof=1)), len(theirs))
                if mine.mean() < lowest:
                    below.append(f"{metric} on {null} {mine.mean():.4f}, reference at least {lowest:.4f}")
    if not compared:
        return Gate(name, None, "explained variance and KL score are undefined, or the reference has few replicates")
    return Gate(name, not below, "; ".join(below) or f"{compared} comparisons with the reference on nulls")


def floor(own: Frames, reference: Frames | None) -> Gate:
    """Explained variance on trained must reach .9 of the reference's."""
    name, metric = "trained floor", FIDELITY[0]
    if reference is None:
        return Gate(name, None, "no reference with as many latents")
    mine, theirs = _values(own, metric, "trained"), _values(reference, metric, "trained")
    if not len(mine) or not len(theirs):
        return Gate(name, None, f"{metric} is undefined")
    share = float(mine.mean() / theirs.mean())
    return Gate(name, share >= FLOOR, f"{share:.3f} of the reference's explained variance on trained")


def coverage(cells: pd.DataFrame, *, delta: float) -> Gate:
    """The claim must survive with the eligible share of trained and null both set to the smaller one.

    Args:
        cells: score `value` and eligible share `q`, indexed by (variant, replicate, place, method_seed).
    """
    name = "coverage"
    shares = _Shares.of(cells)
    present = list(shares.values) if "trained" in shares.values else []
    drawn = _drawn_at_smaller_share(shares, present)
    if drawn:
        claimed = case.claim(0.0, drawn, delta=delta)
        if claimed is None:
            return Gate(name, None, f"under {case.FEWEST_DRAWS} draws")
        said = f"worst-null gap at equal shares {claimed.gap:+.4f} (p {claimed.p:.2g})"
        return Gate(name, claimed.verdict == Verdict.BEATS, said)
    gaps = {}
    for null in nulls_among(present):
        paired = gap(shares.at_smaller_share("trained", null))
        if paired is None:
            return Gate(name, None, "under three replicates, or no spread")
        gaps[null] = paired
    if not gaps:
        return Gate(name, None, "eligible shares are unknown")
    lowest = worst(gaps)
    said = f"worst-null gap at equal shares {lowest.mean:+.4f} (above {lowest.lower:+.4f})"
    return Gate(name, lowest.lower > 0 and lowest.mean >= delta, said)


def one_setting(hashes: set[str]) -> Gate:
    """All variants must have been run with the same settings, and scored by the same definition of the headline."""
    return Gate("one setting", len(hashes) == 1, f"{len(hashes)} settings hash" + ("es" if len(hashes) > 1 else ""))


def _values(frames: Frames, metric: str, variant: str) -> NDArray[np.float64]:
    table = frames(metric)
    drawn = draws(table)
    if variant in drawn:
        return drawn[variant]
    return table[variant].dropna().to_numpy() if variant in table else np.zeros(0)


class _Shares(NamedTuple):
    """Scores and eligible shares of every variant, [place] each and NaN where a variant lacks a cell, and the replicate
    of each place.
    """

    values: dict[str, NDArray[np.float64]]
    q: dict[str, NDArray[np.float64]]
    replicates: NDArray[np.int64]

    @classmethod
    def of(cls, cells: pd.DataFrame) -> _Shares:
        if cells.empty:
            return cls({}, {}, np.zeros(0, np.int64))
        wide = [pd.DataFrame(cells[part].unstack("variant")) for part in ("value", "q")]
        values, q = (dict(zip(map(str, part), part.to_numpy(float).T, strict=True)) for part in wide)
        return cls(values, q, wide[0].index.get_level_values("replicate").to_numpy(np.int64))

    def at_smaller_share(self, one: str, other: str) -> NDArray[np.float64]:
        """Differences [replicate] over the cells that both have. A score is chance for the share that could not be
        asked about: that is taken out, and put back at the smaller share of both.
        """
        value, q = (np.stack([part[one], part[other]]) for part in (self.values, self.q))
        known = ~np.isnan([*value, *q]).any(axis=0)
        value, q = value[:, known], q[:, known]
        asked = np.divide(value - (1 - q) * CHANCE, q, out=np.full_like(q, CHANCE), where=q > 0)
        difference = q.min(axis=0) * (asked[0] - asked[1])
        _, own = np.unique(self.replicates[known], return_inverse=True)
        return np.bincount(own, weights=difference) / np.maximum(np.bincount(own), 1)


def _drawn_at_smaller_share(shares: _Shares, variants: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """In case mode null -> each draw minus trained [draw], at the smaller share of both; else empty."""
    by_null: dict[str, list[float]] = {}
    for name in variants:
        variant = Variant.parse(name)
        if variant.draw is not None:
            by_null.setdefault(variant.name, []).extend(-shares.at_smaller_share("trained", name))
    return {null: np.array(values) for null, values in by_null.items()}
