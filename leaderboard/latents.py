"""What is known of the latents of one cell, own or published: explanation, scores and top contexts."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmark.errors import BadInput
from benchmark.metrics import family
from benchmark.records import MetricValue, Record, Where
from benchmark.store import read, readable
from leaderboard import details, results
from leaderboard.rows import PLACE, CellPlace, ResultRow, as_place

SCORE_ID = re.compile("[0-9a-f]{16}")
MATCHES = (("token class", "token_class", "AUROC"), ("other concept", "concept", "lift"))
"""What a latent tells best, where a subject has labels: in words, and the columns' names and units."""
SCORERS = ("detection@1", "fuzzing@1", "fuzzing-token-matched@1")


class FoundCell(NamedTuple):
    """A cell by name: its record, the other records of its row, its drawn latents, and their strongest contexts. Of a
    published cell the words and contexts stand elsewhere: `note` says where, as long as they are not at hand.
    """

    record: Record
    others: list[Record]
    latents: Callable[[], pd.DataFrame]
    contexts: Callable[[], pd.DataFrame]
    note: str


class Latent(NamedTuple):
    """One latent: its line of the table, and its strongest contexts."""

    line: pd.Series
    contexts: pd.DataFrame


class RowLatents(NamedTuple):
    """Latents, each a line with the four columns of its place, and contexts of these with the same."""

    latents: pd.DataFrame
    contexts: pd.DataFrame


def find(name: str, runs: Path, published: Path) -> FoundCell:
    """A cell by the path of its record, or by the beginning of its score id among own or published ones.

    Raises:
        BadInput: no such record, or several.
    """
    if name.endswith(".json"):
        if not Path(name).is_file():
            raise BadInput(f"record {name} does not exist")
        return _own(Path(name))
    paths = {path.stem: path for path in sorted((runs / "records").rglob("*.json")) if SCORE_ID.fullmatch(path.stem)}
    own = [path for stem, path in paths.items() if stem.startswith(name)]
    if len(own) == 1:
        return _own(own[0])
    ids = {
        score_id: (row, place)
        for row in (results.rows(published) if not own else [])
        for place, score_id in row.cells["score_id"].items()
        if score_id.startswith(name)
    }
    if len(own) + len(ids) != 1:
        number = len(own) + len(ids)
        raise BadInput(f"{number or 'no'} records begin with {name!r}: give a path, or a whole score id")
    ((row, place),) = ids.values()
    return _published(row, as_place(place), runs)


def published(root: Path, method: str, suite: str | None, runs: Path) -> dict[str, Callable[[], FoundCell]]:
    """Cells of all published rows of a method, of one suite or all, by score id; each is read when it is called.

    Raises:
        BadInput: there are none.
    """
    rows = [row for row in results.rows(root, (suite,) if suite else None) if row.info.method == method]
    if not rows:
        raise BadInput(f"no published rows of {method}{f' on suite {suite}' if suite else ''}")
    return {
        str(score_id): partial(_published, row, as_place(place), runs)
        for row in rows
        for place, score_id in row.cells["score_id"].items()
    }


def beside(row: ResultRow, runs: Path) -> RowLatents:
    """The drawn latents of a row's first replicate and method seed, with the words and contexts that are at hand below
    `runs`: beside the records, or among the details of published rows.
    """
    cells = row.cells.index
    _, replicate, _, seed = min(cells, key=lambda cell: (cell[1], cell[3]))
    chosen = (cells.get_level_values("replicate") == replicate) & (cells.get_level_values("method_seed") == seed)
    first = cells[chosen]
    assert isinstance(first, pd.MultiIndex)
    every = row.samples()
    own = every[pd.MultiIndex.from_frame(every[PLACE]).isin(first)].reset_index(drop=True)
    if "latent" in own and "explanation" not in own:
        words = details.words(row, runs, first).drop_duplicates([*PLACE, "latent"])
        own = own.merge(words, on=[*PLACE, "latent"], how="left") if len(words) else own
    return RowLatents(own, details.contexts(row, runs, first))


def table(cell: FoundCell) -> pd.DataFrame:
    """The drawn latents of a cell, the best first."""
    frame = cell.latents()
    if "task" in frame:
        raise BadInput("the record is of probes, which have tasks and no latents: its method's page shows them")
    if "explanation" not in frame:
        raise BadInput("the record holds no explanations: its suite asked for none, or it is of an earlier version")
    frame["explanation"] = frame["explanation"].fillna("")
    best = scorers(frame)[-1:]
    return frame.sort_values(best, ascending=False, kind="stable", na_position="last") if best else frame


