"""Boards from records in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from benchmark.records import Join, Record
from leaderboard import contents, headline, pages, results, screen, standings
from leaderboard.contenders import NO_FLOORS, KnownFloors
from leaderboard.contents import Shipped
from leaderboard.headline import Entry
from leaderboard.rows import ResultRow, Tables, of_records
from leaderboard.standings import BoardRow


def nothing(record: Record) -> pd.DataFrame | None:
    """A store without tables."""
    return None


def rows(records: Sequence[Record], tables: Tables = nothing, joins: Sequence[Join] = ()) -> list[ResultRow]:
    return of_records(records, joins, tables)


def entries(records: Sequence[Record], floors: KnownFloors = NO_FLOORS) -> list[Entry]:
    return headline.entries(rows(records), floors)


def lines(records: Sequence[Record], joins: Sequence[Join] = ()) -> list[BoardRow]:
    """Every metric of every row, over all places and at each."""
    return [line for row in rows(records, joins=joins) for line in standings.rows(row)]


def board(
    records: Sequence[Record],
    tables: Tables = nothing,
    shipped: Shipped = lambda name, track: None,
    floors: KnownFloors = NO_FLOORS,
) -> str:
    """The screen alone."""
    made = rows(records, tables)
    headings = contents.headings(made, shipped)
    return screen.text(made, headline.entries(made, floors), headings, lambda suite, method: f"{method}.md")


def put_row(root: Path, row: ResultRow) -> Path:
    """A row's files below a folder of results; returns where they are."""
    folder, data = results.folder_of(root, row.info), results.content(row)
    results.check_sizes({folder: data})
    return results.write(folder, data)[0].parent


def whole(records: Sequence[Record]) -> list[Record]:
    """Records as those of a suite that has their cells and no others."""
    wheres = [record.where for record in records]
    content = records[0].suite | {
        "subject": {"name": "x", "replicates": {str(one.replicate): "x" for one in wheres}, "null_draws": None},
        "variants": sorted({one.variant for one in wheres}),
        "track": {"name": "features", "places": sorted({one.place for one in wheres}), "table": {}},
    }
    return [record.model_copy(update={"suite": content}) for record in records]


def page(
    records: Sequence[Record], tables: Tables = nothing, method: str = "topk_sae", floors: KnownFloors = NO_FLOORS
) -> str:
    """The page of a method."""
    made = rows(records, tables)
    own = [row for row in made if row.info.method == method]
    heading = contents.headings(made, lambda name, track: None)[own[0].suite]
    return pages.text(own, headline.entries(made, floors), heading)
