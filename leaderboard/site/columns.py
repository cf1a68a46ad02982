"""The columns of a site's board: what each means, and its numbers. Pure."""

from __future__ import annotations

import math
import string
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from leaderboard import screen
from leaderboard.headline import Entry


class Column(NamedTuple):
    """A key, what stands above it, and what it means in a sentence."""

    key: str
    title: str
    says: str
    numeric: bool = False


class BoardCell(NamedTuple):
    """What is read, its value where it is a number, and what it is sorted by where that is neither."""

    text: str
    number: float | None
    order: float | None = None


COLUMNS = (
    Column("method", "method", "Method and, where it has several rows, its settings. Leads to its page."),
    Column(
        "kind",
        "kind",
        "Reference, method, floor (learns nothing; one of decoders has the reference's codes), or trained elsewhere.",
    ),
    Column("claim", "claim", "Yes: it beats every null, leads every matched floor, and no gate is against it."),
    Column(
        "gap",
        "gap",
        "Headline score on trained minus that on the null that trained beats least, over replicates.",
        numeric=True,
    ),
    Column("at_least", "at least", "One-sided 95 % lower bound of the gap, for all nulls at once.", numeric=True),
    Column("verdict", "verdict", "Against the nulls. Void: a gate is against the claim."),
    Column("gates", "gates", "How many of the gates passed, and which did not."),
    Column("lead", "lead", "The gap minus that of the worst floor that is as faithful to the network.", numeric=True),
    Column(
        "lead_at_least",
        "lead at least",
        "One-sided 95 % lower bound of the lead, for all matched floors at once.",
        numeric=True,
    ),
    Column("worst_floor", "over", "The matched floor that it leads least, and how many match."),
    Column("trained", "trained", "Headline score on the trained networks.", numeric=True),
    Column(
        "variance",
        "recovered variance",
        "Share of the activations' variance that a linear decoder reads off the codes.",
        numeric=True,
    ),
    Column("context", "recovered context", "The same of what a token's identity leaves unexplained.", numeric=True),
    Column(
        "rank",
        "rank",
        "The interval of ranks that pairwise comparisons leave open. Rows of one letter are tied with one another.",
    ),
    Column("seconds", "s per cell", "Seconds that fitting and scoring one cell took.", numeric=True),
    Column(
        "results", "results", "Self-reported, or verified: somebody else computed a drawn sample of the cells again."
    ),
)


def ties(entries: Sequence[Entry]) -> list[str]:
    """A letter for each group of tied entries [entry], nothing where an entry is tied with none."""
    groups = [entry.rank.group if entry.rank else 0 for entry in entries]
    tied = sorted({group for group in groups if group and groups.count(group) > 1})
    letters = {group: string.ascii_uppercase[number % 26] for number, group in enumerate(tied)}
    return [letters.get(group, "") for group in groups]


def cells(entry: Entry, name: str, tied: str, *, of_decoder: bool) -> dict[str, BoardCell]:
    """Of one entry, by the column's key; a floor `of_decoder` has the reference's codes."""
    said, lead = entry.claim, entry.standing.lead
    kind = "floor of decoders" if entry.floor and of_decoder else entry.kind
    texts = screen.verdict_of(entry)
    trained, rank = entry.scores.get("trained"), entry.rank
    fidelity = [*entry.fidelity.values(), None, None]
    return {
        "method": BoardCell(name, None),
        "kind": BoardCell(kind, None),
        "claim": BoardCell("n/a" if entry.floor else texts["claim"], None),
        "gap": number(entry.case.gap if entry.case else said.worst.mean if said else None, "+.4f"),
        "at_least": number(said.worst.lower if said else None, "+.4f"),
        "verdict": BoardCell(texts["verdict"], None),
        "gates": BoardCell(screen.gates_in_short(entry), None),
        "lead": number(lead.mean if lead else None, "+.4f"),
        "lead_at_least": number(lead.lower if lead else None, "+.4f"),
        "worst_floor": BoardCell(_over(entry), None),
        "trained": number(trained.mean if trained else None, ".3f"),
        "variance": number(fidelity[0], ".3f"),
        "context": number(fidelity[1], ".3f"),
        "rank": BoardCell(f"{texts['rank']} {tied}".strip(), None, rank.best + rank.worst / 1000 if rank else None),
        "seconds": number(entry.seconds, ".0f"),
        "results": BoardCell(entry.reported_by, None),
    }


def data(
    name: str, columns: Sequence[Column], lines: Sequence[Mapping[str, BoardCell]], searched: Sequence[str]
) -> dict[str, Any]:
    """A table as the script of its page sorts, searches and saves it, under a name."""
    return {
        "name": name,
        "columns": [column.key for column in columns],
        "rows": [
            {key: cell.text if cell.number is None else cell.number for key, cell in own.items()} for own in lines
        ],
        "order": [{key: cell.order for key, cell in own.items() if cell.order is not None} for own in lines],
        "searched": searched,
    }


def _over(entry: Entry) -> str:
    lead, standing = entry.standing.lead, entry.standing
    return "n/a" if lead is None else f"{lead.floor.split()[0]} ({standing.matched} of {len(standing.over)} match)"


def number(value: float | None, form: str) -> BoardCell:
    """A number as a cell has it; n/a where there is none."""
    if value is None or not math.isfinite(value):
        return BoardCell("n/a", None)
    return BoardCell(format(value, form), float(value))
