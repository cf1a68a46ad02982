"""From a plan to records. Read it first, then `group`.

plan -> blocks -> groups, in turn or side by side: variant -> gate -> hidden data -> fit -> score -> records -> joins
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Generator
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark import registry
from benchmark.data import blocks as token_blocks
from benchmark.data.blocks import Blocks
from benchmark.errors import BadInput
from benchmark.execution.contract import Executor, MethodError
from benchmark.execution.in_process import InProcess
from benchmark.execution.local import ForkServer
from benchmark.judges.open import Judging
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.records import Record, Store
from benchmark.reporting import Reporter, Silent
from benchmark.run import joins, plan
from benchmark.run.group import Context, ids_of, opening, run_group
from benchmark.run.launch import processes as parallel
from benchmark.run.plan import Plan, Planned
from benchmark.spec.cell import Group, grouped
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.suite import Suite
from benchmark.tracks.features.autointerp import wanted
from benchmark.tracks.features.track import JOIN_TOKENS, FeaturesTrack, TokenTable

ISOLATION: dict[str, Callable[[], Executor]] = {"process": ForkServer, "none": InProcess}


class Outcome(NamedTuple):
    """What a run did; `judge` sums what its records count of a language model: requests, tokens, unusable answers."""

    computed: int
    cached: int
    failed: list[Record]
    judge: dict[str, float]


def run(
    suite: Suite,
    method: Method,
    rows: list[RunSettings],
    store: Store,
    isolation: str,
    reporter: Reporter,
    *,
    jobs: int | None = 1,
    replay: bool = False,
) -> Outcome:
    """Compute every cell that has no record, then the joins.

    `jobs` groups run side by side, in processes of their own; None for as many as the machine takes, one where the
    judge is a language model. With `replay` such a judge answers from its transcripts alone.

    Raises:
        BadInput: before any compute, when something is known to fail.
    """
    store.check()
    with store.locked(), closing(ISOLATION[isolation]()) as executor:
        planned = plan.make(suite, method, rows, store, download=True)
        planned = _restamped(planned, store)
        d_model = pythia.config(next(iter(planned.replicates.values())).trained).hidden_size
        joint = _check_settings(suite, method, rows, d_model, executor, store)
        judging = Judging(suite.judge, store.root / "transcripts", replay)
        if planned.pending and wanted(suite.metrics):
            judging.check()
        blocks = _blocks(planned, store, reporter)
        store.select(suite.name, method.name, {row.label: _row_ids(planned, row) for row in rows})
        with closing(FeaturesTrack(suite.metrics, suite.latents, judging)) as track:
            context = Context(planned, store, executor, blocks, track, reporter, joint)
            outcome = _run_groups(context, jobs)
            _join(context)
    return outcome


def _restamped(planned: Plan, store: Store) -> Plan:
    """Done cells as cells of this suite: their scores depend on what their own ids hold, so that a suite which gains a
    variant, a replicate or a place keeps them; the content that their record names must be the present one.
    """
    stamp = {"suite": plan.content(planned.suite), "suite_hash": planned.suite_hash}
    cells = []
    for item in planned.cells:
        record = item.record
        if record is not None and (record.suite, record.suite_hash) != tuple(stamp.values()):
            record = record.model_copy(update=stamp)
            store.put(record)
        cells.append(item._replace(record=record))
    return planned._replace(cells=cells)


def jobs_for(suite: Suite, device: torch.device) -> int:
    """Groups side by side where nobody says how many: what the machine takes, one where a language model judges."""
    return 1 if suite.judge not in registry.JUDGES else parallel.jobs_for(device, suite.threads)


def calibrate(
    suite: Suite, method: Method, rows: list[RunSettings], store: Store, reporter: Reporter
) -> tuple[list[Record], list[Record]]:
    """Records of a suite on the built-in subject, and of the same with all its training seeds."""
    seeds = {seed: f"{builtin.PREFIX}{seed}" for seed in builtin.seeds()}
    wide = suite.model_copy(update={"subject": suite.subject.model_copy(update={"replicates": seeds})})
    run(wide, method, rows, store, "process", reporter, jobs=None)
    planned = plan.make(wide, method, rows, store, download=False)
    found = [item.record for item in planned.cells if item.record is not None]
    return [record for record in found if record.where.replicate in suite.subject.replicates], found


def _row_ids(planned: Plan, row: RunSettings) -> list[str]:
    return [ids_of(item).score for item in planned.cells if item.cell.row == row]


def _run_groups(context: Context, jobs: int | None) -> Outcome:
    planned = {item.cell.opaque: item for item in context.plan.cells}
    pending = [item.cell for item in context.plan.pending]
    total, cached = len(planned), len(planned) - len(pending)
    failed: list[Record] = []
    judge: dict[str, float] = {}
    done = cached
    context.reporter.cells(done, total)
    groups = [(group, [planned[cell.opaque] for cell in members]) for group, members in grouped(pending)]
    threads = context.plan.suite.threads
    side_by_side = min(jobs or jobs_for(context.plan.suite, context.plan.device), len(groups))
    if side_by_side > 1 and not parallel.possible():
        context.reporter.say("no shared memory for processes side by side (/dev/shm): groups run one at a time")
        side_by_side = 1
    with parallel.torch_threads(threads), closing(_records(context, groups, side_by_side)) as records:
        for done, record in enumerate(records, cached + 1):
            for name, value in record.counts.items():
                if name.startswith("judge_"):
                    judge[name] = judge.get(name, 0) + value
            if record.status == "failed":
                failed.append(record)
                where = record.where
                context.reporter.say(f"failed: {where.variant} at {where.hookpoint}: {record.error}")
            context.reporter.cells(done, total)
    return Outcome(done - cached, cached, failed, judge)


def _records(context: Context, groups: list[tuple[Group, list[Planned]]], jobs: int) -> Generator[Record, None, None]:
    """Records of all groups, `jobs` of them in progress at a time."""
    if jobs <= 1:
        for group, members in groups:
            yield from run_group(context, group, members)
        return
    shared = (context.plan, context.track.judging, context.joint, context.store.root, context.executor.isolation)
    threads = context.plan.suite.threads
    yield from parallel.spread(jobs, partial(run_group, context), partial(_apart, *shared), groups, threads)


def _apart(  # noqa: PLR0917  everything that a process of its own needs
    planned: Plan,
    judging: Judging,
    joint: bool,
    folder: Path,
    isolation: str,
    group: Group,
    members: list[Planned],
) -> list[Record]:
    """One group in this process, which shares nothing with the run's but the results folder."""
    store, reporter, suite = Store(folder), Silent(), planned.suite
    blocks, track = _blocks(planned, store, reporter), _track(suite.metrics, suite.latents, judging)
    context = Context(planned, store, _executor(isolation), blocks, track, reporter, joint)
    return list(run_group(context, group, members))


