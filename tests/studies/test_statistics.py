"""The long simulations, in short: what they say stays within what is promised."""

from __future__ import annotations

import pytest

from benchmark.stats.floors import LeadVerdict
from benchmark.stats.null_gap import Verdict
from benchmark.studies import statistics
from benchmark.studies.statistics import Design


def test_coverage_and_type_one_error_hold_and_latents_as_units_do_not() -> None:
    assert 0.91 <= statistics.coverage(400, 5) <= 0.98
    ours, naive = statistics.errors(150, 0.02)
    assert ours <= 0.05 + 3 * (0.05 * 0.95 / 150) ** 0.5
    assert naive > 0.15


def test_verdicts_at_their_edges() -> None:
    found = statistics.verdicts(400, (0, 9, 9), 0.0)
    assert found[Verdict.BEATS] == pytest.approx(0.05, abs=0.035)
    assert sum(found.values()) == pytest.approx(1)
    assert statistics.verdicts(300, (2, 9, 9), 2.0)[Verdict.EQUIVALENT] <= 0.045


def test_leads_at_their_edges() -> None:
    """One floor as good and the others far is the least favourable case; eight as good take more than they give."""
    least, every = (statistics.leads(400, truth, 0.0) for truth in ((0, *(9,) * 7), (0,) * 8))
    assert least[LeadVerdict.LEADS] == pytest.approx(0.05, abs=0.035)
    assert every[LeadVerdict.LEADS] < least[LeadVerdict.LEADS]
    assert every[LeadVerdict.BELOW] <= 0.05 + 0.033
    assert statistics.leads(300, (4, 20, 20), 4.0)[LeadVerdict.LEVEL] <= 0.017 + 0.023


def test_power_grows_with_replicates_and_latents() -> None:
    few, more, most = (statistics.power(300, Design(m, n, 0.005)) for m, n in ((5, 100), (8, 100), (8, 500)))
    assert few < more < most
    assert most > 0.9


def test_the_ratios_interval_covers() -> None:
    assert 0.91 <= statistics.ratio_coverage(400) <= 0.98
