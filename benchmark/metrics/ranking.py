"""AUROC of one list of grades, its interval, and points of a ROC curve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Ranked = NDArray[np.float64]
IsPositive = NDArray[np.bool_]


def auroc(grades: Ranked, positive: IsPositive) -> float | None:
    """Share of (positive, negative) pairs in which the positive is graded higher, ties .5; None where a class is
    missing (Hanley and McNeil 1982).
    """
    count = int(positive.sum())
    if not 0 < count < len(positive):
        return None
    ranks = stats.rankdata(grades)[positive].sum()
    return float((ranks - count * (count + 1) / 2) / (count * (len(positive) - count)))


def paired_share(positives: Ranked, negatives: Ranked) -> float:
    """Share of pairs [pair] in which the positive is graded higher, ties .5."""
    return float(((positives > negatives) + 0.5 * (positives == negatives)).mean())


def auroc_interval(grades: Ranked, positive: IsPositive, *, alpha: float = 0.05) -> tuple[float, float] | None:
    """Logit-DeLong interval of an AUROC, and at 0 or 1 the exact bound alpha^(1/n) for the smaller class of n; None
    where a class is missing (DeLong, DeLong and Clarke-Pearson 1988).
    """
    value, spread = auroc(grades, positive), auroc_error(grades, positive)
    if value is None or spread is None:
        return None
    if value in (0.0, 1.0):
        bound = alpha ** (1 / min(positive.sum(), (~positive).sum()))
        return (float(bound), 1.0) if value else (0.0, float(1 - bound))
    reach = stats.norm.ppf(1 - alpha / 2) * spread / (value * (1 - value))
    centre = np.log(value / (1 - value))
    low, high = 1 / (1 + np.exp(-(centre + np.array([-reach, reach]))))
    return float(low), float(high)


def auroc_error(grades: Ranked, positive: IsPositive) -> float | None:
    """DeLong's standard error of an AUROC; None for under two of either class."""
    upper, lower = grades[positive], grades[~positive]
    if min(len(upper), len(lower)) < 2:
        return None
    wins = (upper[:, None] > lower) + 0.5 * (upper[:, None] == lower)
    return float(np.sqrt(wins.mean(axis=1).var(ddof=1) / len(upper) + wins.mean(axis=0).var(ddof=1) / len(lower)))


def roc(grades: Ranked, positive: IsPositive, *, points: int) -> tuple[Ranked, Ranked]:
    """True positive rates at `points` evenly spaced false positive rates, both [point]; a tie is a straight line."""
    order = np.argsort(-grades, kind="stable")
    last = np.append(np.diff(grades[order]) != 0, True)
    hits, misses = (np.cumsum(labels[order])[last] / max(labels.sum(), 1) for labels in (positive, ~positive))
    at = np.linspace(0, 1, points)
    return at, np.interp(at, np.append(0, misses), np.append(0, hits))
