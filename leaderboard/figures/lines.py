"""A line and points for each variant: what most figures of a method are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np

from leaderboard.figures import style

WIDTH, HEIGHT = 330, 220


def of_variants(lines: Sequence[dict[str, object]], x: alt.X, title: str, *, legend: bool = True) -> style.Figure:
    """Of `variant`, `value` and what x is of; with a band where there are `low` and `high`, or bars at a single x."""
    scales = style.scales(style.variants(str(line["variant"]) for line in lines))
    shown = alt.Legend(symbolOpacity=1) if legend else None
    colour = alt.Color("variant:N", scale=scales["colour"], title=None, legend=shown)
    y = alt.Y("value:Q", title="", scale=alt.Scale(zero=False))
    base = alt.Chart(style.data(lines), width=WIDTH, height=HEIGHT, title=title)
    layers: list[Any] = []
    if any(np.isfinite(float(str(line.get("low", "nan")))) for line in lines):
        bounds: dict[str, Any] = {"x": x, "y": alt.Y("low:Q", title=""), "y2": "high:Q", "color": colour}
        alone = len({str(line.get("place", line.get("width"))) for line in lines}) == 1
        mark = base.mark_rule(strokeWidth=2) if alone else base.mark_area(opacity=0.15)
        layers.append(mark.encode(**bounds))
    dash = alt.StrokeDash("variant:N", scale=scales["dash"], title=None, legend=shown)
    shape = alt.Shape("variant:N", scale=scales["shape"], title=None, legend=shown)
    layers.append(base.mark_line().encode(x=x, y=y, color=colour, strokeDash=dash))
    layers.append(base.mark_point(filled=True, size=60, opacity=1).encode(x=x, y=y, color=colour, shape=shape))
    return alt.layer(*layers)
