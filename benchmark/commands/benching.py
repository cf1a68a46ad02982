"""Make a method, check it, run it, and see what there is."""

from __future__ import annotations

import os
import platform
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import psutil
import torch
import typer
from rich.table import Table

from benchmark import registry, terminal
from benchmark.checks import conformance
from benchmark.commands.shared import (
    JudgeLine,
    MethodNames,
    Preset,
    Runs,
    Salt,
    SuiteName,
    app,
    chosen_methods,
    clean_errors,
    console,
    salted,
)
from benchmark.errors import BadInput, unknown
from benchmark.execution import jailed
from benchmark.execution.isolation import ISOLATION
from benchmark.execution.local import ForkServer
from benchmark.metrics import family
from benchmark.reporting import duration, plain, reporter
from benchmark.run import pipeline, plan
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec import template
from benchmark.store import Store
from leaderboard import board
from leaderboard.site import folder


@app.command()
def run(  # noqa: PLR0913, PLR0917  typer: every option is a parameter
    method: MethodNames,
    suite: SuiteName = "mini",
    preset: Preset = None,
    runs: Runs = Path("runs"),
    isolation: Annotated[
        str | None,
        typer.Option(
            help="jail, without network and sight; process; or none, to debug in this process.",
            show_default="jail where the machine has one",
        ),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, help="Groups of cells side by side.", show_default="one per core on a CPU, else 1"),
    ] = None,
    judge: JudgeLine = None,
    replay: Annotated[bool, typer.Option("--replay", help="Let the judge answer from its transcripts alone.")] = False,
    salt: Salt = None,
    everything: Annotated[bool, typer.Option("--all", help="Print every metric, judge and reason.")] = False,
) -> None:
    """Fit and score methods; the same command resumes after a kill and computes only what is missing."""
    with clean_errors():
        if isolation not in (None, *ISOLATION):
            raise unknown("isolation", str(isolation), ISOLATION)
        chosen, chosen_runs = chosen_methods(method, suite, preset, judge)
        store, started = Store(runs), time.monotonic()
        store.check()
        folder.check(store.root / folder.NAME)
        chosen_runs = salted(chosen_runs, store, salt)
        with reporter(console) as report:
            outcome = pipeline.run(chosen, chosen_runs, store, isolation, report, jobs=jobs, replay=replay)
        labels = {(one.method.name, row.label) for one in chosen_runs for row in one.rows}
        shown, entries, paths = board.render_local(store, chosen.name, labels)
        terminal.summary(shown, entries, everything=everything)
        console.print(
            f"{outcome.computed} cells computed, {outcome.cached} were done, in "
            f"{duration(time.monotonic() - started).removeprefix('about ')}"
        )
        for what, path in paths.items():
            console.print(f"{what}: {terminal.said(str(path))}", highlight=False, soft_wrap=True)
        if outcome.judge:
            console.print(terminal.judge_summary(outcome.judge))
        from leaderboard.site import build  # noqa: PLC0415  most commands draw nothing

        console.print(f"site: {terminal.said(str(build.local(store)))}", highlight=False, soft_wrap=True)
        if outcome.failed:
            console.print(f"{len(outcome.failed)} cells failed; the same command tries them again", style="red")
            raise typer.Exit(1)


@app.command("plan")
def show_plan(  # noqa: PLR0917  typer: every option is a parameter
    method: MethodNames,
    suite: SuiteName = "mini",
    preset: Preset = None,
    runs: Runs = Path("runs"),
    judge: JudgeLine = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Groups of cells side by side.")] = None,
    salt: Salt = None,
) -> None:
    """Show the cells of a run, which are done, and what the rest will take: time, disk, requests to a judge."""
    with clean_errors():
        chosen, chosen_runs = chosen_methods(method, suite, preset, judge)
        store = Store(runs)
        store.check()
        made = plan.make(chosen, salted(chosen_runs, store, salt), store, download=False)
        table = Table("method", "settings", "replicate", "variant", "place", "seed", "state")
        for item in made.cells:
            cell = item.cell
            where = (str(cell.group.replicate), str(cell.group.variant), cell.place, str(cell.method_seed))
            table.add_row(cell.method, terminal.said(cell.row.label), *where, terminal.state(item))
        console.print(table)
        side_by_side = jobs or pipeline.jobs_for(chosen, made.subject.device)
        for line in plan.needs(made, side_by_side):
            console.print(line, highlight=False, soft_wrap=True)
        console.print(
            f"{len(made.cells)} cells, {len(made.cells) - len(made.pending)} done{plan.eta(made, side_by_side)}"
        )


@app.command("new")
def new_method(
    name: Annotated[str, typer.Argument(help="Names the folder, the method and its results.", show_default=False)],
    track: Annotated[str, typer.Option(help="Which contract it keeps.")] = "features",
) -> None:
    """Make submissions/NAME/ from the template of a track: it runs as it stands."""
    with clean_errors():
        folder = template.make(name, track)
        console.print(f"{terminal.said(str(folder))}: fill in method.py, then `make check METHOD={name}`")


@app.command("check")
def check_method(method: MethodNames, runs: Runs = Path("runs")) -> None:
    """Ask of methods what the contract of their track says: about a minute, no network, one line per question."""
    with clean_errors():
        store = Store(runs)
        store.check()
        refused = 0
        for one in methods.chosen(method):
            with reporter(console) as report:
                for finding in conformance.check(one, store, report):
                    report.say(terminal.finding(finding))
                    refused += finding.refused
        if refused:
            console.print(f"{refused} refused: mend these before `make bench`", style="red")
            raise typer.Exit(1)
        console.print("nothing refused: `make bench` comes next")


@app.command()
def doctor() -> None:
    """Say what this machine offers: processor, memory, accelerator, and whether methods can be run in jail."""
    with clean_errors():
        memory = psutil.virtual_memory().total / 2**30
        console.print(
            f"{os.cpu_count()} cores, {memory:.0f} GiB memory, Python {platform.python_version()}", highlight=False
        )
        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no CUDA device"
        console.print(f"torch {torch.__version__}, {device}", highlight=False)
        with closing(ForkServer()) as server:
            tried = jailed.trial(server)
        console.print("jail: holds" if tried.holds else jailed.sentence(tried), highlight=False, soft_wrap=True)
        if not tried.holds:
            raise typer.Exit(1)


@app.command("list")
def show_list() -> None:
    """List methods, suites, variants and metrics: what each is, its unit and which way is better."""
    with clean_errors():
        for title, lines in (
            ("methods", [f"{name}: {_summary(name)}" for name in methods.names()]),
            ("suites", [f"{name}: {suites.load(name).summary}" for name in suites.names()]),
            ("variants", [terminal.variant(name) for name in registry.VARIANTS]),
            ("metrics", [terminal.metric(name) for name in family.names()]),
        ):
            console.print(title, style="bold")
            for line in lines:
                console.print(f"  {plain(line)}", highlight=False, markup=False, soft_wrap=True)


def _summary(method: str) -> str:
    """What a method says of itself; one that cannot be used does not hide the others."""
    try:
        return methods.load(method).manifest.summary
    except BadInput as error:
        return f"cannot be used: {error}"
