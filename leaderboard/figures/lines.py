"""A line and points for each variant: what most figures of a method are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from leaderboard.figures import style

WIDTH, HEIGHT = 330, 220


def of_variants(lines: Sequence[dict[str, object]], x: alt.X, title: str) -> style.Figure:
    """Of `variant`, `value` and what x is of; with a band where there are `low` and `high`, or bars at a single x."""
    scales = style.scales(style.variants(str(line["variant"]) for line in lines))
    colour = alt.Color("variant:N", scale=scales["colour"], title=None, legend=alt.Legend(symbolOpacity=1))
    dash = alt.StrokeDash("variant:N", scale=scales["dash"], title=None)
    shape = alt.Shape("variant:N", scale=scales["shape"], title=None)
    return _layers(lines, x, title, {"color": colour}, {"strokeDash": dash}, {"shape": shape})


def of_one(lines: Sequence[dict[str, object]], x: alt.X, title: str) -> style.Figure:
    """The same of one line alone."""
    return _layers(lines, x, title, {}, {}, {})


def _layers(
    lines: Sequence[dict[str, object]],
    x: alt.X,
    title: str,
    colour: dict[str, Any],
    dash: dict[str, Any],
    shape: dict[str, Any],
) -> style.Figure:
    y = alt.Y("value:Q", title="", scale=alt.Scale(zero=False))
    base = alt.Chart(style.data(lines), width=WIDTH, height=HEIGHT, title=title)
    layers: list[Any] = []
    if any(np.isfinite(float(str(line.get("low", "nan")))) for line in lines):
        field = str(x.shorthand).partition(":")[0]
        bounds: dict[str, Any] = {"x": x, "y": alt.Y("low:Q", title=""), "y2": "high:Q", **colour}
        alone = len({line[field] for line in lines}) == 1
        mark = base.mark_rule(strokeWidth=2) if alone else base.mark_area(opacity=0.15)
        layers.append(mark.encode(**bounds))
    layers.append(base.mark_line().encode(x=x, y=y, **colour, **dash))
    layers.append(base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, **colour, **shape))
    return alt.layer(*layers)
