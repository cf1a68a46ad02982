"""The local board, published rows plus the user's own, and the published one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from pyarrow import ArrowException

from benchmark.records import Join, Record, Store, log, path_of, read_all, read_joins, write_text
from benchmark.run import plan
from benchmark.spec import suite as suites
from leaderboard import contents, headline, layers, markdown, publication, resolved, standings, top
from leaderboard.headline import Entry
from leaderboard.layers import Layers
from leaderboard.resolved import Curve, Tables
from leaderboard.standings import BoardRow

HOME = Path(__file__).parent
RESULTS = HOME / "results"
PUBLISHED = HOME / "LEADERBOARD.md"

EntryKey = tuple[str, str, str]


@dataclass(frozen=True)
class Board:
    """What a board is made from: records, joins, and the table of latents of a record. Its rows are computed once."""

    records: list[Record]
    joins: list[Join]
    tables: Tables

    @cached_property
    def rows(self) -> list[BoardRow]:
        """A row per method, setting, metric and hookpoint."""
        return standings.rows(self.records, self.joins)

    @cached_property
    def entries(self) -> list[Entry]:
        """A line of the headline table per method and setting."""
        return headline.entries(self.records)

    def text(self) -> str:
        """The whole board as Markdown."""
        lines: dict[markdown.SuitePlace, tuple[list[Entry], list[Layers], list[Curve]]] = {}
        for entry in self.entries:
            lines.setdefault((entry.suite, entry.subject), ([], [], []))[0].append(entry)
        for layer in layers.layers(self._replicated, self.tables):
            lines[layer.suite, layer.subject][1].append(layer)
        for curve in resolved.curves(self._replicated, self.tables):
            lines[curve.suite, curve.subject][2].append(curve)
        headings = contents.headings(self.records, shipped)
        return markdown.render(self.rows, {place: top.tables(*found) for place, found in lines.items()}, headings)

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
    return Board(standings.distinct(read_all(RESULTS)), _all_joins(RESULTS), _tables(RESULTS)).write(PUBLISHED)


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
    return Board(standings.distinct(records), joins, _tables(store.root / "records", RESULTS))


def _tables(*folders: Path) -> Tables:
    """Tables of latents from the first folder that has them, each read once."""
    read: dict[str, pd.DataFrame | None] = {}

    def table(record: Record) -> pd.DataFrame | None:
        if record.score_id not in read:
            paths = (path_of(folder, record).with_suffix(".parquet") for folder in folders)
            found = next((path for path in paths if path.is_file()), None)
            read[record.score_id] = _read(found) if found else None
        return read[record.score_id]

    return table


def publish(store: Store, method: str, suite: str | None = None) -> list[Path]:
    """Put a method's rows into the published results; see `publication.publish`."""
    return publication.publish(store, RESULTS, method, suite, shipped, _tables(store.root / "records"))


@cache
def shipped(name: str) -> dict[str, Any] | None:
    """What the suite of this name in the repository says, None where there is none."""
    return plan.content(suites.load(name)) if name in suites.names() else None


def _read(path: Path) -> pd.DataFrame | None:
    """A table of latents; one that cannot be read is left out and named."""
    try:
        return pd.read_parquet(path)
    except (OSError, ValueError, ArrowException) as error:
        log.warning("left out: %s is no table of latents: %s", path, str(error).splitlines()[0])
        return None


def _all_joins(folder: Path) -> list[Join]:
    return [join for path in sorted(folder.rglob("joins.json")) for join in read_joins(path)]


def _key(entry: Record | Join) -> EntryKey:
    return contents.key_of(entry), entry.where.method, entry.where.label
