"""What a record says beside its scores: where the numbers came from and what they cost."""

from __future__ import annotations

import functools
import math
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import torch
import transformers

from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.records import Metric, Record, Where
from benchmark.run import plan
from benchmark.run.plan import Plan, Planned
from benchmark.spec.suite import public_name
from benchmark.tracks.features.track import Scored


def record(
    planned: Plan,
    item: Planned,
    scored: Scored,
    *,
    gate: dict[str, object],
    cost: dict[str, float],
    seeds: dict[str, int],
    isolation: str,
) -> Record:
    """The record of a scored cell."""
    replicate = planned.replicates[item.cell.group.replicate]
    return Record(
        **_identity(planned, item),
        status="scored",
        metrics={
            name: Metric(value=value.value, reason=value.reason, undefined=value.undefined)
            for name, value in scored.metrics.items()
        },
        counts={name: float(count) for name, count in scored.counts.items() if math.isfinite(count)},
        gate=gate,
        seeds=seeds,
        hashes={
            "code": planned.method.code_hash,
            "checkpoint": pythia.fingerprint(replicate.trained),
            "weights": str(gate["weight_hash"]),
            "tokenizer": pythia.tokenizer_fingerprint(replicate.trained),
            **{f"data_{split}": value for split, value in planned.data.items()},
        },
        versions=versions(),
        hardware=hardware(planned.device),
        cost=cost,
        isolation=isolation,
    )


def failure(planned: Plan, item: Planned, error: Exception, isolation: str) -> Record:
    """The record of a cell that could not be computed."""
    text = f"{type(error).__name__}: {error}".encode("utf-8", "replace").decode()
    return Record(**_identity(planned, item), status="failed", error=text, isolation=isolation)


def versions() -> dict[str, str]:
    """Versions of what computes."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
    }


def hardware(device: torch.device) -> dict[str, Any]:
    """What the numbers were made on."""
    found: dict[str, Any] = {
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
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


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


def _identity(planned: Plan, item: Planned) -> dict[str, Any]:
    if item.ids is None:
        raise BadInput("a cell without ids has no record")
    cell, suite = item.cell, planned.suite
    checkpoint = planned.replicates[cell.group.replicate].trained
    return {
        "where": Where(
            suite=suite.name,
            method=cell.method,
            label=cell.row.label,
            subject=suite.subject.name,
            source=public_name(suite.subject.replicates[cell.group.replicate]),
            revision=checkpoint.revision,
            replicate=cell.group.replicate,
            variant=str(cell.group.variant),
            method_seed=cell.method_seed,
            hookpoint=cell.hookpoint,
        ),
        "fit_id": item.ids.fit,
        "score_id": item.ids.score,
        "settings_hash": plan.settings_hash(suite, planned.method, cell.row, planned.data, checkpoint.revision),
        "suite_hash": planned.suite_hash,
        "suite": plan.content(suite),
        "settings": cell.row.settings,
    }
