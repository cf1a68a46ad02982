"""One group: the cells, of all methods of a run, that share a network.

variant -> gate -> trusted data of each track -> per method: fit in a worker -> score -> keep.
"""

from __future__ import annotations

import functools
import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from threadpoolctl import threadpool_limits

from benchmark import keyed
from benchmark.data.blocks import Blocks
from benchmark.execution.contract import Executor, Worker
from benchmark.execution.isolation import PLAIN, WEAKEST, weaker
from benchmark.forward.activations import NotFinite
from benchmark.models.network import Network
from benchmark.records import Record
from benchmark.reporting import Reporter
from benchmark.run import provenance
from benchmark.run.exchange import handed_over, take
from benchmark.run.plan import MethodRun, Plan, Planned
from benchmark.spec.cell import Group
from benchmark.store import Store, write_text
from benchmark.tracks.contract import Answerer, FitRequest, Track, TrustedData
from benchmark.worker.session import peak_bytes

Result = TypeVar("Result")


class Context(NamedTuple):
    """What all groups of a process share; `joint` names the methods that train several cells at once."""

    plan: Plan
    store: Store
    executor: Executor
    blocks: Mapping[str, Blocks]
    tracks: Mapping[str, Track]
    reporter: Reporter
    joint: frozenset[str]


class SharedData(NamedTuple):
    """What the cells of one track share in a group: the gate's figures, trusted data, and the seconds that making them
    took, which every cell's record gives whole.
    """

    track: Track
    gate: Mapping[str, object]
    trusted: TrustedData
    seconds: float


class Fitted(NamedTuple):
    """What answers for each cell of a unit, and what fitting cost: seconds, and peak bytes of the worker. Where it was
    loaded, what its fit had cost and what loading it did. `isolation` is the weakest that fit and answers had.
    """

    worker: Worker
    answerers: Sequence[Answerer]
    cost: dict[str, float]
    isolation: str


def run_group(context: Context, group: Group, members: list[Planned]) -> Iterator[Record]:
    """Records of all cells of a group, each stored before it is yielded.

    BLAS has one thread: with more its sums depend on their number, and groups side by side would spin on each other's
    cores.
    """
    with threadpool_limits(1, user_api="blas"):
        started = time.monotonic()
        context.reporter.step(f"replicate {group.replicate}, {group.variant}: loading and gating", 0, 0)
        made = _attempt(partial(context.plan.subject.network, group.replicate, group.variant))
        if isinstance(made, Exception):
            for item in members:
                yield _failed(context, item, made)
            return
        network, gate = made
        for track in context.tracks.values():
            own = [item for item in members if context.plan.track_of(item.cell).name == track.name]
            if own:
                yield from _run_track(context, group, track, own, (network, gate, started))
                started = time.monotonic()


def _run_track(
    context: Context, group: Group, track: Track, members: list[Planned], made: tuple[Network, dict[str, object], float]
) -> Iterator[Record]:
    """Cells of one track, of all its methods."""
    network, gate, started = made
    members = [_as_far_as_it_can_be_extended(context, item) for item in members]
    families = sorted({name for item in members for name in item.missing})
    # A method is told the path of its chunks: it says nothing of the variant.
    spool = context.store.root / "spool" / uuid.uuid4().hex
    trusted = _attempt(
        partial(
            track.prepare,
            network,
            context.blocks,
            context.plan.subject.tokenizer().decode,
            families,
            spool,
            lambda text, done, total: context.reporter.step(
                f"replicate {group.replicate}, {group.variant}: {text}", done, total
            ),
        )
    )
    if isinstance(trusted, Exception):
        for item in members:
            yield _failed(context, item, trusted)
        return
    shared = SharedData(track, gate, trusted, time.monotonic() - started)
    with closing(trusted):
        for item in members:
            if item.cell.place in trusted.undefined:
                yield _undefined(context, shared, item, trusted.undefined[item.cell.place])
        measured = [item for item in members if item.cell.place not in trusted.undefined]
        for run in context.plan.runs:
            of_method = [item for item in measured if item.cell.method == run.method.name]
            for unit in _units(context, run, of_method):
                yield from _run_unit(context, shared, run, unit)


