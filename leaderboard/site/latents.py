"""Latents of a row as a page shows them: trained beside its nulls, latent by latent. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmark.metrics import family
from benchmark.spec.variant import Variant, ordered
from benchmark.tracks.contract import track_class
from leaderboard.latents import MATCHES, RowLatents
from leaderboard.rows import ENTROPY, PLACE, ResultRow
from leaderboard.site.columns import BoardCell, Column, number

DIGITS = 4
WITH_CONTEXTS = "contexts"


class Side(NamedTuple):
    """One latent on one variant: its line of the table, and its strongest contexts."""

    line: Mapping[str, Any]
    contexts: Sequence[Mapping[str, Any]]


class LatentPage(NamedTuple):
    """The latents of one row at one place: the columns of its table, cells by column for each latent, means of the
    scores by variant, the text that a search looks in [latent], whether there are words and contexts, and the script
    with everything else. In case mode a null is its first draw.
    """

    place: str
    replicate: int
    variants: Sequence[str]
    columns: Sequence[Column]
    lines: Sequence[Mapping[str, BoardCell]]
    means: Mapping[str, str]
    searched: Sequence[str]
    has_words: bool
    has_contexts: bool
    script: str


def pages(row: ResultRow, told: RowLatents) -> Iterator[LatentPage]:
    """A page for each place of a row that has latents."""
    if told.latents.empty or "latent" not in told.latents:
        return
    for place in row.cells.index.unique("place"):
        own = told.latents[told.latents["place"] == place]
        if len(own):
            yield _page(row, str(place), own, told.contexts[told.contexts["place"] == place])


def _page(row: ResultRow, place: str, latents: pd.DataFrame, contexts: pd.DataFrame) -> LatentPage:
    track = track_class(row.info.track)
    headline = track.headline
    variants = _variants(map(str, latents["variant"].unique()))
    sides = {variant: _sides(variant, latents, contexts) for variant in variants}
    numbers = list(dict.fromkeys(latent for own in sides.values() for latent in own))
    columns = _columns(headline, variants, latents)
    lines = [_cells(latent, sides, columns, headline) for latent in numbers]
    searched = [" ".join(_words(sides, latent)) for latent in numbers]
    metrics = [str(name) for name in latents if "@" in str(name)]
    told = {
        "variants": variants,
        "metrics": [[name, family.says(name)] for name in metrics],
        "first": [name for name in (headline, track.plain) if name in metrics],
        "latents": numbers,
        "sides": [[_told(own.get(latent), metrics) for own in sides.values()] for latent in numbers],
    }
    script = f"window.nullgapLatents = {json.dumps(_interned(told), separators=(',', ':'))};\n"
    replicate = int(latents["replicate"].iloc[0])
    has_words = "explanation" in latents and bool(latents["explanation"].notna().any())
    means = {}
    for variant in variants:
        scored = [cell.number for line in lines if (cell := line[variant]).number is not None]
        means[variant] = f"{np.mean(scored):.2f}" if scored else "n/a"
    return LatentPage(
        place, replicate, variants, columns, lines, means, searched, has_words, not contexts.empty, script
    )


def _variants(names: Iterable[str]) -> list[str]:
    """As they are called, in the order of the registry; of several draws the first."""
    first: dict[str, str] = {}
    for name in sorted(names, key=lambda name: Variant.parse(name).draw or 0):
        first.setdefault(Variant.parse(name).name, name)
    return [first[name] for name in ordered(first)]


def _sides(variant: str, latents: pd.DataFrame, contexts: pd.DataFrame) -> dict[int, Side]:
    """By latent, as the table has them."""
    own = latents[latents["variant"] == variant]
    shown = contexts[contexts["variant"] == variant].sort_values(["latent", "rank"])
    by_latent: dict[int, list[Mapping[str, Any]]] = {}
    for context in shown.to_dict("records"):
        by_latent.setdefault(int(context["latent"]), []).append({str(name): one for name, one in context.items()})
    lines = ({str(name): one for name, one in line.items()} for line in own.drop(columns=PLACE).to_dict("records"))
    return {int(line["latent"]): Side(line, by_latent.get(int(line["latent"]), [])) for line in lines}


def _columns(headline: str, variants: Sequence[str], latents: pd.DataFrame) -> list[Column]:
    first = variants[0]
    columns = [Column("latent", "latent", "Its number in the dictionary. Opens it beside the nulls.", numeric=True)]
    if "explanation" in latents:
        columns.append(
            Column(
                "explanation",
                "explanation",
                f"What the judge makes of its examples on {first}; a lexical one lists tokens.",
            )
        )
    columns += [
        Column(variant, variant, f"{headline} on {variant}; n/a: not drawn there, or not scored.", numeric=True)
        for variant in variants
    ]
    columns.append(Column("rate", "rate", f"Share of tokens on which it fires on {first}.", numeric=True))
    if ENTROPY in latents:
        says = f"Entropy of its activation over token ids on {first}, nats: 0 is a single token."
        columns.append(Column("entropy", "entropy", says, numeric=True))
    columns += [
        Column(name, said, f"The {said} that it tells best on {first}, and how well ({unit}).")
        for said, name, unit in MATCHES
        if name in latents
    ]
    return columns


def _cells(
    latent: int, sides: Mapping[str, dict[int, Side]], columns: Sequence[Column], headline: str
) -> dict[str, BoardCell]:
    first = next(iter(sides.values())).get(latent)
    line = first.line if first else {}
    cells = {"latent": BoardCell(str(latent), latent), "rate": number(line.get("rate"), ".2e")}
    cells |= {
        variant: number(own[latent].line.get(headline) if latent in own else None, ".2f")
        for variant, own in sides.items()
    }
    cells["entropy"] = number(line.get(ENTROPY), ".2f")
    cells["explanation"] = BoardCell(_text(line.get("explanation")) or "n/a", None)
    for _, name, unit in MATCHES:
        match, value = _text(line.get(name)), line.get(f"{name}_{unit.lower()}")
        cells[name] = _match(match, value)
    return {column.key: cells[column.key] for column in columns}


def _words(sides: Mapping[str, dict[int, Side]], latent: int) -> Iterator[str]:
    """What a search looks in: explanations, and the tokens on which it fires, each once."""
    found: dict[str, None] = {}
    for own in sides.values():
        if latent in own:
            found[_text(own[latent].line.get("explanation"))] = None
            for context in own[latent].contexts:
                pairs = zip(context["tokens"], context["activations"], strict=True)
                found |= dict.fromkeys(token.strip() for token, value in pairs if value > 0)
    return (word for word in found if word)


def _told(side: Side | None, metrics: Sequence[str]) -> dict[str, object] | None:
    if side is None:
        return None
    line = side.line
    return {
        "rate": _rounded(line.get("rate")),
        "explanation": _text(line.get("explanation")),
        "matches": [
            [said, _text(line[name]), unit, _rounded(line[f"{name}_{unit.lower()}"])]
            for said, name, unit in MATCHES
            if _text(line.get(name))
        ],
        "scores": [_rounded(line.get(name)) for name in metrics],
        WITH_CONTEXTS: [
            [list(map(str, context["tokens"])), _active(context["activations"])] for context in side.contexts
        ],
    }


def _active(activations: Sequence[float]) -> list[float]:
    """Positions and activations in turn, where it fires."""
    return [one for place, value in enumerate(activations) if value > 0 for one in (place, _rounded(value) or 0)]


def _interned(told: dict[str, Any]) -> dict[str, Any]:
    """The same with every token and every window once: contexts say the number of their window, windows those of their
    tokens.
    """
    tokens: dict[str, int] = {}
    windows: dict[tuple[int, ...], int] = {}
    for sides in told["sides"]:
        for side in filter(None, sides):
            for context in side[WITH_CONTEXTS]:
                window = tuple(tokens.setdefault(token, len(tokens)) for token in context[0])
                context[0] = windows.setdefault(window, len(windows))
    return told | {"tokens": list(tokens), "windows": list(windows)}


def _match(name: str, value: Any) -> BoardCell:
    return BoardCell(f"{name} {value:.2f}", None, float(value)) if name else BoardCell("n/a", None)


def _rounded(value: Any) -> float | None:
    return float(f"{value:.{DIGITS}g}") if value is not None and np.isfinite(value) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
