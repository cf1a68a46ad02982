"""What stands beside a row and is too large for it: words, contexts, curves. Own tables lie by their records, those of
published rows are where somebody has put them.
"""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path

import pandas as pd
from pyarrow import ArrowException

from benchmark.store import log
from leaderboard.publication import details_of
from leaderboard.rows import PLACE, ResultRow

CONTEXT = ["latent", "rank", "block", "start", "activation", "tokens", "activations"]
CURVE = ["scorer", "false_positive_rate", "true_positive_rate"]
WORDS = ["latent", "explanation"]


def contexts(row: ResultRow, runs: Path, cells: pd.MultiIndex) -> pd.DataFrame:
    """The strongest contexts of these cells' latents, each with its place; see `known`."""
    return known(_beside(row, runs, cells, "contexts", CONTEXT))


def known(contexts: pd.DataFrame) -> pd.DataFrame:
    """Contexts but those of earlier versions, which had no tokens apart."""
    return contexts.reindex(columns=[*CONTEXT, *(name for name in PLACE if name in contexts)]).dropna(subset=["tokens"])


def curves(row: ResultRow, runs: Path) -> pd.DataFrame:
    """ROC points of all cells and scorers, each with its place."""
    assert isinstance(row.cells.index, pd.MultiIndex)
    return _beside(row, runs, row.cells.index, "roc", CURVE)


def words(row: ResultRow, runs: Path, cells: pd.MultiIndex) -> pd.DataFrame:
    """Explanations of published latents, in the order of the draw, each with its place; own ones are in the samples."""
    return _published(row, runs, cells, "explanations", WORDS)


def _beside(row: ResultRow, runs: Path, cells: pd.MultiIndex, name: str, columns: list[str]) -> pd.DataFrame:
    folder, found = runs / "records" / row.info.suite / row.info.method, []
    for place in cells:
        path = folder / f"{row.cells.loc[place, 'score_id']}.{name}.parquet"
        if path.is_file():
            at = dict(zip(PLACE, place, strict=True))
            found.append(pd.read_parquet(path).reindex(columns=columns).assign(**at))
    found = [table for table in found if len(table)]
    return pd.concat(found, ignore_index=True) if found else _published(row, runs, cells, name, columns)


def _published(row: ResultRow, runs: Path, cells: pd.MultiIndex, name: str, columns: list[str]) -> pd.DataFrame:
    path = details_of(row, runs / "details")
    if path is None:
        return pd.DataFrame(columns=[*columns, *PLACE])
    every = read(path)
    here = (every["table"] == name) & pd.MultiIndex.from_frame(every[PLACE]).isin(cells)
    return every[here].reindex(columns=[*columns, *PLACE]).reset_index(drop=True)


@functools.lru_cache(maxsize=1)
def read(path: Path) -> pd.DataFrame:
    """The details of a row; what is not what its name says is left out and named."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != path.stem:
            raise ValueError("its content is not that of its name")
        table = pd.read_parquet(io.BytesIO(data))
        if missing := {"table", *PLACE} - set(table):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
        return table
    except (OSError, ValueError, ArrowException) as error:
        log.warning("left out: %s holds no details: %s", path, str(error).splitlines()[0])
        return pd.DataFrame(columns=["table", *PLACE])