def _as_far_as_it_can_be_extended(context: Context, item: Planned) -> Planned:
    """A cell that lacks families keeps its record only where what was fitted is kept and was scored on such a machine:
    values of two dictionaries, or of two platforms, have no place in one record.
    """
    record = item.record
    if record is None or (
        context.store.featurizer(item.known_ids.fit).is_dir()
        and record.versions == provenance.versions()
        and record.environment == provenance.environment(context.plan.run_of(item.cell))
        and record.hardware == provenance.hardware(context.plan.subject.device)
    ):
        return item
    return item._replace(record=None, missing=tuple(context.plan.track_of(item.cell).families(context.plan.suite)))


def _units(context: Context, run: MethodRun, members: list[Planned]) -> list[list[Planned]]:
    """Cells of a method that are fitted, or loaded, together in one worker."""
    if run.method.manifest.scope == "model":
        alike: dict[str, list[Planned]] = {}
        for item in members:
            alike.setdefault(keyed.digest(item.cell.row.settings, item.cell.method_seed), []).append(item)
        return list(alike.values())
    stored = [item for item in members if context.store.featurizer(item.known_ids.fit).is_dir()]
    fresh = [item for item in members if item not in stored]
    together = [fresh] if run.method.name in context.joint and fresh else [[item] for item in fresh]
    return [[item] for item in stored] + together


def _run_unit(context: Context, shared: SharedData, run: MethodRun, unit: list[Planned]) -> Iterator[Record]:
    """Fit together, score one by one. When a joint fit fails its cells are fitted alone."""
    fitted = _attempt(partial(_fit, context, shared, run, unit))
    if isinstance(fitted, Exception):
        if len(unit) > 1 and run.method.manifest.scope != "model":
            for item in unit:
                yield from _run_unit(context, shared, run, [item])
        else:
            for item in unit:
                if isinstance(fitted, NotFinite):
                    yield _undefined(context, shared, item, str(fitted))
                else:
                    yield _failed(context, item, fitted)
        return
    with closing(fitted.worker):
        for item, answerer in zip(unit, fitted.answerers, strict=True):
            record = _attempt(partial(_score, context, shared, item, answerer, fitted))
            yield _failed(context, item, record) if isinstance(record, Exception) else record


def _fit(context: Context, shared: SharedData, run: MethodRun, unit: list[Planned]) -> Fitted:
    """Fit, or load, the cells of a unit; what was fitted is kept at once, so that a kill costs no second fit."""
    started, scope = time.monotonic(), run.method.manifest.scope
    own = len(unit)
    # Of a fit of the whole model a part alone would not know the rest: all of it is loaded.
    whole = [*unit, *(_others(context, unit) if scope == "model" else ())]
    requests = [FitRequest(item.cell.keys, item.cell.row.settings) for item in whole]
    folders = [context.store.featurizer(item.known_ids.fit) for item in whole]
    costs, isolation = [_cost_file(context, item) for item in unit], context.executor.isolation
    worker = _open(context, shared, run)
    try:
        if all(folder.is_dir() for folder in folders):
            with handed_over(folders, worker.exchange()) as copies:
                answerers = shared.track.load(worker, shared.trusted, copies, requests, scope)[:own]
            known = [json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {} for file in costs]
            if not run.pretrained:  # what was fitted here had its own isolation; where nothing says it, the least
                had = [one.pop("isolation", PLAIN) if one else WEAKEST for one in known]
                isolation = functools.reduce(weaker, had, isolation)
            cost = known[0] | {"load_seconds": (time.monotonic() - started) / own}
            return Fitted(worker, answerers, cost, isolation)
        answerers, figures = shared.track.fit(worker, shared.trusted, requests[:own], scope)
        seconds = (time.monotonic() - started) / own
        cost = {"fit_seconds": seconds, "fitted_together": own, "worker_peak_bytes": float(figures["peak_bytes"])}
        if figures.get("persistent"):
            for folder, answerer, file in zip(folders[:own], answerers, costs, strict=True):
                if _keep(context, folder, worker, answerer):
                    write_text(file, json.dumps({**cost, "isolation": isolation}) + "\n")
    except BaseException:
        worker.close()
        raise
    return Fitted(worker, answerers, cost, isolation)


