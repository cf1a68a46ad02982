"""What a record says beside its scores: where the numbers came from and what they cost."""

from __future__ import annotations

import functools
import math
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy
import torch
import transformers

from benchmark.metrics import family, value
from benchmark.records import MetricValue, Record, Where
from benchmark.run.plan import MethodRun, Plan, Planned, content, settings_hash
from benchmark.tracks.contract import Scored, Values


def record(
    plan: Plan,
    item: Planned,
    scored: Scored,
    *,
    gate: Mapping[str, object],
    cost: Mapping[str, float],
    isolation: str,
) -> Record:
    """The record of a scored cell."""
    keys, subject = item.cell.keys, plan.subject
    trained = subject.files[item.cell.group.replicate][0]
    return Record(
        **_identity(plan, item),
        status="scored",
        families=_ids(plan, item),
        metrics=_metrics(scored.values),
        counts=_counts(scored),
        gate=dict(gate),
        seeds={purpose: keys.seed(purpose) for purpose in ("fit", "stream")},
        hashes={
            "code": plan.run_of(item.cell).method.code_hash,
            "checkpoint": trained,
            "weights": str(gate["weight_hash"]),
            "tokenizer": subject.tokenizer_hash,
            **{f"data_{split}": value for split, value in plan.data.items()},
        },
        versions=versions(),
        environment=environment(plan.run_of(item.cell)),
        hardware=hardware(subject.device),
        cost=dict(cost),
        isolation=isolation,
    )


def extended(plan: Plan, item: Planned, scored: Scored) -> Record:
    """A record with the families that it lacked; what is known to nobody any more goes, everything else stays."""
    before = item.record
    assert before is not None
    known, defined = set(family.names()), {one.name for one in family.families()}
    kept = {name: value for name, value in before.metrics.items() if name in known}
    counts = _counts(scored)
    asked = {name: before.counts.get(name, 0.0) + value for name, value in counts.items() if name.startswith("judge_")}
    return before.model_copy(
        update={
            "families": {name: one for name, one in before.families.items() if name in defined} | _ids(plan, item),
            "metrics": kept | _metrics(scored.values),
            "counts": before.counts | counts | asked,
        }
    )


def undefined(
    plan: Plan, item: Planned, reason: str, *, gate: Mapping[str, object], seconds: float, isolation: str
) -> Record:
    """The record of a cell of which nothing is known, and why."""
    values = {
        one.name: dict.fromkeys(one.metrics, value.undefined(reason))
        for one in family.families(plan.track_of(item.cell).name)
        if one.name in item.missing
    }
    scored = Scored(values, {}, pd.DataFrame(), {}, None)
    if item.record is not None:
        return extended(plan, item, scored)
    return record(plan, item, scored, gate=gate, cost={"group_seconds": seconds}, isolation=isolation)


def failure(plan: Plan, item: Planned, error: Exception, isolation: str) -> Record:
    """The record of a cell that could not be computed."""
    text = f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()
    return Record(**_identity(plan, item), status="failed", error=text, isolation=isolation)


def _metrics(values: Values) -> dict[str, MetricValue]:
    return {
        name: MetricValue(value=found.value, reason=found.reason, undefined=found.undefined)
        for told in values.values()
        for name, found in told.items()
    }


def _counts(scored: Scored) -> dict[str, float]:
    return {name: float(count) for name, count in scored.counts.items() if math.isfinite(count)}


def _ids(plan: Plan, item: Planned) -> dict[str, str]:
    """Ids of the families that were computed for a cell."""
    asked = plan.track_of(item.cell).families(plan.suite)
    return {name: asked[name] for name in item.missing}


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def environment(run: MethodRun) -> dict[str, str]:
    """What was installed for a method alone, by version."""
    return dict(run.environment.pinned) if run.environment else {}


def hardware(device: torch.device) -> dict[str, Any]:
    """What the numbers were made on."""
    made_on: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": processor(),
        "system": platform.system(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16": bool(torch.cpu._is_avx512_bf16_supported()),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": str(device),
    }
    if device.type == "cuda":
        made_on["gpu"] = torch.cuda.get_device_name(device)
    return made_on


@functools.cache
def processor() -> str:
    """The model of the processor: two of them may round otherwise where everything else is the same."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    known = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    parts = [known.get(name, "") for name in ("model name", "cpu family", "model", "stepping")]
    return " ".join(filter(None, parts)) or platform.machine()


def _identity(plan: Plan, item: Planned) -> dict[str, Any]:
    cell, suite, ids = item.cell, plan.suite, item.known_ids
    return {
        "where": Where(
            suite=suite.name,
            track=plan.track_of(cell).name,
            method=cell.method,
            label=cell.row.label,
            subject=suite.subject.name,
            source=plan.subject.source(cell.group.replicate),
            revision=plan.subject.replicates[cell.group.replicate].trained.revision,
            replicate=cell.group.replicate,
            variant=str(cell.group.variant),
            method_seed=cell.method_seed,
            place=cell.place,
        ),
        "fit_id": ids.fit,
        "score_id": ids.score,
        "settings_hash": settings_hash(plan, cell),
        "suite_hash": plan.suite_hashes[plan.track_of(cell).name],
        "suite": content(suite, plan.track_of(cell)),
        "settings": cell.row.settings,
        "salt": cell.row.salt,
        "blind": cell.row.blind,
    }
