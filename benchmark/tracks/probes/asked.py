"""What is asked of probes: of each task a probe, one of random labels, and those that the online code needs."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from benchmark.execution.contract import MethodError
from benchmark.metrics import probing
from benchmark.metrics.probing import Grades, Portion
from benchmark.tracks.probes.remote import Fitter, RemoteProbe
from benchmark.tracks.probes.tasks import Task, control_labels
from benchmark.tracks.probes.trusted import ProbesData

SHARES = (8, 4, 2)
"""The online code's portions end at the tokens over these, and at the last."""
QUANTITIES = ("lift", "accuracy", "control", "code_length")


class AskedTask(NamedTuple):
    """What was fitted for one task: on the tokens `drawn`, asked about those of `asked`; None where these are of one
    class, or none. `portions` are what the online code is made of, none where some part has no probe.
    """

    drawn: Task
    asked: Task
    probe: RemoteProbe | None
    control: RemoteProbe | None
    portions: Sequence[Portion]


class CellProbes(NamedTuple):
    """All probes of one cell; floors read the token alone."""

    hookpoint: str
    tasks: Mapping[str, AskedTask]
    tokens_alone: bool

    @property
    def peak_bytes(self) -> int:
        """Of the worker, after the last fit."""
        probes = [one for task in self.tasks.values() for one in (task.probe, task.control) if one]
        return max((one.peak_bytes for one in probes), default=0)

    def save(self, folder: Path) -> None:
        """Never asked: probes are fitted again, which takes seconds."""
        raise MethodError("probes are not kept")


def fitted(
    fitter: Fitter, trusted: ProbesData, hookpoint: str, tasks: tuple[Task, Task], seed: int, *, tokens_alone: bool
) -> AskedTask:
    """Everything that is fitted for one task, as far as families that are asked for rest on it."""
    drawn, asked = tasks
    x, n_classes = trusted.fitted.seen(hookpoint, drawn, tokens_alone=tokens_alone), len(drawn.classes)
    if not _several(drawn.y) or not len(asked.y):
        return AskedTask(drawn, asked, None, None, ())
    portions: list[Portion] = []
    if "probe_code_length" in trusted.families:
        portions = _portions(fitter, x, drawn.y, n_classes, seed)
    probe, control = fitter.fit(x, drawn.y, n_classes, seed), None
    if "probe_selectivity" in trusted.families:
        control = fitter.fit(x, control_labels(drawn, trusted.fitted.ids[drawn.rows]), n_classes, seed)
    return AskedTask(drawn, asked, probe, control, portions)


def _portions(fitter: Fitter, x: Tensor, y: NDArray[np.int64], n_classes: int, seed: int) -> list[Portion]:
    """Each portion is answered about before its labels are handed over; none where a part has no probe."""
    ends = [*(len(y) // share for share in SHARES), len(y)]
    found = [Portion(None, y[: ends[0]])]
    for start, end in itertools.pairwise(ends):
        if not _several(y[:start]):
            return []
        scores = fitter.fit(x[:start], y[:start], n_classes, seed).predict(x[start:end])
        found.append(Portion(scores.numpy(), y[start:end]))
    return found


def _several(y: NDArray[np.int64]) -> bool:
    """Whether there are classes to tell apart, and more tokens than classes."""
    return 1 < len(np.unique(y)) < len(y)


def graded(trusted: ProbesData, cell: CellProbes) -> dict[str, Grades]:
    """Grades by quantity, as families name what they need."""
    rows = {name: _graded(trusted, cell, asked) for name, asked in cell.tasks.items()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    return {str(name): Grades(dict(zip(table.index, table[name], strict=True))) for name in table}


def _graded(trusted: ProbesData, cell: CellProbes, one: AskedTask) -> dict[str, float]:
    if one.probe is None:
        return dict.fromkeys(QUANTITIES, float("nan"))
    ids = trusted.scored.ids[one.asked.rows]
    x = trusted.scored.seen(cell.hookpoint, one.asked, tokens_alone=cell.tokens_alone)
    scores = one.probe.predict(x).numpy()
    found = {
        "lift": probing.lift(scores, one.asked.y, ids),
        "accuracy": probing.balanced_accuracy(scores, one.asked.y),
    }
    if one.control is not None:
        labels = control_labels(one.drawn, ids)
        found["control"] = probing.balanced_accuracy(one.control.predict(x).numpy(), labels)
    if "probe_code_length" in trusted.families:
        classes = len(one.drawn.classes)
        found["code_length"] = probing.code_length(one.portions, classes) if one.portions else float("nan")
    return found
