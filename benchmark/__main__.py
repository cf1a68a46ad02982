"""Command line: parses, calls, prints. No logic."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from benchmark import guard, pipeline, plan, records, registry, verify
from benchmark import method as methods
from benchmark import suite as suites
from benchmark.errors import BadInput, unknown
from benchmark.judges import open as judges
from benchmark.reporting import quiet_libraries, reporter
from leaderboard import board, compare, latents, markdown, top
from leaderboard.standings import ALL, OWN_STEP0, Row

app = typer.Typer(
    name="nullgap",
    help="Does an interpretability method say more about a trained network than about a random one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PLAIN_WIDTH, MOST_REASONS = 200, 6
console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)

MethodName = Annotated[str, typer.Argument(help="A folder of baselines/ or submissions/.", show_default=False)]
SuiteName = Annotated[str, typer.Option("--suite", help="A suite's name, or a path that ends in .toml.")]
JudgeLine = Annotated[
    str | None,
    typer.Option("--judge", help="lexical, or a model of lm-eval's registry, instead of the suite's choice."),
]
Preset = Annotated[str | None, typer.Option("--preset", help="A preset of the method, instead of the suite's choice.")]
RecordName = Annotated[
    str, typer.Argument(help="A record's path, or the beginning of its score id.", show_default=False)
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder for records, logs and the local board.")]


@app.command()
def run(  # noqa: PLR0917  typer: every option is a parameter
    method: MethodName,
    suite: SuiteName = "mini",
    preset: Preset = None,
    runs: Runs = Path("runs"),
    isolation: Annotated[str, typer.Option(help="process, or none to debug a method in this process.")] = "process",
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Groups of cells side by side.", show_default="one per core on a CPU, else 1"),
    ] = None,
    judge: JudgeLine = None,
    replay: Annotated[bool, typer.Option("--replay", help="Let the judge answer from its transcripts alone.")] = False,
) -> None:
    """Fit and score a method; the same command resumes after a kill and computes only what is missing."""
    with clean_errors():
        if isolation not in pipeline.ISOLATION:
            raise unknown("isolation", isolation, pipeline.ISOLATION)
        chosen, found, rows = _chosen(method, suite, preset, judge)
        store, started = records.Store(runs), time.monotonic()
        with reporter(console) as report:
            outcome = pipeline.run(chosen, found, rows, store, isolation, report, jobs=jobs, replay=replay)
        local, path = board.render_local(store)
        _print_summary(local.rows, chosen.name, method)
        for entry in local.entries:
            if (entry.suite, entry.method) == (chosen.name, method):
                console.print(top.sentence(entry), highlight=False, soft_wrap=True)
        console.print(
            f"{outcome.computed} cells computed, {outcome.cached} were done, in {time.monotonic() - started:.0f} s; "
            f"the whole board is {path}"
        )
        if outcome.judge:
            console.print(_judge_summary(outcome.judge))
        if outcome.failed:
            console.print(f"{len(outcome.failed)} cells failed; the same command tries them again", style="red")
            raise typer.Exit(1)


@app.command("plan")
def show_plan(
    method: MethodName,
    suite: SuiteName = "mini",
    preset: Preset = None,
    runs: Runs = Path("runs"),
    judge: JudgeLine = None,
) -> None:
    """Show the cells of a run, which are done, and how long the rest may take."""
    with clean_errors():
        chosen, found, rows = _chosen(method, suite, preset, judge)
        made = plan.make(chosen, found, rows, records.Store(runs), download=False)
        table = Table("replicate", "variant", "hookpoint", "seed", "settings", "state")
        for item in made.cells:
            cell = item.cell
            state = "done" if item.record else "to do" if item.ids else "subject not here yet"
            where = (str(cell.group.replicate), str(cell.group.variant), cell.hookpoint, str(cell.method_seed))
            table.add_row(*where, cell.row.label, state)
        console.print(table)
        console.print(f"{len(made.cells)} cells, {len(made.cells) - len(made.pending)} done{plan.eta(made)}")


@app.command("list")
def show_list() -> None:
    """List methods, suites, variants and metrics."""
    with clean_errors():
        for title, lines in (
            ("methods", [f"{name}: {methods.load(name).manifest.summary}" for name in methods.names()]),
            ("suites", [f"{name}: {suites.load(name).summary}" for name in suites.names()]),
            ("variants", list(registry.VARIANTS)),
            ("metrics", [*registry.METRICS, *registry.JOINS]),
        ):
            console.print(title, style="bold")
            for line in lines:
                console.print(f"  {line}", highlight=False, soft_wrap=True)


@app.command("verify")
def verify_record(
    record: RecordName,
    runs: Runs = Path("runs"),
) -> None:
    """Compute one cell again from its record alone, and say what came out otherwise."""
    with clean_errors():
        before = records.read(latents.find(record, [runs / "records", board.RESULTS]))
        with reporter(console) as report:
            after = verify.recompute(before, report)
        found = verify.compare(before, after)
        for difference in found.differences:
            console.print(difference, highlight=False)
        if not found.moved:
            console.print(f"{_cell(before)}: {found.compared} metrics are the same within {verify.RELATIVE:.0e}")
            return
        table = Table("metric", "record", "now", title=_cell(before))
        for moved in found.moved:
            table.add_row(moved.metric, str(moved.recorded), str(moved.found))
        console.print(table)
        raise typer.Exit(1)


@app.command("guard")
def guard_baseline(
    method: MethodName,
    runs: Runs = Path("runs"),
    write: Annotated[bool, typer.Option("--write", help="Recompute what is expected, with eight replicates.")] = False,
    why: Annotated[str, typer.Option(help="Why the expected values change; kept with them.")] = "",
) -> None:
    """Hold the smoke suite's values against what is expected of a baseline; fails where they drift."""
    with clean_errors():
        chosen, found, rows = _chosen(method, guard.SUITE, None, None)
        path, store = found.folder / "expected.json", records.Store(runs)
        if write:
            if not why:
                raise BadInput("say why the expected values change: --why '...'")
            with reporter(console) as report:
                smoke, calibration = pipeline.calibrate(chosen, found, rows, store, report)
            guard.write(path, guard.regenerated(smoke, calibration, guard.read(path), why))
            console.print(f"{path} rewritten: commit it alone, with the reason")
            return
        expected = guard.read(path)
        if expected is None:
            raise BadInput(f"{path} does not exist: make it with --write")
        smoke = [
            entry
            for entry in store.selected()[0]
            if (entry.where.suite, entry.where.method) == (chosen.name, method)
            and entry.where.replicate in chosen.subject.replicates
        ]
        if not smoke:
            raise BadInput(f"no records of {method} on suite {chosen.name} in {runs}: run it first")
        _print_drift(guard.check(smoke, expected), method)


