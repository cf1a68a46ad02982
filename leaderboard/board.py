"""Boards: one screen per suite and track, and a page per suite and method with everything else."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from benchmark.run import plan
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec.pretrained import RECIPE
from benchmark.store import Store, write_text
from benchmark.tracks.contract import track_class
from leaderboard import contents, headline, pages, publication, results, screen
from leaderboard.contenders import KnownFloors, SuiteRow
from leaderboard.contents import Heading
from leaderboard.headline import Entry
from leaderboard.publication import Published
from leaderboard.results import slug
from leaderboard.rows import ResultRow, of_records

HOME = Path(__file__).parent
RESULTS = HOME / "results"
BOARD, PAGES = "LEADERBOARD.md", "pages"


def write(
    root: Path, rows: Sequence[ResultRow], named: Collection[tuple[str, str]] | None = None
) -> tuple[list[Entry], dict[tuple[str, str], Path]]:
    """`LEADERBOARD.md` below `root`, and a page for each suite and method but floors, or for those named by key and
    method; a page that says what its rows say is left as it is. Returns the entries, and where the pages are.
    """
    floors = known_floors()
    entries = headline.entries(rows, floors)
    headings = contents.headings(rows, shipped)

    def page_of(suite: str, method: str) -> str | None:
        shown = method not in floors.known if named is None else (suite, method) in named
        return f"{headings[suite].folder}/{slug(method)}.md" if shown else None

    pictures = _draw(root, rows, entries, headings)
    write_text(root / BOARD, screen.text(rows, entries, headings, page_of, pictures))
    by_page: dict[tuple[str, str], list[ResultRow]] = {}
    for row in rows:
        by_page.setdefault((row.suite, row.info.method), []).append(row)
    written = {key: page for key in by_page if (page := page_of(*key))}
    for key, page in written.items():
        of_suite = [entry for entry in entries if entry.suite == key[0]]
        recipes = {(key[0], str(row.info.settings.get(RECIPE))) for row in by_page[key] if row.pretrained}
        recipe = [row for one in sorted(recipes) for row in by_page.get(one, ())]
        pages.write(root / PAGES / page, by_page[key], of_suite, headings[key[0]], recipe)
    if named is None:
        drawn = {path.removeprefix(f"{PAGES}/") for shown in pictures.values() for _, path in shown}
        _remove_others(root / PAGES, {*written.values(), *drawn})
    return entries, {key: root / PAGES / page for key, page in written.items()}


def render_published() -> Path:
    """The board of the published rows alone."""
    write(HOME, results.rows(RESULTS))
    return HOME / BOARD


def render_local(
    store: Store, suite: str | None = None, named: Collection[tuple[str, str]] = ()
) -> tuple[list[ResultRow], list[Entry], dict[str, Path]]:
    """The board of a store: own rows, each with its page, and the published ones of the same suites beside. Returns the
    own rows that `suite` and `named` (method, label) point at, all entries, and what was written of those rows.
    """
    own, every = local(store)
    asked = [row for row in own if suite in (None, row.info.suite) and (not named or row.name in named)]
    entries, paths = write(store.root, every, {(row.suite, row.info.method) for row in own})
    keys = {(row.suite, row.info.method) for row in asked}
    written = {"board": store.root / BOARD}
    for key in sorted(keys):
        written["all metrics" if len(keys) == 1 else f"all metrics of {key[1]}"] = paths[key]
    return asked, entries, written


def local(store: Store, *suites_named: str) -> tuple[list[ResultRow], list[ResultRow]]:
    """Own rows as they were last run, and with them the published ones of the same suites and of those named, own rows
    taking the place of published ones.
    """
    records, joins = store.selected()
    own = of_records(records, joins, store.latents)
    taken = {(row.suite, *row.name) for row in own}
    beside = results.rows(RESULTS, (*{row.info.suite for row in own}, *suites_named))
    every = [*own, *(row for row in beside if (row.suite, *row.name) not in taken)]
    return own, sorted(every, key=lambda row: (*row.table, *row.name))


def publish(
    store: Store, method: str, suite: str | None = None, code: str | None = None, *, stranger: bool = False
) -> Published:
    """Put a method's rows into the published results; see `publication.publish`."""
    return publication.publish(store, RESULTS, method, suite, shipped, families, code, stranger=stranger)


@cache
def shipped(name: str, track: str) -> dict[str, Any] | None:
    """What the suite of this name in the repository says to a track, None where there is none."""
    return plan.content(suites.load(name), track_class(track)) if name in suites.names() else None


def known_floors() -> KnownFloors:
    """Floors among the baselines, and what the repository's suites say of them and of the reference."""
    return KnownFloors(methods.floors(), needed, references)


@cache
def needed(name: str, track: str) -> frozenset[SuiteRow]:
    """Rows of floors that the suite of this name in the repository needs in a track, none where there is no such
    suite.
    """
    return _rows_of(name, track, suites.load(name).floors) if name in suites.names() else frozenset()


@cache
def references(name: str, track: str) -> frozenset[SuiteRow] | None:
    """Rows of a track's reference that the suite of this name in the repository has, None where there is no such
    suite.
    """
    return _rows_of(name, track, (track_class(track).reference,)) if name in suites.names() else None


def _rows_of(suite: str, track: str, names: Sequence[str]) -> frozenset[SuiteRow]:
    asked, known = suites.load(suite), [methods.load(name) for name in names]
    own = [method for method in known if method.manifest.track == track]
    return frozenset((method.name, row.label) for method in own for row in methods.rows(method, asked))


@cache
def families(name: str, track: str) -> dict[str, str]:
    """Names and ids of the families of metrics that the suite of this name in the repository asks of a track."""
    return track_class(track).families(suites.load(name)) if name in suites.names() else {}


def _draw(
    root: Path, rows: Sequence[ResultRow], entries: Sequence[Entry], headings: Mapping[str, Heading]
) -> dict[str, list[tuple[str, str]]]:
    """Figures of each suite, below the pages; by suite what each says, and where it is from the board."""
    from leaderboard.figures import suites as suite_figures  # noqa: PLC0415  most commands draw nothing

    made: dict[str, list[tuple[str, str]]] = {}
    for suite, heading in headings.items():
        own = [row for row in rows if row.suite == suite]
        for picture in suite_figures.pictures(own, [entry for entry in entries if entry.suite == suite]):
            path = f"{PAGES}/{heading.folder}/{picture.file}"
            write_text(root / path, picture.svg)
            made.setdefault(suite, []).append((picture.alt, path))
    return made


def _remove_others(folder: Path, kept: set[str]) -> None:
    """Pages and figures of rows that are no longer there."""
    for page in (*folder.glob("*/*.md"), *folder.glob("*/*.svg")):
        if str(page.relative_to(folder)).replace(os.sep, "/") not in kept:
            page.unlink()
