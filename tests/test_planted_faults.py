"""Faults planted in the parts that numbers rest on: the guard must see each of them on a platform that it knows."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from baselines.topk_sae import kernels
from benchmark.autointerp import items, scores
from benchmark.checks import guard, verify
from benchmark.checks.guard import Expected
from benchmark.models import gates, nulls
from benchmark.records import Record
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from tests.conftest import Silent, tiny_settings

BASELINE = Path(__file__).parents[1] / "baselines" / "topk_sae"
UNIT_ROWS = "decoder[place] *= norm"
Plant = Callable[[pytest.MonkeyPatch, Path], None]


def run(subjects: Path, runs: Path, home: Path) -> list[Record]:
    """Trained and rerandomized at one hookpoint, in this process, so that what is planted here is met."""
    metrics = [
        "fvu@1",
        "explained_variance@1",
        "fuzzing@1",
        "fuzzing-token-matched@1",
        "detection@1",
        "fuzzing.empty@1",
    ]
    settings = tiny_settings(subjects) | {"variants": ["trained", "rerandomized"], "hookpoints": ["layers.1"]}
    settings["subject"]["replicates"] = {"0": settings["subject"]["replicates"]["0"]}
    settings["tokens"] |= {"explain": 20_000, "score": 20_000}
    suite, method = Suite.model_validate(settings | {"metrics": metrics}), methods.load("topk_sae", (home,))
    pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], Store(runs), "none", Silent())
    return Store(runs).records("tiny", "topk_sae")


def copied(home: Path) -> Path:
    shutil.copytree(BASELINE, home / "topk_sae", ignore=shutil.ignore_patterns("__pycache__"))
    return home


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, subjects: Path) -> Expected:
    found = run(subjects, tmp_path_factory.mktemp("sound"), BASELINE.parent)
    assert len(found) == 2
    assert all(record.metrics["fuzzing@1"].value not in (None, 0.5) for record in found)
    return Expected(why="for tests", platforms={verify.tag(found[0]): guard.cells_of(found)}, spread={})


def without_means(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Null: tensors redrawn around 0 instead of their own mean. The gate measures with the same function."""
    sound = gates.moments
    for module in (gates, nulls):
        patch.setattr(module, "moments", lambda tensor: (0.0, sound(tensor)[1]))


def of_few_samples(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Null: standard deviations divided by n instead of n - 1, far within the gate's sampling error."""
    for module in (gates, nulls):
        patch.setattr(
            module,
            "moments",
            lambda tensor: (float(tensor.detach().double().mean()), float(tensor.detach().double().std(correction=0))),
        )


def free_decoder(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Dictionary: decoder rows keep whatever norm the optimizer gives them."""
    path = home / "topk_sae" / "kernels.py"
    text = path.read_text()
    assert text.count(UNIT_ROWS) == 1
    path.write_text(text.replace(UNIT_ROWS, "pass"))
    spec = importlib.util.spec_from_file_location("faulty_kernels", path)
    assert spec is not None
    assert spec.loader is not None
    faulty = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, "faulty_kernels", faulty)
    spec.loader.exec_module(faulty)
    patch.setattr(kernels, "update", faulty.update)


def easy_negatives(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Fuzzing: every negative from a window without any firing, which measures detection."""
    sound = items._Pool

    def silent_only(windows: NDArray[np.int64], active: NDArray[np.bool_], split: items.Split) -> items._Pool:
        return sound(windows, active | bool(active.any()), split)

    patch.setattr(items, "_Pool", silent_only)


def negatives_where_it_fires(patch: pytest.MonkeyPatch, home: Path) -> None:
    """Fuzzing: negatives may mark tokens on which the latent fires."""
    sound = items._Pool
    patch.setattr(items, "_Pool", lambda windows, active, split: sound(windows, np.zeros_like(active), split))


def ties_for_the_positive(patch: pytest.MonkeyPatch, home: Path) -> None:
    """AUROC: a tie counts as won."""

    def greedy(grades: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
        count = int(positive.sum())
        ranks = stats.rankdata(grades, method="max")[positive].sum()
        return float((ranks - count * (count + 1) / 2) / (count * (len(positive) - count)))

    patch.setattr(scores, "auroc", greedy)


class Fault(NamedTuple):
    """How it is planted, the metric that must move, and the variants where something must and where nothing may."""

    plant: Plant
    metric: str
    moved: set[str]
    spared: set[str]


NULL, BOTH = {"rerandomized"}, {"trained", "rerandomized"}
FAULTS = [
    Fault(without_means, "fvu@1", NULL, {"trained"}),
    Fault(of_few_samples, "fvu@1", NULL, {"trained"}),
    Fault(free_decoder, "fvu@1", BOTH, set()),
    Fault(easy_negatives, "fuzzing@1", {"trained"}, set()),
    Fault(negatives_where_it_fires, "fuzzing@1", {"trained"}, set()),
    Fault(ties_for_the_positive, "fuzzing.empty@1", BOTH, set()),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.plant.__name__)
def test_the_guard_sees(
    fault: Fault, expected: Expected, subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A copy compiles its kernels anew: only a fault in the method's own code needs one.
    home = copied(tmp_path / "home") if fault.plant is free_decoder else BASELINE.parent
    fault.plant(monkeypatch, home)
    checked = guard.check(run(subjects, tmp_path / "runs", home), expected)
    assert checked.known
    moved = {moved.cell.split("/")[1] for moved in checked.moved}
    assert moved >= fault.moved
    assert not moved & fault.spared
    assert fault.metric in {moved.metric for moved in checked.moved}


def test_without_a_fault_nothing_moves(expected: Expected, subjects: Path, tmp_path: Path) -> None:
    found: Any = guard.check(run(subjects, tmp_path / "runs", copied(tmp_path / "home")), expected)
    assert (found.moved, found.known) == ([], True)
