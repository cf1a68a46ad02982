"""The lead over floors and the envelope, on numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark.stats import floors
from benchmark.stats.floors import Lead, LeadVerdict
from benchmark.stats.null_gap import Replicates

OWN = np.array([0.09, 0.10, 0.08, 0.11, 0.09])
CLOSE = np.array([0.05, 0.06, 0.05, 0.07, 0.05])
FAR = np.array([0.02, 0.03, 0.02, 0.02, 0.03])


def lead(*others: Replicates, own: Replicates = OWN, delta: float = 0.02) -> Lead:
    found = floors.lead({str(place): own - other for place, other in enumerate(others)}, delta=delta)
    assert found is not None
    return found


def test_the_golden_case() -> None:
    found = lead(CLOSE, FAR)
    assert (found.floor, found.verdict) == ("0", LeadVerdict.LEADS)
    assert found.mean == pytest.approx(0.038)
    assert float((OWN - CLOSE).std(ddof=1)) == pytest.approx(0.0044721, abs=1e-7)
    assert found.lower == pytest.approx(0.0337363, abs=1e-7)
    assert lead(CLOSE).p == pytest.approx(2.262e-5, rel=1e-3)
    assert found.p == pytest.approx(1.080e-4, rel=1e-3), "the farther floor varies more"
    assert pytest.approx(19.0, abs=1e-3) == 0.038 / (0.0044721 / 5**0.5)


def test_a_floor_that_is_as_good_decides_whatever_the_others_are() -> None:
    noise = np.array([0.004, -0.002, 0.001, -0.004, 0.001])
    assert lead(FAR, OWN + noise).verdict == LeadVerdict.LEVEL
    assert lead(FAR, OWN + noise + 0.05).verdict == LeadVerdict.BELOW
    assert lead(FAR, OWN - 0.02 - 25 * noise).verdict == LeadVerdict.OPEN
    assert lead(FAR, OWN + 10 * noise).verdict == LeadVerdict.OPEN


def test_more_floors_only_take_away() -> None:
    one, both = lead(CLOSE), lead(CLOSE, FAR)
    assert both.mean <= one.mean
    assert (both.lower or 0) <= (one.lower or 0)
    assert (both.p or 0) >= (one.p or 0)


def test_a_copy_of_a_floor_is_level_with_it_and_a_constant_is_no_evidence() -> None:
    copy = lead(FAR, OWN)
    assert (copy.floor, copy.verdict) == ("1", LeadVerdict.LEVEL)
    assert copy.mean == pytest.approx(0)
    assert (copy.lower, copy.p) == (None, None), "a copy has no bound of its own"
    assert lead(OWN - 0.05, OWN - 0.08 * np.array([1, 1.1, 1, 1.1, 1])).lower is None, "nor has the worst, constant one"
    alone = lead(OWN)
    assert alone == Lead(alone.mean, None, None, "0", LeadVerdict.LEVEL)
    assert lead(OWN - 0.05).verdict == LeadVerdict.OPEN
    assert lead(OWN - 0.05, FAR).verdict == LeadVerdict.OPEN


def test_replicates_that_are_needed() -> None:
    assert floors.lead({"a": (OWN - FAR)[:2], "b": OWN - FAR}, delta=0.02) is None
    assert lead(FAR[:4], own=OWN[:4]).verdict is None
    assert lead(FAR[:4], own=OWN[:4]).lower is not None


@pytest.mark.parametrize(("floor", "held"), [(0.9, True), (0.8999, False), (1.2, True)])
def test_matched_from_nine_tenths_on(floor: float, held: bool) -> None:
    assert floors.matched(1.0, floor) is held
    assert floors.matched(0.5, floor / 2) is held
    assert floors.matched(-0.1, -0.1)
    assert not floors.matched(-0.1, -0.11)


def test_the_envelope_is_the_highest_of_what_is_believed() -> None:
    """Means .54 and .55 of three with sd .01 and .04: t(.975, 2) = 4.302653, times sd sqrt(4 / 3)."""
    steady, loose = np.array([0.53, 0.54, 0.55]), np.array([0.51, 0.55, 0.59])
    assert floors.envelope([steady, loose]) == pytest.approx(0.54 - 4.302653 * 0.01 * (4 / 3) ** 0.5)
    assert floors.envelope([steady[:2]]) is None
    assert floors.envelope([]) is None
