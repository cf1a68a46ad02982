"""The board's first table: one entry per method, setting and subject, with its claim, gates and rank. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.records import Record
from benchmark.stats.case import CaseClaim
from benchmark.stats.multiplicity import Rank, holm, ranks
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, Gap, gap
from leaderboard import gates
from leaderboard.compare import to_worst
from leaderboard.gates import Gate
from leaderboard.standings import (
    Claim,
    Score,
    case,
    claim,
    differences,
    fewest_draws,
    key_of,
    long,
    per_replicate,
    scores,
)

HEADLINE = registry.HEADLINE
REFERENCE = "topk_sae"
PEAKS = ("worker_peak_bytes", "harness_peak_bytes")
PLACE = ["variant", "replicate", "hookpoint", "method_seed"]


class Decomposition(NamedTuple):
    """How much of the lead over the reference's worst-null gap is a better trained score, and how much a worse null."""

    trained: float
    null: float

    @property
    def null_suppressed(self) -> bool:
        """The trained score is below the reference's, so that what lead there is comes from a null that fails."""
        return self.trained < 0


class Entry(NamedTuple):
    """One line of the first table. `p_holm` is the worst null's p, adjusted over the suite's headline claims."""

    suite: str
    subject: str
    method: str
    label: str
    scores: dict[str, Score]
    claim: Claim | None
    case: CaseClaim | None
    draws: int | None
    gates: tuple[Gate, ...]
    p_holm: float | None
    rank: Rank | None
    pairing: float | None
    decomposition: Decomposition | None
    seconds: float | None
    peak_bytes: float | None

    @property
    def void(self) -> bool:
        """Whether a gate failed."""
        return any(gate.passed is False for gate in self.gates)


class _Own(NamedTuple):
    """What is known of one entry: scores per metric [replicate, variant], differences to the nulls, and its cells."""

    frames: dict[str, pd.DataFrame]
    records: list[Record]

    @property
    def headline(self) -> pd.DataFrame:
        return self.frames.get(HEADLINE, pd.DataFrame())

    @property
    def n_latents(self) -> float | None:
        return next((record.counts.get("n_latents") for record in self.records), None)


def entries(records: Sequence[Record]) -> list[Entry]:
    """All entries, best first within a suite and subject: gates first, then the lower bound."""
    scored = [record for record in records if record.status == "scored"]
    frame = long(scored)
    own: dict[tuple[str, ...], list[Record]] = {}
    for record in scored:
        own.setdefault(key_of(record), []).append(record)
    frames: dict[tuple[str, ...], dict[str, pd.DataFrame]] = {}
    for (*key, metric), table in per_replicate(frame).items():
        frames.setdefault(tuple(key), {})[metric] = table
    found = {key: _Own(scored, own[key]) for key, scored in frames.items() if HEADLINE in scored}
    listed: list[Entry] = []
    for _, group in itertools.groupby(found, key=lambda key: key[:2]):
        listed += _ranked([_entry(key, found) for key in group], found)
    return listed


def pairwise(first: pd.DataFrame, second: pd.DataFrame) -> Gap | None:
    """First minus second worst-null gap over shared replicates, from headline scores [replicate, variant]; each entry
    is taken against its own worst null.
    """
    return gap((to_worst(HEADLINE, first) - to_worst(HEADLINE, second)).dropna().to_numpy())


def _entry(key: tuple[str, ...], found: Mapping[tuple[str, ...], _Own]) -> Entry:
    own = found[key]
    table, reference = own.headline, _reference(key, found)
    said = claim(HEADLINE, table)
    control = {
        judge or "suite's judge": _control(own, registry.beside(HEADLINE, judge) if judge else HEADLINE)
        for judge in ("", "shuffled")
    }
    reference_frames = reference.frames if reference else None
    passed = (
        gates.assay(differences(HEADLINE, table).get(registry.CONTROL, pd.Series(dtype=float)).to_numpy()),
        gates.leak(control),
        gates.parity(own.frames, reference_frames),
        gates.coverage(_cells(own), delta=registry.delta(HEADLINE)),
        gates.floor(own.frames, reference_frames),
        gates.one_setting({record.settings_hash for record in own.records}),
    )
    suite, subject, method, label = key
    return Entry(
        suite,
        subject,
        method,
        label,
        scores=scores(table),
        claim=said,
        case=case(HEADLINE, table),
        draws=fewest_draws(table),
        gates=passed,
        p_holm=None,
        rank=None,
        pairing=_pairing(table, said),
        decomposition=_decomposition(table, said, reference) if reference is not own else None,
        seconds=_over(np.mean, [_cost(record, "fit_seconds", "score_seconds").sum() for record in own.records]),
        peak_bytes=_over(np.max, [value for record in own.records for value in _cost(record, *PEAKS)]),
    )


