"""Published rows as files: four a row, each sorted by place, so that a re-run is a readable diff.

    <suite>/<method>/<settings>/run.json scores.csv cells.csv latents.parquet

`details.parquet` (contexts, explanations, ROC points, concepts) stands elsewhere, named by its SHA-256. Beside the four
`excerpt.parquet` has words and contexts of the first replicate's deepest place.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pyarrow import ArrowException

from benchmark import keyed, registry
from benchmark.errors import BadInput, unknown
from benchmark.store import LEAN, log, temporary_of
from benchmark.tracks.contract import track_class
from leaderboard.rows import PLACE, SAMPLE, ResultRow, RowInfo, as_place, wanted
from leaderboard.standings import natural

RUN, SCORES, CELLS, LATENTS = "run.json", "scores.csv", "cells.csv", "latents.parquet"
FILES = (RUN, SCORES, CELLS, LATENTS)
EXCERPT = "excerpt.parquet"
METRIC = re.compile(r"[a-z][a-z0-9_.:@-]*")
TEXTS = ("fit_id", "score_id", "checkpoint", "weights", "settings_hash")
SEEDS = ("seed.fit", "seed.stream")
"""Columns of `cells.csv` that are no numbers, though some look like them."""
DIGITS = 6
CONTEXT = ["latent", "rank", "block", "start", "activation", "tokens", "activations"]
WORDS = ["latent", "explanation"]
EXCERPTED = {"explanations": WORDS, "contexts": CONTEXT}
MOST_ROW_BYTES, MOST_METHOD_BYTES = 1 << 20, 3 << 20
"""No file of a row is larger, and no method's files together."""


def folder_of(root: Path, info: RowInfo) -> Path:
    """Where a row stands below the results."""
    return root / info.suite / info.method / slug(info.label)


def slug(label: str) -> str:
    """A label as the name of a folder; one that has other characters than a name is told from its like by a hash."""
    plain = re.sub(r"[^A-Za-z0-9._=-]+", "-", label).strip("-.")[:80] or "row"
    return plain if plain == label else f"{plain}-{keyed.short('label', label)[:8]}"


def content(row: ResultRow) -> dict[str, bytes]:
    """A row's four files; an excerpt may stand beside them."""
    return {
        RUN: run_json(row.info),
        SCORES: _csv(row.scores),
        CELLS: _csv(row.cells),
        LATENTS: _parquet(_lean(row)),
    }


def run_json(info: RowInfo) -> bytes:
    """What all cells of a row have in common, as its file."""
    return (json.dumps(info.model_dump(mode="json"), indent=1, sort_keys=True) + "\n").encode()


def check_sizes(contents: Mapping[Path, Mapping[str, bytes]]) -> None:
    """Refuse what a pull request should not carry (`BadInput`): folders and the files that they are to hold."""
    for folder, data in contents.items():
        for name, one in data.items():
            if len(one) > MOST_ROW_BYTES:
                raise BadInput(f"{folder / name} would be {len(one):,} bytes, and {MOST_ROW_BYTES:,} are allowed")
        of_method = [files for other, files in contents.items() if other.parent == folder.parent]
        others = (file for file in folder.parent.rglob("*") if file.is_file() and file.parent not in contents)
        total = sum(len(one) for files in of_method for one in files.values())
        total += sum(file.stat().st_size for file in others)
        if total > MOST_METHOD_BYTES:
            raise BadInput(
                f"{folder.parent} would be {total:,} bytes, and {MOST_METHOD_BYTES:,} are allowed for a method"
            )


