"""The board's first table: one entry per method, setting and subject, with its claim, gates and rank. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from benchmark import registry
from benchmark.metrics import family
from benchmark.spec.pretrained import TRAINED
from benchmark.spec.variant import nulls_among
from benchmark.stats.case import CaseClaim
from benchmark.stats.floors import LeadVerdict
from benchmark.stats.multiplicity import Rank, holm, ranks
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, Verdict, two_sided
from benchmark.tracks.contract import track_class
from leaderboard import gates
from leaderboard.contenders import NO_FLOORS, Contender, KnownFloors, nearest_reference, suite_row
from leaderboard.floors import Standing, standing
from leaderboard.gates import Gate
from leaderboard.rows import ResultRow, wanted
from leaderboard.standings import (
    Claim,
    Score,
    differences,
    fewest_draws,
    scores,
)

PEAKS = ("worker_peak_bytes", "harness_peak_bytes")


class Decomposition(NamedTuple):
    """How much of the difference to the reference's gap is a better trained score, and how much a worse null."""

    trained: float
    null: float

    @property
    def null_suppressed(self) -> bool:
        """The trained score is below the reference's, so that what lead there is comes from a null that fails."""
        return self.trained < 0


class Coverage(NamedTuple):
    """How many of a suite's cells on trained networks something has that was trained elsewhere."""

    cells: int
    of: int


class Entry(NamedTuple):
    """One line of the first table. `p_holm` is the worst null's p, adjusted over the suite's headline claims; floors
    are no claims and have no rank, nor has what was trained elsewhere and has no null, of which no gate is asked.
    """

    suite: str
    subject: str
    track: str
    headline: str
    method: str
    label: str
    floor: bool
    reference: bool
    pretrained: Coverage | None
    reported_by: str
    scores: dict[str, Score]
    standing: Standing
    beside: tuple[Standing, ...]
    fidelity: dict[str, float | None]
    draws: int | None
    gates: tuple[Gate, ...]
    p_holm: float | None
    rank: Rank | None
    pairing: float | None
    decomposition: Decomposition | None
    seconds: float | None
    peak_bytes: float | None

    @property
    def name(self) -> tuple[str, str]:
        """Method and settings."""
        return self.method, self.label

    @property
    def kind(self) -> Literal["floor", "elsewhere", "reference", "method"]:
        """What it is among the others."""
        return (
            "floor" if self.floor else "elsewhere" if self.pretrained else "reference" if self.reference else "method"
        )

    @property
    def claim(self) -> Claim | None:
        """Against the nulls, in the headline."""
        return self.standing.claim

    @property
    def case(self) -> CaseClaim | None:
        """The same in case mode."""
        return self.standing.case

    @property
    def void(self) -> bool:
        """Whether a gate failed, or could not be assessed by the entry's own doing."""
        return any(gate.voids for gate in self.gates)

    @property
    def claimed(self) -> bool:
        """It beats the null, leads the floor, no gate is against it, and all floors that the suite names were run."""
        beats = self.claim is not None and self.claim.verdict == Verdict.BEATS
        leads = self.standing.lead_verdict == LeadVerdict.LEADS
        known = all(gate.passed for gate in self.gates if gate.name == "floors")
        return beats and leads and known and not self.void and not self.floor


def entries(rows: Sequence[ResultRow], floors: KnownFloors = NO_FLOORS) -> list[Entry]:
    """All entries, best first within a suite and subject: gates first, then the lower bound; floors behind them."""
    own: dict[tuple[str, ...], Contender] = {}
    for row in rows:
        track = track_class(row.info.track)
        if track.headline in row.scores:
            shuffled = registry.beside(track.headline, "shuffled")
            read = (track.headline, shuffled, *track.beside, *track.fidelity, gates.FIDELITY, gates.SPARSITY)
            own[*row.table, *row.name] = Contender.of(row, read, floors)
    listed: list[Entry] = []
    for _, keys in itertools.groupby(sorted(own), key=lambda key: key[:2]):
        group = {key: own[key] for key in keys}
        listed += _ranked([_entry(key, group, floors) for key in group])
    return listed


