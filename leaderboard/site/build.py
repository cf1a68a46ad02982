"""From rows to a folder of pages: HTML that reads without JavaScript, figures as SVG, data beside what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from benchmark.errors import BadInput
from benchmark.metrics import family
from benchmark.spec import method as methods
from benchmark.store import write_text
from benchmark.tracks.contract import track_class
from leaderboard import board, contents, headline, markdown, standings
from leaderboard import latents as known_latents
from leaderboard.contenders import KnownFloors
from leaderboard.contents import Heading
from leaderboard.figures import method as method_figures
from leaderboard.figures import style, suites
from leaderboard.figures.overview import names
from leaderboard.headline import Entry
from leaderboard.results import slug
from leaderboard.rows import ResultRow
from leaderboard.site import latents
from leaderboard.site.columns import COLUMNS, BoardCell, cells, data

MARKER = ".nullgap-site"
HERE = Path(__file__).parent
METHODS, FIRST = "methods", "mini"
"""Where pages of methods are, and the suite that the landing page shows, where it is there."""


class SuitePage(NamedTuple):
    """One suite, as its page and the landing page show it."""

    title: str
    sentence: str | None
    folder: str
    subject: str
    track: str
    headline: str
    entries: Sequence[Entry]
    told: Sequence[dict[str, BoardCell]]
    rows: Sequence[ResultRow]
    pictures: Sequence[suites.Picture]


def build(root: Path, rows: Sequence[ResultRow], runs: Path) -> Path:
    """Write the site of these rows into a folder that is empty, not there, or an earlier site; returns its first page.
    Words and contexts of latents are those at hand below `runs`.

    Raises:
        BadInput: the folder holds something else.
    """
    _clear(root)
    others = {path for path in root.rglob("*") if path.is_file()}
    floors = board.known_floors()
    entries = headline.entries(rows, floors)
    headings = contents.headings(rows, board.shipped)
    made = (_suite(key, heading, rows, entries, floors) for key, heading in headings.items())
    pages = [page for page in made if page]
    for asset in sorted((HERE / "assets").iterdir()):
        write_text(root / "assets" / asset.name, asset.read_text(encoding="utf-8"))
    templates = _templates()
    first = next((page for page in pages if page.title == FIRST), pages[0] if pages else None)
    shown: dict[str, Any] = {"pages": pages, "first": first, "base": "."}
    if first:
        scores = [one for entry in first.entries for one in entry.scores.values()]
        shown["replicates"] = max((one.replicates for one in scores), default=0)
        shown["claims"] = sum(entry.claimed for entry in first.entries) or "none"
    write_text(root / "index.html", templates.get_template("index.html").render(**shown))
    for page in pages:
        for picture in page.pictures:
            write_text(root / page.folder / picture.file, picture.svg)
        _write_suite(root, page, templates, runs)
    _list(root, others)
    return root / "index.html"


def _clear(root: Path) -> None:
    """Take away what an earlier site wrote, which its marker lists, and nothing else."""
    marker = root / MARKER
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise BadInput(f"{root} is a link or a file: a site needs a folder of its own")
    if root.is_dir() and any(root.iterdir()) and not marker.is_file():
        raise BadInput(f"{root} holds other things than a site: give an empty folder, or move them away")
    for name in marker.read_text(encoding="utf-8").splitlines() if marker.is_file() else ():
        path = root / name
        if path.resolve().is_relative_to(root.resolve()) and path.is_file():
            path.unlink()
    root.mkdir(parents=True, exist_ok=True)
    marker.touch()


def _list(root: Path, before: set[Path]) -> None:
    """Say in the marker which files are the site's."""
    written = {path for path in root.rglob("*") if path.is_file()} - before - {root / MARKER}
    write_text(root / MARKER, "".join(f"{path.relative_to(root).as_posix()}\n" for path in sorted(written)))


