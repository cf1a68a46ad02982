"""What a run will do: the subject resolved, every cell with its content ids, and what is done of it. No compute."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark import keyed
from benchmark.data import blocks, corpus
from benchmark.errors import BadInput
from benchmark.execution.environments import Environment
from benchmark.judges import open as judges
from benchmark.models import nulls, subjects
from benchmark.models.subjects import ResolvedSubject
from benchmark.records import Record
from benchmark.reporting import duration
from benchmark.run import pretrained
from benchmark.spec.cell import Cell, Group, Ids, cells, variants
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.pretrained import is_pretrained
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.contract import Track, track_class


class MethodRun(NamedTuple):
    """A method of the run, the settings it is run with, and the environment that it runs in where it has its own."""

    method: Method
    rows: list[RunSettings]
    environment: Environment | None = None

    @property
    def pretrained(self) -> bool:
        """Whether it is loaded, and never fitted."""
        return is_pretrained(self.rows[0].settings)

    @property
    def track(self) -> type[Track]:
        """The track that its manifest names."""
        return track_class(self.method.manifest.track)


class Planned(NamedTuple):
    """A cell, its ids, its record where there is one, and the families of metrics that are still to be computed. No
    ids: the subject is not on this machine yet.
    """

    cell: Cell
    ids: Ids | None
    record: Record | None
    missing: tuple[str, ...]

    @property
    def pending(self) -> bool:
        """Whether there is something to do."""
        return self.record is None or bool(self.missing)

    @property
    def known_ids(self) -> Ids:
        """The ids, of a run that has begun."""
        assert self.ids is not None, "every replicate is on this machine once a run has begun"
        return self.ids


class Plan(NamedTuple):
    """Everything `run` needs; `data` holds the content ids of the splits, `suite_hashes` that of the suite for each
    track, none as long as a replicate is not on this machine; `absent` counts fits made elsewhere that are still to be
    downloaded.
    """

    suite: Suite
    runs: tuple[MethodRun, ...]
    subject: ResolvedSubject
    data: dict[str, str]
    suite_hashes: dict[str, str]
    cells: list[Planned]
    absent: int = 0

    @property
    def pending(self) -> list[Planned]:
        return [planned for planned in self.cells if planned.pending]

    @property
    def groups(self) -> int:
        """Groups that have something to do."""
        return len({planned.cell.group for planned in self.pending})

    @property
    def tracks(self) -> dict[str, type[Track]]:
        """Tracks of the methods, by name."""
        return {run.track.name: run.track for run in self.runs}

    def run_of(self, cell: Cell) -> MethodRun:
        """The method that a cell is of."""
        return next(run for run in self.runs if run.method.name == cell.method)

    def track_of(self, cell: Cell) -> type[Track]:
        """The track of a cell's method."""
        return self.run_of(cell).track


def make(suite: Suite, runs: Sequence[MethodRun], store: Store, *, download: bool) -> Plan:
    """Find the subject and look every cell up.

    Raises:
        BadInput: anything that can be known to fail before compute.
    """
    subject = subjects.resolve(suite.subject, variants(suite), store.root / "subjects", download=download)
    _check_room(suite, subject)
    tracks = {run.track.name: run.track for run in runs}
    for track in tracks.values():
        track.check(suite, subject)
    for run in runs:
        if reason := refused(suite, run):
            raise BadInput(f"{run.method.name}: {reason}")
    data = blocks.identity(suite.corpus, suite.tokens, subject.tokenizer_hash) if subject.replicates else {}
    if not data or not blocks.home_of(data, store.root / "blocks").is_dir():
        corpus.check(suite.corpus)
    families = {name: track.families(suite) for name, track in tracks.items()}
    planned, absent = list[Planned](), 0
    for run in runs:
        own = [
            cell
            for cell in cells(suite, run.method, run.rows, run.track.places(suite))
            if not subject.stands_for_nothing(cell.group.replicate, cell.group.variant)
        ]
        looked_up = [_look_up(cell, suite, run, families[run.track.name], subject, data, store) for cell in own]
        if run.pretrained:
            asked = [item.cell for item in looked_up if item.pending and not _is_kept(item, store)]
            absent += pretrained.check(suite, run.method, asked, subject, download=download)
        planned += looked_up
    known = tracks if subject.complete else {}
    hashes = {name: _suite_hash(suite, track, subject, data) for name, track in known.items()}
    return Plan(suite, tuple(runs), subject, data, hashes, planned, absent)


def refused(suite: Suite, run: MethodRun) -> str | None:
    """Why a method cannot be run on a suite; None where it can."""
    if run.pretrained:
        return pretrained.refused(suite, run.method, cells(suite, run.method, run.rows, run.track.places(suite)))
    return run.track.refuses(suite, run.method.manifest.scope)


def eta(plan: Plan, jobs: int) -> str:
    """How long the pending cells may take with `jobs` groups side by side, from what the done ones cost. Empty when
    none is done or none is left.
    """
    seconds = seconds_left([item.record for item in plan.cells if item.record and not item.pending], plan.pending, jobs)
    return f"; the rest may take {duration(seconds)}, judging by those done" if seconds else ""