def _entry(key: tuple[str, ...], group: Mapping[tuple[str, ...], Contender], floors: KnownFloors) -> Entry:
    mine, (suite, subject, method, label) = group[key], key
    track, others = mine.track, list(group.values())
    reference = nearest_reference(mine, others)
    table = mine.table(track.headline)
    stands = standing(track.headline, mine, reference, others)
    return Entry(
        suite,
        subject,
        track.name,
        track.headline,
        method,
        label,
        floor=mine.floor is not None,
        reference=mine.is_reference,
        pretrained=_coverage(mine.row) if mine.row.pretrained else None,
        reported_by=mine.row.info.reported_by,
        scores=scores(table),
        standing=stands,
        beside=tuple(standing(name, mine, reference, others) for name in track.beside if name in mine.tables),
        fidelity={name: mine.trained(name) for name in track.fidelity},
        draws=fewest_draws(table),
        gates=() if mine.row.pretrained else _gates(mine, reference, others, floors),
        p_holm=None,
        rank=None,
        pairing=_pairing(table, stands.claim),
        decomposition=_decomposition(table, stands.claim, None if mine.is_reference else reference),
        seconds=_seconds(mine.row),
        peak_bytes=_peak(mine.row),
    )


def _coverage(row: ResultRow) -> Coverage:
    every = [cell for cell in wanted(row.info.content, {}) if cell.variant == TRAINED]
    return Coverage(len(row.scores), len(every))


def _gates(
    mine: Contender, reference: Contender | None, others: Sequence[Contender], floors: KnownFloors
) -> tuple[Gate, ...]:
    """The gates that the track names, in its order."""
    headline = mine.track.headline
    table, nulls = mine.table(headline), nulls_among(map(str, mine.table(headline)))
    of = len(mine.on(headline, "trained")) if registry.CONTROL in mine.row.info.content["variants"] else 0
    excused = reference.undefined if reference else set()
    lacking = sorted(map(str, mine.lacking - excused))
    needed = sorted(floors.needed(mine.row.info.suite, mine.track.name))
    whole = {suite_row(one.row) for one in others if one.floor and one.faithful and not one.lacking - excused}
    shuffled = registry.beside(headline, "shuffled")
    scored = {"suite's judge": headline, "shuffled": shuffled} if family.family_of(shuffled) else {"score": headline}
    known: dict[str, Callable[[], Gate]] = {
        "complete": lambda: gates.complete(lacking, of=len(wanted(mine.row.info.content, mine.row.info.settings))),
        "assay": lambda: gates.assay(
            differences(headline, table).get(registry.CONTROL, pd.Series(dtype=float)).to_numpy(), of=of
        ),
        "leak": lambda: gates.leak(
            {name: mine.on(metric, registry.CONTROL) for name, metric in scored.items()},
            chance=family.chance(headline),
            delta=family.delta(headline),
            of=of,
        ),
        "parity": lambda: gates.parity(mine, reference, nulls),
        "coverage": lambda: gates.coverage(_cells(mine), delta=family.delta(headline)),
        "floor": lambda: gates.floor(mine, reference),
        "sparsity": lambda: gates.sparsity(mine, nulls),
        "floors": lambda: gates.floors_present(
            [" ".join(one) for one in needed if one not in whole], needed=len(needed)
        ),
        "one_setting": lambda: gates.one_setting(set(mine.row.cells["definition"])),
    }
    return tuple(known[name]() for name in mine.track.gates)


