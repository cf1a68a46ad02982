"""What stands beside a row and is too large for it: words, contexts, curves. Own tables lie by their records, those of
published rows are where somebody has put them, and an excerpt of them is published.
"""

from __future__ import annotations

import functools
import hashlib
import io
from pathlib import Path

import pandas as pd
from pyarrow import ArrowException

from benchmark.errors import BadInput
from benchmark.store import log
from leaderboard import board, results
from leaderboard.publication import details_of
from leaderboard.results import CONTEXT, WORDS
from leaderboard.rows import PLACE, ResultRow

CURVE = ["scorer", "false_positive_rate", "true_positive_rate"]


def contexts(row: ResultRow, runs: Path, cells: pd.MultiIndex) -> pd.DataFrame:
    """The strongest contexts of these cells' latents, each with its place; see `known`."""
    return known(_beside(row, runs, cells, "contexts", CONTEXT))


def known(contexts: pd.DataFrame) -> pd.DataFrame:
    """Contexts but those of earlier versions, which had no tokens apart."""
    columns = [*CONTEXT, *(name for name in PLACE if name in contexts)]
    return contexts.reindex(columns=columns).dropna(subset=["latent", "tokens"])


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
    path = details_of(row, runs / "details") or _excerpt_of(row)
    if path is None:
        return pd.DataFrame(columns=[*columns, *PLACE])
    every = read(path)
    here = (every["table"] == name) & pd.MultiIndex.from_frame(every[PLACE]).isin(cells)
    return every[here].reindex(columns=[*columns, *PLACE]).reset_index(drop=True)


def _excerpt_of(row: ResultRow) -> Path | None:
    path = results.folder_of(board.RESULTS, row.info) / results.EXCERPT
    return path if row.info.details and path.is_file() else None


def load(path: Path) -> pd.DataFrame:
    """The details of a row, or an excerpt of them.

    Raises:
        BadInput: it cannot be read, or is not what its name says.
    """
    try:
        data = path.read_bytes()
        if path.name != results.EXCERPT and hashlib.sha256(data).hexdigest() != path.stem:
            raise ValueError("its content is not that of its name")
        table = pd.read_parquet(io.BytesIO(data))
        if missing := {"table", *PLACE} - set(table):
            raise ValueError(f"it has no {', '.join(sorted(missing))}")
    except (OSError, ValueError, ArrowException) as error:
        raise BadInput(f"{path} holds no details: {str(error).splitlines()[0]}") from error
    return table


def read(path: Path) -> pd.DataFrame:
    """The same, but what cannot be read is left out and named."""
    return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> pd.DataFrame:
    try:
        return load(path)
    except BadInput as error:
        log.warning("left out: %s", error)
        return pd.DataFrame(columns=["table", *PLACE])
