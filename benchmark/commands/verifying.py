"""Whether numbers can be believed: one cell again, and the baseline against what is expected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmark import terminal
from benchmark.checks import guard, verify
from benchmark.commands.shared import MethodName, RecordName, Runs, app, chosen_methods, clean_errors, console
from benchmark.errors import BadInput
from benchmark.reporting import plain, reporter
from benchmark.run import pipeline
from benchmark.store import Store
from leaderboard import board, latents


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
        chosen, runs_of = chosen_methods([method], guard.SUITE, None, None)
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
