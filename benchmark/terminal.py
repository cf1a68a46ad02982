"""What the commands print: tables, verdicts, latents. Texts that may come from anybody are shown as they are."""

from __future__ import annotations

import sys

import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from benchmark import records, registry
from benchmark.checks import guard
from benchmark.reporting import plain
from leaderboard import latents, markdown
from leaderboard.standings import ALL, OWN_STEP0, BoardRow

PLAIN_WIDTH, MOST_REASONS = 200, 6
console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


def drift(checked: guard.GuardReport, method: str) -> None:
    if not checked.known:
        console.print("this platform has no expected values of its own: the wide tolerance applies", style="yellow")
    if not checked.moved:
        console.print(f"{method}: {checked.compared} values are as expected")
        return
    table = Table("cell", "metric", "expected", "found", "tolerance", title=f"{said(method)}: values that moved")
    for moved in checked.moved:
        table.add_row(
            said(moved.cell), said(moved.metric), str(moved.expected), str(moved.found), f"{moved.tolerance:.2g}"
        )
    console.print(table)
    console.print(f"{len(checked.moved)} of {checked.compared} values moved", style="red")


def judge_summary(counts: dict[str, float]) -> str:
    said = (
        f"the judge answered {counts['judge_requests']:.0f} requests, and {counts['judge_replayed']:.0f} from its "
        f"transcripts; {counts['judge_failed']:.0f} failed, {counts['judge_unusable']:.0f} items had no usable answer "
        f"and {counts['judge_unexplained']:.0f} latents no explanation"
    )
    if "judge_prompt_tokens" in counts:
        said += f"; {counts['judge_prompt_tokens']:.0f} tokens in, {counts.get('judge_completion_tokens', 0):.0f} out"
    return said + (f", {counts['judge_dollars']:.2f} US dollars" if "judge_dollars" in counts else "")


def all_latents(record: records.Record, frame: pd.DataFrame) -> None:
    scorers = latents.scorers(frame)
    table = Table("latent", "rate", *scorers, "explanation", title=cell(record))
    for _, line in frame.iterrows():
        scores = (f"{line[name]:.2f}" if pd.notna(line[name]) else "" for name in scorers)
        words = line["explanation"] or "(none: it fires in too few windows, or the judge gave none)"
        table.add_row(str(line["latent"]), f"{line['rate']:.1e}", *scores, said(words))
    console.print(table)


def one_latent(record: records.Record, found: latents.Latent) -> None:
    line = found.line
    console.print(f"latent {line['latent']}, {cell(record)}", style="bold")
    console.print(f"fires on {line['rate']:.2%} of tokens, in {line['scorer_windows']} of the scorer's windows")
    words = line["explanation"] or "(none: it fires in too few windows, or the judge gave none)"
    console.print(plain(f"explanation: {words}"), markup=False)
    for name in latents.scorers(line.to_frame().T):
        if pd.notna(line[name]):
            console.print(f"{name}: {line[name]:.3f}", highlight=False)
    for _, context in found.contexts.iterrows():
        console.print(f"  {context['activation']:7.3f}  ", _highlighted(context["text"]), sep="", soft_wrap=True)


def cell(record: records.Record) -> str:
    where = record.where
    return said(
        f"{where.method} ({where.label}) on {where.suite}, {where.variant} {where.replicate} at {where.hookpoint}"
    )


def said(text: str) -> str:
    """Text that may come from anybody as what rich prints as it is."""
    return escape(plain(text))


def _highlighted(text: str) -> Text:
    shown = Text()
    for number, part in enumerate(latents.MARKED.split(plain(text.replace("\n", "⏎")))):
        marked = number % 2 == 1
        shown.append(f"<<{part}>>" if marked and not console.is_terminal else part, "bold reverse" if marked else "")
    return shown


def summary(rows: list[BoardRow], suite: str, keys: set[str], method: str) -> None:
    shown = [row for row in rows if row.suite in keys and row.method == method and row.hookpoint == ALL]
    for label in sorted({row.label for row in shown}):
        members = [row for row in shown if row.label == label]
        known = (*registry.VARIANTS, OWN_STEP0)
        variants = [name for name in known if any(name in row.scores for row in members)]
        table = Table(
            Column("metric", no_wrap=True),
            *variants,
            "worst-null gap",
            "verdict",
            title=f"{method} ({said(label)}) on suite {suite}: mean over hookpoints and replicates",
        )
        listed = [row for row in members if row.metric not in registry.LADDER]
        for row in sorted(listed, key=lambda row: markdown.place(row.metric)):
            scores = (markdown.text(row.scores[name]) if name in row.scores else "" for name in variants)
            claim = markdown.claim(row)
            table.add_row(row.metric, *scores, claim["worst"], claim["verdict"])
        console.print(table)
        reasons = sorted({f"{row.metric}: {reason}" for row in listed for reason in row.reasons})
        for reason in reasons[:MOST_REASONS]:
            console.print(f"n/a in some cells: {plain(reason)}", highlight=False, markup=False, soft_wrap=True)
        if len(reasons) > MOST_REASONS:
            console.print(f"and {len(reasons) - MOST_REASONS} more reasons: see the board")
        _judges(members, variants)


def _judges(members: list[BoardRow], variants: list[str]) -> None:
    """Every scorer under the judges beside the suite's own: one line per scorer and judge."""
    scores = {row.metric: row.scores for row in members}
    table = Table("scorer", "judge", *variants, title="the same items under other judges")
    for scorer in registry.SCORERS:
        for judge in (*registry.BLIND, *registry.JUDGES):
            found = scores.get(registry.beside(scorer, judge), {})
            if found:
                table.add_row(
                    scorer, judge, *(markdown.text(found[name]) if name in found else "" for name in variants)
                )
    if table.row_count:
        console.print(table)
