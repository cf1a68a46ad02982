"""From a plan to records. Read it first, then `group`.

plan -> blocks -> groups, in turn or side by side: variant -> gate -> trusted data -> fit -> score -> records -> joins
"""

from __future__ import annotations

import atexit
import time
from collections.abc import Generator, Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import torch

from benchmark import registry
from benchmark.data import blocks as token_blocks
from benchmark.data.blocks import Blocks
from benchmark.errors import BadInput
from benchmark.execution import environments
from benchmark.execution.contract import Executor, MethodError, Worker
from benchmark.execution.environments import Environment
from benchmark.execution.in_process import InProcess
from benchmark.execution.isolation import ISOLATION, open_executor
from benchmark.models import subjects
from benchmark.models.mini import builtin
from benchmark.records import Record
from benchmark.reporting import Reporter, Silent
from benchmark.run import joins, plan, pretrained
from benchmark.run.exchange import handed_over
from benchmark.run.group import Context, opening, run_group
from benchmark.run.launch import processes
from benchmark.run.plan import MethodRun, Plan, Planned
from benchmark.spec.cell import Group, grouped
from benchmark.spec.suite import Suite
from benchmark.store import Store, finished
from benchmark.tracks.contract import Track, track_class


class Outcome(NamedTuple):
    """What a run did; `judge` sums what its records count of a language model: requests, tokens, unusable answers."""

    computed: int
    cached: int
    failed: list[Record]
    judge: dict[str, float]


class Work(NamedTuple):
    """What decides how groups run: the plan, which methods are joint, the results folder, and isolation; what a process
    of its own is told.
    """

    plan: Plan
    joint: frozenset[str]
    folder: Path
    isolation: str
    replay: bool


def run(
    suite: Suite,
    runs: Sequence[MethodRun],
    store: Store,
    isolation: str | None,
    reporter: Reporter,
    *,
    jobs: int | None = 1,
    replay: bool = False,
) -> Outcome:
    """Compute what any cell of the methods lacks, then the joins.

    `jobs` groups run side by side, in processes of their own; None for as many as the machine takes, one where the
    judge is a language model. With `replay` such a judge answers from its transcripts alone. Without `isolation`
    methods have the best that there is.

    Raises:
        BadInput: before any compute, when something is known to fail.
    """
    store.check()
    folders, device = [one.method.folder for one in runs], subjects.device_of(suite.subject)
    with store.locked(), closing(open_executor(isolation, folders, device, reporter.say)) as executor:
        runs = [one._replace(environment=_environment(one, executor, store, reporter)) for one in runs]
        planned = _restamped(plan.make(suite, runs, store, download=True), store)
        joint = frozenset(one.method.name for one in runs if _check_settings(planned, one, executor, store))
        work = Work(planned, joint, store.root, executor.isolation, replay)
        tracks = {name: _open_track(work, name) for name in planned.tracks}
        try:
            for name, track in tracks.items():
                own = [item for item in planned.pending if planned.track_of(item.cell).name == name]
                track.ready(sorted({family for item in own for family in item.missing}))
            blocks = _blocks(planned, store, reporter)
            for one in runs:
                store.select(suite.name, one.method.name, _rows(planned, one))
            context = Context(planned, store, executor, blocks, tracks, reporter, joint)
            outcome = _run_groups(work, context, jobs)
            _join(context)
        finally:
            for track in tracks.values():
                track.close()
    return outcome


def jobs_for(suite: Suite, device: torch.device) -> int:
    """Groups side by side where nobody says how many: what the machine takes, one where a language model judges."""
    return 1 if suite.judge not in registry.JUDGES else processes.jobs_for(device, suite.threads)


