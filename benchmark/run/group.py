"""One group, whose cells share a forward pass: variant -> gate -> hidden data -> fit in a worker -> score -> keep."""

from __future__ import annotations

import json
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import torch
from threadpoolctl import threadpool_limits

from benchmark import keyed
from benchmark.data.blocks import Blocks
from benchmark.execution import featurizers
from benchmark.execution.contract import Chunks, Executor, MethodError, Worker
from benchmark.execution.featurizers import Job, RemoteFeaturizer
from benchmark.forward.activations import CHUNK_TOKENS, ChunkStore, NotFinite
from benchmark.models import nulls, pythia
from benchmark.models.compared import Replicate
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.records import Arrays, Record, Store, temporary_of, write_text
from benchmark.reporting import Reporter
from benchmark.run import provenance
from benchmark.run.plan import Plan, Planned, own_step0
from benchmark.spec.cell import Group, Ids
from benchmark.spec.method import Method
from benchmark.spec.suite import Suite
from benchmark.tracks.features.track import CellKeys, FeaturesTrack, Scored, TrustedData
from benchmark.worker.session import peak_bytes

Result = TypeVar("Result")


class Context(NamedTuple):
    """What all groups of a process share; `joint` tells whether the method trains several at once."""

    plan: Plan
    store: Store
    executor: Executor
    blocks: dict[str, Blocks]
    track: FeaturesTrack
    reporter: Reporter
    joint: bool


class GroupData(NamedTuple):
    """What all cells of a group share."""

    network: Network
    gate: dict[str, object]
    hidden: TrustedData
    chunks: ChunkStore
    seconds: float


class Fitted(NamedTuple):
    """Featurizers of one worker, and what fitting them cost: seconds, and peak bytes of the worker. Where they were
    loaded, what their fit had cost and what loading them did.
    """

    worker: Worker
    featurizers: list[RemoteFeaturizer]
    cost: dict[str, float]


def run_group(context: Context, group: Group, members: list[Planned]) -> Iterator[Record]:
    """Records of all cells of a group, each stored before it is yielded.

    BLAS has one thread: with more its sums depend on their number, and groups side by side would spin on each other's
    cores.
    """
    with threadpool_limits(1, user_api="blas"):
        data = _attempt(partial(_group_data, context, group))
        if isinstance(data, Exception):
            for item in members:
                yield _failed(context, item, data)
            return
        with closing(data.chunks):
            undefined = [item for item in members if item.cell.hookpoint in data.hidden.not_finite]
            for item in undefined:
                yield _undefined(context, data, item, data.hidden.not_finite[item.cell.hookpoint])
            for unit in _units(context, [item for item in members if item not in undefined]):
                yield from _run_unit(context, data, unit)


def _units(context: Context, members: list[Planned]) -> list[list[Planned]]:
    """Cells that are fitted, or loaded, together in one worker."""
    stored = [item for item in members if context.store.featurizer(ids_of(item).fit).is_dir()]
    fresh = [item for item in members if item not in stored]
    if context.plan.method.manifest.scope == "model":
        alike: dict[str, list[Planned]] = {}
        for item in fresh:
            alike.setdefault(keyed.digest(item.cell.row.settings, item.cell.method_seed), []).append(item)
        together = list(alike.values())
    else:
        together = [fresh] if context.joint and fresh else [[item] for item in fresh]
    return [[item] for item in stored] + together


def _run_unit(context: Context, data: GroupData, unit: list[Planned]) -> Iterator[Record]:
    """Fit together, score one by one. When a joint fit fails its cells are fitted alone."""
    fitted = _attempt(partial(_fit, context, data, unit))
    if isinstance(fitted, Exception):
        if len(unit) > 1 and context.plan.method.manifest.scope == "hookpoint":
            for item in unit:
                yield from _run_unit(context, data, [item])
        else:
            for item in unit:
                if isinstance(fitted, NotFinite):
                    yield _undefined(context, data, item, str(fitted))
                else:
                    yield _failed(context, item, fitted)
        return
    with closing(fitted.worker):
        for item, featurizer in zip(unit, fitted.featurizers, strict=True):
            record = _attempt(partial(_score, context, data, item, featurizer, fitted))
            yield _failed(context, item, record) if isinstance(record, Exception) else record


