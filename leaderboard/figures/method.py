"""One method on one suite: by place, by width, along training, by how many blocks are redrawn, and ROC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import altair as alt
import numpy as np
import pandas as pd

from benchmark.spec.variant import Variant, ordered
from leaderboard import standings
from leaderboard.figures import lines as drawn
from leaderboard.figures import style
from leaderboard.layers import banded
from leaderboard.rows import ResultRow

SIDE = 220
WIDTHS = ("expansion_factor", "n_latents")
"""Settings that say how wide a dictionary is."""


def by_place(row: ResultRow, metric: str) -> style.Figure:
    """A metric at each place, a line per variant with its 95 % band for all places at once (2501.17727, Figure 3); in
    case mode from the least to the greatest of a null's draws.
    """
    places = sorted(row.scores.index.unique("place"), key=standings.natural)
    tables = {place: standings.replicated(row, place, [metric])[metric].unstack("variant") for place in places}
    lines: list[dict[str, object]] = []
    for variant in ordered({str(name) for table in tables.values() for name in table}):
        known = {place: values for place, table in tables.items() if (values := _of(variant, table)) is not None}
        values = pd.concat(known, axis=1).dropna()
        drawn_again = values.index.name == "draw"
        band = (values.min(), values.max()) if drawn_again else banded(values.to_numpy(float))
        bounds = band if len(known) == len(places) and len(values) > 1 else None
        for number, (place, scores) in enumerate(known.items()):
            # Under a band the mean is of the replicates that the band is of.
            shown = values[place] if bounds else scores
            low, high = (float(np.asarray(bound)[number]) for bound in bounds) if bounds else (np.nan, np.nan)
            if len(shown):
                line = {"place": place, "variant": variant, "value": float(shown.mean()), "low": low, "high": high}
                lines.append(line)
    x = alt.X("place:N", sort=places, title="hookpoint", axis=alt.Axis(labelAngle=0))
    return drawn.of_variants(lines, x, style.named(metric))


def _of(variant: str, table: pd.DataFrame) -> pd.Series | None:
    """A variant's values by replicate, or in case mode by draw; None where there is none of it."""
    if variant in table:
        return table[variant].dropna()
    draws = {Variant.parse(str(name)).draw: name for name in table if Variant.parse(str(name)).name == variant}
    if not draws:
        return None
    every = {draw: table[name].dropna() for draw, name in draws.items()}
    values = pd.Series({draw: one.iloc[0] for draw, one in every.items() if len(one)}, dtype=float)
    return values.sort_index().rename_axis("draw")


def by_part(row: ResultRow, parts: Sequence[str], says: str) -> style.Figure:
    """What the headline is the mean of, a line for each part and a point for each variant with its 95 % interval."""
    known = [part for part in parts if part in row.scores]
    names = {part: part.partition("@")[0].partition(".")[2].replace("_", " ") for part in known}
    lines = [line | {"part": names[part]} for part in known for line in _whole(row, part)]
    x = alt.X("part:N", sort=list(names.values()), title=None, axis=alt.Axis(labelAngle=-45))
    return drawn.of_variants(lines, x, says)


def by_width(rows: Sequence[ResultRow], metric: str) -> style.Figure:
    """A metric over the number of latents, of rows that `differ_in_width`, with a 95 % interval per point (2501.17727,
    Figure 11).
    """
    widths = {row.name: _width(row) for row in rows}
    lines = [line | {"width": widths[row.name]} for row in rows for line in _whole(row, metric)]
    x = _log2("width", sorted(width for width in widths.values() if width), "latents")
    return drawn.of_variants(lines, x, style.named(metric))


def by_checkpoint(rows: Sequence[ResultRow], metric: str) -> style.Figure:
    """A metric along training, of rows that are `along_training`, with a 95 % interval per point."""
    lines = [line | {"step": _step(row)} for row in rows for line in _whole(row, metric)]
    x = _log2("step", [step for row in rows if (step := _step(row))], "training step")
    return drawn.of_variants(lines, x, style.named(metric))


