"""The null on the method's side: the lead over floors, which learn nothing, and the envelope of null scores.

Arrays are [replicate]; larger is better (the caller turns metrics round).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from benchmark.stats.null_gap import (
    ALPHA,
    FEWEST_FOR_CLAIM,
    FEWEST_FOR_INTERVAL,
    Gap,
    Replicates,
    equivalence_p,
    gap,
)
from benchmark.stats.prediction import lowest

SHARE = 0.9
"""Of an entry's fidelity, what a floor must reach to be held against it."""


class LeadVerdict(StrEnum):
    """What a row may say of its lead."""

    BELOW = "below the floor"
    LEVEL = "level with the floor"
    LEADS = "leads the floor"
    OPEN = "open"
    UNMATCHED = "no matched floor"


class Lead(NamedTuple):
    """Lead over the worst of the matched floors: mean, the smallest one-sided lower bound and the largest p of those
    that the lead varies over, None where it does not over the worst. No verdict for under five replicates.
    """

    mean: float
    lower: float | None
    p: float | None
    floor: str
    verdict: LeadVerdict | None


def matched(own: float, floor: float) -> bool:
    """Whether a floor of this fidelity is held against an entry: recovered variance on trained, of both."""
    return floor >= min(SHARE * own, own)


def lead(leads: Mapping[str, Replicates], *, delta: float, alpha: float = ALPHA) -> Lead | None:
    """The lead over matched floors, at least one; None for under three replicates of one of them.

    The first verdict that holds: some floor is above, at alpha over their number and by delta at least; with some floor
    the two one-sided tests show less than delta of a difference; the lower bound over all floors is above 0 and the
    smallest mean reaches delta (intersection-union: no correction); else open. Differences without any spread are no
    evidence of a lead, but those of a copy are.

    Args:
        leads: floor -> paired differences of gaps, the method's minus the floor's, each to its own worst null.
        delta: smallest difference that matters, in the metric's units.
    """
    if min(len(values) for values in leads.values()) < FEWEST_FOR_INTERVAL:
        return None
    gaps = {floor: gap(values) for floor, values in leads.items()}
    known = [one for one in gaps.values() if one is not None]
    worst = min(leads, key=lambda floor: float(leads[floor].mean()))
    mean = float(leads[worst].mean())
    varies = gaps[worst] is not None
    lower, p = (min(one.lower for one in known), max(one.p for one in known)) if varies else (None, None)
    enough = min(len(values) for values in leads.values()) >= FEWEST_FOR_CLAIM
    verdict = _verdict(leads, gaps, mean, delta, alpha / len(leads)) if enough else None
    return Lead(mean, lower, p, worst, verdict)


def _verdict(
    leads: Mapping[str, Replicates], gaps: Mapping[str, Gap | None], mean: float, delta: float, each: float
) -> LeadVerdict:
    if any(one is not None and 1 - one.p < each and one.mean <= -delta for one in gaps.values()):
        return LeadVerdict.BELOW
    if delta > 0 and any(equivalence_p(values, delta=delta) < each for values in leads.values()):
        return LeadVerdict.LEVEL
    above = all(one is not None and one.lower > 0 for one in gaps.values())
    return LeadVerdict.LEADS if above and mean >= delta else LeadVerdict.OPEN


def envelope(others: Sequence[Replicates]) -> float | None:
    """The lowest score on a null that is believed of an entry: what the best of the others has there, less what one
    more value of it may differ by. None where no other has three replicates.
    """
    return max((lowest(values) for values in others if len(values) >= FEWEST_FOR_INTERVAL), default=None)
