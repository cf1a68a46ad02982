"""Gates on a claim: what must hold before a gap means what it says. A failed gate voids the claim, not the row. Pure.

Arrays are [replicate].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.spec.variant import Variant, nulls_among
from benchmark.stats import case
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, Verdict, constant, equivalence_p, gap, worst
from benchmark.stats.prediction import lowest
from leaderboard.contenders import Contender

CHANCE = 0.5
FLOOR, TIMES = 0.9, 2.0
FIDELITY, SPARSITY = "recovered_variance@1", "l0@1"
NO_REFERENCE = "no row of the reference on this suite"


class Gate(NamedTuple):
    """Passed, failed, or None where it could not be assessed, and the figure or the reason. What could not be assessed
    because of the entry's `own` doing voids the claim as a failure does.
    """

    name: str
    passed: bool | None
    why: str
    own: bool = False

    @property
    def voids(self) -> bool:
        """Whether it takes the claim away."""
        return self.passed is False or (self.passed is None and self.own)


def complete(lacking: Sequence[str], *, of: int) -> Gate:
    """Every cell of the suite must have a value of the headline: what is left out is left out where it hurts. Cells
    that have none for the reference either are not counted.
    """
    if not lacking:
        return Gate("complete", True, f"all {of} cells have a value")
    return Gate("complete", False, f"{len(lacking)} of {of} cells have no value, such as {lacking[0]}")


def assay(trained_minus_control: NDArray[np.float64], *, of: int) -> Gate:
    """The score must tell trained from control at all: lower bound (95 %, one-sided) of the gap above 0. `of` is how
    many replicates have a score on trained and a cell of the control.
    """
    above = gap(trained_minus_control)
    if above is None:
        known = len(trained_minus_control) >= FEWEST_FOR_INTERVAL
        why = (
            "trained and control differ without any spread"
            if known
            else "under three replicates of trained and control"
        )
        return Gate("assay sensitivity", None, why, own=of >= FEWEST_FOR_INTERVAL)
    return Gate("assay sensitivity", above.lower > 0, f"trained - control above {above.lower:+.4f}")


def leak(scores: Mapping[str, NDArray[np.float64]], *, chance: float, delta: float, of: int) -> Gate:
    """The control must score chance, within delta by two one-sided tests, under every judge; `of` as there."""
    known = {name: values for name, values in scores.items() if len(values) >= FEWEST_FOR_INTERVAL}
    if len(known) < len(scores) or not scores:
        return Gate("leak", None, "under three replicates of the control", own=of >= FEWEST_FOR_INTERVAL)
    said = ", ".join(f"{name} {values.mean():.4f}" for name, values in known.items())
    passed = all(equivalence_p(values - chance, delta=delta) < ALPHA for values in known.values())
    if passed and any(constant(values) for values in known.values()):
        return Gate("leak", None, f"control: {said}, without any spread", own=True)
    return Gate("leak", passed, f"control: {said}")


def parity(mine: Contender, reference: Contender | None, nulls: Sequence[str]) -> Gate:
    """On every null, recovered variance must not be below the reference's by more than the reference's own spread
    allows: a method that fails on nulls on purpose widens the gap. The reference is the row of nearest width.
    """
    name = "fidelity parity"
    if reference is None:
        return Gate(name, None, NO_REFERENCE)
    if not nulls:
        return Gate(name, None, "no nulls")
    below = []
    for null in nulls:
        own, theirs = mine.on(FIDELITY, null), reference.on(FIDELITY, null)
        if len(theirs) < FEWEST_FOR_INTERVAL:
            return Gate(name, None, f"the reference has under three replicates with {FIDELITY} on {null}")
        if not len(own):
            return Gate(name, None, f"{FIDELITY} is missing on {null}, where the reference has it", own=True)
        if own.mean() < (least := lowest(theirs)):
            below.append(f"{FIDELITY} on {null} {own.mean():.4f}, reference at least {least:.4f}")
    return Gate(name, not below, "; ".join(below) or f"{FIDELITY} on {len(nulls)} nulls, against {reference.name}")


def floor(mine: Contender, reference: Contender | None) -> Gate:
    """Recovered variance on trained must reach .9 of the reference's."""
    name = "trained floor"
    if reference is None:
        return Gate(name, None, NO_REFERENCE)
    own, theirs = mine.on(FIDELITY, "trained"), reference.on(FIDELITY, "trained")
    if not len(theirs) or theirs.mean() <= 0:
        return Gate(name, None, f"the reference has no {FIDELITY} above 0")
    if not len(own):
        return Gate(name, None, f"{FIDELITY} is missing, where the reference has it", own=True)
    share = float(own.mean() / theirs.mean())
    return Gate(name, share >= FLOOR, f"{share:.3f} of the recovered variance of {reference.name} on trained")


def sparsity(mine: Contender, nulls: Sequence[str]) -> Gate:
    """On every null as many latents must fire on a token as on trained, within a factor of two: codes of another kind
    there are another method there.
    """
    name, trained = "l0 parity", mine.on(SPARSITY, "trained")
    known = {null: mine.on(SPARSITY, null) for null in nulls}
    missing = [variant for variant, values in {"trained": trained, **known}.items() if not len(values)]
    if missing:
        return Gate(name, None, f"{SPARSITY} is undefined or missing on {', '.join(missing)}", own=True)
    means = {null: float(values.mean()) for null, values in known.items()}
    away = {null: mean for null, mean in means.items() if not trained.mean() / TIMES <= mean <= trained.mean() * TIMES}
    said = ", ".join(f"{null} {mean:.4g}" for null, mean in (away or means).items())
    return Gate(name, not away, f"{SPARSITY} on trained {trained.mean():.4g}, {said}")


def floors_present(missing: Sequence[str], *, needed: int) -> Gate:
    """Every row of a floor that the suite names must be there, with all its cells and its fidelity."""
    if not needed:
        return Gate("floors", None, "no suite of the repository that names floors: nothing can be claimed on it")
    said = f"not whole on this suite: {', '.join(missing)}" if missing else f"all {needed} rows of floors are there"
    return Gate("floors", not missing, said)


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
        apart = shares.at_smaller_share("trained", null)
        paired = gap(apart)
        if paired is None:
            known = len(apart) >= FEWEST_FOR_INTERVAL
            return Gate(name, None, "no spread" if known else "under three replicates", own=known)
        gaps[null] = paired
    if not gaps:
        return Gate(name, None, "eligible shares are unknown", own=True)
    least = worst(gaps)
    said = f"worst-null gap at equal shares {least.mean:+.4f} (above {least.lower:+.4f})"
    return Gate(name, least.lower > 0 and least.mean >= delta, said)


def one_setting(hashes: set[str]) -> Gate:
    """All variants must have been run with the same settings, and scored by the same definition of the headline."""
    return Gate("one setting", len(hashes) == 1, f"{len(hashes)} settings hash" + ("es" if len(hashes) > 1 else ""))


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
