"""What a run will do: the subject found, every cell with its content ids, and which are done. No compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub.errors import LocalEntryNotFoundError

from benchmark import keyed, registry
from benchmark.autointerp import items, scores
from benchmark.data import blocks, corpus
from benchmark.errors import BadInput
from benchmark.forward import activations
from benchmark.judges import open as judges
from benchmark.models import compared, hookpoints, nulls, pythia
from benchmark.models.compared import Replicate
from benchmark.models.mini import builtin
from benchmark.models.pythia import Checkpoint
from benchmark.records import Record, Store
from benchmark.spec.cell import Cell, Ids, cells
from benchmark.spec.method import Method, RunSettings
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant
from benchmark.tracks.features import track as features
from benchmark.tracks.features.autointerp import wanted


class Planned(NamedTuple):
    """A cell, its ids, and its record when it is done. No ids: the subject is not on this machine yet."""

    cell: Cell
    ids: Ids | None
    record: Record | None


class Plan(NamedTuple):
    """Everything `run` needs; `data` holds the content ids of the splits, `suite_hash` that of the suite, empty as long
    as a replicate is not on this machine.
    """

    suite: Suite
    method: Method
    rows: list[RunSettings]
    device: torch.device
    replicates: dict[int, Replicate]
    data: dict[str, str]
    suite_hash: str
    cells: list[Planned]

    @property
    def pending(self) -> list[Planned]:
        return [planned for planned in self.cells if planned.record is None]


def make(suite: Suite, method: Method, rows: list[RunSettings], store: Store, *, download: bool) -> Plan:
    """Find the subject and look every cell up.

    Raises:
        BadInput: anything that can be known to fail before compute.
    """
    judges.identity(suite.judge)
    device = _device(suite.subject.device)
    replicates = _replicates(suite, store.root / "subjects", download)
    for replicate in replicates.values():
        _check_room(suite, replicate.trained)
    with_step0 = any(Variant.parse(name).kind == "step0" for name in suite.variants)
    compared.check(suite.subject.name, replicates, with_step0=with_step0)
    data = data_ids(suite, replicates) if replicates else {}
    if not data or not blocks.home_of(data, store.root / "blocks").is_dir():
        corpus.check(suite.corpus)
    planned = [
        _look_up(cell, suite, method, replicates, data, store)
        for cell in cells(suite, method, rows)
        if not _stands_for_nothing(cell, suite, replicates)
    ]
    known = len(replicates) == len(suite.subject.replicates)
    return Plan(
        suite, method, rows, device, replicates, data, _suite_hash(suite, replicates, data) if known else "", planned
    )


def eta(plan: Plan, jobs: int) -> str:
    """How long the pending cells may take with `jobs` groups side by side, from what the done ones cost: of groups what
    their cells share, of cells their fit and their scores. Empty when none is done or none is left.
    """
    done = [item.record for item in plan.cells if item.record is not None and "score_seconds" in item.record.cost]
    if not done or not plan.pending:
        return ""
    shared = sum(record.cost["group_seconds"] for record in done) / len(done)
    own = sum(record.cost.get("fit_seconds", 0.0) + record.cost["score_seconds"] for record in done) / len(done)
    groups = len({item.cell.group for item in plan.pending})
    seconds = (shared * groups + own * len(plan.pending)) / max(1, min(jobs, groups))
    return f"; the rest may take about {seconds:.0f} s, judging by those done"


def needs(plan: Plan, jobs: int) -> list[str]:
    """What the pending cells will take: text, disk and, of a language model as judge, requests."""
    suite, pending = plan.suite, plan.pending
    if not pending:
        return []
    tokens = suite.tokens
    said = [
        f"per group and hookpoint {tokens.fit:,} tokens to fit on, {tokens.explain:,} to explain and "
        f"{tokens.score:,} to score; {len({item.cell.group for item in pending})} groups, up to {jobs} side by side"
    ]
    if plan.replicates:
        d_model = pythia.config(next(iter(plan.replicates.values())).trained).hidden_size
        groups = min(jobs, len({item.cell.group for item in pending}))
        spooled = groups * activations.spool_bytes(tokens.fit, d_model, len(suite.hookpoints), suite.stream)
        said.append(
            f"disk: up to {spooled / 2**30:.2f} GiB of activations at a time, and up to {suite.keep_gib:g} GiB of "
            "featurizers and codes that are kept (keep_gib)"
        )
    asked = wanted(suite.metrics)
    if asked and suite.judge not in registry.JUDGES:
        said.append(judges.cost(suite.judge, len(pending) * suite.latents, len(asked), "fuzzing@paper" in asked))
    return said


def content(suite: Suite) -> dict[str, Any]:
    """What a suite says, as records show it: its judge without an address."""
    return suite.content() | {"judge": judges.public(suite.judge)}


def _suite_hash(suite: Suite, replicates: dict[int, Replicate], data: dict[str, str]) -> str:
    """What a suite says, and the text and weights that it says it of: the same under any name, and on any machine."""
    weights = {
        seed: [compared.weights_of(checkpoint) for checkpoint in replicate if checkpoint is not None]
        for seed, replicate in sorted(replicates.items())
    }
    return keyed.short("suite", content(suite), data, weights, _parts())


def settings_hash(suite: Suite, method: Method, row: RunSettings, data: dict[str, str], revision: str) -> str:
    """What all cells of one row of the board share: everything their ids hold but the cell and its weights."""
    stream = suite.stream.model_dump(exclude={"spool_gib"})
    scored = (_metrics(suite), suite.latents, *_judge(suite))
    subject = (suite.subject.name, suite.subject.dtype, revision, suite.threads)
    return keyed.short("settings", method.code_hash, row.settings, subject, data, stream, scored, _parts())


def own_step0(replicate: Replicate, variant: Variant) -> Checkpoint | None:
    """The weights that a replicate's training began from, where a variant stands for them and they are known: as they
    are, or as what fresh draws are made like.
    """
    return replicate.step0 if variant.kind == "step0" else None


def data_ids(suite: Suite, replicates: dict[int, Replicate]) -> dict[str, str]:
    """Content ids of the token blocks of every split."""
    tokenizer = pythia.tokenizer_fingerprint(next(iter(replicates.values())).trained)
    return blocks.identity(suite.corpus, suite.tokens, tokenizer)


def _check_room(suite: Suite, checkpoint: Checkpoint) -> None:
    """Refuse hookpoints and blocks that the subject does not have room for."""
    config = pythia.config(checkpoint)
    hookpoints.check(suite.hookpoints, config.num_hidden_layers)
    if suite.tokens.block > config.max_position_embeddings:
        raise BadInput(
            f"tokens.block is {suite.tokens.block} and {suite.subject.name} takes at most "
            f"{config.max_position_embeddings} positions"
        )


def _replicates(suite: Suite, cache: Path, download: bool) -> dict[int, Replicate]:
    found = {}
    for seed, source in suite.subject.replicates.items():
        try:
            if builtin.is_built_in(source):
                trained = builtin.checkpoint(source, suite.subject.revision)
                found[seed] = Replicate(trained, builtin.step0(source, cache))
                continue
            trained = pythia.locate(source, suite.subject.revision, download=download)
            found[seed] = Replicate(trained, pythia.step0_of(trained, download=download))
        except LocalEntryNotFoundError:
            continue
    return found


def _stands_for_nothing(cell: Cell, suite: Suite, replicates: dict[int, Replicate]) -> bool:
    """In case mode plain step-0 is the checkpoint's own, beside the draws: left out where there is none."""
    replicate = replicates.get(cell.group.replicate)
    own = suite.subject.null_draws is not None and cell.group.variant == Variant("step0")
    return own and replicate is not None and replicate.step0 is None


