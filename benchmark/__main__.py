"""Command line: parses, calls, prints. No logic."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Column, Table

from benchmark import method as methods
from benchmark import pipeline, plan, records, registry
from benchmark import suite as suites
from benchmark.errors import BadInput, unknown
from benchmark.judges import open as judges
from benchmark.reporting import quiet_libraries, reporter
from leaderboard import board, markdown
from leaderboard.standings import ALL, Row

app = typer.Typer(
    name="nullgap",
    help="Does an interpretability method say more about a trained network than about a random one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
PLAIN_WIDTH = 200
console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)

MethodName = Annotated[str, typer.Argument(help="A folder of baselines/ or submissions/.", show_default=False)]
SuiteName = Annotated[str, typer.Option("--suite", help="A suite's name, or a path that ends in .toml.")]
JudgeLine = Annotated[
    str | None,
    typer.Option("--judge", help="lexical, or a model of lm-eval's registry, instead of the suite's choice."),
]
Preset = Annotated[str | None, typer.Option("--preset", help="A preset of the method, instead of the suite's choice.")]
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
        path = board.render_local(store)
        _print_summary(board.local_rows(store), chosen.name, method)
        console.print(
            f"{outcome.computed} cells computed, {outcome.cached} were done, in {time.monotonic() - started:.0f} s; "
            f"the whole board is {path}"
        )
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


@app.command()
def render(runs: Runs = Path("runs")) -> None:
    """Render the published board and, when there are own records, the local one."""
    with clean_errors():
        console.print(f"{board.render_published()}")
        if (runs / "records").is_dir():
            console.print(f"{board.render_local(records.Store(runs))}")


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


def _print_summary(rows: list[Row], suite: str, method: str) -> None:
    shown = [row for row in rows if row.suite == suite and row.method == method and row.hookpoint == ALL]
    for label in sorted({row.label for row in shown}):
        members = [row for row in shown if row.label == label]
        variants = [name for name in registry.VARIANTS if any(name in row.scores for row in members)]
        table = Table(
            Column("metric", no_wrap=True),
            *variants,
            "worst-null gap",
            "verdict",
            title=f"{method} ({label}) on suite {suite}: mean over hookpoints and replicates",
        )
        for row in sorted(members, key=lambda row: markdown.place(row.metric)):
            scores = (markdown.text(row.scores[name]) if name in row.scores else "" for name in variants)
            said = markdown.claim(row)
            table.add_row(row.metric, *scores, said["worst"], said["verdict"])
        console.print(table)


if __name__ == "__main__":
    app(prog_name="nullgap")
