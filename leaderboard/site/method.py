"""What a site has of one method on one suite: its page with figures, and its latents' pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment

from benchmark import registry
from benchmark.metrics import family
from benchmark.spec import method as methods
from benchmark.tracks.contract import track_class
from leaderboard import details, markdown, standings
from leaderboard import latents as known_latents
from leaderboard.figures import latent as latent_figures
from leaderboard.figures import method as method_figures
from leaderboard.figures import style, suites
from leaderboard.headline import Entry
from leaderboard.results import slug
from leaderboard.rows import ResultRow
from leaderboard.site import latents
from leaderboard.site.columns import BoardCell, data
from leaderboard.site.folder import SiteFolder

METHODS = "methods"
"""Below a suite's folder."""


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
    tied: Sequence[str]
    rows: Sequence[ResultRow]
    pictures: Sequence[suites.Picture]


def write(
    site: SiteFolder, page: SuitePage, method: str, every: Sequence[ResultRow], templates: Environment, runs: Path
) -> None:
    """The pages of one of the suite's methods, `every` being the rows of all suites."""
    entries = [entry for entry in page.entries if entry.method == method]
    rows = [row for row in page.rows if row.info.method == method]
    drawn = [{"title": title, "svg": style.svg(figure)} for title, figure in _figures(rows, every, runs)]
    shown = {
        "page": page, "method": method, "entries": entries, "rows": rows, "figures": drawn, "base": "../..",
        "readme": _readme(method), "metrics": _metrics(rows),
        "told": [told for entry, told in zip(page.entries, page.told, strict=True) if entry.method == method],
        "latents": list(_write_latents(site, page, rows, templates, runs)),
    }  # fmt: skip
    site.put(f"{page.folder}/{METHODS}/{slug(method)}.html", templates.get_template("method.html").render(**shown))


def _write_latents(
    site: SiteFolder, page: SuitePage, rows: Sequence[ResultRow], templates: Environment, runs: Path
) -> Iterator[dict[str, str]]:
    """Pages of the latents of a method's rows, each with its data in a script; returns what leads to them."""
    for number, row in enumerate(rows):
        made = list(latents.pages(row, known_latents.beside(row, runs)))
        links = [
            {"place": one.place, "file": f"{slug(row.info.method)}.{number}.{slug(one.place)}.latents"} for one in made
        ]
        for one, link in zip(made, links, strict=True):
            path = f"{page.folder}/{METHODS}/{link['file']}"
            name = f"{page.title} {row.info.method} {row.info.label} {one.place}"
            shown = {
                "page": page, "row": row, "one": one, "links": links, "link": link, "base": "../..",
                "data": data(name, one.columns, one.lines, one.searched), "method": f"{slug(row.info.method)}.html",
                "headline": page.headline, "says": family.says(page.headline),
                "control": registry.CONTROL, "details": row.info.details.get("sha256"),
            }  # fmt: skip
            site.put(f"{path}.js", one.script)
            site.put(f"{path}.html", templates.get_template("latents.html").render(**shown))
            yield link | {"label": row.info.label}


def _figures(rows: Sequence[ResultRow], every: Sequence[ResultRow], runs: Path) -> Iterator[tuple[str, style.Figure]]:
    """Of one method on one suite: what a figure shows, and the figure."""
    for row in rows:
        track, label = track_class(row.info.track), row.info.label
        metrics = [name for name in dict.fromkeys((track.plain, track.headline)) if name in row.scores]
        for metric in metrics:
            said = f"{metric} at each hookpoint, a line for each variant ({label})"
            yield said, method_figures.by_place(row, metric)
            if method_figures.has_doses(row):
                said = f"{metric} by how many of the top blocks are redrawn ({label})"
                yield said, method_figures.by_dose(row, metric)
        if parts := [part for part in track.parts if part in row.scores]:
            said = f"What {track.headline} is the mean of, a line for each variant ({label})"
            yield said, method_figures.by_part(row, parts, style.named(track.headline))
        if trained := [one for one in method_figures.along_training(row, every) if track.plain in one.scores]:
            yield f"{track.plain} along training ({label})", method_figures.by_checkpoint(trained, track.plain)
        curves = details.curves(row, runs)
        for scorer in sorted(set(metrics) & set(curves["scorer"])):
            said = f"ROC curves of {scorer} over all items, a line for each variant ({label})"
            yield said, method_figures.roc(curves, scorer)
        if latent_figures.has_pairs(row):
            said = f"Gap of the headline by how often latents fire ({label})"
            yield said, latent_figures.by_frequency(row)
        if latent_figures.has_latents(row):
            said = f"Which share of latents scores at most so much ({label})"
            yield said, latent_figures.by_latent(row)
        if latent_figures.has_entropy(row):
            said = f"Headline of latents by the entropy of their tokens ({label})"
            yield said, latent_figures.by_entropy(row)
    replicated = [row for row in rows if row.info.content["subject"].get("null_draws") is None]
    plain = [row for row in replicated if track_class(row.info.track).plain in row.scores]
    if method_figures.differ_in_width(plain):
        track = track_class(plain[0].info.track)
        yield f"{track.plain} by the number of latents", method_figures.by_width(plain, track.plain)


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
            said = line.claim
            lines.append({
                "metric": line.metric, "says": family.says(line.metric), "scores": scores,
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
