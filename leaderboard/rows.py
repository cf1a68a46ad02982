"""Rows of the board: one method with one setting on one suite, all its cells as frames. Pure, but for reading tables.

The same object comes from a user's own records (`of_records`) and from published files (`results.read`), so that there
is one way from numbers to tables.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from benchmark import keyed
from benchmark.metrics import family
from benchmark.records import FamilyName, Id, Join, MetricName, Name, Record, Salt
from benchmark.spec.pretrained import has_fit, is_pretrained
from benchmark.spec.variant import Variant
from benchmark.store import log
from benchmark.tracks.contract import track_class

SCHEMA = 3
PLACE = ["variant", "replicate", "place", "method_seed"]
ENTROPY = "token_entropy@2"
SAMPLE = ("latent", "task", "rate", "mean_activation", ENTROPY)
"""Of each sub-sample, beside the scores that a reader needs first."""
Samples = Callable[[], pd.DataFrame]
Tables = Callable[[Record], pd.DataFrame | None]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Undefined(_Closed):
    """Why a metric has no value, and in which cells, by `CellPlace.path`."""

    metric: MetricName
    reason: str
    cells: tuple[str, ...]


class Machine(_Closed):
    """What cells were made on."""

    versions: dict[str, str]
    hardware: dict[str, Any]
    isolation: str
    environment: dict[str, str] = Field(default_factory=dict, description="what was installed for the method alone")


class Verification(_Closed):
    """Which cells somebody else computed again, within what they came out the same, and the key that drew them."""

    key: str
    cells: dict[str, str]


class RowInfo(_Closed):
    """What all cells of a row have in common: `run.json`."""

    schema_version: int = SCHEMA
    suite: Name
    track: Name
    method: Name
    label: str
    subject: str
    revision: str
    sources: dict[int, str] = Field(description="replicate -> hub id or folder name")
    suite_hash: Id
    settings_hash: Id
    settings: dict[str, Any]
    salt: Salt = ""
    blind: bool = False
    content: dict[str, Any] = Field(description="what the suite says, without metrics and local paths")
    families: dict[FamilyName, Id]
    hashes: dict[str, str] = Field(description="tokenizer, data and method code")
    machines: tuple[Machine, ...] = Field(description="cells.csv says which of them made a cell")
    undefined: tuple[Undefined, ...] = ()
    cost: dict[str, FiniteFloat] = Field(default_factory=dict, description="seconds per cell and peak bytes")
    details: dict[str, str] = Field(default_factory=dict, description="sha256 of what stands elsewhere")
    reported_by: str = "self-reported"
    verification: Verification | None = None


class ResultRow(NamedTuple):
    """`scores` has a column per metric, NaN where undefined, `cells` ids, counts, gate figures and cost; both are
    indexed by variant, replicate, place and method seed. `samples` reads one line per drawn latent, with the same four
    columns.
    """

    info: RowInfo
    scores: pd.DataFrame
    cells: pd.DataFrame
    samples: Samples

    @property
    def suite(self) -> str:
        """The suite by name and content, and by how its headline is computed: what differs shares no table."""
        definition = _headline_id(self.info.track, self.info.families)
        return f"{self.info.suite}@{keyed.short('table', self.info.suite_hash, definition)}"

    @property
    def table(self) -> tuple[str, str]:
        """Suite and subject: what a table of the board is of."""
        return self.suite, self.info.subject

    @property
    def name(self) -> tuple[str, str]:
        """Method and settings."""
        return self.info.method, self.info.label

    @property
    def pretrained(self) -> bool:
        """Whether it was trained elsewhere: it has no null then, and claims nothing."""
        return is_pretrained(self.info.settings)


class CellPlace(NamedTuple):
    """Where a cell stands in its row."""

    variant: str
    replicate: int
    place: str
    method_seed: int

    def __str__(self) -> str:
        return f"{self.variant} of replicate {self.replicate} at {self.place} (method seed {self.method_seed})"

    @property
    def path(self) -> str:
        """As the files of a row name it: variant/replicate/place/method seed."""
        return "/".join(map(str, self))


def as_place(index: Hashable) -> CellPlace:
    """An entry of a row's index."""
    assert isinstance(index, tuple)
    variant, replicate, place, seed = index
    return CellPlace(str(variant), int(replicate), str(place), int(seed))


def wanted(content: Mapping[str, Any], settings: Mapping[str, Any]) -> set[CellPlace]:
    """All cells of a row, from what a suite says, and of what was trained elsewhere those that its settings name."""
    draws, variants = content["subject"]["null_draws"], []
    for variant in content["variants"]:
        drawn = draws is not None and Variant.parse(variant).is_null
        variants += [f"{variant}:{number}" for number in range(draws)] if drawn else [variant]
    replicates = map(int, content["subject"]["replicates"])
    axes = itertools.product(variants, replicates, content["track"]["places"], content["method_seeds"])
    every = {CellPlace(*place) for place in axes}
    if not is_pretrained(settings):
        return every
    networks, seeds = content["subject"]["replicates"], content["method_seeds"]
    return {
        cell
        for cell in every
        if has_fit(settings, networks[str(cell.replicate)], cell.variant, cell.place, cell.method_seed, seeds)
    }


def of_records(records: Iterable[Record], joins: Iterable[Join], tables: Tables) -> list[ResultRow]:
    """Rows of scored records; a cell that stands twice in its row is left out: nobody knows which one is right."""
    by_row: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.status == "scored":
            where = record.where
            key = (where.suite, record.suite_hash, where.subject, where.method, where.label)
            by_row.setdefault(key, []).append(record)
    beside: dict[str, list[Join]] = {}
    for join in joins:
        beside.setdefault(join.score_ids[0], []).append(join)
    rows = [_row(_distinct(members), beside, tables) for members in by_row.values()]
    return sorted(rows, key=lambda row: (*row.table, *row.name))


