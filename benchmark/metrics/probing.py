"""What probes are graded by: within-token lift, accuracy, selectivity and code length. Pure.

Scores are [token, class], labels [token] in [0, n_classes), token ids [token].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import log_softmax

from benchmark.metrics.concept_families import lift_metric
from benchmark.metrics.concepts import FEWEST, TOO_FEW
from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.grouped_auroc import aurocs
from benchmark.metrics.value import Value, undefined

CONCEPTS = (
    "previous_word_class", "topic", "sense", "agreement", "quote_depth", "bracket_depth", "entity", "register", "tense",
    "referent",
)  # fmt: skip
"""Tasks that the built-in language has labels for."""
OF_TEXT = ("previous_kind", "next_capitalised", "inside_quotes", "brackets", "seen_before", "sentence_place")
"""Tasks whose labels any text carries by itself."""
TASKS = CONCEPTS + OF_TEXT


class Grades(NamedTuple):
    """Of each task one number, NaN where it is undefined."""

    by_task: Mapping[str, float]


class Portion(NamedTuple):
    """Labels [token] of a part of the tokens, and scores [token, class] of a probe that was fitted to all before it."""

    scores: NDArray[np.float64] | None
    y: NDArray[np.int64]


def lift(scores: NDArray[np.float64], y: NDArray[np.int64], ids: NDArray[np.int64]) -> float:
    """Mean over classes of 2 AUROC - 1 among pairs of tokens of the same id: 0 for whatever only knows the token, 1 at
    best. Classes with few tokens that have a partner, on either side, are left out; NaN where none is left.
    """
    answers = y[:, None] == np.arange(scores.shape[1])
    # Stored entries have to be above 0: ranks within a class are all that counts.
    shifted = sparse.csr_array(scores - scores.min(axis=0, keepdims=True) + 1.0)
    found = aurocs(shifted, answers, ids)
    known = np.minimum(found.positives, found.negatives) >= FEWEST
    return float(np.mean(2 * np.diag(found.values)[known] - 1)) if known.any() else float("nan")


def balanced_accuracy(scores: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Mean over the classes that are there of the share that is told right; ties go to the first class."""
    right, present = scores.argmax(axis=1) == y, np.bincount(y)
    shares = np.bincount(y, weights=right) / np.maximum(present, 1)
    return float(shares[present > 0].mean()) if len(y) else float("nan")


def bits(scores: NDArray[np.float64], y: NDArray[np.int64]) -> float:
    """Bits that the labels take, by the softmax of the scores."""
    return float(-log_softmax(scores, axis=1)[np.arange(len(y)), y].sum() / np.log(2))


def code_length(portions: Sequence[Portion], n_classes: int) -> float:
    """Bits a label by an online code (Voita and Titov 2020, section 3.2): a portion without scores by the uniform code,
    as the first is.
    """
    taken = sum(len(y) * float(np.log2(n_classes)) if scores is None else bits(scores, y) for scores, y in portions)
    return taken / sum(len(y) for _, y in portions)


def _mean(grades: Grades, reason: str) -> Value:
    values = list(grades.by_task.values())
    missing = [task for task, value in grades.by_task.items() if np.isnan(value)]
    if missing or not values:
        return undefined(f"{reason}: {', '.join(missing)}" if missing else "no tasks")
    return Value(float(np.mean(values)))


def lifts(grades: Grades) -> Mapping[str, Value]:
    """The mean over tasks, and each; all tasks count, or there is no mean."""
    each = {
        f"probe_lift.{task}@1": undefined(TOO_FEW) if np.isnan(value) else Value(value)
        for task, value in grades.by_task.items()
    }
    return {"probe_lift@1": _mean(grades, TOO_FEW), **each}


def accuracies(grades: Grades) -> Mapping[str, Value]:
    """The mean over tasks."""
    return {"probe_accuracy@1": _mean(grades, "no tokens")}


def selectivities(accuracy: Grades, control: Grades) -> Mapping[str, Value]:
    """Accuracy less that on control labels, the mean over tasks (Hewitt and Liang 2019)."""
    apart = Grades({task: value - control.by_task[task] for task, value in accuracy.by_task.items()})
    return {"probe_selectivity@1": _mean(apart, "no tokens")}


def code_lengths(grades: Grades) -> Mapping[str, Value]:
    """The mean over tasks."""
    reason = "some portion of the tokens has one class alone"
    return {"probe_code_length@1": _mean(grades, reason)}


FAMILIES = (
    MetricFamily(
        "probe_lift",
        1,
        {
            "probe_lift@1": lift_metric("how well probes tell what the token alone does not, mean over tasks"),
            **{f"probe_lift.{task}@1": lift_metric(f"the same for {task.replace('_', ' ')}") for task in TASKS},
        },
        ("lift",),
        lifts,
        track="probes",
    ),
    MetricFamily(
        "probe_accuracy",
        1,
        {"probe_accuracy@1": Metric("share of labels told right, classes weighing the same, mean over tasks", "share",
                                    "higher")},
        ("accuracy",),
        accuracies,
        track="probes",
    ),
    MetricFamily(
        "probe_selectivity",
        1,
        {"probe_selectivity@1": Metric("accuracy less that on random labels per token id, mean over tasks", "share",
                                       "higher")},
        ("accuracy", "control"),
        selectivities,
        track="probes",
    ),
    MetricFamily(
        "probe_code_length",
        1,
        {"probe_code_length@1": Metric("online code length of the labels, mean over tasks", "bits a label", "lower",
                                       0.05)},
        ("code_length",),
        code_lengths,
        track="probes",
    ),
)  # fmt: skip
