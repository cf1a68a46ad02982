"""The board's first table: one entry per method, setting and subject, with its claim, gates and rank. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.metrics import family
from benchmark.spec.variant import nulls_among
from benchmark.stats.case import CaseClaim
from benchmark.stats.multiplicity import Rank, holm, ranks
from benchmark.stats.null_gap import ALPHA, FEWEST_FOR_INTERVAL, two_sided
from benchmark.tracks.contract import track_class
from leaderboard import gates
from leaderboard.compare import to_worst
from leaderboard.gates import Gate
from leaderboard.rows import ResultRow
from leaderboard.standings import (
    Claim,
    Score,
    case,
    claim,
    differences,
    fewest_draws,
    replicated,
    scores,
)

REFERENCE = "topk_sae"
PEAKS = ("worker_peak_bytes", "harness_peak_bytes")


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
    track: str
    headline: str
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
    def name(self) -> tuple[str, str]:
        """Method and settings."""
        return self.method, self.label

    @property
    def void(self) -> bool:
        """Whether a gate failed."""
        return any(gate.passed is False for gate in self.gates)


class _Own(NamedTuple):
    """What is known of one entry: its row, its track's headline, and scores [replicate, variant] by metric."""

    row: ResultRow
    headline: str
    tables: dict[str, pd.DataFrame]

    def table(self, metric: str) -> pd.DataFrame:
        """Scores [replicate, variant] of a metric, empty where there are none."""
        return self.tables.get(metric, pd.DataFrame())

    @property
    def of_headline(self) -> pd.DataFrame:
        return self.table(self.headline)

    @property
    def n_latents(self) -> float | None:
        counts = self.row.cells.get("count.n_latents", pd.Series(dtype=float)).dropna()
        return float(counts.iloc[0]) if len(counts) else None


def entries(rows: Sequence[ResultRow]) -> list[Entry]:
    """All entries, best first within a suite and subject: gates first, then the lower bound."""
    own: dict[tuple[str, ...], _Own] = {}
    for row in rows:
        headline = track_class(row.info.track).headline
        if headline in row.scores:
            read = [headline, registry.beside(headline, "shuffled"), *gates.FIDELITY]
            means = replicated(row, metrics=read)
            tables = {str(name): pd.DataFrame(means[name].unstack("variant")) for name in means}
            own[*row.table, *row.name] = _Own(row, headline, tables)
    listed: list[Entry] = []
    for _, group in itertools.groupby(sorted(own), key=lambda key: key[:2]):
        listed += _ranked([_entry(key, own) for key in group], own)
    return listed


def _entry(key: tuple[str, ...], own: Mapping[tuple[str, ...], _Own]) -> Entry:
    mine = own[key]
    table, reference = mine.of_headline, _reference(key, own)
    said = claim(mine.headline, table)
    suite, subject, method, label = key
    return Entry(
        suite,
        subject,
        mine.row.info.track,
        mine.headline,
        method,
        label,
        scores=scores(table),
        claim=said,
        case=case(mine.headline, table),
        draws=fewest_draws(table),
        gates=_gates(mine, reference),
        p_holm=None,
        rank=None,
        pairing=_pairing(table, said),
        decomposition=_decomposition(table, said, reference) if reference is not mine else None,
        seconds=_seconds(mine.row),
        peak_bytes=_peak(mine.row),
    )


def _gates(mine: _Own, reference: _Own | None) -> tuple[Gate, ...]:
    """The gates that the track names, in its order."""
    table, headline = mine.of_headline, mine.headline
    frames, theirs = mine.table, reference.table if reference else None
    known: dict[str, Callable[[], Gate]] = {
        "assay": lambda: gates.assay(
            differences(headline, table).get(registry.CONTROL, pd.Series(dtype=float)).to_numpy()
        ),
        "leak": lambda: gates.leak(
            {
                judge or "suite's judge": _control(mine.table(registry.beside(headline, judge) if judge else headline))
                for judge in ("", "shuffled")
            }
        ),
        "parity": lambda: gates.parity(frames, theirs, nulls_among(map(str, table))),
        "coverage": lambda: gates.coverage(_cells(mine), delta=family.delta(headline)),
        "floor": lambda: gates.floor(frames, theirs),
        "one_setting": lambda: gates.one_setting(set(mine.row.cells["definition"])),
    }
    return tuple(known[name]() for name in track_class(mine.row.info.track).gates)


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


def _ranks(group: list[Entry], own: Mapping[tuple[str, ...], _Own]) -> list[Rank]:
    """Ranks from paired differences of gaps, each against its own worst null, on the replicates that both have."""
    if len(group) < 2:
        return ranks(np.zeros((len(group), len(group)), bool))
    tables = [own[entry.suite, entry.subject, entry.method, entry.label].of_headline for entry in group]
    gaps = pd.concat([to_worst(entry.headline, table) for entry, table in zip(group, tables, strict=True)], axis=1)
    pairs = np.array(list(itertools.combinations(range(len(group)), 2)), dtype=int).reshape(-1, 2)
    values = gaps.to_numpy(float)
    means, p = two_sided(values[:, pairs[:, 0]] - values[:, pairs[:, 1]])
    better = np.zeros((len(group), len(group)), bool)
    for (one, other), mean, adjusted in zip(pairs, means, holm(p) if len(pairs) else p, strict=True):
        if adjusted < ALPHA:
            better[(one, other) if mean > 0 else (other, one)] = True
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
    if said is None or reference is None or said.worst.null not in reference.of_headline:
        return None
    theirs, null = reference.of_headline, said.worst.null
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


def _cells(mine: _Own) -> pd.DataFrame:
    cells, scored = mine.row.cells, mine.row.scores
    if not {"count.eligible_drawn", "count.drawn"} <= set(cells):
        return pd.DataFrame(columns=["value", "q"], index=scored.index[:0])
    q = cells["count.eligible_drawn"] / cells["count.drawn"].clip(lower=1.0)
    return pd.DataFrame({"value": scored[mine.headline], "q": q}).dropna(subset="q")


def _control(table: pd.DataFrame) -> NDArray[np.float64]:
    return table[registry.CONTROL].dropna().to_numpy() if registry.CONTROL in table else np.zeros(0)


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


def _claims_nothing(entry: Entry) -> bool:
    return entry.claim is None and entry.case is None


def _lower(entry: Entry) -> float:
    """What entries are ordered by: the lower bound, or in case mode the gap."""
    if entry.case:
        return entry.case.gap
    return entry.claim.worst.lower if entry.claim else -np.inf
