"""What may be published, and the publishing of it: whole rows of the suite as the repository has it, that agree with
themselves.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmark import registry
from benchmark.errors import BadInput
from benchmark.records import TABLES, Join, Record, Store, path_of, read_all, read_joins, write_joins
from benchmark.spec.variant import Variant
from leaderboard.agreement import disagreements
from leaderboard.contents import Shipped, different
from leaderboard.resolved import Tables

SUFFIXES = (".json", ".parquet", *(f".{name}.parquet" for name in TABLES))
NAMED = 3


class CellPlace(NamedTuple):
    """Where a cell stands in its row."""

    variant: str
    replicate: int
    hookpoint: str
    method_seed: int

    def __str__(self) -> str:
        return f"{self.variant} of replicate {self.replicate} at {self.hookpoint} (method seed {self.method_seed})"


def publish(
    store: Store, results: Path, method: str, suite: str | None, shipped: Shipped, tables: Tables
) -> list[Path]:
    """Copy a method's rows, as they were last run, to the results; earlier published cells of a row give way.

    Returns the files written, none when the store has no records of the method.

    Raises:
        BadInput: a row that is not whole, not of the repository's suite, or does not agree with itself: nothing is
            written then, and nothing taken away.
    """
    records, joins = store.selected()
    records = [one for one in records if one.where.method == method and suite in (None, one.where.suite)]
    rows: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        rows.setdefault(row_of(record), []).append(record)
    for members in rows.values():
        check(members, shipped(members[0].where.suite), tables)
    for record in read_all(results):
        if row_of(record) in rows:
            for suffix in SUFFIXES:
                path_of(results, record).with_suffix(suffix).unlink(missing_ok=True)
    written = []
    for record, suffix in itertools.product(records, SUFFIXES):
        source = path_of(store.root / "records", record).with_suffix(suffix)
        if source.is_file():
            target = path_of(results, record).with_suffix(suffix)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
            written.append(target)
    for name in sorted({record.where.suite for record in records}):
        path = results / name / method / "joins.json"
        kept = [join for join in read_joins(path) if row_of(join) not in rows]
        write_joins(path, kept + [join for join in joins if row_of(join) in rows and join.where.suite == name])
        written.append(path)
    return written


def check(row: Sequence[Record], shipped: Mapping[str, Any] | None, tables: Tables) -> None:
    """Refuse a row that cannot be published.

    Raises:
        BadInput: says what is missing, what differs, or what does not agree.
    """
    first = row[0]
    which = f"{first.where.method} ({first.where.label}) on suite {first.where.suite}"
    if len({record.suite_hash for record in row}) > 1:
        raise BadInput(f"{which} mixes cells of suites of different content: run it again")
    if shipped is not None and {**first.suite, "judge": ""} != {**shipped, "judge": ""}:
        said = "; ".join(different(first.suite, shipped))
        raise BadInput(f"{which}: that suite is not the repository's ({said}): give yours a name of its own")
    present = {place_of(record) for record in row if record.status == "scored"}
    try:
        missing = sorted(wanted(first.suite) - present)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{which}: its records do not say their suite: {error!r}") from error
    if missing:
        raise BadInput(
            f"{which} lacks {len(missing)} of {len(missing) + len(present)} cells, such as "
            f"{'; '.join(map(str, missing[:NAMED]))}: run the suite to its end, then publish"
        )
    for record in row:
        if wrong := disagreements(record, tables(record)):
            raise BadInput(f"{which}: record {record.score_id} does not agree with itself: {wrong[0]}")


def wanted(content: Mapping[str, Any]) -> set[CellPlace]:
    """All cells of a row, from what a suite says."""
    draws, variants = content["subject"]["null_draws"], []
    for variant in content["variants"]:
        drawn = draws is not None and Variant.parse(variant).kind in registry.NULLS
        variants += [f"{variant}:{number}" for number in range(draws)] if drawn else [variant]
    replicates = map(int, content["subject"]["replicates"])
    axes = itertools.product(variants, replicates, content["hookpoints"], content["method_seeds"])
    return {CellPlace(*place) for place in axes}


def place_of(record: Record) -> CellPlace:
    """Where a record stands in its row."""
    where = record.where
    return CellPlace(where.variant, where.replicate, where.hookpoint, where.method_seed)


def row_of(entry: Record | Join) -> tuple[str, str, str]:
    """Which row of the results an entry belongs to: one content of a suite is published under a name."""
    return entry.where.suite, entry.where.method, entry.where.label