def scorers(frame: pd.DataFrame) -> list[str]:
    """Scorers that a table of latents has scores of."""
    return [name for name in SCORERS if name in frame]


def one(cell: FoundCell, latent: int) -> Latent:
    """One of the drawn latents of a cell."""
    frame = table(cell)
    chosen = frame[frame["latent"] == latent]
    if chosen.empty:
        drawn = ", ".join(map(str, sorted(frame["latent"])[:8]))
        raise BadInput(f"latent {latent} was not drawn there: drawn are {drawn}, …; leave --latent out for all")
    contexts = cell.contexts()
    return Latent(chosen.iloc[0], contexts[contexts["latent"] == latent])


def record_of(row: ResultRow, place: CellPlace) -> Record:
    """A published cell as a record, with the values that its files have."""
    info, values = row.info, row.scores.xs(place)
    cell: dict[str, Any] = {str(name): value for name, value in row.cells.xs(place).items()}
    made = info.machines[int(cell["machine"])]
    why = {one.metric: one.reason for one in info.undefined if place.path in one.cells}
    where = dict(zip(PLACE, place, strict=True))

    def part(name: str) -> dict[str, float]:
        own = {
            str(key).removeprefix(f"{name}."): value for key, value in cell.items() if str(key).startswith(f"{name}.")
        }
        return {key: float(value) for key, value in own.items() if pd.notna(value) and not isinstance(value, str)}

    return Record(
        where=Where(
            suite=info.suite, track=info.track, method=info.method, label=info.label, subject=info.subject,
            source=info.sources[place[1]], revision=info.revision, **where,
        ),
        status="scored",
        fit_id=cell["fit_id"],
        score_id=cell["score_id"],
        suite_hash=info.suite_hash,
        settings_hash=cell["settings_hash"],
        settings=info.settings,
        salt=info.salt,
        blind=info.blind,
        suite=info.content,
        families=info.families,
        metrics={
            str(name): MetricValue(value=None, reason=why.get(str(name), "no reason given"))
            if pd.isna(value) else MetricValue(value=float(value))
            for name, value in values.items() if (one := family.family_of(str(name))) is None or not one.compares
        },
        counts=part("count"),
        seeds={name: int(cell[f"seed.{name}"]) for name in ("fit", "stream") if f"seed.{name}" in cell},
        hashes=info.hashes | {name: cell[name] for name in ("checkpoint", "weights") if pd.notna(cell[name])},
        versions=made.versions,
        environment=made.environment,
        hardware=made.hardware,
        cost=part("cost"),
        isolation=made.isolation,
    )  # fmt: skip


def _own(path: Path) -> FoundCell:
    record, others = read(path), readable(sorted(path.parent.glob(f"{'?' * 16}.json")))

    def latents() -> pd.DataFrame:
        if not path.with_suffix(".parquet").is_file():
            raise BadInput(f"{path.with_suffix('.parquet').name} is missing beside {path}: run the cell again")
        return pd.read_parquet(path.with_suffix(".parquet"))

    def contexts() -> pd.DataFrame:
        return details.known(pd.read_parquet(path.with_suffix(".contexts.parquet")))

    return FoundCell(record, others, latents, contexts, "")


def _published(row: ResultRow, place: CellPlace, runs: Path) -> FoundCell:
    cell = pd.MultiIndex.from_tuples([place], names=PLACE)
    words = details.words(row, runs, cell)[results.WORDS].drop_duplicates("latent")

    def latents() -> pd.DataFrame:
        every = row.samples()
        own = every[pd.MultiIndex.from_frame(every[PLACE]) == place].reset_index(drop=True)
        if words.empty:
            return own.assign(explanation="") if "explained" in own else own
        return words.merge(own, on="latent", how="left")

    def contexts() -> pd.DataFrame:
        return details.contexts(row, runs, cell)

    note = ""
    if words.empty:
        name = f"{row.info.details.get('sha256', '')}.parquet"
        note = f"explanations and contexts are in {name}, published beside the results: put it into {runs / 'details'}"
    others = [record_of(row, as_place(other)) for other in row.cells.index]
    return FoundCell(record_of(row, place), others, latents, contexts, note)