@app.command("compare")
def show_comparison(
    first: Annotated[str, typer.Argument(help="A method, or method:settings.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What it is held against.", show_default=False)],
    suite: SuiteName = "standard",
    runs: Runs = Path("runs"),
) -> None:
    """Print how much more of a gap to its worst null one method has than another, paired by replicate."""
    with clean_errors():
        found = compare.compare(board.local(records.Store(runs)).records, suite, first, second)
        table = Table("metric", first, second, "difference", "95 % interval", "p (one-sided)", "replicates")
        for line in found:
            gap = line.difference
            said = (
                (f"{gap.mean:+.4f}", f"[{gap.interval[0]:+.4f}, {gap.interval[1]:+.4f}]", f"{gap.p:.3g}") if gap else ()
            )
            table.add_row(
                line.metric, f"{line.first:+.4f}", f"{line.second:+.4f}", *(said or ("n/a",) * 3), str(line.replicates)
            )
        console.print(table)
        console.print(
            "gaps to each method's own worst null; p is not adjusted: only the headline is a confirmatory claim"
        )


@app.command()
def show(
    record: RecordName,
    latent: Annotated[int | None, typer.Option(help="Number of a drawn latent; left out: all of them.")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Print the explanations of a record's latents, or one latent with its top contexts."""
    with clean_errors():
        path = latents.find(record, [runs / "records", board.RESULTS])
        if latent is None:
            _print_latents(*latents.table(path))
        else:
            _print_latent(*latents.one(path, latent))


@app.command()
def render(runs: Runs = Path("runs")) -> None:
    """Render the published board and, when there are own records, the local one."""
    with clean_errors():
        console.print(f"{board.render_published()}")
        if (runs / "records").is_dir():
            console.print(f"{board.render_local(records.Store(runs))[1]}")


@app.command()
def publish(method: MethodName, runs: Runs = Path("runs")) -> None:
    """Copy your records of a method into leaderboard/results/ and render the board: what a pull request carries."""
    with clean_errors():
        methods.load(method)
        written = board.publish(records.Store(runs), method)
        if not written:
            raise BadInput(f"no records of {method} in {runs}: run `make bench METHOD={method}` first")
        console.print(f"{len(written)} files published, rendered {board.render_published()}")


@contextmanager
def clean_errors() -> Iterator[None]:
    """One sentence and exit code 2 for bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    quiet_libraries()
    try:
        yield
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


def _chosen(
    method: str, suite: str, preset: str | None, judge: str | None
) -> tuple[suites.Suite, methods.Method, list[methods.Row]]:
    chosen, found = suites.load(suite), methods.load(method)
    rows = methods.rows(found, chosen, preset)
    if judge and judge != chosen.judge:
        chosen = chosen.model_copy(update={"judge": judge})
        rows = [row._replace(label=f"{row.label}, judge {judges.public(judge)}") for row in rows]
    return chosen, found, rows


def _print_drift(checked: guard.Checked, method: str) -> None:
    if not checked.known:
        console.print("this platform has no expected values of its own: the wide tolerance applies", style="yellow")
    if not checked.moved:
        console.print(f"{method}: {checked.compared} values are as expected")
        return
    table = Table("cell", "metric", "expected", "found", "tolerance", title=f"{method}: values that moved")
    for moved in checked.moved:
        table.add_row(moved.cell, moved.metric, str(moved.expected), str(moved.found), f"{moved.tolerance:.2g}")
    console.print(table)
    console.print(f"{len(checked.moved)} of {checked.compared} values moved", style="red")
    raise typer.Exit(1)


def _judge_summary(counts: dict[str, float]) -> str:
    said = (
        f"the judge answered {counts['judge_requests']:.0f} requests, and {counts['judge_replayed']:.0f} from its "
        f"transcripts; {counts['judge_failed']:.0f} failed, {counts['judge_unusable']:.0f} items had no usable answer "
        f"and {counts['judge_unexplained']:.0f} latents no explanation"
    )
    if "judge_prompt_tokens" in counts:
        said += f"; {counts['judge_prompt_tokens']:.0f} tokens in, {counts.get('judge_completion_tokens', 0):.0f} out"
    return said + (f", {counts['judge_dollars']:.2f} US dollars" if "judge_dollars" in counts else "")


def _print_latents(record: records.Record, frame: pd.DataFrame) -> None:
    scorers = latents.scorers(frame)
    table = Table("latent", "rate", *scorers, "explanation", title=_cell(record))
    for _, line in frame.iterrows():
        scores = (f"{line[name]:.2f}" if pd.notna(line[name]) else "" for name in scorers)
        words = line["explanation"] or "(none: it fires in too few windows, or the judge gave none)"
        table.add_row(str(line["latent"]), f"{line['rate']:.1e}", *scores, escape(words))
    console.print(table)


def _print_latent(record: records.Record, found: latents.Latent) -> None:
    line = found.line
    console.print(f"latent {line['latent']}, {_cell(record)}", style="bold")
    console.print(f"fires on {line['rate']:.2%} of tokens, in {line['scorer_windows']} of the scorer's windows")
    console.print(
        f"explanation: {line['explanation'] or '(none: it fires in too few windows, or the judge gave none)'}",
        markup=False,
    )
    for name in latents.scorers(line.to_frame().T):
        if pd.notna(line[name]):
            console.print(f"{name}: {line[name]:.3f}", highlight=False)
    for _, context in found.contexts.iterrows():
        console.print(f"  {context['activation']:7.3f}  ", _highlighted(context["text"]), sep="", soft_wrap=True)


def _cell(record: records.Record) -> str:
    where = record.where
    return f"{where.method} ({where.label}) on {where.suite}, {where.variant} {where.replicate} at {where.hookpoint}"


def _highlighted(text: str) -> Text:
    shown = Text()
    for number, part in enumerate(latents.MARKED.split(text.replace("\n", "⏎"))):
        marked = number % 2 == 1
        shown.append(f"<<{part}>>" if marked and not console.is_terminal else part, "bold reverse" if marked else "")
    return shown


def _print_summary(rows: list[Row], suite: str, method: str) -> None:
    shown = [row for row in rows if row.suite == suite and row.method == method and row.hookpoint == ALL]
    for label in sorted({row.label for row in shown}):
        members = [row for row in shown if row.label == label]
        known = (*registry.VARIANTS, OWN_STEP0)
        variants = [name for name in known if any(name in row.scores for row in members)]
        table = Table(
            Column("metric", no_wrap=True),
            *variants,
            "worst-null gap",
            "verdict",
            title=f"{method} ({label}) on suite {suite}: mean over hookpoints and replicates",
        )
        listed = [row for row in members if row.metric not in registry.LADDER]
        for row in sorted(listed, key=lambda row: markdown.place(row.metric)):
            scores = (markdown.text(row.scores[name]) if name in row.scores else "" for name in variants)
            said = markdown.claim(row)
            table.add_row(row.metric, *scores, said["worst"], said["verdict"])
        console.print(table)
        reasons = sorted({f"{row.metric}: {reason}" for row in listed for reason in row.reasons})
        for reason in reasons[:MOST_REASONS]:
            console.print(f"n/a in some cells: {reason}", highlight=False, soft_wrap=True)
        if len(reasons) > MOST_REASONS:
            console.print(f"and {len(reasons) - MOST_REASONS} more reasons: see the board")
        _print_judges(members, variants)


def _print_judges(members: list[Row], variants: list[str]) -> None:
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


if __name__ == "__main__":
    app(prog_name="nullgap")
