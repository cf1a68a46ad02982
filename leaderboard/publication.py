"""What may be published, and the publishing of it: whole rows of the suite as the repository has it, that agree with
themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmark.errors import BadInput
from benchmark.execution.isolation import BEST
from benchmark.metrics import family
from benchmark.records import Record, Where
from benchmark.store import TABLES, Store, temporary_of
from leaderboard import results
from leaderboard.agreement import disagreements
from leaderboard.contents import Shipped, otherwise
from leaderboard.rows import PLACE, CellPlace, ResultRow, Verification, of_records, place_of, wanted

NAMED = 3
TOLD = ("latent", "explanation", "explanation_paper", "examples")


class Published(NamedTuple):
    """Files of the rows, and of the details that stand elsewhere."""

    files: list[Path]
    details: list[Path]


Families = Callable[[str, str], Mapping[str, str]]
"""Names and ids of the families that the repository's suite of a name asks of a track; none where there is no suite."""


def publish(  # noqa: PLR0917
    store: Store,
    root: Path,
    method: str,
    suite: str | None,
    shipped: Shipped,
    families: Families,
    code: str | None = None,
    *,
    stranger: bool = False,
) -> Published:
    """Put a method's rows, as they were last run, into the results, in place of what was published of them, and their
    details below the store. Nothing is written where the store has no records of the method. `code` is the hash of the
    method as it lies there now; a `stranger`'s is published of cells alone that were made in jail and with a salt.

    Raises:
        BadInput: a row that is not whole, not of the repository's suite or of that code, or does not agree with itself:
            nothing is written then, and nothing taken away.
    """
    records, joins = store.selected()
    records = [one for one in records if one.where.method == method and suite in (None, one.where.suite)]
    by_row: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        by_row.setdefault((record.where.suite, record.where.label), []).append(record)
    for members in by_row.values():
        where = members[0].where
        if code and {record.hashes.get("code") for record in members} != {code}:
            raise BadInput(
                f"{where.method} ({where.label}) on suite {where.suite}: the method's files have changed since these "
                "cells were computed, and row and code would not belong together: run the suite again first"
            )
        check(members, shipped(where.suite, where.track), families(where.suite, where.track), store, stranger=stranger)
    contents, kept = {}, {}
    for members in by_row.values():
        (row,) = of_records(members, joins, store.latents)
        told = list(_details(members, store))
        named = row.info
        if any(len(table) for *_, table in told):
            data, sha256 = results.details(told)
            kept[store.root / "details" / f"{sha256}.parquet"] = data
            named = row.info.model_copy(update={"details": {"sha256": sha256, "bytes": str(len(data))}})
        shown = results.excerpt(told)
        beside = {} if shown is None else {results.EXCERPT: shown}
        contents[results.folder_of(root, named)] = results.content(row._replace(info=named)) | beside
    results.check_sizes(contents)
    for path, data in kept.items():
        path.parent.mkdir(exist_ok=True)
        temporary_of(path).write_bytes(data)
        temporary_of(path).rename(path)
    return Published([path for folder, data in contents.items() for path in results.write(folder, data)], list(kept))


def mark_verified(root: Path, cells: Sequence[tuple[Where, str]], key: str) -> list[Path]:
    """Call the rows of these cells verified, and say which cells that rests on, within what, and what drew them."""
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for where, within in cells:
        place = CellPlace(where.variant, where.replicate, where.place, where.method_seed)
        rows.setdefault((where.suite, where.method, where.label), {})[place.path] = within
    written = []
    for (suite, method, label), places in rows.items():
        folder = root / suite / method / results.slug(label)
        info = results.read(folder).info
        said = Verification(key=key, cells=dict(sorted(places.items())))
        info = info.model_copy(update={"reported_by": "verified", "verification": said})
        written += results.write(folder, {results.RUN: results.run_json(info)})
    return written


