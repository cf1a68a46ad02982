"""The headline table on made-up records: claims, gates, ranks, decomposition; and what a deleted record changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.records import MetricValue, Record, Where
from benchmark.stats.null_gap import Gap, Verdict
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import compare, gates, headline, layers, pages, resolved, screen
from leaderboard.contents import Heading
from leaderboard.headline import Entry
from leaderboard.layers import Layers
from leaderboard.rows import Tables, Verification
from tests.leaderboard.rendered import board, entries, lines, nothing, page, rows
from tests.leaderboard.test_board import CONTENT

HEADLINE = FeaturesTrack.headline
NULLS = ["step0", "rerandomized", "rerandomized-keep-embeddings"]
SHUFFLED = registry.beside(HEADLINE, "shuffled")
SCORES = {"trained": 0.65, "step0": 0.52, "rerandomized": 0.55, "rerandomized-keep-embeddings": 0.54}
FIDELITY = {"recovered_variance@1": 0.9, "recovered_context@1": 0.7, "l0@1": 16.0}
COST = {"fit_seconds": 10, "score_seconds": 5, "worker_peak_bytes": 2**30, "harness_peak_bytes": 2**31}
Change = Callable[[Record], Record]


def asked(variants: list[str], m: int, draws: int | None = None) -> dict[str, Any]:
    """What the suite says of cells."""
    return {
        "subject": {"name": "x", "replicates": {str(number): "x" for number in range(m)}, "null_draws": draws},
        "variants": sorted(variants),
        "track": {"name": "features", "places": ["layers.1"], "table": {}},
    }


def records(
    method: str = "topk_sae",
    m: int = 6,
    seed: int = 0,
    label: str = "default",
    **scores: Any,
) -> list[Record]:
    """One hookpoint, one method seed, `m` replicates; scores of variants may be given with _ for -."""
    given = SCORES | {name.replace("_", "-"): value for name, value in scores.items()} | {registry.CONTROL: 0.5}
    rng = np.random.default_rng(seed)
    found = []
    told = asked(list(given), m)
    for variant, mean in given.items():
        for replicate in range(m):
            where = Where(
                suite="s", track="features", method=method, label=label, subject="x", source="x", revision="r",
                replicate=replicate, variant=variant, method_seed=0, place="layers.1",
            )  # fmt: skip
            noise = rng.normal(0, 0.004)
            metrics = {HEADLINE: mean + noise, SHUFFLED: 0.5 + noise / 2} | {
                name: value + noise for name, value in FIDELITY.items()
            }
            found.append(
                Record(
                    where=where, status="scored", fit_id=keyed.short("f"),
                    score_id=keyed.short(method, label, variant, replicate), suite_hash=keyed.short("suite"),
                    settings_hash=keyed.short("h"), settings={}, suite=CONTENT | told,
                    metrics={name: MetricValue(value=value) for name, value in metrics.items()},
                    counts={"eligible_drawn": 80, "drawn": 100, "n_latents": 512},
                    cost=COST,
                )
            )  # fmt: skip
    return found


def changed(entry: Record, metric: str, value: float) -> Record:
    return entry.model_copy(update={"metrics": entry.metrics | {metric: MetricValue(value=value)}})


def only(found: list[Entry], method: str = "topk_sae") -> Entry:
    return next(entry for entry in found if entry.method == method)


def gate(entry: Entry, name: str) -> gates.Gate:
    return next(found for found in entry.gates if found.name == name)


def test_an_entry_has_its_worst_null_verdict_cost_and_all_gates_passed() -> None:
    (entry,) = entries(records())
    assert entry.claim is not None
    assert entry.claim.worst.null == "rerandomized"
    assert entry.claim.worst.mean == pytest.approx(0.10, abs=0.01)
    assert entry.claim.verdict == Verdict.BEATS
    assert [found.passed for found in entry.gates] == [True] * 7 + [None, True]
    assert "names floors: nothing can be claimed on it" in gate(entry, "floors").why
    assert not entry.void
    assert not entry.claimed, "nothing learned less"
    assert (entry.seconds, entry.peak_bytes) == (15, 2**31)
    assert entry.rank == (1, 1, 1)
    assert entry.p_holm == entry.claim.worst.p
    assert entry.decomposition is None


@pytest.mark.parametrize("m", [1, 2, 4])
def test_few_replicates_make_no_claim(m: int) -> None:
    (entry,) = entries(records(m=m))
    assert entry.rank is None
    assert entry.p_holm is None
    if m < 3:
        assert entry.claim is None
        assert "n/a" in board(records(m=m))
        assert "no claim: under three replicates" in screen.sentence(entry)
    else:
        assert entry.claim is not None
        assert entry.claim.verdict is None


def spoiled(name: str) -> list[Record]:
    """A submission with one fault, beside the reference."""
    faults: dict[str, tuple[dict[str, Any], Change]] = {
        "assay sensitivity": ({"trained": 0.5, "step0": 0.4}, lambda entry: entry),
        "leak": (
            {}, lambda entry: changed(entry, HEADLINE, 0.56) if entry.where.variant == registry.CONTROL else entry
        ),
        "fidelity parity": (
            {}, lambda entry: changed(entry, "recovered_variance@1", 0.5) if entry.where.variant == "step0" else entry
        ),
        "trained floor": (
            {}, lambda entry: changed(entry, "recovered_variance@1", 0.6) if entry.where.variant == "trained" else entry
        ),
        "l0 parity": ({}, lambda entry: changed(entry, "l0@1", 1_000) if entry.where.variant == "step0" else entry),
        "coverage": (
            {"trained": 0.53, "step0": 0.5, "rerandomized": 0.505, "rerandomized_keep_embeddings": 0.505},
            lambda entry: entry.model_copy(
                update={"counts": entry.counts | {"eligible_drawn": 100 if entry.where.variant == "trained" else 10}}
            ),
        ),
        "one setting": (
            {}, lambda entry: entry.model_copy(update={"settings_hash": keyed.short(entry.where.variant)}),
        ),
    }  # fmt: skip
    scores, change = faults[name]
    return records() + [change(entry) for entry in records("mine", seed=1, **scores)]


@pytest.mark.parametrize(
    "name", ["assay sensitivity", "leak", "fidelity parity", "trained floor", "l0 parity", "coverage", "one setting"]
)
def test_each_gate_catches_its_fault_and_voids_the_claim_but_not_the_row(name: str) -> None:
    found = entries(spoiled(name))
    mine = only(found, "mine")
    assert gate(mine, name).passed is False, mine.gates
    assert mine.void
    assert found[-1].method == "mine"
    assert "void (" in board(spoiled(name))
    assert f"failed: {name}" in board(spoiled(name))
    assert "**failed**" in page(spoiled(name), method="mine")
    assert f"gate {name}" in screen.sentence(mine)
    assert not only(found).void


def test_the_shuffled_judge_leaks_too() -> None:
    leaking = [
        changed(entry, SHUFFLED, 0.55) if entry.where.variant == registry.CONTROL else entry for entry in records()
    ]
    assert gate(only(entries(leaking)), "leak").passed is False


def test_what_cannot_be_assessed_for_want_of_others_voids_nothing() -> None:
    """No reference, no control in the suite, and no floors."""
    bare = [
        entry.model_copy(update={"suite": entry.suite | asked(["trained", *NULLS], 6)})
        for entry in records("mine")
        if entry.where.variant != registry.CONTROL
    ]
    (entry,) = entries(bare)
    unassessed = {found.name for found in entry.gates if found.passed is None}
    assert unassessed == {"assay sensitivity", "leak", "fidelity parity", "trained floor", "floors"}
    assert not entry.void


def test_what_the_entry_lacks_voids_its_claim() -> None:
    bare = [
        entry.model_copy(update={"metrics": {HEADLINE: entry.metrics[HEADLINE]}, "counts": {}})
        for entry in records("mine")
        if entry.where.variant != registry.CONTROL
    ]
    (entry,) = entries(bare)
    assert {found.name for found in entry.gates if found.voids} == {
        "complete", "assay sensitivity", "leak", "coverage", "l0 parity"
    }  # fmt: skip
    assert entry.void


def test_a_method_that_fails_on_nulls_is_flagged() -> None:
    """Worse on trained and much worse on nulls: the lead is the null's."""
    both = records() + records("mine", seed=1, trained=0.62, step0=0.5, rerandomized=0.5,
                               rerandomized_keep_embeddings=0.5)  # fmt: skip
    found = entries(both)
    lead = only(found, "mine").decomposition
    assert lead is not None
    assert lead.trained == pytest.approx(-0.03, abs=0.01)
    assert lead.null > 0.01
    assert lead.null_suppressed
    assert "null-suppressed" in page(both, method="mine")


