"""Gates on a claim: what must hold before a gap means what it says. A failed gate voids the claim, not the row. Pure.

Arrays are [replicate]; frames are [replicate, variant].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.spec.variant import Variant
from benchmark.stats import case
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, Verdict, constant, equivalence_p, gap, worst
from benchmark.stats.prediction import tolerance
from leaderboard.standings import draws

CHANCE, LEAK = 0.5, 0.02
FLOOR = 0.9
FIDELITY = ("explained_variance@1", "kl_score@1")


class Gate(NamedTuple):
    """Passed, failed, or None where it could not be assessed, and the figure or the reason."""

    name: str
    passed: bool | None
    why: str


def assay(trained_minus_control: NDArray[np.float64]) -> Gate:
    """The score must tell trained from control at all: lower bound (95 %, one-sided) of the gap above 0."""
    found = gap(trained_minus_control)
    if found is None:
        return Gate("assay sensitivity", None, "under three replicates of trained and control, or no spread")
    return Gate("assay sensitivity", found.lower > 0, f"trained - control above {found.lower:+.4f}")


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


def parity(own: Mapping[str, pd.DataFrame], reference: Mapping[str, pd.DataFrame] | None) -> Gate:
    """On every null, fidelity must not be below the reference's by more than the reference's own spread allows: a
    method that fails on nulls on purpose widens the gap.
    """
    name = "fidelity parity"
    if reference is None:
        return Gate(name, None, "no reference with as many latents")
    below, compared = [], 0
    for metric in FIDELITY:
        for null in registry.NULLS:
            mine, theirs = (_values(frames, metric, null) for frames in (own, reference))
            if len(mine) and len(theirs) >= FEWEST_FOR_INTERVAL:
                compared += 1
                lowest = theirs.mean() - tolerance(float(theirs.std(ddof=1)), len(theirs))
                if mine.mean() < lowest:
                    below.append(f"{metric} on {null} {mine.mean():.4f}, reference at least {lowest:.4f}")
    if not compared:
        return Gate(name, None, "explained variance and KL score are undefined, or the reference has few replicates")
    return Gate(name, not below, "; ".join(below) or f"{compared} comparisons with the reference on nulls")


def floor(own: Mapping[str, pd.DataFrame], reference: Mapping[str, pd.DataFrame] | None) -> Gate:
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
        cells: score `value` and eligible share `q`, indexed by (variant, replicate, hookpoint, method_seed).
    """
    name = "coverage"
    drawn = _drawn_at_smaller_share(cells)
    if drawn:
        found = case.claim(0.0, drawn, delta=delta)
        if found is None:
            return Gate(name, None, f"under {case.FEWEST_DRAWS} draws")
        said = f"worst-null gap at equal shares {found.gap:+.4f} (p {found.p:.2g})"
        return Gate(name, found.verdict == Verdict.BEATS, said)
    gaps = {}
    for null in registry.NULLS:
        if {"trained", null} <= set(cells.index.get_level_values("variant")):
            trained, other = (cells[cells.index.get_level_values("variant") == name] for name in ("trained", null))
            paired = gap(_at_smaller_share(trained.droplevel("variant"), other.droplevel("variant")))
            if paired is None:
                return Gate(name, None, "under three replicates, or no spread")
            gaps[null] = paired
    if not gaps:
        return Gate(name, None, "eligible shares are unknown")
    lowest = worst(gaps)
    said = f"worst-null gap at equal shares {lowest.mean:+.4f} (above {lowest.lower:+.4f})"
    return Gate(name, lowest.lower > 0 and lowest.mean >= delta, said)


def one_setting(hashes: set[str]) -> Gate:
    """All variants must have been run with the same settings."""
    return Gate("one setting", len(hashes) == 1, f"{len(hashes)} settings hash" + ("es" if len(hashes) > 1 else ""))


def _values(frames: Mapping[str, pd.DataFrame], metric: str, variant: str) -> NDArray[np.float64]:
    drawn = draws(frames[metric]) if metric in frames else {}
    if variant in drawn:
        return drawn[variant]
    if metric not in frames or variant not in frames[metric]:
        return np.zeros(0)
    return frames[metric][variant].dropna().to_numpy()


def _drawn_at_smaller_share(cells: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """In case mode null -> each draw minus trained [draw], at the smaller share of both; else empty."""
    parts = {str(name): part.droplevel("variant") for name, part in cells.groupby(level="variant")}
    found: dict[str, list[float]] = {}
    for name, part in parts.items():
        variant = Variant.parse(name)
        if variant.draw is not None and "trained" in parts:
            found.setdefault(variant.kind, []).extend(-_at_smaller_share(parts["trained"], part))
    return {null: np.array(values) for null, values in found.items()}


def _at_smaller_share(trained: pd.DataFrame, null: pd.DataFrame) -> NDArray[np.float64]:
    """Paired differences [replicate], larger is better."""
    pair = trained.join(null, lsuffix="_trained", rsuffix="_null", how="inner").dropna()
    share = pair[["q_trained", "q_null"]].min(axis=1)
    means = [
        (pair[f"value_{side}"] - (1 - pair[f"q_{side}"]) * CHANCE).divide(
            pair[f"q_{side}"].where(pair[f"q_{side}"] > 0)
        )
        for side in ("trained", "null")
    ]
    difference = share * (means[0].fillna(CHANCE) - means[1].fillna(CHANCE))
    return np.asarray(difference.groupby("replicate").mean(), dtype=float)
