"""The local board, published rows plus the user's own, and the published one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.records import Join, Record, Store, read_all, read_joins, write_text
from leaderboard import markdown, standings
from leaderboard.standings import Row

HOME = Path(__file__).parent
RESULTS = HOME / "results"
PUBLISHED = HOME / "LEADERBOARD.md"

Key = tuple[str, str, str]


def render_published() -> Path:
    """`leaderboard/LEADERBOARD.md` from the published records alone."""
    write_text(PUBLISHED, markdown.render(standings.rows(read_all(RESULTS), _all_joins(RESULTS))))
    return PUBLISHED


def render_local(store: Store, current: Sequence[str]) -> Path:
    """`LEADERBOARD.md` under the store: published rows plus own, own rows taking the place of published ones.

    `current`: settings hashes of the run just made; rows of the same method, suite and label under older settings
    give way to them.
    """
    path = store.root / "LEADERBOARD.md"
    write_text(path, markdown.render(local_rows(store, current)))
    return path


def local_rows(store: Store, current: Sequence[str]) -> list[Row]:
    """The rows of the local board."""
    own = store.root / "records"
    records, joins = _newest(read_all(own), _all_joins(own), current)
    taken = {_key(record) for record in records}
    records += [record for record in read_all(RESULTS) if _key(record) not in taken]
    joins += [join for join in _all_joins(RESULTS) if _key(join) not in taken]
    return standings.rows(records, joins)


def _newest(records: list[Record], joins: list[Join], current: Sequence[str]) -> tuple[list[Record], list[Join]]:
    """One settings hash per (suite, method, label): that of the current run, else the one with most records."""
    counts: dict[Key, dict[str, int]] = {}
    for record in records:
        tally = counts.setdefault(_key(record), {})
        tally[record.settings_hash] = tally.get(record.settings_hash, 0) + 1
    chosen = {key: max(tally, key=lambda name: (name in current, tally[name], name)) for key, tally in counts.items()}
    return (
        [record for record in records if record.settings_hash == chosen[_key(record)]],
        [join for join in joins if join.settings_hash == chosen.get(_key(join))],
    )


def _all_joins(folder: Path) -> list[Join]:
    return [join for path in sorted(folder.rglob("joins.json")) for join in read_joins(path)]


def _key(entry: Record | Join) -> Key:
    return entry.where.suite, entry.where.method, entry.where.label