def test_ties_are_shown_as_ties_and_clear_leads_as_ranks() -> None:
    found = entries(
        records("a", seed=1) + records("b", seed=2, trained=0.651) + records("c", seed=3, trained=0.75)
    )  # fmt: skip
    ranks = {entry.method: entry.rank for entry in found}
    assert found[0].method == "c"
    assert ranks["c"] == (1, 1, 1)
    assert ranks["a"] == ranks["b"] == (2, 3, 2)
    assert all(entry.p_holm >= entry.claim.worst.p for entry in found if entry.p_holm and entry.claim)


def test_deleting_one_record_changes_only_its_own_entry() -> None:
    both = records("a", seed=1) + records("b", seed=2, trained=0.7)
    before = {entry.method: entry for entry in entries(both)}
    after = {entry.method: entry for entry in entries(both[1:])}
    assert after["b"] == before["b"]
    assert after["a"].claim is not None
    assert before["a"].claim is not None
    assert after["a"].claim.gaps["step0"].replicates == before["a"].claim.gaps["step0"].replicates - 1


def test_comparison_is_paired_and_against_each_ones_own_worst_null() -> None:
    both = records("a", seed=1) + [
        changed(entry, HEADLINE, (entry.metrics[HEADLINE].value or 0) + 0.001 * entry.where.replicate - 0.0025)
        if entry.where.variant == "trained"
        else entry
        for entry in records("b", seed=1, trained=0.7)
    ]
    line = next(line for line in compare.compare(rows(both), "s", "b", "a").differences if line.metric == HEADLINE)
    assert line.difference is not None
    assert line.difference.mean == pytest.approx(0.05)
    assert line.difference.interval == pytest.approx((0.05 - 0.00196, 0.05 + 0.00196), abs=1e-5)
    assert line.replicates == 6
    with pytest.raises(BadInput, match="several settings"):
        compare.compare(rows(both + records("a", label="wide")), "s", "a", "b")
    with pytest.raises(BadInput, match="unknown method"):
        compare.compare(rows(both), "s", "a", "nobody")