def along_training(row: ResultRow, rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The row and its like on suites that differ in the checkpoint's revision alone, by training step; nothing where
    there are none.
    """
    like = [one for one in rows if one.name == row.name and _but_revision(one) == _but_revision(row)]
    steps = {step: one for one in like if (step := _step(one))}
    return [steps[step] for step in sorted(steps)] if len(steps) > 1 and _step(row) else []


def _but_revision(row: ResultRow) -> dict[str, object]:
    content = row.info.content
    subject = {name: value for name, value in content["subject"].items() if name != "revision"}
    return {**content, "subject": subject, "track": row.info.track, "settings": row.info.settings}


def _step(row: ResultRow) -> int | None:
    step = row.info.revision.removeprefix("step")
    return int(step) if step.isdecimal() else None


def _whole(row: ResultRow, metric: str) -> Iterator[dict[str, object]]:
    """Of each variant the mean over all places and replicates, with its 95 % interval."""
    table = standings.replicated(row, metrics=[metric])[metric].unstack("variant")
    for variant in ordered(map(str, table)):
        values = table[variant].dropna().to_numpy(float)
        bounds = banded(values[:, None])
        low, high = (float(bound[0]) for bound in bounds) if bounds else (np.nan, np.nan)
        if len(values):
            yield {"variant": variant, "value": float(values.mean()), "low": low, "high": high}


def _log2(field: str, values: Sequence[float], title: str) -> alt.X:
    scale = alt.Scale(type="log", base=2, nice=False, padding=20)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=alt.Axis(values=list(values), format=",d"))


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


def has_doses(row: ResultRow) -> bool:
    """Whether the row has cascades, in which more and more of the network is redrawn."""
    return any(_dose(str(name)) for name in row.scores.index.unique("variant"))


def by_dose(row: ResultRow, metric: str) -> style.Figure:
    """A metric over how many of the top blocks are redrawn, from none on, with a 95 % band for all doses at once."""
    table = standings.replicated(row, metrics=[metric])[metric].unstack("variant")
    doses = sorted((dose, str(name)) for name in table if (dose := _dose(str(name))) is not None)
    values = table[[name for _, name in doses]].dropna()
    bounds = banded(values.to_numpy(float)) or np.full((2, len(doses)), np.nan)
    lines: list[dict[str, object]] = [
        {"dose": dose, "value": float(values[name].mean()), "low": float(low), "high": float(high)}
        for (dose, name), low, high in zip(doses, *bounds, strict=True)
        if len(values)
    ]
    x = alt.X("dose:Q", title="top blocks redrawn", axis=alt.Axis(values=[dose for dose, _ in doses], format="d"))
    return drawn.of_one(lines, x, style.named(metric))


def _dose(variant: str) -> int | None:
    parsed = Variant.parse(variant)
    return {"trained": 0, "cascade": parsed.option}.get(parsed.kind) if parsed.draw is None else None


def roc(curves: pd.DataFrame, scorer: str) -> style.Figure:
    """ROC curves of one scorer's items, a panel for each place and a line for each variant: true positive rates are
    averaged over replicates, and draws in case mode, at equal false positive rates (2501.17727, Figures 1, 2, 8 to 10).
    """
    asked = curves[curves["scorer"] == scorer]
    asked = asked.assign(variant=[Variant.parse(str(name)).name for name in asked["variant"]])
    columns = ["place", "variant", "false_positive_rate"]
    means = asked.groupby(columns, sort=True)["true_positive_rate"].mean().reset_index()
    looks = style.variants(map(str, means["variant"].unique()))
    scales = style.scales(looks)
    panels = []
    for place in sorted(means["place"].unique(), key=standings.natural):
        lines = means[means["place"] == place].rename(columns={"false_positive_rate": "x", "true_positive_rate": "y"})
        told = [
            {"variant": str(one), "x": float(x), "y": float(y)} for one, x, y in lines[["variant", "x", "y"]].to_numpy()
        ]
        base = alt.Chart(style.data(told), width=SIDE, height=SIDE, title=f"{scorer} at {place}")
        line = base.mark_line().encode(
            x=alt.X("x:Q", title="false positive rate"), y=alt.Y("y:Q", title="true positive rate"),
            color=alt.Color("variant:N", scale=scales["colour"], title=None),
            strokeDash=alt.StrokeDash("variant:N", scale=scales["dash"], title=None),
        )  # fmt: skip
        chance = alt.Chart(style.data([{"x": 0, "y": 0}, {"x": 1, "y": 1}])).mark_line(color="#444444", strokeWidth=1)
        panels.append(alt.layer(chance.encode(x="x:Q", y="y:Q"), line))
    return alt.hconcat(*panels)