def _row(members: list[Record], joins: Mapping[str, list[Join]], tables: Tables) -> ResultRow:
    members = sorted(members, key=place_of)
    first = members[0]
    machines: list[Machine] = []
    lines, cells, why = [], [], dict[tuple[str, str], list[str]]()
    for record in members:
        place = dict(zip(PLACE, place_of(record), strict=True))
        values, reasons = _values(record, joins.get(record.score_id, ()))
        lines.append(place | values)
        for metric, reason in reasons.items():
            why.setdefault((metric, reason), []).append(CellPlace(*place_of(record)).path)
        made = Machine(
            versions=record.versions,
            hardware=record.hardware,
            isolation=record.isolation,
            environment=record.environment,
        )
        if made not in machines:
            machines.append(made)
        cells.append(place | _cell(record) | {"machine": machines.index(made)})
    own = {"checkpoint", "weights"}
    info = RowInfo(
        suite=first.where.suite,
        track=first.where.track,
        method=first.where.method,
        label=first.where.label,
        subject=first.where.subject,
        revision=first.where.revision,
        sources={record.where.replicate: record.where.source for record in members},
        suite_hash=first.suite_hash,
        settings_hash=first.settings_hash,
        settings=first.settings,
        salt=first.salt,
        blind=first.blind,
        content=first.suite,
        families=first.families,
        hashes={name: value for name, value in first.hashes.items() if name not in own},
        machines=tuple(machines),
        undefined=tuple(
            Undefined(metric=metric, reason=reason, cells=tuple(places))
            for (metric, reason), places in sorted(why.items())
        ),
        reported_by=first.reported_by,
    )
    return ResultRow(info, frame(lines), frame(cells), functools.cache(lambda: samples_of(members, tables)))


def frame(lines: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Lines as a frame over variant, replicate, place and method seed, in that order."""
    made = pd.DataFrame(list(lines), columns=None if lines else PLACE).set_index(PLACE).sort_index()
    columns: list[str] = sorted((str(name) for name in made), key=_column)
    return made[columns]


def _column(name: str) -> tuple[bool, str]:
    """Order of columns: what a cell is, then its figures by name, whatever stands in the first line."""
    return "." in name or "@" in name, name


def samples_of(members: Sequence[Record], tables: Tables) -> pd.DataFrame:
    """One line per drawn latent of all cells."""
    parts = []
    for record in members:
        table = tables(record)
        if table is not None and len(table):
            place: dict[str, Any] = dict(zip(PLACE, place_of(record), strict=True))
            parts.append(table.drop(columns=["examples"], errors="ignore").assign(**place))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*PLACE, *SAMPLE])


def place_of(record: Record) -> tuple[str, int, str, int]:
    """Where a record stands in its row."""
    where = record.where
    return where.variant, where.replicate, where.place, where.method_seed


def _values(record: Record, joins: Sequence[Join]) -> tuple[dict[str, float], dict[str, str]]:
    """Values of a cell, NaN where there is none, and then why; of what joins cells the mean over the others."""
    values = {name: np.nan if one.value is None else one.value for name, one in record.metrics.items()}
    reasons = {name: one.reason or "no reason given" for name, one in record.metrics.items() if one.value is None}
    for metric in sorted({join.metric for join in joins}):
        own = [join for join in joins if join.metric == metric]
        known = [join.value for join in own if join.value is not None]
        values[metric] = float(np.mean(known)) if known else np.nan
        if not known:
            reasons[metric] = own[0].reason or "no reason given"
    return values, reasons


def _cell(record: Record) -> dict[str, Any]:
    scored_by = _headline_id(record.where.track, record.families)
    return {
        "fit_id": record.fit_id,
        "score_id": record.score_id,
        "checkpoint": record.hashes.get("checkpoint", ""),
        "weights": record.hashes.get("weights", ""),
        "settings_hash": record.settings_hash,
        "definition": keyed.short("definition", record.settings_hash, scored_by),
        **{f"seed.{name}": str(value) for name, value in record.seeds.items()},  # of 63 bits: no float holds them
        **{f"count.{name}": value for name, value in record.counts.items()},
        **{f"gate.{name}": value for name, value in _flat(record.gate).items()},
        **{f"cost.{name}": value for name, value in record.cost.items()},
    }


def _headline_id(track: str, families: Mapping[str, str]) -> str | None:
    """By which definition a track's headline was computed, from the ids of all families."""
    headline = family.family_of(track_class(track).headline)
    return families.get(headline.name) if headline else None


def _flat(figures: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Figures of a gate by dotted name; of lists how long they are. The hash of the weights stands apart."""
    flat: dict[str, Any] = {}
    for name, value in figures.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{above}{name}.")
        elif f"{above}{name}" != "weight_hash":
            flat[f"{above}{name}"] = len(value) if isinstance(value, (list, tuple)) else value
    return flat


def _distinct(members: list[Record]) -> list[Record]:
    places: dict[tuple[object, ...], list[Record]] = {}
    for record in members:
        places.setdefault(place_of(record), []).append(record)
    doubled = [one for one in places.values() if len(one) > 1]
    if doubled:
        which = ", ".join(record.score_id for record in doubled[0])
        log.warning("left out: %d cells that have several records, such as %s", len(doubled), which)
    return [one[0] for one in places.values() if len(one) == 1]