def write(folder: Path, data: Mapping[str, bytes]) -> list[Path]:
    """Put a row's files into its folder; one that is the same already is not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    if RUN in data and EXCERPT not in data:
        (folder / EXCERPT).unlink(missing_ok=True)
    for name, one in data.items():
        path = folder / name
        if not path.is_file() or path.read_bytes() != one:
            temporary_of(path).write_bytes(one)
            temporary_of(path).rename(path)
    return [folder / name for name in data]


def read(folder: Path) -> ResultRow:
    """A published row.

    Raises:
        BadInput: a file that is missing or is not what it should be, cells that are not the suite's, or a row that does
            not lie where it says.
    """
    try:
        info = RowInfo.model_validate_json((folder / RUN).read_text(encoding="utf-8"))
        scores, cells = (_csv_of(folder / name) for name in (SCORES, CELLS))
        if not scores[PLACE].equals(cells[PLACE]):
            raise BadInput(f"{folder}: {SCORES} and {CELLS} are not of the same cells")
        scores = scores.set_index(PLACE)
        cells = cells.drop(columns=PLACE).set_index(scores.index)
        row = ResultRow(info, scores.astype(float).copy(), cells, functools.cache(lambda: _samples(folder / LATENTS)))
        _require_sound(row)
    except BadInput:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise BadInput(f"{folder} holds no published row: {type(error).__name__}: {said}") from error
    if folder_of(folder.parents[2], info) != folder:
        raise BadInput(f"{folder} is the row {info.suite}/{info.method}/{slug(info.label)}, and does not lie there")
    return row


def _require_sound(row: ResultRow) -> None:
    """The cells of the suite that the row names, each once, with scores and everything that the board reads."""
    info, scores, cells = row.info, row.scores, row.cells
    if info.track not in registry.TRACKS:
        raise BadInput(f"{info.suite}/{info.method}: {unknown('track', info.track, registry.TRACKS)}")
    which = f"{info.suite}/{info.method} ({info.label})"
    if not scores.index.is_unique:
        raise BadInput(f"{which}: a cell stands twice")
    if set(map(as_place, scores.index)) != wanted(info.content, info.settings):
        raise BadInput(f"{which}: its cells are not those of the suite that it names")
    for name in scores:
        if not METRIC.fullmatch(str(name)):
            raise BadInput(f"{which}: {str(name)!r} is no name of a metric")
    lacking = {*TEXTS, "definition", "machine"} - set(cells)
    if lacking or cells[["score_id", "definition", "machine"]].isna().any(axis=None):
        raise BadInput(f"{which}: {CELLS} does not say {', '.join(sorted(lacking)) or 'everything of every cell'}")
    if not cells["machine"].isin(range(len(info.machines))).all() or set(cells.index.unique("replicate")) - set(
        info.sources
    ):
        raise BadInput(f"{which}: {RUN} does not say what made every cell, or of which checkpoint")


def rows(root: Path, suites: tuple[str, ...] | None = None) -> list[ResultRow]:
    """All published rows, or those of some suites; one that cannot be read is left out and named."""
    listed = []
    for path in sorted(root.glob(f"*/*/*/{RUN}")):
        if suites is None or path.parts[-4] in suites:
            try:
                listed.append(read(path.parent))
            except BadInput as error:
                log.warning("left out: %s", error)
    return sorted(listed, key=lambda row: (*row.table, *row.name))


def details(tables: Sequence[tuple[dict[str, Any], str, pd.DataFrame]]) -> tuple[bytes, str]:
    """One table of everything that is too large for a row, given as (place, name, table), and its SHA-256."""
    parts = [table.assign(table=name, **place) for place, name, table in tables if len(table)]
    data = _parquet(pd.concat(parts, ignore_index=True))
    return data, hashlib.sha256(data).hexdigest()


def excerpt(tables: Sequence[tuple[dict[str, Any], str, pd.DataFrame]]) -> bytes | None:
    """Of the same tables words and contexts of one cell a variant, where there are any; contexts of earlier versions
    have other columns, and are left out.
    """
    told = [one for one in tables if one[1] in EXCERPTED and len(one[2]) and set(EXCERPTED[one[1]]) <= set(one[2])]
    if not told:
        return None
    first = min((place["replicate"], place["method_seed"]) for place, _, _ in told)
    own = [one for one in told if (one[0]["replicate"], one[0]["method_seed"]) == first]
    deepest = max((str(place["place"]) for place, _, _ in own), key=natural)
    shown = [
        table[EXCERPTED[name]].assign(table=name, **place) for place, name, table in own if place["place"] == deepest
    ]
    return _parquet(pd.concat(shown, ignore_index=True))


def _csv(frame: pd.DataFrame) -> bytes:
    """Lines by place, six significant digits, nothing where a value is undefined."""
    shown = frame.copy()
    for name in shown:
        if shown[name].dtype.kind == "f":
            shown[name] = [_number(value) for value in shown[name]]
    return shown.to_csv(lineterminator="\n").encode()


def _number(value: float) -> str:
    if np.isnan(value):
        return ""
    return str(int(value)) if float(value).is_integer() and abs(value) < 10**15 else f"{value:.{DIGITS}g}"


def _csv_of(path: Path) -> pd.DataFrame:
    texts = dict.fromkeys((*TEXTS, *SEEDS, "definition", "variant", "place"), str)
    return pd.read_csv(path, dtype=texts)


def _lean(row: ResultRow) -> pd.DataFrame:
    """What board and site need of the drawn latents."""
    every = row.samples()
    asked = [name for name in track_class(row.info.track).first if name in every]
    lean = every[[*PLACE, *(name for name in SAMPLE if name in every), *asked]].copy()
    if "explanation" in every:
        lean["explained"] = every["explanation"].notna()
    for name in lean:
        if lean[name].dtype == np.float64:
            lean[name] = lean[name].astype(np.float32)
    return lean.sort_values([*PLACE, *lean.columns[4:5]], ignore_index=True, kind="stable")


def _parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, compression="zstd", compression_level=19, **(LEAN | {"use_dictionary": True}))
    return buffer.getvalue()


def _samples(path: Path) -> pd.DataFrame:
    """A table of latents; one that cannot be read is left out and named."""
    try:
        table = pd.read_parquet(path)
        if missing := set(PLACE) - set(table):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
        return table
    except (OSError, ValueError, ArrowException) as error:
        log.warning("left out: %s is no table of latents: %s", path, str(error).splitlines()[0])
        return pd.DataFrame(columns=[*PLACE, *SAMPLE])
