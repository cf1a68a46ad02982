"""Leads, envelope and claims on made-up records of an entry, the reference and floors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmark import registry
from benchmark.errors import BadInput
from benchmark.metrics import family
from benchmark.records import MetricValue, Record
from benchmark.stats.floors import LeadVerdict
from benchmark.stats.null_gap import Verdict
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import board as board_module
from leaderboard import compare, screen
from leaderboard.contenders import KnownFloors
from leaderboard.headline import Entry
from tests.leaderboard.rendered import board, entries, page, rows
from tests.leaderboard.test_headline import HEADLINE, NULLS, cased, changed, gate, only, records

NEEDED = {("drawn", "default"), ("points", "default")}
KNOWN = KnownFloors({"drawn": "all", "points": "all", "mixed": "decoder"}, lambda suite, track: NEEDED)
MATCHED, UNMATCHED = 0.85, 0.5


def floor(name: str, trained: float, fidelity: float = MATCHED, seed: int = 5, label: str = "default") -> list[Record]:
    """A floor with this headline score on trained, and recovered variance."""
    found = records(name, seed=seed, label=label, trained=trained)
    return [changed(one, "recovered_variance@1", fidelity + 0.001 * one.where.replicate) for one in found]


def field(own: float = 0.65, drawn: float = 0.56, points: float = 0.58, *more: Record) -> list[Record]:
    """An entry beside the reference and two floors."""
    return [
        *records("mine", seed=1, trained=own),
        *records(seed=2, trained=0.62),
        *floor("drawn", drawn, seed=3),
        *floor("points", points, seed=4),
        *more,
    ]


def mine(found: list[Record]) -> Entry:
    return only(entries(found, KNOWN), "mine")


def test_a_claim_beats_the_null_leads_the_floor_and_passes_every_gate() -> None:
    entry = mine(field())
    assert entry.claim is not None
    assert entry.claim.verdict == Verdict.BEATS
    lead = entry.standing.lead
    assert lead is not None
    assert (lead.floor, lead.verdict) == ("points default", LeadVerdict.LEADS)
    assert lead.mean == pytest.approx(0.07, abs=0.01)
    assert lead.lower is not None
    assert 0.05 < lead.lower < lead.mean
    assert entry.claimed
    assert "leads the floor; a claim" in screen.sentence(entry)


@pytest.mark.parametrize(
    ("points", "verdict"),
    [(0.65, LeadVerdict.LEVEL), (0.75, LeadVerdict.BELOW), (0.635, LeadVerdict.OPEN), (0.58, LeadVerdict.LEADS)],
)
def test_the_worst_matched_floor_decides(points: float, verdict: LeadVerdict) -> None:
    found = field(0.65, 0.5, points)
    entry = mine(found)
    assert entry.standing.lead_verdict == verdict
    assert entry.claimed == (verdict == LeadVerdict.LEADS)
    assert str(verdict) in board(found, floors=KNOWN)
    assert f"{verdict}; {'a claim' if entry.claimed else 'no claim'}" in screen.sentence(entry)


def test_a_floor_that_is_not_as_faithful_is_shown_and_does_not_decide() -> None:
    better = floor("points", 0.75, UNMATCHED)
    found = [one for one in field() if one.where.method != "points"] + better
    entry = mine(found)
    by_name = {one.floor: one for one in entry.standing.over}
    assert by_name["points default"].matched is False
    assert by_name["points default"].mean == pytest.approx(-0.10, abs=0.01)
    assert by_name["drawn default"].matched is True
    assert entry.claimed
    assert "drawn default (1 of 2 match)" in board(found, floors=KNOWN)
    assert "| no " in page(found, method="mine", floors=KNOWN)
    nobody = [one for one in found if one.where.method != "drawn"] + floor("drawn", 0.5, UNMATCHED)
    assert mine(nobody).standing.lead is None
    assert mine(nobody).standing.lead_verdict == LeadVerdict.UNMATCHED
    assert not mine(nobody).claimed
    assert "no matched floor; no claim" in screen.sentence(mine(nobody))


def test_every_setting_of_a_floor_is_a_floor() -> None:
    entry = mine(field(0.65, 0.56, 0.58, *floor("drawn", 0.66, label="wide", seed=9)))
    assert [one.floor for one in entry.standing.over] == ["drawn default", "drawn wide", "points default"]
    assert entry.standing.lead is not None
    assert entry.standing.lead.floor == "drawn wide"
    assert not entry.claimed


def test_no_floor_has_a_claim_or_a_rank_and_floors_stand_apart() -> None:
    found = field(0.6, 0.7, 0.9)
    listed = entries(found, KNOWN)
    assert [entry.method for entry in listed] == ["topk_sae", "mine", "points", "drawn"]
    for entry in listed[2:]:
        assert entry.claim is not None
        assert entry.claim.verdict == Verdict.BEATS
        assert (entry.floor, entry.claimed, entry.rank, entry.p_holm) == (True, False, None, None)
        assert entry.standing.lead_verdict in (LeadVerdict.LEVEL, LeadVerdict.BELOW)
        assert screen.sentence(entry).endswith("; a floor")
    text = board(found, floors=KNOWN)
    assert text.index("[mine]") < text.index("*floors*") < text.index("[points]")
    assert listed[0].rank == (1, 1, 1)
    assert listed[1].rank == (2, 2, 2)


def test_floors_have_lines_and_no_pages_among_the_published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "known_floors", lambda: KNOWN)
    board_module.write(tmp_path, rows(field()))
    pages = {page.stem for page in tmp_path.glob("pages/*/*.md")}
    assert pages == {"mine", "topk_sae"}
    text = (tmp_path / "LEADERBOARD.md").read_text()
    assert "| drawn |" in text
    assert "[mine](pages/" in text


def test_a_floor_of_decoders_is_one_for_metrics_that_read_them_alone() -> None:
    for name, reads in (("explained_variance@1", True), ("causal_effect@1", True), ("kl_score@1", True),
                        (HEADLINE, False), ("concept_recovery@1", False), ("recovered_variance@1", False)):  # fmt: skip
        found = family.family_of(name)
        assert found is not None
        assert found.of_decoder is reads, name
    mixed = field(0.65, 0.56, 0.58, *floor("mixed", 0.65, seed=9))
    entry = mine(mixed)
    assert "mixed default" not in {one.floor for one in entry.standing.over}
    assert entry.claimed
    assert only(entries(mixed, KNOWN), "mixed").floor


def test_floors_that_the_suite_needs_and_nobody_ran_void_the_claim() -> None:
    found = [one for one in field() if one.where.method != "drawn"]
    entry = mine(found)
    assert gate(entry, "floors").passed is False
    assert gate(entry, "floors").why == "not whole on this suite: drawn default"
    assert not entry.claimed


def suppressed(change: Callable[[Record], Record]) -> list[Record]:
    return [change(one) if one.where.method == "mine" else one for one in field()]


def test_the_envelope_takes_back_what_a_null_was_robbed_of() -> None:
    """An entry that says nothing on one null has, there, what the reference and floors make believable."""
    honest = mine(field())
    found = suppressed(lambda one: changed(one, HEADLINE, 0.5) if one.where.variant == "step0" else one)
    entry = mine(found)
    assert honest.standing.raised == {}
    assert entry.standing.raised.keys() == {"step0"}
    assert 0 < entry.standing.raised["step0"] < 0.02
    assert honest.claim is not None
    assert entry.claim is not None
    assert entry.claim.gaps["step0"].mean < 0.15, "raw it would be .15"
    assert entry.claim.gaps["step0"].mean > honest.claim.gaps["step0"].mean, "one more value's tolerance stays"
    assert "null-suppressed by 0.0" in screen.sentence(entry)
    assert "**null-suppressed**" in page(found, method="mine", floors=KNOWN)
    assert "null-suppressed by" in board(found, floors=KNOWN)


def test_null_scores_above_the_envelope_stay_what_they_are() -> None:
    entry = mine(suppressed(lambda one: changed(one, HEADLINE, 0.6) if one.where.variant == "step0" else one))
    assert entry.claim is not None
    assert entry.claim.gaps["step0"].mean == pytest.approx(0.05, abs=0.005)
    assert entry.standing.raised == {}


def test_what_is_unassessed_by_the_entrys_own_doing_voids_the_claim() -> None:
    def without(one: Record, variant: str, metric: str) -> Record:
        gone = MetricValue(value=None, reason="undefined there")
        return one.model_copy(update={"metrics": one.metrics | {metric: gone}}) if one.where.variant == variant else one

    for variant, name in (("step0", "fidelity parity"), ("trained", "trained floor")):
        entry = mine(suppressed(lambda one, variant=variant: without(one, variant, "recovered_variance@1")))  # type: ignore[misc]
        found = gate(entry, name)
        assert (found.passed, found.own) == (None, True)
        assert entry.void
        assert not entry.claimed
        assert f"void, gate {name}: not assessed, " in screen.sentence(entry)
    silent = mine(suppressed(lambda one: changed(one, HEADLINE, 0.5) if one.where.variant == registry.CONTROL else one))
    assert gate(silent, "leak").passed is None
    assert silent.void
    absent = mine(suppressed(lambda one: without(one, registry.CONTROL, HEADLINE)))
    assert gate(absent, "assay sensitivity").own
    assert absent.void


def wide(found: list[Record], latents: int, label: str) -> list[Record]:
    return [
        one.model_copy(
            update={
                "counts": one.counts | {"n_latents": latents},
                "where": one.where.model_copy(update={"label": label}),
                "score_id": one.score_id[:-4] + f"{latents:04x}"[-4:],
            }
        )
        for one in found
    ]


def test_fidelity_is_held_against_the_reference_of_nearest_width() -> None:
    references = [
        changed(one, "recovered_variance@1", level + 0.001 * one.where.replicate)
        for latents, level in ((256, 0.7), (4096, 0.95))
        for one in wide(records(seed=latents), latents, f"R={latents}")
    ]
    for latents, share in ((100, 0.9 / 0.7), (900, 0.9 / 0.7), (1200, 0.9 / 0.95), (9000, 0.9 / 0.95)):
        own = wide(records("mine", seed=1), latents, "default")
        entry = mine([*references, *own])
        said = float(gate(entry, "trained floor").why.split()[0])
        assert said == pytest.approx(share, abs=0.01)
        assert ("R=256" in gate(entry, "trained floor").why) == (share > 1)
        assert entry.decomposition is not None
        assert not entry.reference
    assert "is the reference" not in page([*references, *own], method="mine")
    assert "is the reference" in page(references)
    assert "no row of the reference" in page(own, method="mine")


def test_a_metric_beside_the_headline_has_a_gap_and_a_lead_of_its_own() -> None:
    (name,) = FeaturesTrack.beside
    rng = np.random.default_rng(0)
    level = {"mine": 0.3, "topk_sae": 0.25, "drawn": 0.1, "points": 0.12}
    found = [
        changed(one, name, level[one.where.method] * (one.where.variant == "trained") + rng.normal(0, 0.004))
        for one in field(0.6, 0.7, 0.7)
    ]
    entry = mine(found)
    (beside,) = entry.beside
    assert entry.standing.lead_verdict == LeadVerdict.BELOW
    assert beside.lead_verdict == LeadVerdict.LEADS
    assert beside.lead is not None
    assert beside.lead.mean == pytest.approx(0.18, abs=0.01)
    assert not entry.claimed, "the headline decides"
    (line,) = screen.beside(entry)
    assert name in line
    assert "leads the floor" in line
    assert f"Beside it `{name}`" in board(found, floors=KNOWN)
    assert page(found, method="mine", floors=KNOWN).count(f"| {name} ") == 2
    assert mine(field()).beside == ()


def test_leads_need_shared_replicates() -> None:
    few = [one for one in field() if one.where.method != "points" or one.where.replicate < 2]
    entry = mine(few)
    assert entry.standing.lead is None
    assert entry.standing.lead_verdict is None
    assert not entry.claimed
    assert "lead unknown under three replicates; no claim" in screen.sentence(entry)
    points = next(one for one in entry.standing.over if one.floor == "points default")
    assert points.lead is None


def test_leads_in_every_metric() -> None:
    """`nullgap compare mine floors`: the headline as on the board, and how far trained is above the floors' trained."""
    listed = compare.leads(rows(field()), "s", "mine", KNOWN)
    assert [one.metric for one in listed] == ["recovered_variance@1", "recovered_context@1", HEADLINE]
    headline = listed[-1]
    assert headline == mine(field()).standing
    trained = {one.floor: one.trained for one in headline.over}
    assert trained["drawn default"] is not None
    assert trained["drawn default"].mean == pytest.approx(0.09, abs=0.005)
    with pytest.raises(BadInput, match="no floors were run on suite s"):
        compare.leads(rows(records("mine")), "s", "mine", KNOWN)
    with pytest.raises(BadInput, match="unknown method"):
        compare.leads(rows(field()), "s", "nobody", KNOWN)