def _group_data(context: Context, group: Group) -> GroupData:
    """The variant, gated, and everything that is hidden from methods."""
    started, suite, blocks = time.monotonic(), context.plan.suite, context.blocks
    context.reporter.step(f"replicate {group.replicate}, {group.variant}: loading and gating", 0, 0)
    network, gate = variant_of(
        context.plan.replicates[group.replicate], group, getattr(torch, suite.subject.dtype), context.plan.device
    )
    hidden = context.track.prepare(
        network,
        blocks,
        suite.hookpoints,
        pythia.tokenizer(context.plan.replicates[group.replicate].trained).decode,
        lambda text: context.reporter.step(f"{group.variant}: {text}", 0, 0),
    )
    layers = [layer_of(hookpoint) for hookpoint in suite.hookpoints]
    chunks = ChunkStore(
        context.store.root / "spool" / uuid.uuid4().hex,  # a method is told the path: it says nothing of the variant
        network,
        blocks["fit"],
        layers,
        n_tokens=suite.tokens.fit,
        stream=suite.stream,
        progress=lambda done, total: context.reporter.step(
            f"replicate {group.replicate}, {group.variant}: fit", done, total
        ),
    )
    return GroupData(network, gate, hidden, chunks, time.monotonic() - started)


def variant_of(
    replicate: Replicate, group: Group, dtype: torch.dtype, device: torch.device
) -> tuple[Network, dict[str, object]]:
    """The network of a group, and the figures of the gate that it passed."""
    kind = group.variant.kind
    original = pythia.load(replicate.trained, dtype, device)
    own = own_step0(replicate, group.variant)
    rng = nulls.tensor_rng(kind, group.subject, group.replicate, group.variant.draw)
    if own is None:
        network = nulls.build(kind, original, rng)
    elif group.variant.draw is None:
        network = Network(pythia.load(own, dtype, device))
    else:
        network = nulls.drawn_like(pythia.load(own, dtype, device), rng)
    return network, nulls.gate(kind, original, network, own_step0=own is not None)


def _fit(context: Context, data: GroupData, unit: list[Planned]) -> Fitted:
    """Fit, or load, the cells of a unit; what was fitted is kept at once, so that a kill costs no second fit."""
    suite, method = context.plan.suite, context.plan.method
    jobs = [_job(suite, item, hookpoint, data.chunks) for item in unit for hookpoint in _seen(context, item)]
    if method.manifest.scope == "model":
        jobs = list({job.stream["id"]: job for job in jobs}.values())
    layers = {job.stream["id"]: layer_of(job.hookpoint) for job in jobs}
    started, costs = time.monotonic(), [_cost_file(context, item) for item in unit]
    worker = _open(context, lambda stream, number: data.chunks.chunk(layers[stream], number), unit[0].cell.opaque)
    try:
        folders = [context.store.featurizer(ids_of(item).fit) for item in unit]
        if all(folder.is_dir() for folder in folders):
            found, _ = featurizers.load(worker, folders, jobs)
            known = json.loads(costs[0].read_text(encoding="utf-8")) if costs[0].is_file() else {}
            return Fitted(worker, found, known | {"load_seconds": (time.monotonic() - started) / len(unit)})
        found, reply = featurizers.fit(worker, jobs, method.manifest.scope)
        seconds = (time.monotonic() - started) / len(unit)
        cost = {"fit_seconds": seconds, "fitted_together": len(unit), "worker_peak_bytes": float(reply["peak_bytes"])}
        if method.manifest.scope == "model":
            place = {job.hookpoint: number for number, job in enumerate(jobs)}
            found = [found[place[item.cell.hookpoint]] for item in unit]
        if reply.get("persistent"):
            for folder, featurizer, file in zip(folders, found, costs, strict=True):
                if _keep(context, folder, featurizer):
                    write_text(file, json.dumps(cost) + "\n")
    except BaseException:
        worker.close()
        raise
    return Fitted(worker, found, cost)


def _score(context: Context, data: GroupData, item: Planned, featurizer: RemoteFeaturizer, fitted: Fitted) -> Record:
    """Score one cell and keep its record."""
    cell, started = item.cell, time.monotonic()
    context.reporter.step(f"scoring {cell.group.variant} at {cell.hookpoint}", 0, 0)
    keys = CellKeys(cell.group.subject, cell.group.replicate, cell.method_seed, cell.hookpoint)
    scored = context.track.score(data.hidden, cell.hookpoint, featurizer, keys, context.reporter.step)
    cost = fitted.cost | {
        "group_seconds": data.seconds,
        "score_seconds": time.monotonic() - started,
        "harness_peak_bytes": float(peak_bytes()),
        "fit_forwards": data.chunks.forwards,
    }
    record = _record(context, data, item, scored, cost)
    arrays = Arrays(*scored.shared)
    kept = arrays if context.store.kept_bytes() < context.plan.suite.keep_gib * 2**30 else None
    context.store.put(record, scored.latents, kept, scored.tables)
    return record