def table_of(record: Record) -> pd.DataFrame:
    """Latents of one variant: the rarer half scores .1 higher, and nulls have twice as many rare ones."""
    rng = np.random.default_rng(record.where.replicate)
    rare = np.arange(60) < (40 if record.where.variant != "trained" else 20)
    return pd.DataFrame({"rate": np.where(rare, 2e-3, 2e-2), HEADLINE: 0.6 + 0.1 * rare + rng.normal(0, 0.001, 60)})


def test_the_standardised_gap_takes_out_how_rare_latents_are() -> None:
    (row,) = rows(records(), table_of)
    found = resolved.curves(row)
    assert [curve.null for curve in found] == NULLS
    for curve in found:
        assert curve.standardised is not None
        assert curve.standardised.mean == pytest.approx(0, abs=0.002)
        assert curve.resolved.left_out == 0
    assert "standardised gap" in page(records(), table_of)


def test_latents_without_a_score_count_as_chance() -> None:
    def unscored(record: Record) -> pd.DataFrame:
        trained = 0.7 + 0.001 * (record.where.replicate % 2)
        score = trained if record.where.variant == "trained" else np.nan
        return pd.DataFrame({"rate": np.full(20, 2e-3), HEADLINE: score})

    (row,) = rows(records(), unscored)
    for curve in resolved.curves(row):
        assert curve.standardised is not None
        assert curve.standardised.mean == pytest.approx(0.2005)


