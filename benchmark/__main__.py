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

from benchmark import records, registry, terminal
from benchmark.checks import guard, verify
from benchmark.errors import BadInput, unknown
from benchmark.judges import open as judges
from benchmark.reporting import plain, quiet_libraries, reporter
from benchmark.run import pipeline, plan
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from leaderboard import board, compare, contents, latents, top

app = typer.Typer(
    name="nullgap",
    help="Does an interpretability method say more about a trained network than about a random one?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
console = terminal.console

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
        labels = [row.label for row in rows]
        keys = {
            contents.key_of(record)
            for record in store.selected()[0]
            if (record.where.suite, record.where.method) == (chosen.name, method) and record.where.label in labels
        }
        terminal.summary(local.rows, chosen.name, keys, method)
        for entry in local.entries:
            if entry.suite in keys and entry.method == method:
                console.print(plain(top.sentence(entry)), highlight=False, markup=False, soft_wrap=True)
        console.print(
            f"{outcome.computed} cells computed, {outcome.cached} were done, in {time.monotonic() - started:.0f} s; "
            f"the whole board is {terminal.said(str(path))}"
        )
        if outcome.judge:
            console.print(terminal.judge_summary(outcome.judge))
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
    jobs: Annotated[int | None, typer.Option(min=1, help="Groups of cells side by side.")] = None,
) -> None:
    """Show the cells of a run, which are done, and what the rest will take: time, disk, requests to a judge."""
    with clean_errors():
        chosen, found, rows = _chosen(method, suite, preset, judge)
        store = records.Store(runs)
        store.check()
        made = plan.make(chosen, found, rows, store, download=False)
        table = Table("replicate", "variant", "hookpoint", "seed", "settings", "state")
        for item in made.cells:
            cell = item.cell
            state = "done" if item.record else "to do" if item.ids else "subject not here yet"
            where = (str(cell.group.replicate), str(cell.group.variant), cell.hookpoint, str(cell.method_seed))
            table.add_row(*where, terminal.said(cell.row.label), state)
        console.print(table)
        side_by_side = jobs or pipeline.jobs_for(chosen, made.device)
        for line in plan.needs(made, side_by_side):
            console.print(line, highlight=False, soft_wrap=True)
        console.print(
            f"{len(made.cells)} cells, {len(made.cells) - len(made.pending)} done{plan.eta(made, side_by_side)}"
        )


@app.command("list")
def show_list() -> None:
    """List methods, suites, variants and metrics."""
    with clean_errors():
        for title, lines in (
            ("methods", [f"{name}: {_summary(name)}" for name in methods.names()]),
            ("suites", [f"{name}: {suites.load(name).summary}" for name in suites.names()]),
            ("variants", list(registry.VARIANTS)),
            ("metrics", [*registry.METRICS, *registry.JOINS]),
        ):
            console.print(title, style="bold")
            for line in lines:
                console.print(f"  {plain(line)}", highlight=False, markup=False, soft_wrap=True)


@app.command("verify")
def verify_record(
    record: RecordName,
    runs: Runs = Path("runs"),
) -> None:
    """Compute one cell again from its record alone, and say what came out otherwise."""
    with clean_errors():
        path = latents.find(record, [runs / "records", board.RESULTS])
        before = records.read(path)
        with reporter(console) as report:
            after = verify.recompute(before, report)
        found = verify.compare(before, after, records.readable(sorted(path.parent.glob(f"{'?' * 16}.json"))))
        for difference in found.differences:
            console.print(plain(difference), highlight=False, markup=False)
        if not found.compared:
            raise BadInput("the platform is another one, and the record's row has under three replicates to go by")
        console.print(
            f"{terminal.cell(before)}: {found.compared} metrics compared within {found.within}", soft_wrap=True
        )
        if not found.moved:
            console.print(f"{found.compared} metrics are the same")
            return
        table = Table("metric", "record", "now")
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
            console.print(f"{terminal.said(str(path))} rewritten: commit it alone, with the reason")
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
        checked = guard.check(smoke, expected)
        terminal.drift(checked, method)
        if checked.moved:
            raise typer.Exit(1)


@app.command("compare")
def show_comparison(
    first: Annotated[str, typer.Argument(help="A method, or method:settings.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What it is held against.", show_default=False)],
    suite: SuiteName = "standard",
    runs: Runs = Path("runs"),
) -> None:
    """Print how much more of a gap to its worst null one method has than another, paired by replicate."""
    with clean_errors():
        found = compare.compare(board.local(records.Store(runs)).records, suite, first, second, board.shipped)
        table = Table(
            "metric",
            terminal.said(first),
            terminal.said(second),
            "difference",
            "95 % interval",
            "p (one-sided)",
            "replicates",
        )
        for line in found:
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
        path = latents.find(record, [runs / "records", board.RESULTS])
        if latent is None:
            terminal.all_latents(*latents.table(path))
        else:
            terminal.one_latent(*latents.one(path, latent))


@app.command()
def render(runs: Runs = Path("runs")) -> None:
    """Render the published board and, when there are own records, the local one."""
    with clean_errors():
        console.print(terminal.said(str(board.render_published())))
        if (runs / "records").is_dir():
            console.print(terminal.said(str(board.render_local(records.Store(runs))[1])))


@app.command()
def publish(
    method: MethodName,
    suite: Annotated[str | None, typer.Option("--suite", help="One suite's rows alone.", show_default="all")] = None,
    runs: Runs = Path("runs"),
) -> None:
    """Copy your records of a method into leaderboard/results/ and render the board: what a pull request carries. Only
    whole rows of the repository's suites are taken.
    """
    with clean_errors():
        methods.load(method)
        written = board.publish(records.Store(runs), method, suite)
        if not written:
            on = f" on suite {suite}" if suite else ""
            raise BadInput(f"no records of {method}{on} in {runs}: run `make bench METHOD={method}` first")
        console.print(f"{len(written)} files published, rendered {terminal.said(str(board.render_published()))}")


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


def _chosen(
    method: str, suite: str, preset: str | None, judge: str | None
) -> tuple[suites.Suite, methods.Method, list[methods.RunSettings]]:
    chosen, found = suites.load(suite), methods.load(method)
    rows = methods.rows(found, chosen, preset)
    if judge and judge != chosen.judge:
        chosen = chosen.model_copy(update={"judge": judge})
        rows = [row._replace(label=f"{row.label}, judge {judges.public(judge)}") for row in rows]
    return chosen, found, rows


if __name__ == "__main__":
    app(prog_name="nullgap")