def _others(context: Context, unit: list[Planned]) -> list[Planned]:
    """Cells of the plan that a unit's one fit of the whole model is of, too."""
    here = {item.cell.place for item in unit}
    cell = unit[0].cell
    return [
        item
        for item in context.plan.cells
        if item.cell.place not in here and item.cell._replace(place=cell.place) == cell
    ]


def _score(context: Context, shared: SharedData, item: Planned, answerer: Answerer, fitted: Fitted) -> Record:
    """Compute what a cell lacks and keep its record: a new one, or the one that is there with more in it."""
    cell, started = item.cell, time.monotonic()
    context.reporter.step(f"scoring {cell.method}, {cell.group.variant} at {cell.place}", 0, 0)
    scored = shared.track.score(shared.trusted, answerer, cell.keys, item.missing, context.reporter.step)
    if item.record is not None:
        record = provenance.extended(context.plan, item, scored)
        record = record.model_copy(update={"isolation": weaker(record.isolation, fitted.isolation)})
        context.store.extend(record, scored.samples, scored.tables)
        return record
    cost = {
        **fitted.cost,
        "group_seconds": shared.seconds,
        "score_seconds": time.monotonic() - started,
        "harness_peak_bytes": float(peak_bytes()),
        **shared.trusted.cost(),
    }
    record = provenance.record(context.plan, item, scored, gate=shared.gate, cost=cost, isolation=fitted.isolation)
    room = context.store.kept_bytes() < context.plan.suite.keep_gib * 2**30
    context.store.put(record, scored.samples, scored.arrays if room else None, scored.tables)
    return record


def _undefined(context: Context, shared: SharedData, item: Planned, reason: str) -> Record:
    """The record of a cell of which nothing can be asked."""
    record = provenance.undefined(
        context.plan, item, reason, gate=shared.gate, seconds=shared.seconds, isolation=context.executor.isolation
    )
    context.store.put(record)
    return record


def _failed(context: Context, item: Planned, error: Exception) -> Record:
    record = provenance.failure(context.plan, item, error, context.executor.isolation)
    context.store.put(record)
    return record


def _open(context: Context, shared: SharedData, run: MethodRun) -> Worker:
    # A worker can read the name of what it prints to: drawn, it says nothing of the cell.
    log = context.store.root / "logs" / f"{uuid.uuid4().hex}.log"
    limits = context.plan.suite.limits
    worker = context.executor.start(shared.trusted.chunk, log, limits, run.environment, run.method.folder)
    worker.call(opening(run, context.plan.subject.device, context.plan.suite.threads))
    return worker


def opening(run: MethodRun, device: torch.device, threads: int) -> dict[str, Any]:
    """The first request to a worker: which class it is to import, what answers for its track, and what it may compute
    on.
    """
    return {
        "op": "open",
        "folder": str(run.method.folder),
        "entry": run.method.manifest.entry,
        "session": run.track.session,
        "device": str(device),
        "threads": threads,
    }


def _keep(context: Context, folder: Path, worker: Worker, answerer: Answerer) -> bool:
    """Store what was fitted as long as there is room for it; what is there already stays. The method writes into a
    folder of a drawn name, and weights and JSON alone leave it.
    """
    suite = context.plan.suite
    if folder.is_dir():
        return True
    exchange = worker.exchange()
    try:
        answerer.save(exchange)
        written = sum(file.lstat().st_size for file in exchange.rglob("*"))
        if context.store.kept_bytes() + written > suite.keep_gib * 2**30:
            return False
        take(exchange, folder, suite.limits.disk_gib * 2**30)
    finally:
        shutil.rmtree(exchange, ignore_errors=True)
    return True


def _cost_file(context: Context, item: Planned) -> Path:
    return context.store.featurizer(f"{item.known_ids.fit}.json")


def _attempt(call: Callable[[], Result]) -> Result | Exception:
    """The result, or the exception that is about to become the record of a failed cell."""
    try:
        return call()
    except Exception as error:
        return error
