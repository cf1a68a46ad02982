"""One cell again, from its record alone: what a reader does who does not believe a number."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.execution import environments
from benchmark.models.mini import builtin
from benchmark.records import MetricValue, Record
from benchmark.reporting import Reporter
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import RunSettings
from benchmark.spec.suite import BUILT_IN, Suite
from benchmark.stats.null_gap import FEWEST_FOR_INTERVAL
from benchmark.stats.prediction import tolerance
from benchmark.store import Store

RELATIVE, ABSOLUTE = 1e-4, 1e-6


class MovedMetric(NamedTuple):
    """A metric that came out otherwise."""

    metric: str
    recorded: float | None
    found: float | None


class Verified(NamedTuple):
    """How many metrics were compared, and within what; which moved; what differs in hashes, versions and hardware; and
    whether code, weights, text and what the method requires are the record's.
    """

    compared: int
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


def recompute(record: Record, reporter: Reporter, kept: Store | None = None) -> Record:
    """The cell, fitted and scored again in a folder of its own; what its method requires is kept in `kept`."""
    method = methods.load(record.where.method)
    suite = suite_of(record, every=method.manifest.scope == "model")
    run = MethodRun(method, [RunSettings(record.where.label, record.settings)])
    if method.requirements and kept is not None:
        kept.check()
        run = run._replace(environment=environments.prepare(method, kept.root / "environments", reporter.say))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        outcome = pipeline.run(suite, [run], store, None, reporter)
        if outcome.failed:
            raise BadInput(f"the cell failed: {outcome.failed[0].error}")
        where = record.where.model_dump(include={"variant", "replicate", "place", "method_seed"})
        for again in store.records(suite.name, method.name):
            if again.where.model_dump(include=set(where)) == where:
                return again
    raise BadInput(f"{record.where.place} is no place of the suite that record {record.score_id} names")


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


def compare(record: Record, again: Record, row: Sequence[Record] = ()) -> Verified:
    """What came out otherwise. On the platform of the record values must agree at a relative 1e-4; elsewhere within
    what one new value may differ from those of the replicates, from the other records of its row (see `prediction`).
    """
    differences = [
        f"{name}: {before} is now {after}"
        for part in ("hashes", "versions", "environment", "hardware")
        for name, before in getattr(record, part).items()
        if (after := getattr(again, part).get(name)) != before
    ]
    if tag(record) == tag(again) and record.hardware.get("device") == "cpu":
        shared = [name for name in record.metrics if name in again.metrics]
        moved = [name for name in shared if not equal(record.metrics[name], again.metrics[name])]
        compared, within = len(shared), f"a relative {RELATIVE:.0e}: the platform is the record's"
    else:
        allowed = {name: size for name, size in _spreads(record, row).items() if name in again.metrics}
        moved = [name for name in allowed if not _near(record.metrics[name], again.metrics[name], allowed[name])]
        compared = len(allowed)
        within = (
            f"the spread of {len(_alike(record, row))} other replicates: the platform is another one, where sums round "
            f"otherwise and training goes on from there ({len(record.metrics) - compared} metrics have no spread to "
            "go by)"
        )
    values = [MovedMetric(name, record.metrics[name].value, again.metrics[name].value) for name in moved]
    same = (record.hashes, record.environment) == (again.hashes, again.environment)
    return Verified(compared, values, differences, within, same)


def _alike(record: Record, row: Sequence[Record]) -> list[Record]:
    """The same cell of the other replicates: what is in doubt is no measure of how far it may be off."""
    same = {"source", "replicate"}
    wanted = record.where.model_dump(exclude=same), record.settings_hash
    others = (other for other in row if other.score_id != record.score_id)
    return [other for other in others if (other.where.model_dump(exclude=same), other.settings_hash) == wanted]


def _spreads(record: Record, row: Sequence[Record]) -> dict[str, float]:
    """Tolerance of every metric that is defined in three replicates."""
    allowed = {}
    for name in record.metrics:
        known = [other.metrics[name].value for other in _alike(record, row) if name in other.metrics]
        values = [value for value in known if value is not None]
        if len(values) >= FEWEST_FOR_INTERVAL:
            allowed[name] = tolerance(float(np.std(values, ddof=1)), len(values))
    return allowed


def _near(one: MetricValue, other: MetricValue, allowed: float) -> bool:
    """Within tolerance; undefined or not may change where a value is near its floor."""
    if one.value is None or other.value is None:
        return True
    return abs(one.value - other.value) <= max(allowed, RELATIVE * abs(one.value) + ABSOLUTE)


def equal(one: MetricValue, other: MetricValue, *, relative: float = RELATIVE) -> bool:
    """Both undefined, or within tolerance."""
    if one.value is None or other.value is None:
        return one.value is other.value
    return abs(one.value - other.value) <= relative * abs(one.value) + ABSOLUTE
