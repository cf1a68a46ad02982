"""The probes track: how well what somebody else named can be read off activations, beyond what the token says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import keyed
from benchmark.data.blocks import Blocks
from benchmark.errors import BadInput
from benchmark.execution.contract import MethodError, Worker
from benchmark.forward import activations
from benchmark.metrics import family, probing
from benchmark.models.network import Network
from benchmark.models.subjects import ResolvedSubject
from benchmark.spec.cell import CellKeys
from benchmark.spec.suite import Suite
from benchmark.tracks.blind import frame_of
from benchmark.tracks.contract import Answerer, FitAnswer, FitRequest, Progress, Scored
from benchmark.tracks.places import check_hookpoints
from benchmark.tracks.probes.asked import SHARES, AskedTask, CellProbes, fitted, graded
from benchmark.tracks.probes.remote import Fitter
from benchmark.tracks.probes.trusted import NAME, ProbesData, ProbeTable, prepare

VERSION = 1
TOKENS_ALONE = "token"
BY_TASK = {"lift": "probe_lift@1", "accuracy": "probe_accuracy@1", "code_length": "probe_code_length@1"}
"""Quantities that a metric is the mean of, over tasks."""


class ProbesTrack:
    """Trusted half of the probes track."""

    name: ClassVar[str] = NAME
    headline: ClassVar[str] = "probe_lift@1"
    plain: ClassVar[str] = "probe_accuracy@1"
    reference: ClassVar[str] = "logistic_probe"
    session: ClassVar[str] = "benchmark.worker.probes:ProbesSession"
    first: ClassVar[tuple[str, ...]] = (
        "probe_lift@1", "probe_accuracy@1", "probe_selectivity@1", "probe_code_length@1",
        "probe_lift.previous_word_class@1", "probe_lift.topic@1", "probe_lift.sense@1", "probe_lift.agreement@1",
        "probe_lift.quote_depth@1", "probe_lift.bracket_depth@1", "probe_lift.entity@1", "probe_lift.seen_before@1",
    )  # fmt: skip
    parts: ClassVar[tuple[str, ...]] = tuple(f"probe_lift.{task}@1" for task in probing.TASKS)
    beside: ClassVar[tuple[str, ...]] = ()
    fidelity: ClassVar[tuple[str, ...]] = ()
    gates: ClassVar[tuple[str, ...]] = ("complete", "assay", "leak", "floors", "one_setting")

    def __init__(self, suite: Suite, transcripts: Path, *, replay: bool) -> None:
        self._suite, self._table = suite, ProbeTable.of(suite)

    @classmethod
    def places(cls, suite: Suite) -> Sequence[str]:
        """The hookpoints: all tasks of one make a cell."""
        return suite.hookpoints

    @classmethod
    def check(cls, suite: Suite, subject: ResolvedSubject) -> None:
        """Refuse no hookpoints, those that the subject does not have, and tasks that cannot be asked."""
        check_hookpoints(suite, subject, NAME)
        ProbeTable.of(suite)
        if not cls.families(suite):
            raise BadInput(f"suite {suite.name} asks for no metric of the probes track")

    @classmethod
    def refuses(cls, suite: Suite, scope: str) -> str | None:
        """A probe reads one hookpoint, or as a floor the token alone."""
        return f"a probe has no scope {scope}: it reads one hookpoint" if scope in ("pair", "model") else None

    @classmethod
    def try_out(cls, worker: Worker, folder: Path, d_model: int) -> None:
        """Probes are of a question, and none is trained elsewhere."""
        raise MethodError("methods of the probes track are fitted here: [pretrained] is of the features track")

    @classmethod
    def families(cls, suite: Suite) -> dict[str, str]:
        """Families that the suite's metrics belong to."""
        return {name: one.id() for name, one in family.asked(suite.metrics, NAME).items()}

    @classmethod
    def fitted_on(cls, suite: Suite, data: Mapping[str, str], places: Sequence[str]) -> list[object]:
        """The explain split, the tasks, and how many tokens of it."""
        table = ProbeTable.of(suite)
        return [VERSION, activations.VERSION, data["explain"], list(places), table.model_dump(mode="json")]

    @classmethod
    def scored_on(cls, suite: Suite, data: Mapping[str, str]) -> list[object]:
        """The score split; the tasks stand in what was fitted."""
        return [VERSION, data["score"]]

    @classmethod
    def costs(cls, suite: Suite, subject: ResolvedSubject, cells: int, groups: int) -> list[str]:
        """Tokens of each fit, and how many fits there are."""
        table = ProbeTable.of(suite)
        return [
            f"probes: {cells * len(table.tasks):,} questions, each fitted on up to {table.fit_tokens:,} tokens, again "
            f"on random labels and on {len(SHARES)} parts of them, and asked about {table.score_tokens:,}"
        ]

    @classmethod
    def shared_tokens(cls, blocks: Mapping[str, Blocks]) -> NDArray[np.int64]:
        """No family compares cells of probes."""
        return np.zeros(0, np.int64)

    def ready(self, families: Sequence[str]) -> None:
        """Nothing outside this machine is needed."""

    def prepare(
        self,
        network: Network,
        blocks: Mapping[str, Blocks],
        decode: Callable[[Sequence[int]], str],
        families: Sequence[str],
        spool: Path,
        progress: Progress,
    ) -> ProbesData:
        """Activations of the explain and score splits, and the labels of their tokens."""
        progress("score and explain activations", 0, 0)
        return prepare(network, blocks, self._suite.hookpoints, self._table, decode, families)

    def fit(self, worker: Worker, trusted: ProbesData, requests: Sequence[FitRequest], scope: str) -> FitAnswer:
        """All probes of each cell, one task after the other."""
        cells = [self._cell(worker, trusted, request, tokens_alone=scope == TOKENS_ALONE) for request in requests]
        return FitAnswer(cells, {"peak_bytes": max(cell.peak_bytes for cell in cells), "persistent": False})

    def load(
        self, worker: Worker, trusted: ProbesData, folders: Sequence[Path], requests: Sequence[FitRequest], scope: str
    ) -> Sequence[Answerer]:
        """Nothing is kept that could be loaded."""
        raise MethodError("probes are not kept")

    def score(
        self, trusted: ProbesData, answerer: CellProbes, keys: CellKeys, families: Sequence[str], progress: Progress
    ) -> Scored:
        """Values of these families for one cell, and one line per task."""
        grades = graded(trusted, answerer)
        values = {
            one.name: dict(one.compute(*(grades[need] for need in one.needs)))
            for one in family.families(NAME)
            if one.name in families
        }
        tasks = answerer.tasks
        lines = pd.DataFrame({"task": list(tasks)} | {name: list(one.by_task.values()) for name, one in grades.items()})
        lines = lines.rename(columns=BY_TASK)
        counts = {
            "tasks": float(len(tasks)),
            "fit_tokens": float(sum(len(one.drawn.y) for one in tasks.values())),
            "score_tokens": float(sum(len(one.asked.y) for one in tasks.values())),
        }
        return Scored(values, counts, lines, {}, None)

    def close(self) -> None:
        """Nothing is open."""

    def _cell(self, worker: Worker, trusted: ProbesData, request: FitRequest, *, tokens_alone: bool) -> CellProbes:
        keys, settings = request
        frame = None if tokens_alone else frame_of(keys, trusted.fitted.x[keys.place].shape[1])
        fitter, made = Fitter(worker, settings, frame), dict[str, AskedTask]()
        for name, task in trusted.fitted.tasks.items():
            drawn = task.drawn(self._table.fit_tokens, keys.rng("probe fit", name))
            asked = trusted.scored.tasks[name].drawn(self._table.score_tokens, keys.rng("probe score", name))
            seed = keyed.seed("probe", name, keys.seed("fit"))
            made[name] = fitted(fitter, trusted, keys.place, (drawn, asked), seed, tokens_alone=tokens_alone)
        return CellProbes(keys.place, made, tokens_alone)