def calibrate(suite: Suite, one: MethodRun, store: Store, reporter: Reporter) -> tuple[list[Record], list[Record]]:
    """Records of a suite on the built-in subject, and of the same with all its training seeds."""
    seeds = {seed: f"{builtin.PREFIX}{seed}" for seed in builtin.seeds()}
    wide = suite.model_copy(update={"subject": suite.subject.model_copy(update={"replicates": seeds})})
    run(wide, [one], store, "process", reporter, jobs=None)
    planned = plan.make(wide, [one], store, download=False)
    done = [item.record for item in planned.cells if item.record is not None]
    return [record for record in done if record.where.replicate in suite.subject.replicates], done


def _restamped(planned: Plan, store: Store) -> Plan:
    """Cells that have a record as cells of this suite: their scores depend on what their own ids hold, so that a suite
    which gains a variant, a replicate or a place keeps them; the content that their record names must be the present
    one.
    """
    cells = []
    for item in planned.cells:
        record, track = item.record, planned.track_of(item.cell)
        stamp = {"suite": plan.content(planned.suite, track), "suite_hash": planned.suite_hashes[track.name]}
        if record is not None and (record.suite, record.suite_hash) != tuple(stamp.values()):
            record = record.model_copy(update=stamp)
            store.put(record)
        cells.append(item._replace(record=record))
    return planned._replace(cells=cells)


def _rows(planned: Plan, one: MethodRun) -> dict[str, list[str]]:
    """Score ids of each row of a method, by label."""
    own = [item for item in planned.cells if item.cell.method == one.method.name]
    return {row.label: [item.known_ids.score for item in own if item.cell.row == row] for row in one.rows}


def _run_groups(work: Work, context: Context, jobs: int | None) -> Outcome:
    planned = {item.cell.opaque: item for item in context.plan.cells}
    waiting = {item.cell.opaque: item for item in context.plan.pending}
    total, cached = len(planned), len(planned) - len(waiting)
    failed: list[Record] = []
    judge: dict[str, float] = {}
    done, fresh, begun, started = cached, list[Record](), set[Group](), time.monotonic()
    context.reporter.cells(done, total)
    groups = [
        (group, [waiting[cell.opaque] for cell in members])
        for group, members in grouped(item.cell for item in waiting.values())
    ]
    side_by_side = min(jobs or jobs_for(context.plan.suite, context.plan.subject.device), len(groups))
    if side_by_side > 1 and not processes.possible():
        context.reporter.say("no shared memory for processes side by side (/dev/shm): groups run one at a time")
        side_by_side = 1
    threads = context.plan.suite.threads
    cells = {item.known_ids.score: item for item in waiting.values()}
    with processes.torch_threads(threads), closing(_records(work, context, groups, side_by_side)) as records:
        for done, record in enumerate(records, cached + 1):
            item = cells.pop(record.score_id)
            before = item.record.counts if item.record and record.status == "scored" else {}
            for name, value in record.counts.items():
                if name.startswith("judge_"):
                    judge[name] = judge.get(name, 0) + value - before.get(name, 0)
            if record.status == "failed":
                failed.append(record)
                where = record.where
                said = f"{where.method}, {where.variant} at {where.place}"
                context.reporter.say(f"failed: {said}: {record.error}")
            begun.add(item.cell.group)
            if item.record is None:
                fresh.append(record)
            # What a cell's first fit and scores cost says nothing of a cell that gets some more metrics.
            left = plan.seconds_left(fresh, list(cells.values()), side_by_side, begun)
            if not fresh:
                left = (time.monotonic() - started) / (done - cached) * len(cells)
            context.reporter.cells(done, total, left)
    return Outcome(done - cached, cached, failed, judge)


def _records(
    work: Work, context: Context, groups: list[tuple[Group, list[Planned]]], jobs: int
) -> Generator[Record, None, None]:
    """Records of all groups, `jobs` of them in progress at a time."""
    if jobs <= 1:
        for group, members in groups:
            yield from run_group(context, group, members)
        return
    here, apart = partial(run_group, context), partial(_apart, work)
    yield from processes.spread(jobs, here, apart, groups, work.plan.suite.threads)