@cache
def _track(metrics: tuple[str, ...], latents: int, judging: Judging) -> FeaturesTrack:
    """The track of this process, whose judges serve all its groups."""
    track = FeaturesTrack(metrics, latents, judging)
    atexit.register(track.close)
    return track


@cache
def _executor(isolation: str) -> Executor:
    """The executor of this process, which ends with it."""
    return ISOLATION[isolation]()


def _join(context: Context) -> None:
    suite, method, store = context.plan.suite, context.plan.method, context.store
    scored = [store.find(suite.name, method.name, ids_of(item).score) for item in context.plan.cells]
    found = joins.compute(
        [record for record in scored if record is not None],
        store.joins(suite.name, method.name),
        suite.metrics,
        store,
        lambda: _join_tokens(context.blocks["score"]),
        lambda done, total: context.reporter.step("universality and stability", done, total),
    )
    store.put_joins(suite.name, method.name, found)


def _join_tokens(blocks: Blocks) -> NDArray[np.int64]:
    return TokenTable.of(blocks).ids[:JOIN_TOKENS]


def _check_settings(
    suite: Suite, method: Method, rows: list[RunSettings], d_model: int, executor: Executor, store: Store
) -> bool:
    """Let the method refuse its settings before any compute; returns whether it trains several at once."""
    with closing(executor.start(_no_chunks, store.root / "logs" / "check.log", suite.limits)) as worker:
        try:
            reply, _ = worker.call(opening(method, torch.device("cpu"), suite.threads))
            for row in rows:
                worker.call({"op": "check", "settings": row.settings, "d_model": d_model})
        except MethodError as error:
            raise BadInput(f"method {method.name}: {error}") from error
    return bool(reply.get("joint"))


def _blocks(planned: Plan, store: Store, reporter: Reporter) -> dict[str, Blocks]:
    trained = next(iter(planned.replicates.values())).trained
    return token_blocks.prepare(
        planned.suite.corpus,
        planned.suite.tokens,
        pythia.tokenizer(trained),
        pythia.tokenizer_fingerprint(trained),
        store.root / "blocks",
        lambda done, total: reporter.step("tokenising", done, total),
        reporter.say,
    )


def _no_chunks(stream: str, number: int) -> Path:
    raise MethodError("a method reads activations in fit only")