def _ranked(group: list[Entry]) -> list[Entry]:
    claims = [place for place, entry in enumerate(group) if not entry.floor and entry.claim and entry.claim.verdict]
    family = [place for place, entry in enumerate(group) if place in claims or (entry.case and not entry.floor)]
    adjusted = dict(zip(family, holm(np.array([_p(group[place]) for place in family])), strict=True)) if family else {}
    places = dict(zip(claims, _ranks([group[place] for place in claims]), strict=True))
    done = [
        entry._replace(p_holm=float(adjusted[place]) if place in adjusted else None, rank=places.get(place))
        for place, entry in enumerate(group)
    ]
    return sorted(done, key=_order)


def _order(entry: Entry) -> tuple[object, ...]:
    said = entry.claim is not None or entry.case is not None
    apart = entry.floor, entry.pretrained is not None
    return *apart, not entry.claimed, not said, entry.void, -_lower(entry), entry.method, entry.label


def _ranks(group: list[Entry]) -> list[Rank]:
    """Ranks from paired differences of gaps, each against its own worst null, on the replicates that both have."""
    if len(group) < 2:
        return ranks(np.zeros((len(group), len(group)), bool))
    gaps = pd.concat([pd.Series(entry.standing.gaps) for entry in group], axis=1)
    pairs = np.array(list(itertools.combinations(range(len(group)), 2)), dtype=int).reshape(-1, 2)
    values = gaps.to_numpy(float)
    means, p = two_sided(values[:, pairs[:, 0]] - values[:, pairs[:, 1]])
    better = np.zeros((len(group), len(group)), bool)
    for (one, other), mean, adjusted in zip(pairs, means, holm(p) if len(pairs) else p, strict=True):
        if adjusted < ALPHA:
            better[(one, other) if mean > 0 else (other, one)] = True
    return ranks(better)


def _decomposition(table: pd.DataFrame, said: Claim | None, reference: Contender | None) -> Decomposition | None:
    theirs = reference.table(reference.track.headline) if reference else pd.DataFrame()
    if said is None or not {"trained", said.worst.null} <= set(theirs):
        return None
    means = theirs.mean() - table.mean()
    return Decomposition(float(-means["trained"]), float(means[said.worst.null]))


def _pairing(table: pd.DataFrame, said: Claim | None) -> float | None:
    """Correlation over replicates of trained and worst null: what common random numbers bring."""
    if said is None:
        return None
    pair = table[["trained", said.worst.null]].dropna()
    if len(pair) < FEWEST_FOR_INTERVAL or not (pair.std() > 0).all():
        return None
    return float(np.corrcoef(pair.to_numpy().T)[0, 1])


def _cells(mine: Contender) -> pd.DataFrame:
    cells, scored = mine.row.cells, mine.row.scores
    if not {"count.eligible_drawn", "count.drawn"} <= set(cells):
        return pd.DataFrame(columns=["value", "q"], index=scored.index[:0])
    q = cells["count.eligible_drawn"] / cells["count.drawn"].clip(lower=1.0)
    return pd.DataFrame({"value": scored[mine.track.headline], "q": q}).dropna(subset="q")


def _cost(row: ResultRow, *names: str) -> pd.DataFrame:
    """What cells cost [cell, name], NaN where it is not known."""
    return row.cells.reindex(columns=[f"cost.{name}" for name in names]).astype(float)


def _seconds(row: ResultRow) -> float | None:
    known = _cost(row, "fit_seconds", "score_seconds").sum(axis=1, skipna=False).dropna()
    return float(known.mean()) if len(known) else None


def _peak(row: ResultRow) -> float | None:
    known = _cost(row, *PEAKS).to_numpy()
    return None if np.isnan(known).all() else float(np.nanmax(known))


def _p(entry: Entry) -> float:
    evidence = entry.case or (entry.claim and entry.claim.worst)
    assert evidence is not None
    return evidence.p


def _lower(entry: Entry) -> float:
    """What entries are ordered by: the lower bound, or in case mode the gap."""
    if entry.case:
        return entry.case.gap
    return entry.claim.worst.lower if entry.claim else -np.inf