def _record(context: Context, data: GroupData, item: Planned, scored: Scored, cost: dict[str, float]) -> Record:
    cell = item.cell
    return provenance.record(
        context.plan,
        item,
        scored,
        gate=data.gate,
        cost=cost,
        seeds=_seeds(cell.group, cell.method_seed, cell.hookpoint),
        isolation=context.executor.isolation,
    )


def _undefined(context: Context, data: GroupData, item: Planned, reason: str) -> Record:
    """The record of a cell whose activations no method can be asked about."""
    scored = context.track.undefined(reason)
    record = _record(context, data, item, scored, {"group_seconds": data.seconds})
    context.store.put(record)
    return record


def _failed(context: Context, item: Planned, error: Exception) -> Record:
    record = provenance.failure(context.plan, item, error, context.executor.isolation)
    context.store.put(record)
    return record


def _open(context: Context, chunks: Chunks, name: str) -> Worker:
    worker = context.executor.start(chunks, context.store.root / "logs" / f"{name}.log", context.plan.suite.limits)
    worker.call(opening(context.plan.method, context.plan.device, context.plan.suite.threads))
    return worker


def opening(method: Method, device: torch.device, threads: int) -> dict[str, Any]:
    """The first request to a worker: which class it is to import, and what it may compute on."""
    return {
        "op": "open",
        "folder": str(method.folder),
        "entry": method.manifest.entry,
        "device": str(device),
        "threads": threads,
    }


def _job(suite: Suite, item: Planned, hookpoint: str, chunks: ChunkStore) -> Job:
    cell = item.cell
    seeds = _seeds(cell.group, cell.method_seed, hookpoint)
    stream = {
        "id": keyed.short("stream", cell.group.subject, cell.group.replicate, cell.method_seed, hookpoint),
        "d_model": chunks.d_model,
        "n_tokens": chunks.n_tokens,
        "chunk_tokens": CHUNK_TOKENS,
        "shuffle_tokens": suite.stream.shuffle_tokens,
        "seed": seeds["stream"],
        "dtype": suite.stream.dtype,
    }
    return Job(hookpoint, stream, seeds["fit"], cell.row.settings)


def _seen(context: Context, item: Planned) -> Sequence[str]:
    """Hookpoints whose activations the fit of a cell reads."""
    return context.plan.suite.hookpoints if context.plan.method.manifest.scope == "model" else (item.cell.hookpoint,)


def _seeds(group: Group, method_seed: int, hookpoint: str) -> dict[str, int]:
    """Seeds of fit and batch order: keyed by replicate, method seed and hookpoint, never by the variant."""
    where = (group.subject, group.replicate, method_seed, hookpoint)
    return {"fit": keyed.seed("fit", *where), "stream": keyed.seed("stream", *where)}


def _keep(context: Context, folder: Path, featurizer: RemoteFeaturizer) -> bool:
    """Store a featurizer as long as there is room for it; one that is there already stays."""
    if folder.is_dir():
        return True
    suite, temporary = context.plan.suite, temporary_of(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    featurizer.save(temporary)
    size = sum(file.lstat().st_size for file in temporary.rglob("*"))
    if size > suite.limits.disk_gib * 2**30:
        shutil.rmtree(temporary)
        raise MethodError(f"save wrote {size / 2**30:.1f} GiB, more than the suite's limits.disk_gib")
    if context.store.kept_bytes() > suite.keep_gib * 2**30:
        shutil.rmtree(temporary)
        return False
    temporary.rename(folder)
    return True


def _cost_file(context: Context, item: Planned) -> Path:
    return context.store.featurizer(f"{ids_of(item).fit}.json")


def ids_of(item: Planned) -> Ids:
    assert item.ids is not None, "every replicate is on this machine once a run has begun"
    return item.ids


def _attempt(call: Callable[[], Result]) -> Result | Exception:
    """The result, or the exception that is about to become the record of a failed cell."""
    try:
        return call()
    except Exception as error:
        return error
