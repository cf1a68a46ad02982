"""What a gap is held against beside nulls: the envelope of null scores, and the lead over floors. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.metrics import family
from benchmark.spec.variant import Variant, nulls_among
from benchmark.stats import floors
from benchmark.stats.case import CaseClaim
from benchmark.stats.floors import Lead, LeadVerdict
from benchmark.stats.null_gap import Gap, gap
from leaderboard.contenders import Contender
from leaderboard.standings import Claim, case, claim, draws, sign, to_worst


class FloorLead(NamedTuple):
    """An entry against one floor: fidelity of both on trained, whether that matches, the difference of their gaps, each
    to its own worst null, and that of their scores on trained, larger is better (None under three shared replicates).
    """

    floor: str
    fidelity: float | None
    own: float | None
    matched: bool
    mean: float | None
    lead: Gap | None
    trained: Gap | None


class Standing(NamedTuple):
    """Where an entry stands in one metric: its gap to the worst null by replicate, its claim against the nulls (in
    case mode, its case), its lead over the matched floors, that over each floor, and by how much the envelope raised
    its mean score on a null. There is no lead in case mode.
    """

    metric: str
    gaps: Mapping[int, float]
    claim: Claim | None
    case: CaseClaim | None
    lead: Lead | None
    over: tuple[FloorLead, ...]
    raised: Mapping[str, float]

    @property
    def matched(self) -> int:
        """Floors that decide."""
        return sum(one.matched for one in self.over)

    @property
    def lead_verdict(self) -> LeadVerdict | None:
        """None where there is no gap to lead with, or there are matched floors and too few replicates."""
        if not self.gaps and self.case is None:
            return None
        return LeadVerdict.UNMATCHED if not self.matched else self.lead.verdict if self.lead else None


def standing(metric: str, mine: Contender, reference: Contender | None, others: Iterable[Contender]) -> Standing:
    """Of an entry or a floor, among the rows of its suite and subject; a floor is one of those it is held against, and
    its null scores are believed.
    """
    against = [other for other in others if other.is_floor_for(metric) and metric in other.tables]
    matching = [other for other in against if _matches(other, mine)]
    believed = matching if reference is None else [*matching, reference]
    table, raised = mine.table(metric), dict[str, float]()
    if mine.floor is None:
        table, raised = enveloped(metric, mine, [other for other in believed if other.row.name != mine.row.name])
    own, over, leads = to_worst(metric, table), list[FloorLead](), {}
    for other in against if not draws(table) else ():
        apart = (own - other.gaps[metric]).dropna().to_numpy(float)
        mean, above = float(apart.mean()) if len(apart) else None, gap(_above(metric, mine, other))
        over.append(FloorLead(other.name, other.fidelity, mine.fidelity, other in matching, mean, gap(apart), above))
        if other in matching:
            leads[other.name] = apart
    found = floors.lead(leads, delta=family.delta(metric)) if leads else None
    gaps = dict(zip(map(int, own.index.to_numpy()), map(float, own), strict=True))
    return Standing(metric, gaps, claim(metric, table), case(metric, table), found, tuple(over), raised)


def enveloped(metric: str, mine: Contender, others: Sequence[Contender]) -> tuple[pd.DataFrame, dict[str, float]]:
    """Scores [replicate, variant] with means on nulls no worse than what others make believable, and by how much each
    was raised; in the metric's own direction. All replicates, or in case mode all draws, of a null move together, so
    that their spread stays what it is.
    """
    table, turned, raised = mine.table(metric).copy(), sign(metric), dict[str, float]()
    drawn = draws(table)
    for null in nulls_among(map(str, table)):
        lowest, own = floors.envelope([turned * one.on(metric, null) for one in others]), mine.on(metric, null)
        short = lowest - float((turned * own).mean()) if lowest is not None and len(own) else 0.0
        if short > 0:
            columns = [name for name in map(str, table) if Variant.parse(name).name == null]
            table[[name for name in columns if not drawn or Variant.parse(name).draw is not None]] += turned * short
            raised[null] = short
    return table, raised


def _above(metric: str, mine: Contender, floor: Contender) -> NDArray[np.float64]:
    """How far the score on trained is above a floor's [replicate]."""
    tables = mine.table(metric), floor.table(metric)
    if not all("trained" in table for table in tables):
        return np.zeros(0)
    return sign(metric) * (tables[0]["trained"] - tables[1]["trained"]).dropna().to_numpy(float)


def _matches(floor: Contender, mine: Contender) -> bool:
    """Whether a floor is as faithful to the network as an entry, nearly; in a track without fidelity all are."""
    if floor.fidelity is None or mine.fidelity is None:
        return not mine.track.fidelity
    return floors.matched(mine.fidelity, floor.fidelity)
