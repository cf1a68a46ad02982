"""Whether numbers can be believed: one cell again, and the baseline against what is expected."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from benchmark import terminal
from benchmark.checks import guard, verify
from benchmark.checks.verify import Verified
from benchmark.commands.shared import MethodName, Runs, app, chosen_methods, clean_errors, console
from benchmark.errors import BadInput
from benchmark.models.mini import unpublished
from benchmark.reporting import Finding, plain, reporter
from benchmark.run import pipeline
from benchmark.spec import method as methods
from benchmark.store import Store
from benchmark.tracks.contract import track_class
from leaderboard import board, latents, publication, review
from leaderboard.latents import FoundCell


@app.command("verify")
def verify_record(  # noqa: PLR0917  typer: every option is a parameter
    record: Annotated[
        str,
        typer.Argument(
            help="A record's path, or the beginning of its score id; with --sample a published method.",
            show_default=False,
        ),
    ],
    number: Annotated[
        int | None, typer.Option("--sample", min=1, help="So many cells of a method's published rows.")
    ] = None,
    suite: Annotated[str | None, typer.Option("--suite", help="Of this suite alone.", show_default="all")] = None,
    key: Annotated[str | None, typer.Option(help="What draws the sample.", show_default="drawn and printed")] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With seeds, draws and nulls that nobody knew: values within the spread.")
    ] = False,
    subjects: Annotated[
        Path | None,
        typer.Option("--subjects", help="With --fresh, on training seeds of this folder, which nobody else has."),
    ] = None,
    mark: Annotated[bool, typer.Option("--mark", help="Call rows verified whose sampled cells are the same.")] = False,
    runs: Runs = Path("runs"),
) -> None:
    """Compute one cell again from its record alone, or a sample of a method's, and say what came out otherwise."""
    with clean_errors():
        if subjects is not None and not fresh:
            raise BadInput("--subjects goes with --fresh: values of other networks are compared within the spread")
        again = partial(_again, kept=Store(runs), fresh=fresh, subjects=subjects)
        if number is None:
            if mark or key or suite:
                raise BadInput("--mark, --key and --suite go with --sample")
            _, drifted = again([latents.find(record, runs, board.RESULTS)])
            if drifted:
                raise typer.Exit(1)
            return
        key = key or secrets.token_hex(8)
        cells = latents.published(board.RESULTS, record, suite, runs)
        chosen = [cells[score_id]() for score_id in verify.sample(list(cells), number, key)]
        console.print(f"{len(chosen)} of {len(cells)} cells, drawn by --key {key}", highlight=False)
        found, drifted = again(chosen)
        moved = sum(bool(one.moved) for one in found)
        if drifted:
            console.print(f"{moved} of {len(found)} cells came out otherwise", style="red")
            raise typer.Exit(1)
        exact = all(one.exact for one in found)
        console.print(f"{len(found)} cells {'are the same' if exact else 'differ by no more than chance explains'}")
        if mark and not all(one.of_the_same for one in found):
            raise BadInput("code, weights, text or requirements are not those of the rows: nothing is marked")
        if mark:
            places = [(cell.record.where, one.within) for cell, one in zip(chosen, found, strict=True)]
            for path in publication.mark_verified(board.RESULTS, places, key):
                console.print(terminal.said(str(path)), highlight=False, soft_wrap=True)


@app.command("review")
def review_changes(
    base: Annotated[str, typer.Option(help="What the branch is to be merged into.")] = "origin/main",
    out: Annotated[Path, typer.Option(help="Where the findings go, as JSON.")] = Path("review.json"),
) -> None:
    """Hold what a branch changes against what a pull request with a method may carry."""
    with clean_errors():
        found = review.review(methods.ROOT, base)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for one in found.findings:
            console.print(terminal.finding(Finding(**one.model_dump())), markup=False, highlight=False, soft_wrap=True)
        if found.method:
            console.print(f"method: {found.method}", highlight=False)
        if found.refused:
            raise typer.Exit(1)


ReviewFile = Annotated[Path, typer.Argument(help="What `review` wrote.", show_default=False)]


@app.command("reviewed")
def reviewed_method(path: ReviewFile) -> None:
    """Print which method a review is of, nothing where it is of none or refused."""
    with clean_errors():
        found = review.read(path)
        console.print(found.method if found.method and not found.refused else "", end="")


@app.command("comment")
def comment_review(
    path: ReviewFile,
    files: Annotated[
        Path | None, typer.Option(help="Names of all files that the pull request changes.", show_default="not told")
    ] = None,
    head: Annotated[str | None, typer.Option(help="The commit that was to be reviewed.", show_default="any")] = None,
    out: Annotated[Path, typer.Option(help="Where the Markdown goes.")] = Path("comment.md"),
) -> None:
    """Show a review as Markdown: data in, text out, nothing of it is run."""
    with clean_errors():
        changed = files.read_text(encoding="utf-8").splitlines() if files else []
        text = review.comment(review.read(path), changed, head)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text, encoding="utf-8")


def _again(
    cells: Sequence[FoundCell], *, kept: Store, fresh: bool, subjects: Path | None
) -> tuple[list[Verified], bool]:
    """Cells computed again, and whether more came out otherwise than chance explains; prints what did."""
    if fresh and (alone := [cell for cell in cells if not verify.has_spread(cell.record, cell.others)]):
        raise BadInput(
            f"record {alone[0].record.score_id} cannot be computed with fresh seeds: its row has under three other "
            "replicates, which would say how far values may lie apart"
        )
    if subjects is not None:
        for where in (cell.record.where for cell in cells):
            unpublished.seeds(where.source, where.revision, subjects)
    found = [_one_again(cell, kept, fresh=fresh, subjects=subjects) for cell in cells]
    track = track_class(cells[0].record.where.track)
    return found, verify.drifted(found, {track.headline, *track.beside})


def _one_again(cell: FoundCell, kept: Store, *, fresh: bool, subjects: Path | None) -> Verified:
    with reporter(console) as report:
        salt = secrets.token_hex(8) if fresh else None
        after = verify.recompute(cell.record, report, kept, fresh=salt, subjects=subjects)
    verified = verify.compare(cell.record, after, cell.others)
    for difference in verified.differences:
        console.print(plain(difference), highlight=False, markup=False)
    if not verified.compared:
        raise BadInput("the platform is another one, and the record's row has under three replicates to go by")
    number = len(verified.compared)
    console.print(
        f"{terminal.cell_name(cell.record)}: {number} metrics compared within {verified.within}", soft_wrap=True
    )
    if not verified.moved:
        console.print(f"{number} metrics are {'the same' if verified.exact else 'within that'}")
        return verified
    table = Table("metric", "record", "now")
    for moved in verified.moved:
        table.add_row(moved.metric, str(moved.recorded), str(moved.found))
    console.print(table)
    if not verified.exact:
        console.print(f"{len(verified.moved)} of {number} lie outside their 95 % interval; chance alone has one in 20")
    return verified


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
        if checked.drifted:
            raise typer.Exit(1)
