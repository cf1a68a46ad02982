"""One cell again, from its record alone: what a reader does who does not believe a number."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmark import method as methods
from benchmark import parallel, pipeline, registry
from benchmark.errors import BadInput
from benchmark.method import Row
from benchmark.models.mini import builtin
from benchmark.records import Metric, Record, Store
from benchmark.reporting import Reporter
from benchmark.suite import BUILT_IN, Suite

RELATIVE, ABSOLUTE = 1e-4, 1e-6


class Moved(NamedTuple):
    """A metric that came out otherwise."""

    metric: str
    recorded: float | None
    found: float | None


class Verified(NamedTuple):
    """How many metrics were compared, which moved, and what differs in hashes and versions."""

    compared: int
    moved: list[Moved]
    differences: list[str]


def suite_of(record: Record) -> Suite:
    """The suite of one cell.

    Raises:
        BadInput: the record does not say enough: a local subject or corpus, or a language model as judge.
    """
    where, budgets = record.where, record.budgets
    if not builtin.is_built_in(where.source) and "/" not in where.source:
        raise BadInput(f"record {record.score_id} is of the local subject {where.source!r}, which is not at hand")
    if not str(budgets["corpus"]["source"]).startswith(BUILT_IN) and Path(budgets["corpus"]["source"]).is_absolute():
        raise BadInput(f"record {record.score_id} is of local text, which is not at hand")
    judge = str(budgets.get("judge", "lexical")).partition("/")[0]
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
                "dtype": budgets.get("dtype", "float32"),
                "device": "cpu" if record.hardware.get("device") == "cpu" else "auto",
            },
            "corpus": budgets["corpus"],
            "tokens": budgets["tokens"],
            "stream": budgets["stream"],
            "latents": budgets["latents"],
            "judge": judge,
            "variants": [where.variant],
            "hookpoints": [where.hookpoint],
            "method_seeds": [where.method_seed],
            "metrics": list(record.metrics),
            "keep_featurizers": False,
        }
    )


def recompute(record: Record, reporter: Reporter) -> Record:
    """The cell, fitted and scored again in a folder of its own, with as many threads: sums in another order train
    another dictionary.
    """
    method = methods.load(record.where.method)
    if method.manifest.scope == "model":
        raise BadInput(f"{method.name} fits all hookpoints together: run its suite instead")
    suite, row = suite_of(record), Row(record.where.label, record.settings)
    with tempfile.TemporaryDirectory() as folder, parallel.torch_threads(int(record.hardware["threads"])):
        outcome = pipeline.run(suite, method, [row], Store(Path(folder)), "process", reporter)
        if outcome.failed:
            raise BadInput(f"the cell failed: {outcome.failed[0].error}")
        (again,) = Store(Path(folder)).records(suite.name, method.name)
    return again


def compare(record: Record, again: Record) -> Verified:
    """Values at a relative 1e-4, and what else tells the two apart."""
    moved = [
        Moved(name, metric.value, again.metrics[name].value)
        for name, metric in record.metrics.items()
        if not equal(metric, again.metrics[name])
    ]
    differences = [
        f"{name}: {before} is now {after}"
        for part in ("hashes", "versions", "hardware")
        for name, before in getattr(record, part).items()
        if (after := getattr(again, part).get(name)) != before
    ]
    return Verified(len(record.metrics), moved, differences)


def equal(one: Metric, other: Metric, *, relative: float = RELATIVE) -> bool:
    """Both undefined, or within tolerance."""
    if one.value is None or other.value is None:
        return one.value is other.value
    return abs(one.value - other.value) <= relative * abs(one.value) + ABSOLUTE