def _ranked(group: list[Entry], found: Mapping[tuple[str, ...], _Own]) -> list[Entry]:
    claims = [place for place, entry in enumerate(group) if entry.claim and entry.claim.verdict]
    family = [place for place, entry in enumerate(group) if place in claims or entry.case]
    adjusted = dict(zip(family, holm(np.array([_p(group[place]) for place in family])), strict=True)) if family else {}
    places = dict(zip(claims, _ranks([group[place] for place in claims], found), strict=True))
    done = [
        entry._replace(p_holm=float(adjusted[place]) if place in adjusted else None, rank=places.get(place))
        for place, entry in enumerate(group)
    ]
    return sorted(
        done, key=lambda entry: (_claims_nothing(entry), entry.void, -_lower(entry), entry.method, entry.label)
    )


def _ranks(group: list[Entry], found: Mapping[tuple[str, ...], _Own]) -> list[Rank]:
    n = len(group)
    tables = [found[entry.suite, entry.subject, entry.method, entry.label].headline for entry in group]
    pairs = list(itertools.combinations(range(n), 2))
    compared = [pairwise(tables[one], tables[other]) for one, other in pairs]
    two_sided = np.array([2 * min(result.p, 1 - result.p) if result else 1.0 for result in compared])
    p = holm(two_sided) if pairs else two_sided
    better = np.zeros((n, n), bool)
    for (one, other), result, adjusted in zip(pairs, compared, p, strict=True):
        if result and adjusted < ALPHA:
            better[(one, other) if result.mean > 0 else (other, one)] = True
    return ranks(better)


def _reference(key: tuple[str, ...], found: Mapping[tuple[str, ...], _Own]) -> _Own | None:
    """The reference baseline on the same suite and subject, with as many latents."""
    if key[2] == REFERENCE:
        return found[key]
    alike = [
        own
        for other, own in found.items()
        if other[:2] == key[:2] and other[2] == REFERENCE and own.n_latents == found[key].n_latents
    ]
    return alike[0] if alike else None


def _decomposition(table: pd.DataFrame, said: Claim | None, reference: _Own | None) -> Decomposition | None:
    if said is None or reference is None or said.worst.null not in reference.headline:
        return None
    theirs, null = reference.headline, said.worst.null
    return Decomposition(
        float(table["trained"].mean() - theirs["trained"].mean()), float(theirs[null].mean() - table[null].mean())
    )


def _pairing(table: pd.DataFrame, said: Claim | None) -> float | None:
    """Correlation over replicates of trained and worst null: what common random numbers bring."""
    if said is None:
        return None
    pair = table[["trained", said.worst.null]].dropna()
    if len(pair) < FEWEST_FOR_INTERVAL or not (pair.std() > 0).all():
        return None
    return float(np.corrcoef(pair.to_numpy().T)[0, 1])


def _cells(own: _Own) -> pd.DataFrame:
    lines = [
        {place: getattr(record.where, place) for place in PLACE}
        | {
            "value": record.metrics[HEADLINE].value,
            "q": record.counts["eligible_drawn"] / max(record.counts["drawn"], 1.0),
        }
        for record in own.records
        if HEADLINE in record.metrics and {"eligible_drawn", "drawn"} <= record.counts.keys()
    ]
    return pd.DataFrame(lines, columns=[*PLACE, "value", "q"]).set_index(PLACE).sort_index()


def _control(own: _Own, metric: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    table = own.frames.get(metric, pd.DataFrame())
    return table[registry.CONTROL].dropna().to_numpy() if registry.CONTROL in table else np.zeros(0)


def _cost(record: Record, *names: str) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([record.cost.get(name, np.nan) for name in names])


def _over(how: Callable[..., Any], values: Sequence[float]) -> float | None:
    """A figure of what is known; None where nothing is."""
    known = [value for value in values if not np.isnan(value)]
    return float(how(known)) if known else None


def _p(entry: Entry) -> float:
    found = entry.case or (entry.claim and entry.claim.worst)
    assert found is not None
    return found.p


def _claims_nothing(entry: Entry) -> bool:
    return entry.claim is None and entry.case is None


def _lower(entry: Entry) -> float:
    """What entries are ordered by: the lower bound, or in case mode the gap."""
    if entry.case:
        return entry.case.gap
    return entry.claim.worst.lower if entry.claim else -np.inf