def check(
    row: Sequence[Record],
    shipped: Mapping[str, Any] | None,
    families: Mapping[str, str],
    store: Store,
    *,
    stranger: bool = False,
) -> None:
    """Refuse a row that cannot be published, of a suite that says `shipped` and asks for `families` in the repository;
    of a `stranger`'s method see `require_apart`, too.

    Raises:
        BadInput: says what is missing, what differs, or what does not agree.
    """
    first = row[0]
    which = f"{first.where.method} ({first.where.label}) on suite {first.where.suite}"
    if stranger:
        require_apart(which, {one.isolation for one in row}, {one.salt for one in row})
    if len({record.suite_hash for record in row}) > 1:
        raise BadInput(f"{which} mixes cells of suites of different content: run it again")
    if shipped is not None and (said := otherwise(first.suite, shipped)):
        raise BadInput(f"{which}: that suite is not the repository's ({said}): give yours a name of its own")
    present = {CellPlace(*place_of(record)) for record in row if record.status == "scored"}
    try:
        missing = sorted(wanted(first.suite, first.settings) - present)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{which}: its records do not say their suite: {error!r}") from error
    if missing:
        raise BadInput(
            f"{which} lacks {len(missing)} of {len(missing) + len(present)} cells, such as "
            f"{'; '.join(map(str, missing[:NAMED]))}: run the suite to its end, then publish"
        )
    another_judge = shipped is not None and first.suite["judge"] != shipped["judge"]
    for record in row:
        missed = lacking(record.families, families, another_judge=another_judge)
        shared = record.families.keys() & first.families.keys()
        if missed or any(record.families[name] != first.families[name] for name in shared):
            said = (
                f"lacks {', '.join(missed)} as this version defines them" if missed else "has other metrics than others"
            )
            raise BadInput(f"{which}: a cell {said}: run the suite again, which computes what is missing alone")
        if wrong := disagreements(record, store.latents(record)):
            raise BadInput(f"{which}: record {record.score_id} does not agree with itself: {wrong[0]}")


def require_apart(which: str, isolations: Collection[str], salts: Collection[str]) -> None:
    """Refuse cells that were made with less between method and harness, or with draws that everybody knows.

    Raises:
        BadInput: says what they had.
    """
    if less := sorted(set(isolations) - {BEST}):
        raise BadInput(
            f"{which} has cells that were made with isolation {', '.join(less)}: rows of submissions are of cells made "
            "in jail, so run it anew, in another --runs, with --isolation jail and where `nullgap doctor` says that "
            "the jail holds"
        )
    if "" in salts:
        raise BadInput(
            f"{which} has cells that were made without a salt, so that their seeds and draws are known beforehand: run "
            "it anew, in another --runs and without --salt"
        )


def lacking(own: Mapping[str, str], families: Mapping[str, str], *, another_judge: bool) -> list[str]:
    """Families that a row does not have, or not as this version defines them: under another judge than the suite's
    those that ask one have ids of their own.
    """
    return [
        name
        for name, one in families.items()
        if name not in own or (own[name] != one and not (another_judge and _asks_a_judge(name)))
    ]


def _asks_a_judge(name: str) -> bool:
    """Whether the id of a family holds the judge, so that another judge's rows have another id."""
    return any(one.name == name and "judged" in one.needs for one in family.families())


def _details(members: Sequence[Record], store: Store) -> Iterator[tuple[dict[str, Any], str, pd.DataFrame]]:
    """Everything that is too large for a row: what latents were said to be, and the further tables."""
    for record in sorted(members, key=place_of):
        place: dict[str, Any] = dict(zip(PLACE, place_of(record), strict=True))
        latents = store.latents(record)
        if latents is not None and "explanation" in latents:
            yield place, "explanations", latents[[name for name in TOLD if name in latents]]
        for name in TABLES:
            table = store.table(record, name)
            if table is not None:
                yield place, name, table


def details_of(row: ResultRow, folder: Path) -> Path | None:
    """The details of a published row, where somebody has put them below `folder`."""
    path = folder / f"{row.info.details.get('sha256', '')}.parquet"
    return path if path.is_file() else None
