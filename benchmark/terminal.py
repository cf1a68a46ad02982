"""What the commands print: tables, verdicts, latents. Texts that may come from anybody are shown as they are."""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from benchmark import registry
from benchmark.checks import guard
from benchmark.metrics import family
from benchmark.records import Record
from benchmark.reporting import Finding, plain
from benchmark.run.plan import Planned
from benchmark.tracks.contract import track_class
from leaderboard import latents, markdown, screen, standings
from leaderboard.floors import Standing
from leaderboard.headline import Entry
from leaderboard.latents import FoundCell, Latent
from leaderboard.rows import ResultRow

PLAIN_WIDTH, MOST_TABLES = 200, 3
NUMBER = re.compile(r"-?\d[\d.,e+-]*")
VARIANTS = {
    "trained": "the checkpoint",
    "step0": "its initialisation",
    "rerandomized": "every tensor redrawn as a Gaussian with its own mean and standard deviation",
    "rerandomized-keep-embeddings": "the same, with both embeddings kept",
    "shuffled": "the entries of every tensor in another order",
    "cascade": "the top N blocks redrawn, everything else kept",
    "noise-embeddings": "trained weights on fresh N(0, 1) input embeddings: nothing to find",
}
console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def drift(checked: guard.GuardReport, method: str) -> None:
    if not checked.known:
        console.print(
            "this platform has no expected values of its own: the wide tolerance applies, outside which one value in "
            "twenty may lie",
            style="yellow",
        )
    if not checked.moved:
        console.print(f"{method}: {checked.compared} values are as expected")
        return
    table = Table("cell", "metric", "expected", "found", "tolerance", title=f"{said(method)}: values that moved")
    for moved in checked.moved:
        table.add_row(
            said(moved.cell), said(moved.metric), str(moved.expected), str(moved.found), f"{moved.tolerance:.2g}"
        )
    console.print(table)
    said_of = f"{len(checked.moved)} of {checked.compared} values moved"
    if checked.drifted:
        console.print(said_of, style="red")
    else:
        console.print(
            f"{said_of}, none beyond what holds for all at once: no more than chance explains", style="yellow"
        )


def finding(found: Finding) -> str:
    """One line: passed, or refused with the offence and the remedy."""
    return f"{'refused' if found.refused else 'passed '}  {found.asked}{f': {found.said}' if found.said else ''}"


def judge_summary(counts: dict[str, float]) -> str:
    said = (
        f"the judge answered {counts['judge_requests']:.0f} requests, and {counts['judge_replayed']:.0f} from its "
        f"transcripts; {counts['judge_failed']:.0f} failed, {counts['judge_unusable']:.0f} items had no usable answer "
        f"and {counts['judge_unexplained']:.0f} latents no explanation"
    )
    if "judge_prompt_tokens" in counts:
        said += f"; {counts['judge_prompt_tokens']:.0f} tokens in, {counts.get('judge_completion_tokens', 0):.0f} out"
    return said + (f", {counts['judge_dollars']:.2f} US dollars" if "judge_dollars" in counts else "")


def all_latents(cell: FoundCell, frame: pd.DataFrame) -> None:
    scorers = latents.scorers(frame)
    table = Table("latent", "rate", *scorers, "explanation", title=cell_name(cell.record))
    for _, line in frame.iterrows():
        scores = (f"{line[name]:.2f}" if pd.notna(line[name]) else "" for name in scorers)
        table.add_row(str(line["latent"]), f"{line['rate']:.1e}", *scores, said(_words(cell, line)))
    console.print(table)
    _note(cell)


def one_latent(cell: FoundCell, latent: Latent) -> None:
    line = latent.line
    console.print(f"latent {line['latent']}, {cell_name(cell.record)}", style="bold")
    console.print(f"fires on {line['rate']:.2%} of tokens")
    console.print(plain(f"explanation: {_words(cell, line)}"), markup=False)
    for name in latents.scorers(line.to_frame().T):
        if pd.notna(line[name]):
            console.print(f"{name}: {line[name]:.3f}", highlight=False)
    for said_of, name, unit in latents.MATCHES:
        if pd.notna(line.get(name)):
            text = f"{said_of} that it tells best: {line[name]}, {unit} {line[f'{name}_{unit.lower()}']:.3f}"
            console.print(plain(text), highlight=False, markup=False)
    for _, context in latent.contexts.iterrows():
        console.print(f"  {context['activation']:7.3f}  ", _highlighted(context), sep="", soft_wrap=True)
    _note(cell)


def _words(cell: FoundCell, line: pd.Series) -> str:
    none = "(elsewhere)" if cell.note else "(none: it fires in too few windows, or the judge gave none)"
    return str(line["explanation"] or none)


def _note(cell: FoundCell) -> None:
    if cell.note:
        console.print(plain(cell.note), highlight=False, markup=False, soft_wrap=True)


def cell_name(record: Record) -> str:
    where = record.where
    return said(f"{where.method} ({where.label}) on {where.suite}, {where.variant} {where.replicate} at {where.place}")


def said(text: str) -> str:
    """Text that may come from anybody as what rich prints as it is."""
    return escape(plain(text))