def _apart(work: Work, group: Group, members: list[Planned]) -> list[Record]:
    """One group in this process, which shares nothing with the run's but the results folder."""
    store, reporter = Store(work.folder), Silent()
    tracks = {name: _own_track(work.plan.suite.model_dump_json(), work, name) for name in work.plan.tracks}
    blocks = _blocks(work.plan, store, reporter)
    context = Context(work.plan, store, _own_executor(work.isolation), blocks, tracks, reporter, work.joint)
    return list(run_group(context, group, members))


def _open_track(work: Work, name: str) -> Track:
    return track_class(name)(work.plan.suite, work.folder / "transcripts", replay=work.replay)


_TRACKS: dict[tuple[str, str], Track] = {}


def _own_track(suite: str, work: Work, name: str) -> Track:
    """The track of this process, whose judges serve all its groups."""
    if (suite, name) not in _TRACKS:
        _TRACKS[suite, name] = _open_track(work, name)
        atexit.register(_TRACKS[suite, name].close)
    return _TRACKS[suite, name]


@cache
def _own_executor(isolation: str) -> Executor:
    """The executor of this process, which ends with it."""
    return ISOLATION[isolation]()


def _join(context: Context) -> None:
    for one in context.plan.runs:
        suite, method, store = context.plan.suite, one.method.name, context.store
        own = [item for item in context.plan.cells if item.cell.method == method]
        scored = [store.find(suite.name, method, item.known_ids.score) for item in own]
        computed = joins.compute(
            [record for record in scored if record is not None],
            store.joins(suite.name, method),
            suite.metrics,
            store,
            partial(one.track.shared_tokens, context.blocks),
            lambda done, total: context.reporter.step("universality and stability", done, total),
        )
        store.put_joins(suite.name, method, computed)


def _environment(one: MethodRun, executor: Executor, store: Store, reporter: Reporter) -> Environment | None:
    if one.method.requirements and executor.isolation == InProcess.isolation:
        raise BadInput(
            f"{one.method.name} has a requirements.txt, and so runs in a process of its own: leave --isolation out"
        )
    return one.environment or environments.prepare(one.method, store.root / "environments", reporter.say)


def _check_settings(planned: Plan, one: MethodRun, executor: Executor, store: Store) -> bool:
    """Let the method refuse its settings, or what it is to load, before any compute; returns whether it trains several
    at once.
    """
    suite, subject = planned.suite, planned.subject
    log = store.root / "logs" / "check.log"
    with closing(executor.start(_no_chunks, log, suite.limits, one.environment, one.method.folder)) as worker:
        try:
            reply, _ = worker.call(opening(one, torch.device("cpu"), suite.threads))
            if one.pretrained:
                _put_in_place(planned, one, worker, store)
            else:
                for row in one.rows:
                    worker.call({"op": "check", "settings": row.settings, "d_model": subject.d_model})
        except MethodError as error:
            raise BadInput(f"method {one.method.name}: {error}") from error
    return bool(reply.get("joint"))


def _put_in_place(planned: Plan, one: MethodRun, worker: Worker, store: Store) -> None:
    """Fits that were made elsewhere, each loaded and asked once: what does not answer is not kept."""
    for item in planned.pending:
        fit = item.known_ids.fit
        if item.cell.method == one.method.name and not store.featurizer(fit).is_dir():
            with finished(store.pretrained(fit)) as folder:
                pretrained.place(planned.suite, one.method, item.cell, folder)
                with handed_over([folder], worker.exchange()) as (copy,):
                    one.track.try_out(worker, copy, planned.subject.d_model)


def _blocks(planned: Plan, store: Store, reporter: Reporter) -> dict[str, Blocks]:
    return token_blocks.prepare(
        planned.suite.corpus,
        planned.suite.tokens,
        planned.subject.tokenizer(),
        planned.subject.tokenizer_hash,
        store.root / "blocks",
        lambda done, total: reporter.step("tokenising", done, total),
        reporter.say,
    )


def _no_chunks(stream: str, number: int) -> int:
    raise MethodError("a method reads activations in fit only")
