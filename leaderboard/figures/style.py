"""How every figure looks: one colour, shape and dash per variant everywhere, and the way from a figure to SVG."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import altair as alt
import vl_convert

from benchmark import registry
from benchmark.metrics import family
from benchmark.spec.variant import Variant, ordered

VEGA_LITE = "6.1"
FONT = "Liberation Sans, Arial, sans-serif"
"""vl-convert brings the first along and measures words by it, whatever a machine has; Arial is as wide."""
DIGITS = 6
"""Significant digits of what a figure shows: the last bits differ between platforms."""
Figure = alt.LayerChart | alt.FacetChart | alt.HConcatChart


class Look(NamedTuple):
    """Colour (Okabe and Ito's, which colour-blind readers tell apart), shape of points and dash of lines."""

    colour: str
    shape: str
    dash: tuple[int, ...]


LOOKS = {
    "trained": Look("#0072b2", "circle", (1, 0)),
    "step0": Look("#e69f00", "square", (6, 3)),
    "rerandomized": Look("#d55e00", "triangle-up", (2, 2)),
    "rerandomized-keep-embeddings": Look("#cc79a7", "diamond", (8, 3, 2, 3)),
    "shuffled": Look("#009e73", "triangle-down", (4, 4)),
    "cascade": Look("#56b4e9", "triangle-right", (10, 4)),
    registry.CONTROL: Look("#7f7f7f", "cross", (1, 3)),
}
KINDS = {
    "reference": Look("#0072b2", "circle", (1, 0)),
    "method": Look("#d55e00", "triangle-up", (1, 0)),
    "floor": Look("#7f7f7f", "square", (1, 0)),
}
"""What an entry is, where a figure is of entries."""


def scales(looks: Mapping[str, Look]) -> dict[str, Any]:
    """Colour and shape of names, as encodings' scales."""
    names = [*looks]
    return {
        "colour": alt.Scale(domain=names, range=[look.colour for look in looks.values()]),
        "shape": alt.Scale(domain=names, range=[look.shape for look in looks.values()]),
        "dash": alt.Scale(domain=names, range=[list(look.dash) for look in looks.values()]),
    }


def variants(names: Iterable[str]) -> dict[str, Look]:
    """Looks of variants, in the order of the registry."""
    return {name: LOOKS[Variant.parse(name).kind] for name in ordered(names)}


def data(lines: Sequence[Mapping[str, object]]) -> alt.InlineData:
    """Lines as a figure's own data; what is not finite is left out of a line, as JSON has no word for it."""
    return alt.InlineData(values=[_line(line) for line in lines])


def named(metric: str) -> str:
    """A metric with its unit, as an axis has it."""
    known = family.metric(metric)
    unit = f", {known.unit}" if known and known.unit else ""
    better = {"higher": " (higher is better)", "lower": " (lower is better)"}.get((known and known.better) or "", "")
    return f"{metric}{unit}{better}"


def rounded(number: float) -> float:
    """As a figure shows it, in its data and in the ends of its axes."""
    return float(f"{number:.{DIGITS}g}")


def svg(figure: Figure) -> str:
    """A figure drawn: the same text for the same figure, wherever the same version draws it."""
    dressed = figure.configure(
        background="white", font=FONT, padding=8,
        axis=alt.AxisConfig(labelFontSize=11, titleFontSize=11, titleFontWeight="normal", gridColor="#e8e8e8"),
        legend=alt.LegendConfig(labelFontSize=11, titleFontSize=11, labelLimit=260, symbolSize=80),
        title=alt.TitleConfig(fontSize=12, anchor="start", fontWeight="normal"),
        view=alt.ViewConfig(stroke="#c0c0c0"),
    )  # fmt: skip
    drawn: str = vl_convert.vegalite_to_svg(dressed.to_dict(validate=False), vl_version=VEGA_LITE)
    return drawn + "\n"


def _line(line: Mapping[str, object]) -> dict[str, object]:
    return {name: kept for name, value in line.items() if (kept := _plain(value)) is not None}


def _plain(value: object) -> object:
    if isinstance(value, bool | str | int) or value is None:
        return value
    number = float(value)  # type: ignore[arg-type]
    return rounded(number) if math.isfinite(number) else None