def test_a_board_renders_the_same_bytes_in_any_order() -> None:
    both = records("a", seed=1) + records("b", seed=2)
    assert board(both, table_of) == board(list(reversed(both)), table_of)
    text = page(both, table_of, "a")
    assert text == page(list(reversed(both)), table_of, "a")
    assert text.index("### Headline") < text.index("### Gates") < text.index("### Gap by firing frequency")


def cased(trained: float, draws: int, method: str = "topk_sae") -> list[Record]:
    """One trained checkpoint, its own step-0 and control, and draws of each null around their usual scores."""
    found = [entry for entry in records(method, m=1, trained=trained) if entry.where.variant in ("trained", "step0")]
    found += [entry for entry in records(method, m=1) if entry.where.variant == registry.CONTROL]
    for draw, entry in enumerate(records(method, m=draws)):
        if entry.where.variant in NULLS:
            where = entry.where.model_copy(
                update={"variant": f"{entry.where.variant}:{entry.where.replicate}", "replicate": 0}
            )
            found.append(entry.model_copy(update={"where": where, "score_id": keyed.short(method, draw)}))
    told = asked([*SCORES, registry.CONTROL], 1, draws)
    return [entry.model_copy(update={"suite": entry.suite | told}) for entry in found]


def test_one_checkpoint_against_draws_says_so_and_nothing_more() -> None:
    (entry,) = entries(cased(0.65, 19))
    assert entry.claim is None
    assert entry.rank is None
    assert entry.case is not None
    assert (entry.case.worst, entry.case.verdict, entry.draws) == ("rerandomized", Verdict.BEATS, 19)
    assert entry.case.rank_p == pytest.approx(1 / 20)
    assert {gate.passed for gate in entry.gates if gate.name != "one setting"} == {None, True}
    text = board(cased(0.65, 19))
    assert "beats the null, conditional on this checkpoint" in text
    assert "1 checkpoint, 19 draws" in text
    assert "step0 (its own)" in page(cased(0.65, 19))
    assert "no lead in case mode" in screen.sentence(entry)
    assert "conditional on this checkpoint" in screen.sentence(entry)
    assert "Gap by place" not in page(cased(0.65, 19))
    row = next(row for row in lines(cased(0.65, 19)) if row.metric == HEADLINE)
    assert row.scores["rerandomized"].replicates == 19
    assert row.gaps["rerandomized"].mean == pytest.approx(0.10, abs=0.01)


def test_too_few_draws_make_no_claim() -> None:
    (entry,) = entries(cased(0.65, 18))
    assert entry.case is None
    assert "no claim under 19 draws of every null (18 here)" in screen.sentence(entry)


def test_in_case_mode_zeros_on_nulls_void_the_claim() -> None:
    theirs = [
        changed(entry, "recovered_variance@1", 0.0) if ":" in entry.where.variant else entry
        for entry in cased(0.65, 19, "mine")
    ]
    found = entries(cased(0.65, 19) + theirs)
    assert only(found).void is False
    assert only(found, "mine").void is True
    assert "void, gate fidelity parity" in screen.sentence(only(found, "mine"))


def test_in_case_mode_a_claim_must_survive_at_equal_shares() -> None:
    few = [
        entry.model_copy(update={"counts": entry.counts | {"eligible_drawn": 12}})
        if ":" in entry.where.variant
        else entry
        for entry in cased(0.65, 19)
    ]
    assert gate(only(entries(cased(0.65, 19))), "coverage").passed is True
    assert gate(only(entries(few)), "coverage").passed is False


def test_in_case_mode_claims_are_one_family_and_ordered_by_their_gap() -> None:
    found = entries(cased(0.65, 19) + cased(0.57, 19, "another"))
    assert [entry.method for entry in found] == ["topk_sae", "another"]
    first, second = found
    assert first.case is not None
    assert second.case is not None
    assert first.p_holm == pytest.approx(2 * first.case.p)
    assert second.p_holm == pytest.approx(max(second.case.p, 2 * first.case.p))


