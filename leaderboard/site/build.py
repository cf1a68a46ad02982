"""From rows to a folder of pages: HTML that reads without JavaScript, figures as SVG, data beside what is shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from benchmark.metrics import family
from benchmark.store import Store
from leaderboard import board, contents, headline
from leaderboard.contenders import KnownFloors
from leaderboard.contents import Heading
from leaderboard.figures import suites
from leaderboard.figures.overview import names
from leaderboard.headline import Entry
from leaderboard.results import slug
from leaderboard.rows import ResultRow
from leaderboard.site import method as method_pages
from leaderboard.site.columns import COLUMNS, cells, data, ties
from leaderboard.site.folder import NAME, SiteFolder
from leaderboard.site.method import METHODS, SuitePage

HERE = Path(__file__).parent
FIRST = "mini"
"""The suite that the landing page shows, where it is there."""


def local(store: Store) -> Path:
    """The site of a store's own rows, below it: published ones stand beside them without pages of their own."""
    own, every = board.local(store)
    return build(store.root / NAME, every, store.root, {(row.suite, row.info.method) for row in own})


def build(root: Path, rows: Sequence[ResultRow], runs: Path, named: Collection[tuple[str, str]] | None = None) -> Path:
    """Write the site of these rows into a folder that is empty, not there, or an earlier site; returns its first page.
    Words and contexts of latents are those at hand below `runs`. Methods have pages, all of them or those `named` by
    suite and method.

    Raises:
        BadInput: the folder holds something else.
    """
    site = SiteFolder(root)
    floors = board.known_floors()
    entries = headline.entries(rows, floors)
    headings = contents.headings(rows, board.shipped)
    made = (_suite(key, heading, rows, entries, floors) for key, heading in headings.items())
    pages = [page for page in made if page]
    for asset in sorted((HERE / "assets").iterdir()):
        site.put(f"assets/{asset.name}", asset.read_text(encoding="utf-8"))
    templates = _templates()
    first = next((page for page in pages if page.title == FIRST), pages[0] if pages else None)
    shown: dict[str, Any] = {"pages": pages, "first": first, "base": "."}
    if first:
        scores = [one for entry in first.entries for one in entry.scores.values()]
        shown["replicates"] = max((one.replicates for one in scores), default=0)
        shown["claims"] = sum(entry.claimed for entry in first.entries) or "none"
    site.put("index.html", templates.get_template("index.html").render(**shown))
    for page in pages:
        asked = {entry.method for entry in page.entries if named is None or (entry.suite, entry.method) in named}
        _write_suite(site, page, templates, asked)
        for method in sorted(asked):
            method_pages.write(site, page, method, rows, templates, runs)
    return root / "index.html"


def _templates() -> Environment:
    """Everything that is put into a page is text: escaped, whatever it holds."""
    made = Environment(
        loader=PackageLoader("leaderboard.site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals["columns"] = COLUMNS
    made.filters["drawn"] = _drawn
    return made


def _drawn(svg: str, alt: str) -> Markup:
    """A figure of ours as it stands, with words for who does not see it."""
    return Markup(svg.rstrip().replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1))


def _suite(
    key: str, heading: Heading, rows: Sequence[ResultRow], entries: Sequence[Entry], floors: KnownFloors
) -> SuitePage | None:
    own, listed = [row for row in rows if row.suite == key], [entry for entry in entries if entry.suite == key]
    if not listed:
        return None
    named = names(listed)
    tied = ties(listed)
    told = [
        cells(entry, named[entry.name], letter, of_decoder=floors.known.get(entry.method) == "decoder")
        for entry, letter in zip(listed, tied, strict=True)
    ]
    return SuitePage(
        heading.folder, heading.sentence, slug(heading.folder), own[0].info.subject, own[0].info.track,
        listed[0].headline, listed, told, tied, own, suites.pictures(own, listed),
    )  # fmt: skip


def _write_suite(site: SiteFolder, page: SuitePage, templates: Environment, asked: Collection[str]) -> None:
    lines = [
        {"cells": own, "page": _page_of(entry, asked), "floor": entry.floor, "tied": letter}
        for entry, own, letter in zip(page.entries, page.told, page.tied, strict=True)
    ]
    searched = [own["method"].text for own in page.told]
    shown: dict[str, Any] = {
        "page": page,
        "lines": lines,
        "data": data(page.title, COLUMNS, page.told, searched),
        "base": "..",
        "says": family.says(page.headline),
        "some": any(line["page"] is None for line in lines),
    }
    site.put(f"{page.folder}/index.html", templates.get_template("suite.html").render(**shown))


def _page_of(entry: Entry, asked: Collection[str]) -> str | None:
    return f"{METHODS}/{slug(entry.method)}.html" if entry.method in asked else None
