"""Results: compared, shown, rendered, exported, published."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmark import terminal
from benchmark.commands.shared import MethodName, RecordName, Runs, SuiteName, app, clean_errors, console
from benchmark.errors import BadInput
from benchmark.execution.isolation import is_strangers
from benchmark.spec import method as methods
from benchmark.store import Store
from leaderboard import board, compare, frames, latents

OWN_WORST = "gaps to each method's own worst null; p is not adjusted: only the headline is a confirmatory claim"
ON_TRAINED = "scores on trained, where both have cells, for one was trained elsewhere, has no null and claims nothing"


@app.command("compare")
def show_comparison(
    first: Annotated[str, typer.Argument(help="A method, or method:settings.", show_default=False)],
    second: Annotated[str, typer.Argument(help="What it is held against, or floors.", show_default=False)],
    suite: SuiteName = "standard",
    runs: Runs = Path("runs"),
) -> None:
    """Print how much more of a gap to its worst null one method has than another, or than the floors, paired by
    replicate; of what was trained elsewhere, how much better it scores on trained.
    """
    with clean_errors():
        known = board.known_floors()
        if second == "floors":
            terminal.leads(compare.leads(board.local(Store(runs), suite)[1], suite, first, known, board.shipped), first)
            return
        found = compare.compare(board.local(Store(runs), suite)[1], suite, first, second, known, board.shipped)
        form = ".4f" if found.of_scores else "+.4f"
        table = Table(
            "metric",
            terminal.said(first),
            terminal.said(second),
            "difference",
            "95 % interval",
            "p (one-sided)",
            "replicates",
        )
        for line in found.differences:
            gap = line.difference
            figures = (
                (f"{gap.mean:+.4f}", f"[{gap.interval[0]:+.4f}, {gap.interval[1]:+.4f}]", f"{gap.p:.3g}") if gap else ()
            )
            table.add_row(
                line.metric,
                *("n/a" if math.isnan(value) else f"{value:{form}}" for value in (line.first, line.second)),
                *(figures or ("n/a",) * 3),
                str(line.replicates),
            )
        console.print(table)
        console.print(ON_TRAINED if found.of_scores else OWN_WORST)


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
def site(runs: Runs = Path("runs")) -> None:
    """Write pages of your results and the published ones, which open from disk, below the results folder."""
    from leaderboard.site import build, folder  # noqa: PLC0415  most commands draw nothing

    with clean_errors():
        store = Store(runs)
        store.check()
        every = board.local(store, *sorted(path.name for path in board.RESULTS.iterdir()))[1]
        first = build.build(store.root / folder.NAME, every, store.root)
        console.print(terminal.said(str(first)), highlight=False, soft_wrap=True)


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
    """Put your rows of a method into leaderboard/results/, small files each, and render the board: what a pull
    request carries. Only whole rows are taken, and of a suite that the repository has only as it has it.
    """
    with clean_errors():
        found = methods.load(method)
        written = board.publish(Store(runs), found.name, suite, found.code_hash, stranger=is_strangers(found.folder))
        if not written.files:
            on = f" on suite {suite}" if suite else ""
            raise BadInput(f"no records of {method}{on} in {runs}: run `make bench METHOD={method}` first")
        of = ", ".join(sorted({path.relative_to(board.RESULTS).parts[0] for path in written.files}))
        rendered = terminal.said(str(board.render_published()))
        console.print(f"{len(written.files)} files published of suite {of}, rendered {rendered}", soft_wrap=True)
        for path in written.details:
            console.print(
                f"explanations, contexts and curves are in {terminal.said(str(path))}: attach it to a release or to "
                "a data set, under that name",
                soft_wrap=True,
            )
