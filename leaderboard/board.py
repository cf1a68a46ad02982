"""The local board, published rows plus the user's own, and the published one."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from benchmark.records import TABLES, Join, Record, Store, path_of, read_all, read_joins, write_joins, write_text
from leaderboard import headline, layers, markdown, resolved, standings, top
from leaderboard.headline import Entry
from leaderboard.layers import Layers
from leaderboard.resolved import Curve, Tables
from leaderboard.standings import Row

HOME = Path(__file__).parent
RESULTS = HOME / "results"
PUBLISHED = HOME / "LEADERBOARD.md"

SUFFIXES = (".json", ".parquet", *(f".{name}.parquet" for name in TABLES))
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Board:
    """What a board is made from: records, joins, and the table of latents of a record. Its rows are computed once."""

    records: list[Record]
    joins: list[Join]
    tables: Tables

    @cached_property
    def rows(self) -> list[Row]:
        """A row per method, setting, metric and hookpoint."""
        return standings.rows(self.records, self.joins)

    @cached_property
    def entries(self) -> list[Entry]:
        """A line of the headline table per method and setting."""
        return headline.entries(self.records)

    def text(self) -> str:
        """The whole board as Markdown."""
        lines: dict[markdown.Place, tuple[list[Entry], list[Layers], list[Curve]]] = {}
        for entry in self.entries:
            lines.setdefault((entry.suite, entry.subject), ([], [], []))[0].append(entry)
        for layer in layers.layers(self._replicated, self.tables):
            lines[layer.suite, layer.subject][1].append(layer)
        for curve in resolved.curves(self._replicated, self.tables):
            lines[curve.suite, curve.subject][2].append(curve)
        return markdown.render(self.rows, {place: top.tables(*found) for place, found in lines.items()})

    @property
    def _replicated(self) -> list[Record]:
        """Records of entries that pair replicates: what is resolved further is paired by replicate."""
        cases = {
            (entry.suite, entry.subject, entry.method, entry.label) for entry in self.entries if entry.draws is not None
        }
        return [record for record in self.records if standings.key_of(record) not in cases]

    def write(self, path: Path) -> Path:
        """Put the board into a file."""
        write_text(path, self.text())
        return path


def render_published() -> Path:
    """`leaderboard/LEADERBOARD.md` from the published records alone."""
    return Board(read_all(RESULTS), _all_joins(RESULTS), _tables(RESULTS)).write(PUBLISHED)


def render_local(store: Store) -> tuple[Board, Path]:
    """The store's board, and `LEADERBOARD.md` under the store."""
    own = local(store)
    return own, own.write(store.root / PUBLISHED.name)


def local(store: Store) -> Board:
    """Published rows plus own, own rows taking the place of published ones."""
    records, joins = store.selected()
    taken = {_key(record) for record in records}
    records += [record for record in read_all(RESULTS) if _key(record) not in taken]
    joins += [join for join in _all_joins(RESULTS) if _key(join) not in taken]
    return Board(records, joins, _tables(store.root / "records", RESULTS))


def _tables(*folders: Path) -> Tables:
    """Tables of latents from the first folder that has them, each read once."""
    read: dict[str, pd.DataFrame | None] = {}

    def table(record: Record) -> pd.DataFrame | None:
        if record.score_id not in read:
            paths = (path_of(folder, record).with_suffix(".parquet") for folder in folders)
            found = next((path for path in paths if path.is_file()), None)
            read[record.score_id] = pd.read_parquet(found) if found else None
        return read[record.score_id]

    return table


def publish(store: Store, method: str) -> list[Path]:
    """Copy a method's rows, as they were last run, to the results; earlier published cells of a row give way.

    Returns the files written, none when the store has no records of the method.
    """
    records, joins = store.selected()
    records = [record for record in records if record.where.method == method]
    taken = {_key(record) for record in records}
    for record in read_all(RESULTS):
        if _key(record) in taken:
            for suffix in SUFFIXES:
                path_of(RESULTS, record).with_suffix(suffix).unlink(missing_ok=True)
    written = []
    for record in records:
        for suffix in SUFFIXES:
            source = path_of(store.root / "records", record).with_suffix(suffix)
            if not source.is_file():
                continue
            target = path_of(RESULTS, record).with_suffix(suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written.append(target)
    for suite in sorted({record.where.suite for record in records}):
        path = RESULTS / suite / method / "joins.json"
        kept = [join for join in read_joins(path) if _key(join) not in taken]
        write_joins(path, kept + [join for join in joins if _key(join) in taken and join.where.suite == suite])
        written.append(path)
    return written


def _all_joins(folder: Path) -> list[Join]:
    return [join for path in sorted(folder.rglob("joins.json")) for join in read_joins(path)]


def _key(entry: Record | Join) -> Key:
    return entry.where.suite, entry.where.method, entry.where.label
