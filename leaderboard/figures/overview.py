"""All entries of a suite in one figure: their gaps, and what they score on trained and on a null."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from benchmark.spec.variant import nulls_among
from leaderboard import standings
from leaderboard.figures import style
from leaderboard.headline import Entry
from leaderboard.rows import ResultRow

SIDE, LINE = 330, 18


def forest(entries: Sequence[Entry]) -> style.Figure:
    """The gap to the worst null of every entry of one suite that has one, with the lower bound of all nulls at once
    and the verdict.
    """
    shown = names(entries)
    lines = [_gap(entry) | {"name": shown[entry.name]} for entry in entries if entry.claim is not None]
    lines.sort(key=lambda line: -float(str(line["gap"])))
    scales = style.scales(style.KINDS)
    base = alt.Chart(style.data(lines), width=SIDE, height=LINE * len(lines), title=_title(entries[0].headline, lines))
    y = alt.Y(
        "name:N", sort=[str(line["name"]) for line in lines], title=None, axis=alt.Axis(labelLimit=300, grid=True)
    )
    colour = alt.Color("kind:N", scale=scales["colour"], title=None, legend=alt.Legend(orient="bottom"))
    # Room for the words behind the last point.
    largest = max([0.0, *(float(str(line["gap"])) for line in lines)])
    lowest = min([0.0, *(float(str(line["lower"])) for line in lines)])
    ends = [style.rounded(end) for end in (lowest, largest + 0.35 * (largest - lowest))]
    x = alt.Scale(domain=ends, nice=False)
    bound = base.mark_rule(strokeWidth=2).encode(
        x=alt.X("lower:Q", scale=x, title="line: down to the one-sided 95 % bound of all nulls at once"),
        x2="gap:Q", y=y, color=colour,
    )  # fmt: skip
    point = base.mark_point(filled=True, size=70, opacity=1).encode(
        x="gap:Q", y=y, color=colour, shape=alt.Shape("kind:N", scale=scales["shape"], title=None),
        tooltip=["name:N", "gap:Q", "lower:Q", "null:N", "verdict:N"],
    )  # fmt: skip
    said = base.mark_text(align="left", dx=8, fontSize=10, color="#444444").encode(x="gap:Q", y=y, text="verdict:N")
    zero = alt.Chart(style.data([{"x": 0}])).mark_rule(color="#444444").encode(x="x:Q")
    return alt.layer(zero, bound, point, said)


def against_null(rows: Sequence[ResultRow], entries: Sequence[Entry], metrics: Sequence[str]) -> style.Figure:
    """What each entry scores on trained against what it scores on the worst null, a panel for each metric, with the
    line on which both are the same. The numbers are the entries' places in the list beside them.
    """
    kinds, shown = {entry.name: entry.kind for entry in entries}, names(entries)
    told = {entry.name: entry for entry in entries}
    numbers = {name: number for number, name in enumerate(sorted(kinds, key=" ".join), start=1)}
    panels = []
    for metric in metrics:
        lines = [
            {**point, "kind": kinds[row.name], "name": shown[row.name], "number": numbers[row.name]}
            for row in rows
            if row.name in kinds and (point := _claimed(told[row.name], metric) or _point(row, metric)) is not None
        ]
        panels.append(_panel(lines, metric))
    listed = [
        {"name": f"{number}  {shown[name]}", "y": number, "kind": kinds[name]} for name, number in numbers.items()
    ]
    beside = alt.Chart(style.data(listed), width=190, height=SIDE, view=alt.ViewConfig(stroke=None))
    beside = beside.mark_text(align="left", fontSize=11).encode(
        x=alt.value(0), y=alt.Y("y:O", axis=None), text="name:N",
        color=alt.Color("kind:N", scale=style.scales(style.KINDS)["colour"], legend=None),
    )  # fmt: skip
    return alt.hconcat(*panels, beside)


def _panel(lines: Sequence[dict[str, object]], metric: str) -> style.Figure:
    values = [float(str(line[side])) for line in lines for side in ("trained", "null")]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * (high - low or 1.0)
    domain = [style.rounded(end) for end in (low - margin, high + margin)]
    scales = style.scales(style.KINDS)
    same = alt.Chart(style.data([{"at": end} for end in domain])).mark_line(color="#444444", strokeDash=[4, 3])
    scale = alt.Scale(domain=domain, nice=False, zero=False)
    x, y = alt.X("null:Q", title="on the worst null"), alt.Y("trained:Q", title="on the trained network")
    base = alt.Chart(style.data(lines), width=SIDE, height=SIDE, title=style.named(metric))
    colour = alt.Color("kind:N", scale=scales["colour"], title=None, legend=alt.Legend(orient="bottom"))
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        x=x, y=y, color=colour, shape=alt.Shape("kind:N", scale=scales["shape"], title=None),
        tooltip=["name:N", "trained:Q", "null:Q", "worst:N"],
    )  # fmt: skip
    numbers = base.mark_text(dx=9, dy=-6, fontSize=10).encode(x=x, y=y, text="number:N", color=colour)
    ends = {"x": alt.X("at:Q", scale=scale, title="on the worst null"), "y": alt.Y("at:Q", scale=scale, title="")}
    return alt.layer(same.encode(**ends), points, numbers)


def _title(metric: str, lines: Sequence[dict[str, object]]) -> str:
    return f"Gap of {metric} to the worst null, trained minus null" if lines else "no entry has a gap"


def names(entries: Sequence[Entry]) -> dict[tuple[str, str], str]:
    """The method alone where it has one row."""
    methods = [entry.method for entry in entries]
    return {entry.name: entry.method if methods.count(entry.method) == 1 else " ".join(entry.name) for entry in entries}


def _gap(entry: Entry) -> dict[str, object]:
    said = entry.claim
    assert said is not None
    verdict = "floor" if entry.floor else str(said.verdict or "no verdict")
    return {
        "kind": entry.kind,
        "gap": said.worst.mean,
        "lower": said.worst.lower,
        "null": said.worst.null,
        "verdict": f"void ({verdict})" if entry.void and not entry.floor else verdict,
    }


def _claimed(entry: Entry, metric: str) -> dict[str, object] | None:
    """As the entry's claim has it, where a null that fails is no less than what its envelope makes believable."""
    trained = entry.scores.get("trained")
    if metric != entry.headline or entry.claim is None or trained is None or trained.mean is None:
        return None
    worst = entry.claim.worst
    return {"trained": trained.mean, "null": trained.mean - worst.mean, "worst": worst.null}


def _point(row: ResultRow, metric: str) -> dict[str, object] | None:
    """Means over replicates that both have, on trained and on the null that trained beats least."""
    if metric not in row.scores:
        return None
    table: pd.DataFrame = standings.replicated(row, metrics=[metric])[metric].unstack("variant")
    apart = standings.differences(metric, table)
    gaps = {null: apart[null] for null in nulls_among(apart) if len(apart[null])}
    if not gaps:
        return None
    worst = min(gaps, key=lambda null: float(gaps[null].mean()))
    both = table.loc[gaps[worst].index, ["trained", worst]].to_numpy(float).mean(axis=0).tolist()
    return {"trained": both[0], "null": both[1], "worst": worst}
