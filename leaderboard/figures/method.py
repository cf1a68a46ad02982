"""One method on one suite: by place, by firing frequency, by latent, by width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from benchmark.spec.variant import ordered
from benchmark.stats.frequency import EDGES
from benchmark.tracks.contract import track_class
from leaderboard import resolved, standings
from leaderboard.figures import style
from leaderboard.layers import banded
from leaderboard.rows import ResultRow

WIDTH, HEIGHT = 330, 220
WIDTHS = ("expansion_factor", "n_latents")
"""Settings that say how wide a dictionary is."""
POINTS = 101
"""Of a cumulative curve."""


def by_place(row: ResultRow, metric: str) -> style.Figure:
    """A metric at each place, a line per variant with its 95 % band for all places at once (2501.17727, Figure 3)."""
    places = sorted(row.scores.index.unique("place"), key=standings.natural)
    tables = {place: standings.replicated(row, place, [metric])[metric].unstack("variant") for place in places}
    lines: list[dict[str, object]] = []
    for variant in ordered({str(name) for table in tables.values() for name in table}):
        known = {place: table[variant].dropna() for place, table in tables.items() if variant in table}
        values = pd.concat(known, axis=1).dropna()
        bounds = banded(values.to_numpy(float)) if len(known) == len(places) else None
        for number, (place, scores) in enumerate(known.items()):
            # Under a band the mean is of the replicates that the band is of.
            shown = values[place] if bounds else scores
            low, high = (float(bound[number]) for bound in bounds) if bounds else (np.nan, np.nan)
            if len(shown):
                line = {"place": place, "variant": variant, "value": float(shown.mean()), "low": low, "high": high}
                lines.append(line)
    x = alt.X("place:N", sort=places, title="hookpoint", axis=alt.Axis(labelAngle=0))
    return _lines(lines, x, style.named(metric))


def by_width(rows: Sequence[ResultRow], metric: str) -> style.Figure:
    """A metric over the number of latents, of rows that `differ_in_width`, with a 95 % interval per point (2501.17727,
    Figure 11).
    """
    lines: list[dict[str, object]] = []
    for row in rows:
        table = standings.replicated(row, metrics=[metric])[metric].unstack("variant")
        for variant in ordered(map(str, table)):
            values = table[variant].dropna().to_numpy(float)
            bounds = banded(values[:, None])
            low, high = (float(bound[0]) for bound in bounds) if bounds else (np.nan, np.nan)
            if len(values):
                mean = float(values.mean())
                line: dict[str, object] = {
                    "width": _width(row),
                    "variant": variant,
                    "value": mean,
                    "low": low,
                    "high": high,
                }
                lines.append(line)
    widths = sorted({float(str(line["width"])) for line in lines})
    scale = alt.Scale(type="log", base=2, nice=False, padding=20)
    x = alt.X("width:Q", title="latents", scale=scale, axis=alt.Axis(values=widths, format=",d"))
    return _lines(lines, x, style.named(metric))


def differ_in_width(rows: Sequence[ResultRow]) -> bool:
    """Whether rows of one method are of different widths, and differ in the settings that say so alone."""
    widths = [_width(row) for row in rows]
    others = [{name: value for name, value in row.info.settings.items() if name not in WIDTHS} for row in rows]
    known = len(rows) > 1 and None not in widths and len(set(widths)) == len(rows)
    return known and all(other == others[0] for other in others)


def _width(row: ResultRow) -> float | None:
    """Latents, where all cells of a row have as many."""
    cells = row.cells.reindex(columns=["count.n_latents"])["count.n_latents"].dropna().unique()
    return float(cells[0]) if len(cells) == 1 else None


def by_frequency(row: ResultRow) -> style.Figure:
    """The headline's gap to each null by how often a latent fires, at half decades that both sides have."""
    lines = [
        {"rate": float(np.sqrt(low * high)), "variant": curve.null, "value": float(gap)}
        for curve in resolved.curves(row)
        for low, high, gap in zip(EDGES[:-1], EDGES[1:], curve.resolved.gaps, strict=True)
        if np.isfinite(gap)
    ]
    x = alt.X("rate:Q", title="share of tokens on which a latent fires", scale=alt.Scale(type="log"))
    headline = track_class(row.info.track).headline
    made = _lines(lines, x, f"Gap of {headline}, trained minus null")
    zero = alt.Chart(style.data([{"y": 0}])).mark_rule(color="#444444").encode(y="y:Q")
    return alt.layer(zero, made)


def has_latents(row: ResultRow) -> bool:
    """Whether drawn latents of the row have a score and a rate."""
    return not resolved.asked(row).empty


def by_latent(row: ResultRow) -> style.Figure:
    """What share of the drawn latents score at most so much in the headline, over all cells of a variant."""
    latents, lines = resolved.asked(row), []
    for variant in ordered(map(str, latents["variant"].unique())):
        scores = np.sort(latents.loc[latents["variant"] == variant, "score"].to_numpy(float))
        shares = np.linspace(0, 1, POINTS)
        places = np.minimum((shares * len(scores)).astype(int), len(scores) - 1)
        lines += [
            {"variant": variant, "score": float(scores[place]), "share": float(share)}
            for share, place in zip(shares, places, strict=True)
        ]
    scales = style.scales(style.variants(str(line["variant"]) for line in lines))
    title = f"Latents by {style.named(track_class(row.info.track).headline)}"
    base = alt.Chart(style.data(lines), width=WIDTH, height=HEIGHT, title=title)
    chart = base.mark_line(interpolate="step-after").encode(
        x=alt.X("score:Q", title="score of a latent", scale=alt.Scale(zero=False)),
        y=alt.Y("share:Q", title="share of latents that score at most this"),
        color=alt.Color("variant:N", scale=scales["colour"], title=None),
        strokeDash=alt.StrokeDash("variant:N", scale=scales["dash"], title=None),
    )  # fmt: skip
    return alt.layer(chart)


def _lines(lines: Sequence[dict[str, object]], x: alt.X, title: str) -> style.Figure:
    """A line and points per variant, with a band or bars where there are bounds."""
    scales = style.scales(style.variants(str(line["variant"]) for line in lines))
    colour = alt.Color("variant:N", scale=scales["colour"], title=None, legend=alt.Legend(symbolOpacity=1))
    y = alt.Y("value:Q", title="", scale=alt.Scale(zero=False))
    base = alt.Chart(style.data(lines), width=WIDTH, height=HEIGHT, title=title)
    layers: list[Any] = []
    if any(np.isfinite(float(str(line.get("low", "nan")))) for line in lines):
        bounds: dict[str, Any] = {"x": x, "y": alt.Y("low:Q", title=""), "y2": "high:Q", "color": colour}
        alone = len({str(line.get("place", line.get("width"))) for line in lines}) == 1
        mark = base.mark_rule(strokeWidth=2) if alone else base.mark_area(opacity=0.15)
        layers.append(mark.encode(**bounds))
    dash = alt.StrokeDash("variant:N", scale=scales["dash"], title=None)
    shape = alt.Shape("variant:N", scale=scales["shape"], title=None)
    layers.append(base.mark_line().encode(x=x, y=y, color=colour, strokeDash=dash))
    layers.append(base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour, shape=shape))
    return alt.layer(*layers)
