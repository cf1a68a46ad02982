"""Command line: parses, calls, prints. No logic."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmark import registry, terminal
from benchmark.checks import conformance, guard, verify
from benchmark.errors import BadInput, unknown
from benchmark.judges import open as judges
from benchmark.metrics import family
from benchmark.reporting import duration, plain, quiet_libraries, reporter
from benchmark.run import pipeline, plan
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec import template
from benchmark.store import Store
from leaderboard import board, compare, frames, latents

app = typer.Typer(
    name="nullgap",
    help="Does an interpretability method say more about a trained network than about a random one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = terminal.console

MethodName = Annotated[str, typer.Argument(help="A folder of baselines/ or submissions/.", show_default=False)]
MethodNames = Annotated[
    list[str],
    typer.Argument(
        metavar="METHOD...",
        help="Folders of baselines/ or submissions/, paths of others, or all: they share every forward pass.",
        show_default=False,
    ),
]
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
def run(  # noqa: PLR0913, PLR0917  typer: every option is a parameter
    method: MethodNames,
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
    everything: Annotated[bool, typer.Option("--all", help="Print every metric, judge and reason.")] = False,
) -> None:
    """Fit and score methods; the same command resumes after a kill and computes only what is missing."""
    with clean_errors():
        if isolation not in pipeline.ISOLATION:
            raise unknown("isolation", isolation, pipeline.ISOLATION)
        chosen, chosen_runs = _chosen(method, suite, preset, judge)
        store, started = Store(runs), time.monotonic()
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
        if outcome.failed:
            console.print(f"{len(outcome.failed)} cells failed; the same command tries them again", style="red")
            raise typer.Exit(1)


@app.command("plan")
def show_plan(
    method: MethodNames,
    suite: SuiteName = "mini",
    preset: Preset = None,
    runs: Runs = Path("runs"),
    judge: JudgeLine = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Groups of cells side by side.")] = None,
) -> None:
    """Show the cells of a run, which are done, and what the rest will take: time, disk, requests to a judge."""
    with clean_errors():
        chosen, chosen_runs = _chosen(method, suite, preset, judge)
        store = Store(runs)
        store.check()
        made = plan.make(chosen, chosen_runs, store, download=False)
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


@app.command("verify")
def verify_record(record: RecordName, runs: Runs = Path("runs")) -> None:
    """Compute one cell again from its record alone, and say what came out otherwise."""
    with clean_errors():
        cell = latents.find(record, runs, board.RESULTS)
        with reporter(console) as report:
            after = verify.recompute(cell.record, report)
        verified = verify.compare(cell.record, after, cell.others)
        for difference in verified.differences:
            console.print(plain(difference), highlight=False, markup=False)
        if not verified.compared:
            raise BadInput("the platform is another one, and the record's row has under three replicates to go by")
        console.print(
            f"{terminal.cell_name(cell.record)}: {verified.compared} metrics compared within {verified.within}",
            soft_wrap=True,
        )
        if not verified.moved:
            console.print(f"{verified.compared} metrics are the same")
            return
        table = Table("metric", "record", "now")
        for moved in verified.moved:
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
        chosen, runs_of = _chosen([method], guard.SUITE, None, None)
        if len(runs_of) != 1:
            raise BadInput("the guard is of one baseline: name it alone")
        one = runs_of[0]
        path, store = one.method.folder / "expected.json", Store(runs)
        if write:
            if not why:
                raise BadInput("say why the expected values change: --why '...'")
            with reporter(console) as report:
                smoke, calibration = pipeline.calibrate(chosen, one, store, report)
            guard.write(path, guard.regenerated(smoke, calibration, guard.read(path), why))
            console.print(f"{terminal.said(str(path))} rewritten: commit it alone, with the reason")
            return
        expected = guard.read(path)
        if expected is None:
            raise BadInput(f"{path} does not exist: make it with --write")
        smoke = [
            entry
            for entry in store.selected()[0]
            if (entry.where.suite, entry.where.method) == (chosen.name, one.method.name)
            and entry.where.replicate in chosen.subject.replicates
        ]
        if not smoke:
            raise BadInput(f"no records of {method} on suite {chosen.name} in {runs}: run it first")
        checked = guard.check(smoke, expected)
        terminal.drift(checked, one.method.name)
        if checked.moved:
            raise typer.Exit(1)


@app.command("compare")
def show_comparison(
    first: Annotated[str, typer.Argument(help="A method, or method:settings.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What it is held against, or floors.", show_default=False)],
    suite: SuiteName = "standard",
    runs: Runs = Path("runs"),
) -> None:
    """Print how much more of a gap to its worst null one method has than another, or than the floors, paired by
    replicate.
    """
    with clean_errors():
        known = board.known_floors()
        if second == "floors":
            terminal.leads(compare.leads(board.local(Store(runs), suite)[1], suite, first, known, board.shipped), first)
            return
        lines = compare.compare(board.local(Store(runs), suite)[1], suite, first, second, known, board.shipped)
        table = Table(
            "metric",
            terminal.said(first),
            terminal.said(second),
            "difference",
            "95 % interval",
            "p (one-sided)",
            "replicates",
        )
        for line in lines:
            gap = line.difference
            figures = (
                (f"{gap.mean:+.4f}", f"[{gap.interval[0]:+.4f}, {gap.interval[1]:+.4f}]", f"{gap.p:.3g}") if gap else ()
            )
            table.add_row(
                line.metric,
                f"{line.first:+.4f}",
                f"{line.second:+.4f}",
                *(figures or ("n/a",) * 3),
                str(line.replicates),
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
        cell = latents.find(record, runs, board.RESULTS)
        if latent is None:
            terminal.all_latents(cell, latents.table(cell))
        else:
            terminal.one_latent(cell, latents.one(cell, latent))


@app.command()
def render(runs: Runs = Path("runs")) -> None:
    """Render the published board and, when there are own records, the local one."""
    with clean_errors():
        console.print(terminal.said(str(board.render_published())))
        if (runs / "records").is_dir():
            console.print(terminal.said(str(board.render_local(Store(runs))[2]["board"])))


@app.command()
def export(
    suite: SuiteName = "standard",
    out: Annotated[Path, typer.Option(help="Folder for the files, made where it is not there.")] = Path("tables"),
    form: Annotated[str, typer.Option("--format", help="csv or json.")] = "csv",
    runs: Annotated[
        Path | None, typer.Option("--runs", help="Your own results beside the published ones.", show_default="none")
    ] = None,
) -> None:
    """Write the results of a suite as tidy tables: scores, claims, latents (docs/notebook.md)."""
    with clean_errors():
        for path in frames.export(frames.load(suite, runs), out, form):
            console.print(terminal.said(str(path)), highlight=False, soft_wrap=True)


@app.command()
def publish(
    method: MethodName,
    suite: Annotated[str | None, typer.Option("--suite", help="One suite's rows alone.", show_default="all")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Put your rows of a method into leaderboard/results/, four small files each, and render the board: what a pull
    request carries. Only whole rows are taken, and of a suite that the repository has only as it has it.
    """
    with clean_errors():
        name = methods.load(method).name
        written = board.publish(Store(runs), name, suite)
        if not written.files:
            on = f" on suite {suite}" if suite else ""
            raise BadInput(f"no records of {method}{on} in {runs}: run `make bench METHOD={method}` first")
        console.print(f"{len(written.files)} files published, rendered {terminal.said(str(board.render_published()))}")
        for path in written.details:
            console.print(
                f"explanations, contexts and curves are in {terminal.said(str(path))}: attach it to a release or to "
                "a data set, under that name",
                soft_wrap=True,
            )


def _summary(method: str) -> str:
    """What a method says of itself; one that cannot be used does not hide the others."""
    try:
        return methods.load(method).manifest.summary
    except BadInput as error:
        return f"cannot be used: {error}"


@contextmanager
def clean_errors() -> Iterator[None]:
    """One sentence and exit code 2 for bad input."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    quiet_libraries()
    try:
        yield
    except BadInput as error:
        typer.echo(f"error: {plain(str(error))}", err=True)
        raise typer.Exit(2) from error


def _chosen(said: list[str], suite: str, preset: str | None, judge: str | None) -> tuple[suites.Suite, list[MethodRun]]:
    chosen = suites.load(suite)
    runs = [MethodRun(method, methods.rows(method, chosen, preset)) for method in methods.chosen(said, chosen.floors)]
    if judge and judge != chosen.judge:
        named = judges.public(judge)
        runs = [
            one._replace(rows=[row._replace(label=f"{row.label}, judge {named}") for row in one.rows]) for one in runs
        ]
        chosen = chosen.model_copy(update={"judge": judge})
    return chosen, runs


if __name__ == "__main__":
    app(prog_name="nullgap")