def _templates() -> Environment:
    """Everything that is put into a page is text: escaped, whatever it holds."""
    made = Environment(
        loader=PackageLoader("leaderboard.site"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.globals["columns"] = COLUMNS
    return made


def _suite(
    key: str, heading: Heading, rows: Sequence[ResultRow], entries: Sequence[Entry], floors: KnownFloors
) -> SuitePage | None:
    own, listed = [row for row in rows if row.suite == key], [entry for entry in entries if entry.suite == key]
    if not listed:
        return None
    named = names(listed)
    told = [cells(entry, named[entry.name], floors.known.get(entry.method) == "decoder") for entry in listed]
    return SuitePage(
        heading.folder, heading.sentence, slug(heading.folder), own[0].info.subject, own[0].info.track,
        listed[0].headline, listed, told, own, suites.pictures(own, listed),
    )  # fmt: skip


def _write_suite(root: Path, page: SuitePage, templates: Environment, runs: Path) -> None:
    lines = [
        {"cells": own, "page": f"{METHODS}/{slug(entry.method)}.html", "floor": entry.floor}
        for entry, own in zip(page.entries, page.told, strict=True)
    ]
    searched = [own["method"].text for own in page.told]
    known = family.metric(page.headline)
    shown: dict[str, Any] = {
        "page": page,
        "lines": lines,
        "data": data(page.title, COLUMNS, page.told, searched),
        "base": "..",
        "says": known.says if known else "",
    }
    write_text(root / page.folder / "index.html", templates.get_template("suite.html").render(**shown))
    for method in sorted({entry.method for entry in page.entries}):
        own = [entry for entry in page.entries if entry.method == method]
        rows = [row for row in page.rows if row.info.method == method]
        drawn = []
        for file, title, figure in _figures(rows):
            path = f"{slug(method)}.{file}.svg"
            write_text(root / page.folder / METHODS / path, style.svg(figure))
            drawn.append({"path": path, "title": title})
        shown = {
            "page": page, "method": method, "entries": own, "rows": rows, "figures": drawn, "base": "../..",
            "readme": _readme(method), "metrics": _metrics(rows),
            "told": [told for entry, told in zip(page.entries, page.told, strict=True) if entry.method == method],
            "latents": list(_write_latents(root, page, rows, templates, runs)),
        }  # fmt: skip
        write_text(
            root / page.folder / METHODS / f"{slug(method)}.html", templates.get_template("method.html").render(**shown)
        )


def _write_latents(
    root: Path, page: SuitePage, rows: Sequence[ResultRow], templates: Environment, runs: Path
) -> Iterator[dict[str, str]]:
    """Pages of the latents of a method's rows, each with its data in a script; returns what leads to them."""
    for number, row in enumerate(rows):
        made = list(latents.pages(row, known_latents.beside(row, runs)))
        links = [
            {"place": one.place, "file": f"{slug(row.info.method)}.{number}.{slug(one.place)}.latents"} for one in made
        ]
        for one, link in zip(made, links, strict=True):
            folder = root / page.folder / METHODS
            name = f"{page.title} {row.info.method} {row.info.label} {one.place}"
            shown = {
                "page": page, "row": row, "one": one, "links": links, "link": link, "base": "../..",
                "data": data(name, one.columns, one.lines, one.searched), "method": f"{slug(row.info.method)}.html",
                "headline": page.headline, "details": row.info.details.get("sha256"),
            }  # fmt: skip
            write_text(folder / f"{link['file']}.js", one.script)
            write_text(folder / f"{link['file']}.html", templates.get_template("latents.html").render(**shown))
            yield link | {"label": row.info.label}


def _figures(rows: Sequence[ResultRow]) -> Iterator[tuple[str, str, style.Figure]]:
    """Of one method on one suite: name, what it shows, and the figure; in case mode there is none yet."""
    rows = [row for row in rows if row.info.content["subject"].get("null_draws") is None]
    for number, row in enumerate(rows):
        track, label = track_class(row.info.track), row.info.label
        for metric in dict.fromkeys((track.plain, track.headline)):
            if metric in row.scores:
                said = f"{metric} at each hookpoint, a line for each variant ({label})"
                yield f"{number}.{slug(metric)}.places", said, method_figures.by_place(row, metric)
        if method_figures.has_latents(row):
            said = f"Gap of the headline by how often latents fire ({label})"
            yield f"{number}.frequency", said, method_figures.by_frequency(row)
            said = f"Which share of latents scores at most so much ({label})"
            yield f"{number}.latents", said, method_figures.by_latent(row)
    plain = [row for row in rows if track_class(row.info.track).plain in row.scores]
    if method_figures.differ_in_width(plain):
        track = track_class(plain[0].info.track)
        yield "width", f"{track.plain} by the number of latents", method_figures.by_width(plain, track.plain)


def _metrics(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """Every metric of every row over all places: scores of the variants, worst gap, verdict, and reasons for none."""
    made = []
    for row in rows:
        variants: list[str] = []
        lines = []
        for line in standings.rows(row):
            if line.place != standings.ALL:
                continue
            scores = {name: markdown.text(score) for name, score in line.scores.items()}
            variants += [name for name in scores if name not in variants]
            said, known = line.claim, family.metric(line.metric)
            lines.append({
                "metric": line.metric, "says": known.says if known else "", "scores": scores,
                "gap": f"{said.worst.mean:+.4f}" if said else "n/a",
                "verdict": str(said.verdict) if said and said.verdict else "n/a", "reasons": line.reasons,
            })  # fmt: skip
        made.append({"label": row.info.label, "variants": variants, "lines": lines})
    return made


def _readme(method: str) -> str:
    """A method's own words, where it is at hand."""
    if method not in methods.names():
        return ""
    path = methods.load(method).folder / "README.md"
    return path.read_text(encoding="utf-8") if path.is_file() else ""