def _look_up(
    cell: Cell, suite: Suite, method: Method, replicates: dict[int, Replicate], data: dict[str, str], store: Store
) -> Planned:
    if cell.group.replicate not in replicates:
        return Planned(cell, None, None)
    ids = _ids(cell, suite, method, replicates[cell.group.replicate], data)
    return Planned(cell, ids, store.find(suite.name, method.name, ids.score))


def _ids(cell: Cell, suite: Suite, method: Method, replicate: Replicate, data: dict[str, str]) -> Ids:
    weights = [pythia.fingerprint(replicate.trained)]
    own = own_step0(replicate, cell.group.variant)
    if own is not None:
        weights.append(pythia.fingerprint(own))
    seen = suite.hookpoints if method.manifest.scope == "model" else (cell.hookpoint,)
    stream = suite.stream.model_dump(exclude={"spool_gib"})
    computed = suite.subject.dtype, suite.threads, stream
    fit = keyed.short("fit", _parts()["fit"], method.code_hash, cell.key, weights, data["fit"], seen, *computed)
    seen_by_score = (_metrics(suite), suite.latents, *_judge(suite), data["explain"], data["score"])
    score = keyed.short("score", _parts()["score"], fit, *seen_by_score)
    return Ids(fit, score)


def _metrics(suite: Suite) -> list[str]:
    """Metrics of single cells; joins are computed beside them and change no record."""
    return sorted(name for name in suite.metrics if name in registry.METRICS)


def _judge(suite: Suite) -> list[str]:
    """What the answers of the suite's judge and of the ladder depend on, where they are asked anything."""
    asked = any(name in registry.AUTOINTERP for name in suite.metrics)
    return [judges.identity(judge) for judge in (suite.judge, *registry.JUDGES)] if asked else []


def _parts() -> dict[str, dict[str, Any]]:
    """Declared versions of the parts whose change makes new numbers."""
    return {
        "fit": {"activations": activations.VERSION, "blocks": blocks.VERSION, "nulls": nulls.VERSION},
        "score": {"features": features.VERSION, "items": items.VERSION, "scores": scores.VERSION},
    }


def _device(name: str) -> torch.device:
    """The device a suite names; `auto` is CUDA where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use auto")
    return device
