"""One cell again, from its record alone: what a reader does who does not believe a number."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.execution import environments
from benchmark.models.mini import builtin, unpublished
from benchmark.records import MetricValue, Record
from benchmark.reporting import Reporter
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import RunSettings
from benchmark.spec.suite import BUILT_IN, Suite
from benchmark.spec.variant import Variant
from benchmark.stats.null_gap import FEWEST_FOR_INTERVAL
from benchmark.stats.prediction import ALPHA, apart, unlikely
from benchmark.store import Store

RELATIVE, ABSOLUTE = 1e-4, 1e-6
FRESH_DRAWS = 2**31


class MovedMetric(NamedTuple):
    """A metric that came out otherwise, by how many standard deviations over how many other replicates; infinitely far
    where it was defined as in all of these, and is no more.
    """

    metric: str
    recorded: float | None
    found: float | None
    distance: float = math.inf
    replicates: int = 0


class Verified(NamedTuple):
    """Which metrics were compared, and within what; which moved; what differs in hashes, versions and hardware; and
    whether code, weights, text and what the method requires are the record's. `exact`: nothing may move, as platform
    and salt are the record's.
    """

    compared: tuple[str, ...]
    exact: bool
    moved: list[MovedMetric]
    differences: list[str]
    within: str
    of_the_same: bool


def sample(score_ids: Sequence[str], number: int, key: str) -> list[str]:
    """So many of some cells, in an order that the key alone decides."""
    return sorted(score_ids, key=lambda score_id: keyed.digest("sample", key, score_id))[:number]


def suite_of(record: Record, *, every: bool = False) -> Suite:
    """The suite of one cell; with `every` it has all places, for a method that is fitted on all at once.

    Raises:
        BadInput: the record does not say enough: a local subject or corpus, or a language model as judge.
    """
    try:
        return _suite_of(record, every)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"record {record.score_id} does not say its suite: {str(error).splitlines()[0]}") from error


def _suite_of(record: Record, every: bool) -> Suite:
    where, said = record.where, record.suite
    if not builtin.is_built_in(where.source) and "/" not in where.source:
        raise BadInput(f"record {record.score_id} is of the local subject {where.source!r}, which is not at hand")
    corpus = str(said["corpus"]["source"])
    if not corpus.startswith(BUILT_IN) and "/" not in corpus:
        raise BadInput(f"record {record.score_id} is of local text, which is not at hand")
    judge = str(said["judge"]).partition("/")[0]
    if judge not in registry.JUDGES:
        raise BadInput(
            f"record {record.score_id} has the judge {judge}: only records of lexical judges can be verified"
        )
    return Suite.model_validate(
        {
            "name": where.suite,
            "summary": "one cell again",
            "subject": {
                "name": where.subject,
                "replicates": {where.replicate: where.source},
                "revision": where.revision,
                "dtype": said["subject"]["dtype"],
                "device": "cpu" if record.hardware.get("device") == "cpu" else "auto",
            },
            "corpus": said["corpus"],
            "tokens": said["tokens"],
            "stream": said["stream"],
            "latents": said["latents"],
            "judge": judge,
            "variants": [where.variant],
            "hookpoints": [where.place] if where.place in said["hookpoints"] and not every else said["hookpoints"],
            "tracks": {where.track: said["track"]["table"]},
            "method_seeds": [where.method_seed],
            "metrics": list(record.metrics),
            "threads": said["threads"],
            "keep_gib": 0,
        }
    )


def recompute(
    record: Record,
    reporter: Reporter,
    kept: Store | None = None,
    *,
    fresh: str | None = None,
    subjects: Path | None = None,
) -> Record:
    """The cell, fitted and scored again in a folder of its own; what its method requires is kept in `kept`. A `fresh`
    salt gives seeds, draws and the null's weights that nobody could prepare for, and of `subjects` a training seed.

    Raises:
        BadInput: a record that does not say enough, a cell that fails, or `subjects` that are not the record's.
    """
    method = methods.load(record.where.method)
    suite = suite_of(record, every=method.manifest.scope == "model")
    if fresh is not None:
        suite = suite.model_copy(update={"variants": (_drawn_anew(record.where.variant, fresh),)})
    if fresh is not None and subjects is not None:
        other = unpublished.draw(record.where.source, record.where.revision, subjects, fresh)
        replicates = {record.where.replicate: str(other.folder.parent)}
        named = suite.subject.model_copy(update={"replicates": replicates, "revision": other.revision})
        suite = suite.model_copy(update={"subject": named})
    salt = record.salt if fresh is None else fresh
    run = MethodRun(method, [RunSettings(record.where.label, record.settings, salt, record.blind)])
    if method.requirements and kept is not None:
        kept.check()
        run = run._replace(environment=environments.prepare(method, kept.root / "environments", reporter.say))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        outcome = pipeline.run(suite, [run], store, None, reporter)
        if outcome.failed:
            raise BadInput(f"the cell failed: {outcome.failed[0].error}")
        where = record.where.model_dump(include={"replicate", "place", "method_seed"})
        for again in store.records(suite.name, method.name):
            if again.where.model_dump(include=set(where)) == where:
                return again
    raise BadInput(f"{record.where.place} is no place of the suite that record {record.score_id} names")


def _drawn_anew(variant: str, salt: str) -> str:
    """A null as it was not drawn before; what is no null as it is."""
    parsed = Variant.parse(variant)
    return str(parsed._replace(draw=keyed.seed("fresh", salt) % FRESH_DRAWS)) if parsed.is_null else variant


def tag(record: Record) -> str:
    """Platform of a record: torch, machine, processor, CPU capability as torch names it, bf16 or not, threads. On one
    platform a seeded run on a CPU repeats to the bit; two processors of one capability may round otherwise.
    """
    hardware = record.hardware
    bf16 = "bf16" if hardware.get("bf16") else "no-bf16"
    named = (hardware.get(name, "unknown") for name in ("machine", "processor", "cpu_capability"))
    torch = record.environment.get("torch") or record.versions.get("torch", "unknown")
    parts = (torch, *named, bf16, hardware.get("threads", "unknown"))
    return "-".join(map(str, parts)).replace(" ", "-")


def drifted(found: Sequence[Verified], claims: Collection[str]) -> bool:
    """Whether chance does not explain what moved in these cells: a value that claims rest on, beyond what holds for all
    such values at once (2.5 %), or a metric that lies outside its interval in more cells than chance has it (1.25 %
    for those that claims rest on together, as much for the others).
    """
    if any(one.exact and one.moved for one in found):
        return True
    claimed = sum(name in claims for one in found for name in one.compared)
    for moved in (moved for one in found for moved in one.moved if moved.metric in claims):
        if moved.distance > apart(1.0, moved.replicates, values=2 * claimed):
            return True
    could = Counter(name for one in found for name in one.compared)
    did = Counter(moved.metric for one in found for moved in one.moved)
    own = {name: sum((other in claims) == (name in claims) for other in could) for name in did}
    return any(unlikely(count, could[name], ALPHA / 4 / own[name]) for name, count in did.items())


def compare(record: Record, again: Record, row: Sequence[Record] = ()) -> Verified:
    """What came out otherwise. On the platform of the record, with its salt, values must agree at a relative 1e-4; else
    within what two values of a replicate may lie apart, judging by the other replicates of the row (see
    `prediction`).
    """
    fresh = again.salt != record.salt
    if (again.where.variant, again.where.source) != (record.where.variant, record.where.source):
        # Weights are others then, as they should be.
        record, again = _but_weights(record), _but_weights(again)
    differences = [
        f"{name}: {before} is now {after}"
        for part in ("hashes", "versions", "environment", "hardware")
        for name, before in getattr(record, part).items()
        if (after := getattr(again, part).get(name)) != before
    ]
    if not fresh and tag(record) == tag(again) and record.hardware.get("device") == "cpu":
        shared = [name for name in record.metrics if name in again.metrics]
        moved = [
            MovedMetric(name, record.metrics[name].value, again.metrics[name].value)
            for name in shared
            if not equal(record.metrics[name], again.metrics[name])
        ]
        compared, exact = tuple(shared), True
        within = f"a relative {RELATIVE:.0e}: the platform is the record's"
    else:
        spreads = {name: values for name, values in _spreads(record, row).items() if name in again.metrics}
        compared, exact = tuple(spreads), False
        moved = [
            MovedMetric(name, record.metrics[name].value, again.metrics[name].value, distance, spread.replicates)
            for name, spread in spreads.items()
            if (distance := _distance(record, again, name, spread)) > apart(1.0, spread.replicates)
        ]
        new = "seeds" if again.where.source == record.where.source else "training seed, seeds"
        why = (
            f"{new}, draws and nulls are new"
            if fresh
            else "the platform is another one, where sums round otherwise and training goes on from there"
        )
        within = (
            f"the spread of {len(_alike(record, row))} other replicates: {why} ({len(record.metrics) - len(compared)} "
            "metrics have no spread to go by)"
        )
    same = (record.hashes, record.environment) == (again.hashes, again.environment)
    return Verified(compared, exact, moved, differences, within, same)


def _alike(record: Record, row: Sequence[Record]) -> list[Record]:
    """The same cell of the other replicates: what is in doubt is no measure of how far it may be off."""
    same = {"source", "replicate"}
    wanted = record.where.model_dump(exclude=same), record.settings_hash
    others = (other for other in row if other.score_id != record.score_id)
    return [other for other in others if (other.where.model_dump(exclude=same), other.settings_hash) == wanted]


class _Known(NamedTuple):
    """Standard deviation of a metric over other replicates, in how many it is defined, and whether in all."""

    deviation: float
    replicates: int
    everywhere: bool


def has_spread(record: Record, row: Sequence[Record]) -> bool:
    """Whether a row says how far values of a cell may lie apart."""
    return bool(_spreads(record, row))


def _spreads(record: Record, row: Sequence[Record]) -> dict[str, _Known]:
    """Of every metric that is defined in three other replicates, and not the same in all: one that never moved says
    nothing of how far it may.
    """
    found, others = {}, _alike(record, row)
    for name in record.metrics:
        known = [other.metrics[name].value for other in others if name in other.metrics]
        values = [value for value in known if value is not None]
        if len(values) >= FEWEST_FOR_INTERVAL and (deviation := float(np.std(values, ddof=1))) > 0:
            found[name] = _Known(deviation, len(values), len(values) == len(others))
    return found


def _distance(record: Record, again: Record, name: str, known: _Known) -> float:
    """In standard deviations; undefined or not may change where a value is undefined in some replicate, too."""
    one, other = record.metrics[name].value, again.metrics[name].value
    if one is None or other is None:
        return math.inf if one is not None and known.everywhere else 0.0
    off = abs(one - other)
    return 0.0 if off <= RELATIVE * abs(one) + ABSOLUTE else off / known.deviation


def _but_weights(record: Record) -> Record:
    kept = {name: one for name, one in record.hashes.items() if name not in ("weights", "checkpoint")}
    return record.model_copy(update={"hashes": kept})


def equal(one: MetricValue, other: MetricValue, *, relative: float = RELATIVE) -> bool:
    """Both undefined, or within tolerance."""
    if one.value is None or other.value is None:
        return one.value is other.value
    return abs(one.value - other.value) <= relative * abs(one.value) + ABSOLUTE
