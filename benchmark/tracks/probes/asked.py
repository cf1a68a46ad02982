"""What is asked of probes: of each task a probe, one of random labels, and those that the online code needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark.execution.contract import MethodError
from benchmark.metrics import probing
from benchmark.metrics.probing import Grades
from benchmark.tracks.probes.remote import Fitter, RemoteProbe
from benchmark.tracks.probes.tasks import Task, control_labels
from benchmark.tracks.probes.trusted import ProbesData

SHARES = (8, 4, 2)
"""The online code's portions end at the tokens over these, and at the last."""


QUANTITIES = ("lift", "accuracy", "prevalence", "control", "code_length")


class AskedTask(NamedTuple):
    """What was fitted for one task: on the tokens `drawn`, asked about those of `asked`; None where these are of one
    class, or none. `earlier` are probes of the portions before the last.
    """

    drawn: Task
    asked: Task
    probe: RemoteProbe | None
    control: RemoteProbe | None
    earlier: Sequence[RemoteProbe | None]


class CellProbes(NamedTuple):
    """All probes of one cell; floors read the token alone."""

    hookpoint: str
    tasks: Mapping[str, AskedTask]
    tokens_alone: bool

    @property
    def peak_bytes(self) -> int:
        """Of the worker, after the last fit."""
        probes = [one for task in self.tasks.values() for one in (task.probe, task.control, *task.earlier) if one]
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
    probe = fitter.fit(x, drawn.y, n_classes, seed)
    control, earlier = None, list[RemoteProbe | None]()
    if "probe_selectivity" in trusted.families:
        control = fitter.fit(x, control_labels(drawn, trusted.fitted.ids[drawn.rows]), n_classes, seed)
    if "probe_code_length" in trusted.families:
        for tokens in (len(drawn.y) // share for share in SHARES):
            y = drawn.y[:tokens]
            earlier.append(fitter.fit(x[:tokens], y, n_classes, seed) if _several(y) else None)
    return AskedTask(drawn, asked, probe, control, earlier)


def _several(y: NDArray[np.int64]) -> bool:
    return len(np.unique(y)) > 1


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
        "prevalence": float((one.asked.y == np.bincount(one.asked.y).argmax()).mean()),
    }
    if one.control is not None:
        labels = control_labels(one.drawn, ids)
        found["control"] = probing.balanced_accuracy(one.control.predict(x).numpy(), labels)
    if one.earlier:
        found["code_length"] = _code_length(trusted, cell, one)
    return found


def _code_length(trusted: ProbesData, cell: CellProbes, one: AskedTask) -> float:
    x = trusted.fitted.seen(cell.hookpoint, one.drawn, tokens_alone=cell.tokens_alone)
    ends = [*(len(one.drawn.y) // share for share in SHARES), len(one.drawn.y)]
    portions = [probing.Portion(None, one.drawn.y[: ends[0]])]
    for probe, start, end in zip(one.earlier, ends[:-1], ends[1:], strict=True):
        if probe is None:
            return float("nan")
        portions.append(probing.Portion(probe.predict(x[start:end]).numpy(), one.drawn.y[start:end]))
    return probing.code_length(portions, len(one.drawn.classes))
