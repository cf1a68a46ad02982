"""Latents of one row: their scores by how often they fire and by the entropy of their tokens, and as a distribution."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from benchmark.spec.variant import Variant, ordered
from benchmark.stats.frequency import EDGES
from benchmark.tracks.contract import track_class
from leaderboard import resolved
from leaderboard.figures import lines as drawn
from leaderboard.figures import style
from leaderboard.rows import ENTROPY, ResultRow

POINTS = 101
"""Of a cumulative curve."""
STEP, FEWEST = 0.5, 10
"""Width of a bin of entropy in nats, and the latents that a bin must hold, as of firing rates."""


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
    made = drawn.of_variants(lines, x, f"Gap of {headline}, trained minus null")
    zero = alt.Chart(style.data([{"y": 0}])).mark_rule(color="#444444").encode(y="y:Q")
    return alt.layer(zero, made)


def has_pairs(row: ResultRow) -> bool:
    """Whether the row has latents on trained and on a null of the same replicates, as case mode has not."""
    return bool(resolved.curves(row))


def has_latents(row: ResultRow) -> bool:
    """Whether drawn latents of the row have a score and a rate."""
    return not resolved.asked(row).empty


def by_latent(row: ResultRow) -> style.Figure:
    """What share of the drawn latents score at most so much in the headline, over all cells of a variant."""
    latents, lines = _pooled(row), []
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
    base = alt.Chart(style.data(lines), width=drawn.WIDTH, height=drawn.HEIGHT, title=title)
    chart = base.mark_line(interpolate="step-after").encode(
        x=alt.X("score:Q", title="score of a latent", scale=alt.Scale(zero=False)),
        y=alt.Y("share:Q", title="share of latents that score at most this"),
        color=alt.Color("variant:N", scale=scales["colour"], title=None),
        strokeDash=alt.StrokeDash("variant:N", scale=scales["dash"], title=None),
    )  # fmt: skip
    return alt.layer(chart)


def has_entropy(row: ResultRow) -> bool:
    """Whether drawn latents of the row have an entropy, too."""
    asked = resolved.asked(row)
    return ENTROPY in asked and bool(asked[ENTROPY].notna().any())


def by_entropy(row: ResultRow) -> style.Figure:
    """The headline by the entropy of a latent's tokens, in bins of half a nat that hold ten latents: their mean, and
    the middle half of them as a band (2501.17727 v2, appendix H). Latents that could not be asked about are left out.
    """
    headline = track_class(row.info.track).headline
    latents = _pooled(row).dropna(subset=[ENTROPY, headline])
    bins = latents.assign(bin=(latents[ENTROPY].astype(float) // STEP + 0.5) * STEP)
    lines: list[dict[str, object]] = [
        {
            "variant": variant, "entropy": middle, "value": float(part["score"].mean()),
            "low": float(part["score"].quantile(0.25)), "high": float(part["score"].quantile(0.75)),
        }
        for (variant, middle), part in bins.groupby(["variant", "bin"])
        if len(part) >= FEWEST
    ]  # fmt: skip
    x = alt.X("entropy:Q", title="entropy of a latent's activation over token ids, nats", scale=alt.Scale(zero=False))
    return drawn.of_variants(lines, x, style.named(headline))


def _pooled(row: ResultRow) -> pd.DataFrame:
    """Latents with their scores, the draws of case mode as one null."""
    latents = resolved.asked(row)
    return latents.assign(variant=[Variant.parse(str(name)).name for name in latents["variant"]])
