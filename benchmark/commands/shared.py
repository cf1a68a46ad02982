"""What all commands share: the app, its options, which methods are meant, and how bad input ends."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from benchmark import terminal
from benchmark.errors import BadInput
from benchmark.judges import open as judges
from benchmark.records import LONGEST_SALT
from benchmark.reporting import plain, quiet_libraries
from benchmark.run import plan
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.store import Store

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
Salt = Annotated[
    str | None,
    typer.Option(
        "--salt",
        help="What seeds and draws are keyed by, as a record says it.",
        show_default="none for baselines, else the results folder's own",
    ),
]
Runs = Annotated[Path, typer.Option("--runs", help="Folder for records, logs and the local board.")]


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


def chosen_methods(
    said: list[str], suite: str, preset: str | None, judge: str | None
) -> tuple[suites.Suite, list[MethodRun]]:
    chosen = suites.load(suite)
    runs = [MethodRun(method, methods.rows(method, chosen, preset)) for method in methods.chosen(said, chosen.floors)]
    if "all" in said:
        reasons = {run.method.name: plan.refused(chosen, run) for run in runs}
        for name, reason in reasons.items():
            if reason:
                console.print(f"all but {terminal.said(name)}: {terminal.said(reason)}")
        runs = [run for run in runs if not reasons[run.method.name]]
    if judge and judge != chosen.judge:
        named = judges.public(judge)
        runs = [
            one._replace(rows=[row._replace(label=f"{row.label}, judge {named}") for row in one.rows]) for one in runs
        ]
        chosen = chosen.model_copy(update={"judge": judge})
    return chosen, runs


def salted(runs: list[MethodRun], store: Store, salt: str | None) -> list[MethodRun]:
    """Runs whose seeds and draws are keyed by a salt: the one that is said, else the folder's for all methods but the
    repository's own, whose published numbers everybody can repeat.
    """
    if salt is not None and (len(salt) > LONGEST_SALT or not salt.isprintable()):
        raise BadInput(f"a salt has at most {LONGEST_SALT} characters, and none that cannot be seen")
    made = []
    for one in runs:
        own = ("" if one.method.is_baseline else store.salt) if salt is None else salt
        if not one.method.is_baseline and not own:
            console.print(f"{terminal.said(one.method.name)}: without a salt, so that its rows are not to be published")
        blind = bool(own) and one.method.is_blind
        made.append(one._replace(rows=[row._replace(salt=own, blind=blind) for row in one.rows]))
    return made