def test_a_null_that_is_undefined_on_all_draws_is_still_case_mode() -> None:
    gone = [
        entry.model_copy(update={"metrics": {HEADLINE: MetricValue(value=None, reason="undefined there")}})
        if entry.where.variant.startswith("step0:")
        else entry
        for entry in cased(0.65, 19)
    ]
    row = next(row for row in lines(gone) if row.metric == HEADLINE)
    assert (row.case, row.draws) == (None, 0)
    assert "1 checkpoint, 0 draws" in board(gone)


def test_case_mode_has_nothing_to_compare_over() -> None:
    with pytest.raises(BadInput, match="suite s is in case mode"):
        compare.compare(rows(cased(0.65, 19) + cased(0.6, 19, "mine")), "s", "topk_sae", "mine")


def at(hookpoint: str, found: list[Record]) -> list[Record]:
    return [
        entry.model_copy(
            update={
                "where": entry.where.model_copy(update={"place": hookpoint}),
                "score_id": keyed.short(entry.score_id, hookpoint),
            }
        )
        for entry in found
    ]


def by_layer(found: list[Record], tables: Tables) -> list[Layers]:
    return [layer for row in rows(found, tables) for layer in layers.layers(row)]


def test_by_layer_the_band_holds_the_gaps_and_the_effect_is_over_latents() -> None:
    deep = at("layers.10", records(seed=1, trained=0.75))
    both = records() + deep

    def table(record: Record) -> pd.DataFrame:
        """Half of the latents of trained above all of a null, the other half below."""
        below = [0.4, 0.65][record.where.replicate % 2]
        scores = [below, 0.9] if record.where.variant == "trained" else [0.6, 0.7]
        return pd.DataFrame({HEADLINE: scores, "rate": 0.01})

    found = {layer.null: layer for layer in by_layer(both, table)}
    assert list(found) == NULLS
    worst = found["rerandomized"]
    assert worst.places == ("layers.1", "layers.10")
    assert worst.gaps == pytest.approx([0.10, 0.20], abs=0.01)
    assert worst.band is not None
    assert (worst.band[0] < worst.gaps).all()
    assert (worst.band[1] > worst.gaps).all()
    assert worst.superiority is not None
    assert worst.superiority.mean == pytest.approx((0.5 + 0.75) / 2)
    assert "| 0.625 [0.481, 0.769] |" in page(both, table)


def test_more_latents_of_the_same_kind_make_no_interval_narrower() -> None:
    rng = np.random.default_rng(0)
    drawn = {entry.score_id: SCORES.get(entry.where.variant, 0.5) + rng.normal(0, 0.1, 40) for entry in records()}

    def effect(times: int) -> Gap | None:
        def table(record: Record) -> pd.DataFrame:
            return pd.DataFrame({HEADLINE: np.tile(drawn[record.score_id], times)[::-1], "rate": 0.01})

        return by_layer(records(), table)[1].superiority

    once, twice = effect(1), effect(2)
    assert once is not None
    assert twice is not None
    assert twice.interval == pytest.approx(once.interval)
    assert once.interval[0] < once.interval[1]


def test_a_replicate_without_all_layers_is_in_no_band() -> None:
    both = records() + at("layers.10", [entry for entry in records(seed=1) if entry.where.replicate != 5])
    shorter = [entry for entry in both if entry.where.replicate != 5]
    for one, other in zip(by_layer(both, nothing), by_layer(shorter, nothing), strict=True):
        assert one.gaps == pytest.approx(other.gaps)
        assert one.superiority is None
    (few, *_) = by_layer(records(m=2), nothing)
    assert few.band is None


def test_a_verified_row_says_which_cells_were_computed_again() -> None:
    (row,) = rows(records())
    cells = {"trained/0/layers.2/0": "a relative 1e-04"}
    info = row.info.model_copy(
        update={"reported_by": "verified", "verification": Verification(key="drawn", cells=cells)}
    )
    verified = row._replace(info=info)
    for shown, said in ((row, "| self-reported |"), (verified, "| verified")):
        found = headline.entries([shown])
        heading = Heading("## s", None, "s")
        assert said in screen.text([shown], found, {shown.suite: heading}, lambda *_: None)
        page = pages.text([shown], found, heading)
        assert ("Verified (default): 1 cells, drawn by key drawn: trained/0/layers.2/0 within" in page) == (
            shown is verified
        )
