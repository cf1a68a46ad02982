"""What a record says of single latents: explanation, scores and top contexts, from its tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from benchmark.errors import BadInput
from benchmark.records import Record, read

SCORE_ID = re.compile("[0-9a-f]{16}")
MARKED = re.compile(r"<<(.*?)>>", re.DOTALL)


class Latent(NamedTuple):
    """One latent: its line of the table, and its strongest contexts with the active tokens between << and >>."""

    line: pd.Series
    contexts: pd.DataFrame


def find(name: str, folders: Sequence[Path]) -> Path:
    """A record by its path, or by the beginning of its score id below one of `folders`.

    Raises:
        BadInput: no such record, or several.
    """
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise BadInput(f"record {name} does not exist")
        return Path(name)
    paths = (path for folder in folders for path in sorted(folder.rglob("*.json")))
    found = {path.stem: path for path in paths if SCORE_ID.fullmatch(path.stem) and path.stem.startswith(name)}
    if len(found) != 1:
        raise BadInput(f"{len(found) or 'no'} records begin with {name!r}: give a path, or a whole score id")
    return next(iter(found.values()))


def table(path: Path) -> tuple[Record, pd.DataFrame]:
    """A record and its drawn latents, the best first."""
    record, latents = read(path), path.with_suffix(".parquet")
    if not latents.is_file():
        raise BadInput(f"{latents.name} is missing beside {path}: run the cell again")
    frame = pd.read_parquet(latents)
    if "explanation" not in frame:
        raise BadInput(f"{path.name} holds no explanations: its suite asked for none, or it is of an earlier version")
    frame["explanation"] = frame["explanation"].fillna("")
    best = scorers(frame)[-1:]
    return record, frame.sort_values(best, ascending=False, kind="stable", na_position="last") if best else frame


def scorers(frame: pd.DataFrame) -> list[str]:
    """Scorers that a table of latents has scores of."""
    return [name for name in ("detection@1", "fuzzing@1", "fuzzing-token-matched@1") if name in frame]


def one(path: Path, latent: int) -> tuple[Record, Latent]:
    """A record and one of its drawn latents."""
    record, frame = table(path)
    chosen = frame[frame["latent"] == latent]
    if chosen.empty:
        drawn = ", ".join(map(str, sorted(frame["latent"])[:8]))
        raise BadInput(
            f"latent {latent} was not drawn in {path.stem}: drawn are {drawn}, …; leave --latent out for all"
        )
    contexts = pd.read_parquet(path.with_suffix(".contexts.parquet"))
    return record, Latent(chosen.iloc[0], contexts[contexts["row"] == chosen.index[0]])