def test_lower_is_better_turns_lead_and_envelope_round() -> None:
    """A metric of decoders whose floors reconstruct worse: the lead is positive, and a null that is too good to be true
    stays, one that is too bad does not.
    """
    level = {"mine": (0.1, 0.3), "topk_sae": (0.1, 0.2), "drawn": (0.2, 0.2), "points": (0.2, 0.2)}
    rng = np.random.default_rng(0)
    found = [
        changed(one, "fvu@1", level[one.where.method][one.where.variant in NULLS] + rng.normal(0, 0.002))
        for one in field()
    ]
    (standing,) = [one for one in compare.leads(rows(found), "s", "mine", KNOWN) if one.metric == "fvu@1"]
    assert standing.raised.keys() == set(NULLS)
    assert standing.raised["step0"] == pytest.approx(0.1, abs=0.02)
    assert standing.claim is not None
    assert standing.claim.worst.mean == pytest.approx(0.1, abs=0.02), "not .2, which others make unbelievable"
    assert standing.lead is not None
    assert standing.lead.mean == pytest.approx(0.1, abs=0.02)
    assert all(one.trained is not None and one.trained.mean > 0.09 for one in standing.over)


LEFT_OUT: dict[str, Callable[[Record], bool]] = {
    "a null": lambda one: one.where.variant == "rerandomized",
    "a replicate": lambda one: one.where.replicate == 3,
    "one cell": lambda one: (one.where.variant, one.where.replicate) == ("step0", 2),
    "the control": lambda one: one.where.variant == registry.CONTROL,
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_cells_that_a_method_leaves_out_take_its_claim(what: str) -> None:
    gone = [one for one in field() if one.where.method != "mine" or not LEFT_OUT[what](one)]
    entry = mine(gone)
    assert gate(entry, "complete").passed is False
    assert "have no value, such as" in gate(entry, "complete").why
    assert not entry.claimed
    undefined = [
        one.model_copy(update={"metrics": one.metrics | {HEADLINE: MetricValue(value=None, reason="not told")}})
        if one.where.method == "mine" and LEFT_OUT[what](one)
        else one
        for one in field()
    ]
    assert not mine(undefined).claimed


def test_cells_that_are_undefined_for_the_reference_too_are_nobodys_doing() -> None:
    gone = MetricValue(value=None, reason="activations are not finite")
    found = [
        one.model_copy(update={"metrics": one.metrics | {HEADLINE: gone}}) if one.where.replicate == 5 else one
        for one in field()
    ]
    assert gate(mine(found), "complete").passed
    assert mine(found).claimed


def test_l0_that_is_missing_on_one_null_voids_the_claim() -> None:
    found = [
        one.model_copy(update={"metrics": {name: value for name, value in one.metrics.items() if name != "l0@1"}})
        if (one.where.method, one.where.variant) == ("mine", "step0")
        else one
        for one in field()
    ]
    entry = mine(found)
    assert gate(entry, "l0 parity").voids
    assert not entry.claimed


@pytest.mark.parametrize("part", ["cells", "fidelity"])
def test_a_floor_that_is_not_whole_excuses_nobody(part: str) -> None:
    """A floor that would decide, without its trained cells or their recovered variance."""
    found = field(0.65, 0.66, 0.58)
    assert not mine(found).claimed
    less = [
        one.model_copy(update={"metrics": {HEADLINE: one.metrics[HEADLINE]}})
        if part == "fidelity" and (one.where.method, one.where.variant) == ("drawn", "trained")
        else one
        for one in found
        if part == "fidelity" or (one.where.method, one.where.variant) != ("drawn", "trained")
    ]
    entry = mine(less)
    assert gate(entry, "floors").passed is False
    assert not entry.claimed


def test_every_row_of_a_floor_that_the_suite_lists_is_needed() -> None:
    both = KNOWN._replace(needed=lambda suite, track: {*NEEDED, ("drawn", "wide")})
    entry = only(entries(field(), both), "mine")
    assert gate(entry, "floors").why == "not whole on this suite: drawn wide"
    assert only(entries(field(0.65, 0.56, 0.58, *floor("drawn", 0.5, label="wide", seed=9)), both), "mine").claimed


def test_without_floors_that_a_suite_names_there_is_no_claim() -> None:
    entry = only(entries(field(), KNOWN._replace(needed=lambda suite, track: ())), "mine")
    assert entry.standing.lead_verdict == LeadVerdict.LEADS
    assert not entry.void
    assert not entry.claimed


def test_the_reference_is_the_one_that_the_suite_runs() -> None:
    """A weak row under the reference's name, or one of the same width that is less faithful, is nobody's measure."""
    weak = [changed(one, "recovered_variance@1", 0.45) for one in records(seed=7, label="a weak setting")]
    faithless = [
        changed(one, "recovered_variance@1", 0.5 + 0.001 * one.where.replicate) if one.where.method == "mine" else one
        for one in [*field(), *weak]
    ]
    named = KNOWN._replace(references=lambda suite, track: {("topk_sae", "default")})
    for known in (KNOWN, named):
        entry = only(entries(faithless, known), "mine")
        assert {found.name for found in entry.gates if found.voids} >= {"fidelity parity", "trained floor"}
    listed = {(entry.method, entry.label): entry for entry in entries(faithless, named)}
    assert listed["topk_sae", "default"].reference
    assert not listed["topk_sae", "a weak setting"].reference
    assert listed["topk_sae", "a weak setting"].void
    judged = [
        one.model_copy(update={"where": one.where.model_copy(update={"label": "default, judge hf:x"})})
        for one in records()
    ]
    assert only(entries(judged, named)).reference


def test_ranks_and_comparisons_are_of_what_the_envelope_leaves() -> None:
    def robbed(one: Record) -> Record:
        return changed(one, HEADLINE, 0.3 + 0.001 * one.where.replicate) if one.where.variant in NULLS else one

    found = [robbed(one) if one.where.method == "mine" else one for one in field(0.58, 0.5, 0.5)]
    listed = {entry.method: entry for entry in entries(found, KNOWN)}
    reference, cheat = listed["topk_sae"], listed["mine"]
    assert cheat.claim is not None
    assert reference.claim is not None
    assert cheat.claim.worst.mean < reference.claim.worst.mean, "raw it is .28"
    assert reference.rank is not None
    assert cheat.rank is not None
    assert reference.rank.best == 1
    assert cheat.rank.worst == 2
    compared = compare.compare(rows(found), "s", "mine", "topk_sae", KNOWN).differences
    line = next(one for one in compared if one.metric == HEADLINE)
    assert line.first == pytest.approx(cheat.claim.worst.mean)
    assert line.difference is not None
    assert line.difference.mean < 0


def test_the_envelope_moves_a_null_as_a_whole() -> None:
    """The spread over replicates is what it was, so that nothing looks surer for it."""

    def low(one: Record) -> Record:
        return changed(one, HEADLINE, 0.4 + 0.01 * one.where.replicate) if one.where.variant == "step0" else one

    entry = mine(suppressed(low))
    assert entry.claim is not None
    lowest = 0.425 + entry.standing.raised["step0"]
    assert entry.claim.gaps["step0"].mean == pytest.approx(0.65 - lowest, abs=0.003)
    plain = only(entries([low(one) for one in records("mine", seed=1)]), "mine")
    assert plain.claim is not None
    raw, held = (np.std(one.claim.gaps["step0"].values) for one in (plain, entry) if one.claim)
    assert held == pytest.approx(raw)


def test_in_case_mode_the_envelope_makes_nothing_surer_and_there_is_no_lead() -> None:
    theirs = cased(0.65, 19, "mine")
    drawn = {one.score_id for one in theirs if one.where.variant.startswith("step0:")}
    low = [
        changed(one, HEADLINE, (one.metrics[HEADLINE].value or 0) - 0.1) if one.score_id in drawn else one
        for one in theirs
    ]
    beside = [*cased(0.65, 19), *cased(0.6, 19, "drawn"), *cased(0.6, 19, "points")]
    honest, cheat = (only(entries([*own, *beside], KNOWN), "mine") for own in (theirs, low))
    assert honest.standing.raised == {}
    assert cheat.standing.raised.keys() == {"step0"}
    assert cheat.case is not None
    assert honest.case is not None
    assert cheat.case.p >= honest.case.p
    assert cheat.standing.over == ()
    assert not cheat.claimed
    assert cheat.scores["step0"].mean == pytest.approx((honest.scores["step0"].mean or 0) - 0.1), "shown as it is"