def _highlighted(context: pd.Series) -> Text:
    shown = Text()
    for active, run in itertools.groupby(zip(context["activations"], context["tokens"], strict=True), _fires):
        words = plain("".join(token for _, token in run).replace("\n", "⏎"))
        shown.append(f"<<{words}>>" if active and not console.is_terminal else words, "bold reverse" if active else "")
    return shown


def _fires(token: tuple[float, str]) -> bool:
    return token[0] > 0


def summary(rows: Sequence[ResultRow], entries: Sequence[Entry], *, everything: bool) -> None:
    """The verdict of each row first, then the metrics that a reader needs first, or all, and why some are undefined."""
    for row in rows:
        own = [entry for entry in entries if (entry.suite, entry.subject, entry.name) == (*row.table, row.name)]
        for entry in own:
            console.print(plain(screen.sentence(entry)), style="bold", highlight=False, markup=False, soft_wrap=True)
            for line in screen.beside(entry):
                console.print(plain(line), highlight=False, markup=False, soft_wrap=True)
        if not own:
            why = "the suite does not ask for the headline metric"
            console.print(f"{said(' '.join(row.name))}: no verdict: {why}", highlight=False, soft_wrap=True)
    shown = rows if everything or len(rows) <= MOST_TABLES else []
    for row in shown:
        _metrics(row, everything)
    if rows and not shown:
        console.print(f"{len(rows)} rows: --all prints the metrics of each, and the pages below have them")
    for reason in _reasons(rows):
        console.print(plain(reason), highlight=False, markup=False, soft_wrap=True)


def leads(standings: Sequence[Standing], name: str) -> None:
    """A line per metric: the lead over the worst matched floor, and how far the score on trained is above the best of
    them.
    """
    table = Table("metric", "gap", "lead", "at least", "over", "verdict", "above all of them on trained by", "at least")
    for one in standings:
        worst, lead, matched = one.claim and one.claim.worst, one.lead, [over for over in one.over if over.matched]
        above = [over.trained for over in matched if over.trained]
        whole = above if len(above) == len(matched) else []
        table.add_row(
            one.metric,
            f"{worst.mean:+.4f}" if worst else "n/a",
            *((f"{lead.mean:+.4f}", _signed(lead.lower), lead.floor) if lead else ("n/a",) * 3),
            str(one.lead_verdict or "n/a"),
            _signed(min((over.mean for over in whole), default=None)),
            _signed(min((over.lower for over in whole), default=None)),
        )
    console.print(table)
    held = f"{said(name)} against the floors that match it, each to its own worst null"
    console.print(f"{held}; only the headline is a confirmatory claim", soft_wrap=True)


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{value:+.4f}"


def _metrics(row: ResultRow, everything: bool) -> None:
    """Scores over places and replicates, worst-null gap and verdict: one line per metric."""
    first = track_class(row.info.track).first
    everything = everything or len(row.scores.columns) <= len(first)
    lines = [line for line in standings.rows(row, None if everything else first) if line.place == standings.ALL]
    lines.sort(key=lambda line: first.index(line.metric) if line.metric in first else len(first))
    variants = list(dict.fromkeys(name for line in lines for name in line.scores))
    table = Table(
        Column("metric", no_wrap=True),
        *(Column(name, max_width=17) for name in variants),
        "worst-null gap",
        "verdict",
        title=f"{said(' '.join(row.name))} on suite {row.info.suite}: means over places and replicates",
    )
    for line in lines:
        scores = (markdown.text(line.scores[name]) if name in line.scores else "" for name in variants)
        claim = markdown.claim(line)
        table.add_row(line.metric, *scores, claim["worst"], claim["verdict"])
    console.print(table)
    left = len(row.scores.columns) - len(lines)
    if left > 0 and not everything:
        console.print(f"{left} more metrics: --all prints them, and the page below has them", highlight=False)


def _reasons(rows: Sequence[ResultRow]) -> list[str]:
    """One line per kind of what is undefined, whatever numbers stand in it."""
    kinds: dict[str, tuple[str, set[str], int]] = {}
    for row in rows:
        for one in row.info.undefined:
            kind = NUMBER.sub("#", one.reason)
            example, metrics, cells = kinds.get(kind, (one.reason, set(), 0))
            kinds[kind] = example, metrics | {one.metric}, cells + len(one.cells)
    return [
        f"n/a in {cells} values of {_some(sorted(metrics))}: {example}"
        for example, metrics, cells in sorted(kinds.values())
    ]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def state(item: Planned) -> str:
    """What is left to do for a cell, in words."""
    if item.ids is None:
        return "subject not here yet"
    if not item.pending:
        return "done"
    return f"to score: {', '.join(item.missing)}" if item.record else "to do"


def variant(name: str) -> str:
    """A line of `list`."""
    shown = f"{name}:N" if name in registry.OPTIONS else name
    kind = "null" if name in registry.NULLS else "control" if name == registry.CONTROL else "the network"
    return f"{shown} ({kind}): {VARIANTS[name]}"


def metric(name: str) -> str:
    """A line of `list`: what it is, its unit, and which way is better."""
    known = family.metric(name)
    assert known is not None
    better = f"{known.better} is better" if known.better else "no direction"
    return f"{name} [{known.unit}; {better}]: {known.says}"