def seconds_left(
    done: Sequence[Record], pending: Sequence[Planned], jobs: int, begun: Collection[Group] = ()
) -> float | None:
    """Seconds that cells may take: of each group but the begun ones what its cells share, of each cell its fit and its
    scores, as those that are done cost, over the groups side by side. Of a method that has no cell done, what the
    others cost.
    """
    known = [record for record in done if "score_seconds" in record.cost]
    if not known or not pending:
        return None
    shared = sum(record.cost["group_seconds"] for record in known) / len(known)
    own: dict[str, list[float]] = {}
    for record in known:
        spent = record.cost.get("fit_seconds", 0.0) + record.cost["score_seconds"]
        own.setdefault(record.where.method, []).append(spent)
    every = [value for values in own.values() for value in values]
    work: dict[Group, float] = {}
    for item in pending:
        values = own.get(item.cell.method, every)
        group = item.cell.group
        work[group] = work.get(group, 0.0 if group in begun else shared) + sum(values) / len(values)
    return max(sum(work.values()) / max(1, jobs), *work.values())


def needs(plan: Plan, jobs: int) -> list[str]:
    """What the pending cells will take: text, disk and, of a language model as judge, requests."""
    if not plan.pending:
        return []
    jobs = min(jobs, plan.groups)
    said = [f"{plan.groups} groups of cells, up to {jobs} side by side"]
    for track in plan.tracks.values():
        pending = sum(plan.track_of(item.cell) is track for item in plan.pending)
        said += track.costs(plan.suite, plan.subject, pending, jobs) if pending else []
    if plan.absent:
        said.append(f"hub: {plan.absent} sets of weights are to be downloaded")
    said.append(f"disk: up to {plan.suite.keep_gib:g} GiB of what is fitted and of codes that are kept (keep_gib)")
    return said


def content(suite: Suite, track: type[Track]) -> dict[str, Any]:
    """What a suite says to a track, as records show it: its judge without an address, and where cells stand."""
    said = suite.content()
    own = {"name": track.name, "places": sorted(track.places(suite)), "table": said.pop("tracks").get(track.name, {})}
    return said | {"judge": judges.public(suite.judge), "track": own}


def settings_hash(plan: Plan, cell: Cell) -> str:
    """What all cells of one row of the board share: everything their ids hold but the cell and its weights."""
    suite, run = plan.suite, plan.run_of(cell)
    subject = (suite.subject.name, suite.subject.dtype, suite.subject.revision, suite.threads)
    places = run.track.places(suite) if run.method.manifest.scope == "model" else ()
    made = (run.track.fitted_on(suite, plan.data, places), run.track.scored_on(suite, plan.data))
    return keyed.short("settings", run.method.code_hash, *cell.row.identity, subject, *made, _versions())


def _suite_hash(suite: Suite, track: type[Track], subject: ResolvedSubject, data: Mapping[str, str]) -> str:
    """What a suite says, and the text and weights that it says it of: the same under any name, and on any machine."""
    return keyed.short("suite", content(suite, track), data, subject.weights, _versions())


def _check_room(suite: Suite, subject: ResolvedSubject) -> None:
    """Refuse blocks that the subject does not have room for."""
    if subject.config is not None and suite.tokens.block > subject.config.max_position_embeddings:
        raise BadInput(
            f"tokens.block is {suite.tokens.block} and {suite.subject.name} takes at most "
            f"{subject.config.max_position_embeddings} positions"
        )


def _look_up(  # noqa: PLR0917
    cell: Cell,
    suite: Suite,
    run: MethodRun,
    wanted: Mapping[str, str],
    subject: ResolvedSubject,
    data: Mapping[str, str],
    store: Store,
) -> Planned:
    if cell.group.replicate not in subject.replicates:
        return Planned(cell, None, None, tuple(wanted))
    ids = _ids(cell, suite, run, subject, data)
    record = store.find(suite.name, run.method.name, ids.score)
    return Planned(cell, ids, record, _missing(record, wanted))


def _is_kept(item: Planned, store: Store) -> bool:
    return item.ids is not None and store.featurizer(item.ids.fit).is_dir()


def _missing(record: Record | None, wanted: Mapping[str, str]) -> tuple[str, ...]:
    """Families that a record lacks, or has by another definition."""
    known = record.families if record else {}
    return tuple(name for name, family_id in wanted.items() if known.get(name) != family_id)


def _ids(cell: Cell, suite: Suite, run: MethodRun, subject: ResolvedSubject, data: Mapping[str, str]) -> Ids:
    """Ids follow from content alone: what a family of metrics is computed from, not which families there are."""
    made_of = subject.made_of(cell.group.replicate, cell.group.variant)
    seen = run.track.places(suite) if run.method.manifest.scope == "model" else (cell.place,)
    computed = (suite.subject.dtype, suite.threads, _versions(), run.track.fitted_on(suite, data, seen))
    fit = keyed.short("fit", run.method.code_hash, cell.key, made_of, *computed)
    return Ids(fit, keyed.short("score", fit, run.track.scored_on(suite, data)))


def _versions() -> dict[str, int]:
    """Declared versions of the parts whose change makes other networks or another text."""
    return {"blocks": blocks.VERSION, "nulls": nulls.VERSION}
