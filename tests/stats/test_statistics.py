"""Golden values, and the properties that a statistic of the null gap must have whatever the data."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats as reference

from benchmark.stats import frequency, multiplicity, null_gap, ratio
from benchmark.stats.effect import superiority
from benchmark.stats.frequency import RatedLatents
from benchmark.stats.null_gap import Verdict

D = np.array([0.03, 0.02, 0.04, 0.01, 0.05])
V = np.array([0.25, 0.27, 0.24, 0.26, 0.23])
U = np.array([0.020, 0.030, 0.010, 0.025, 0.015])
FAR = np.full(8, 1.0) + np.linspace(0, 0.1, 8)


def verdict(d: dict[str, np.ndarray], *, delta: float) -> Verdict | None:
    gaps = null_gap.gaps_of(d)
    assert gaps is not None
    return null_gap.verdict(d, gaps, delta=delta)


def test_golden_gap() -> None:
    found = null_gap.gap(D)
    assert found is not None
    assert found.t == pytest.approx(4.2426, abs=1e-4)
    assert found.p == pytest.approx(0.006618, abs=1e-6)
    assert found.p_sign_flip == 0.03125
    assert found.lower == pytest.approx(0.0149256, abs=1e-7)
    assert found.interval[0] < found.lower < found.mean < found.interval[1]


def test_golden_fieller_and_its_refusal() -> None:
    found = ratio.normalised(U, V, floor=0.05)
    assert found is not None
    assert found.value == pytest.approx(0.08)
    assert found.interval == pytest.approx((0.0437997, 0.1116085), abs=1e-7)
    assert ratio.normalised(U, np.array([0.02, -0.03, 0.01, 0.04, -0.01]), floor=0.0) is None
    assert ratio.normalised(U, V, floor=0.3) is None, "below the metric's floor"
    assert ratio.normalised(U, np.zeros(5), floor=0.0) is None, "control as good as trained"


@pytest.mark.parametrize("m", [0, 1, 2])
def test_under_three_replicates_there_is_no_interval(m: int) -> None:
    assert null_gap.gap(D[:m]) is None
    assert ratio.normalised(U[:m], V[:m], floor=0) is None


def test_under_five_replicates_there_is_no_verdict() -> None:
    assert verdict({"a": FAR[:4]}, delta=0.02) is None


def test_worst_null_is_the_smallest_gap_with_the_largest_p() -> None:
    gaps = {"easy": null_gap.gap(FAR[:5]), "hard": null_gap.gap(D)}
    found = null_gap.worst({name: value for name, value in gaps.items() if value})
    assert found.null == "hard"
    assert found.mean == pytest.approx(0.03)
    assert found.p == pytest.approx(0.006618, abs=1e-6)
    assert found.lower == pytest.approx(0.0149256, abs=1e-7)


def test_verdicts_in_their_order() -> None:
    spread = np.linspace(-0.004, 0.004, 8)
    cases = {
        Verdict.BEATS: {"a": FAR, "b": 0.05 + spread},
        Verdict.EQUIVALENT: {"a": FAR, "b": spread},
        Verdict.REVERSED: {"a": spread, "b": -0.05 + spread},
        Verdict.INCONCLUSIVE: {"a": FAR, "b": 0.02 + 20 * spread},
    }
    for expected, d in cases.items():
        assert verdict(d, delta=0.02) == expected


def test_a_gap_below_delta_beats_nothing() -> None:
    tight = 0.015 + np.linspace(-0.004, 0.012, 8)
    found = null_gap.gap(tight)
    assert found is not None
    assert found.lower > 0
    assert verdict({"a": tight}, delta=0.03) != Verdict.BEATS


def test_swapping_trained_and_null_flips_the_sign() -> None:
    there, back = null_gap.gap(D), null_gap.gap(-D)
    assert there is not None
    assert back is not None
    assert back.mean == -there.mean
    assert back.interval == pytest.approx((-there.interval[1], -there.interval[0]))
    assert verdict({"a": -FAR}, delta=0.02) == Verdict.REVERSED


def test_renaming_and_reordering_change_nothing() -> None:
    d = {"a": FAR, "b": FAR * 0.1}
    assert verdict(d, delta=0.02) == verdict({"y": d["b"], "x": d["a"]}, delta=0.02)
    one, other = null_gap.gap(D), null_gap.gap(D[::-1].copy())
    assert one is not None
    assert other is not None
    assert (one.mean, *one.interval) == pytest.approx((other.mean, *other.interval))


def test_ratio_does_not_depend_on_the_unit() -> None:
    first, scaled = ratio.normalised(U, V, floor=0.05), ratio.normalised(3 * U, 3 * V, floor=0.15)
    assert first is not None
    assert scaled is not None
    assert scaled.value == pytest.approx(first.value)
    assert scaled.interval == pytest.approx(first.interval)


@pytest.mark.parametrize("value", [0.0, 0.5, -0.5, 0.1 + 1e-16])
def test_gaps_without_spread_are_no_evidence(value: float) -> None:
    """What is the same number in every replicate is a copy or a score of nothing."""
    assert null_gap.gap(np.full(8, value)) is None
    assert null_gap.gaps_of({"a": FAR, "b": np.full(8, value)}) is None


def test_holm_and_benjamini_hochberg() -> None:
    p = np.array([0.01, 0.04, 0.03])
    np.testing.assert_allclose(multiplicity.holm(p), [0.03, 0.06, 0.06])
    np.testing.assert_allclose(multiplicity.benjamini_hochberg(p), [0.03, 0.04, 0.04])


def test_ranks_that_the_data_cannot_separate_are_tied() -> None:
    better = np.zeros((3, 3), dtype=bool)
    better[0, 2] = True
    found = multiplicity.ranks(better)
    assert [(rank.best, rank.worst) for rank in found] == [(1, 2), (1, 3), (2, 3)]
    assert {rank.group for rank in found} == {1}
    better[0, 1] = True
    assert [rank.group for rank in multiplicity.ranks(better)] == [1, 2, 2]


def test_superiority_counts_pairs() -> None:
    assert superiority([(np.array([2.0, 3.0]), np.array([1.0, 2.0]))]) == pytest.approx(3.5 / 4)
    assert superiority([(np.ones(3), np.ones(4)), (np.ones(2), np.zeros(2))]) == pytest.approx(0.75)


@pytest.mark.parametrize("m", [5, 8])
def test_bands_cover_all_layers_at_once(m: int) -> None:
    rng = np.random.default_rng(m)
    covered = 0
    for _ in range(400):
        shared = rng.standard_normal((m, 1))
        low, high = multiplicity.band(0.7 * shared + rng.standard_normal((m, 4)))
        covered += bool(((low <= 0) & (high >= 0)).all())
    assert covered / 400 > 0.92


def test_frequency_standardisation_takes_out_a_difference_in_frequencies() -> None:
    """Scores depend on frequency alone: the naive means differ, the standardised gap does not."""
    rng = np.random.default_rng(0)
    sides = []
    for centre in (-3.0, -2.0):
        rates = 10.0 ** rng.normal(centre, 0.7, size=4_000).clip(-4.9, -0.1)
        scores = np.floor(2 * np.log10(rates)) / 10 + rng.normal(0, 0.01, size=4_000)
        sides.append(RatedLatents(rates, scores, np.repeat(np.arange(8), 500)))
    trained, null = sides
    found = frequency.resolve(trained, null)
    assert abs(trained.scores.mean() - null.scores.mean()) > 0.1
    assert np.abs(found.standardised).max() < 0.01
    assert np.nanmax(np.abs(found.gaps)) < 0.01
    assert found.shares.sum() == pytest.approx(1)


def test_bins_with_few_latents_are_left_out_and_their_mass_is_told() -> None:
    rates = np.concatenate([np.full(90, 2e-3), np.full(10, 0.5)])
    trained = RatedLatents(rates, np.ones(100), np.arange(100) % 5)
    null = RatedLatents(np.full(100, 2e-3), np.zeros(100), np.arange(100) % 5)
    found = frequency.resolve(trained, null)
    assert found.left_out == pytest.approx(0.05)
    assert np.isnan(found.gaps).sum() == len(found.gaps) - 1
    np.testing.assert_allclose(found.standardised, 1.0)


def nested(rng: np.random.Generator, m: int, latents: int, icc: float) -> tuple[np.ndarray, np.ndarray]:
    """Latent scores [replicate, latent] of two variants with no gap, latents nested in replicates."""
    between, within = np.sqrt(icc), np.sqrt(1 - icc)
    shape = (2, m, latents)
    scores = between * rng.standard_normal((2, m, 1)) + within * rng.standard_normal(shape)
    return scores[0], scores[1]


@pytest.mark.parametrize("icc", [0.001, 0.02])
def test_type_one_error_holds_where_a_test_over_latents_is_wrong(icc: float) -> None:
    rng = np.random.default_rng(int(1000 * icc))
    runs, naive, ours = 600, 0, 0
    for _ in range(runs):
        trained, null = nested(rng, 5, 500, icc)
        naive += reference.ttest_ind(trained.ravel(), null.ravel(), alternative="greater").pvalue < 0.05
        found = null_gap.gap(trained.mean(axis=1) - null.mean(axis=1))
        ours += found is not None and found.p < 0.05
    assert ours / runs < 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    if icc == 0.02:
        assert naive / runs > 0.15


def test_interval_covers_as_stated() -> None:
    rng = np.random.default_rng(1)
    intervals = [null_gap.gap(0.02 + 0.01 * rng.standard_normal(5)) for _ in range(1500)]
    covered = np.mean([found is not None and found.interval[0] <= 0.02 <= found.interval[1] for found in intervals])
    assert 0.93 < covered < 0.97


def test_worst_null_at_its_least_favourable_case() -> None:
    """One null at no gap, the others far: beats in about 5 % at delta 0, far less when all gaps are 0."""
    rng = np.random.default_rng(2)
    runs = 2000
    one = sum(
        verdict(
            {"a": rng.standard_normal(8), "b": 9 + rng.standard_normal(8), "c": 9 + rng.standard_normal(8)}, delta=0.0
        )
        == Verdict.BEATS
        for _ in range(runs)
    )
    every = sum(
        verdict({name: rng.standard_normal(8) for name in "abc"}, delta=0.0) == Verdict.BEATS for _ in range(runs)
    )
    assert abs(one / runs - 0.05) < 2 * np.sqrt(0.05 * 0.95 / runs)
    assert every / runs < 0.02


@pytest.mark.parametrize(("claimed", "gap", "delta"), [(Verdict.EQUIVALENT, 2.0, 2.0), (Verdict.REVERSED, 0.0, 0.0)])
def test_equivalent_and_reversed_stay_within_their_alpha(claimed: Verdict, gap: float, delta: float) -> None:
    """The null at the edge of what is claimed, the others far: alpha / 3 each."""
    rng = np.random.default_rng(3)
    runs, nominal = 2000, 0.05 / 3
    found = [verdict({"a": gap + rng.standard_normal(8), "b": FAR * 9, "c": FAR * 9}, delta=delta) for _ in range(runs)]
    assert found.count(claimed) / runs < nominal + 2 * np.sqrt(nominal * (1 - nominal) / runs)
    assert found.count(claimed) > 0


def test_duplicating_and_permuting_latents_shrink_nothing() -> None:
    rng = np.random.default_rng(3)
    trained, null = nested(rng, 6, 50, 0.02)
    once = null_gap.gap(trained.mean(axis=1) - null.mean(axis=1))
    twice = null_gap.gap(np.tile(trained, 2).mean(axis=1) - np.tile(null, 2).mean(axis=1))
    mixed = null_gap.gap(rng.permuted(trained, axis=1).mean(axis=1) - rng.permuted(null, axis=1).mean(axis=1))
    assert once is not None
    assert twice is not None
    assert mixed is not None
    assert twice.p == pytest.approx(once.p)
    assert mixed.p == pytest.approx(once.p)


def test_pairing_by_a_shared_component_narrows_the_interval() -> None:
    rng = np.random.default_rng(4)
    widths = []
    for _ in range(200):
        shared = rng.standard_normal(8)
        trained, null = shared + 0.3 * rng.standard_normal(8), shared + 0.3 * rng.standard_normal(8)
        paired, unpaired = null_gap.gap(trained - null), null_gap.gap(trained - rng.permutation(null))
        assert paired is not None
        assert unpaired is not None
        widths.append((np.diff(paired.interval)[0], np.diff(unpaired.interval)[0]))
    narrow, wide = np.mean(widths, axis=0)
    assert narrow < 0.5 * wide
