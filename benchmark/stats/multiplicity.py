"""Many tests at once: families of claims, ranks that the data support, bands over layers."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from statsmodels.stats.multitest import multipletests

MAX_T_FROM = 6


class Rank(NamedTuple):
    """Best and worst rank that pairwise comparisons leave open, and the group of tied entries, from 1."""

    best: int
    worst: int
    group: int


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm-adjusted p of a confirmatory family [claim]."""
    return np.asarray(multipletests(p, method="holm")[1])


def benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """False-discovery-adjusted p for exploratory maps [claim]."""
    return np.asarray(multipletests(p, method="fdr_bh")[1])


def ranks(better: NDArray[np.bool_]) -> list[Rank]:
    """Rank intervals [1 + #significantly better, n - #significantly worse]; overlapping ones are one tied group.

    Args:
        better: [entry, entry], whether the row's entry is significantly better than the column's.
    """
    n = len(better)
    best, worst = 1 + better.sum(axis=0), n - better.sum(axis=1)
    groups, group, reach = np.zeros(n, dtype=int), 0, 0
    for place in np.lexsort((worst, best)):
        if best[place] > reach:
            group += 1
        groups[place], reach = group, max(reach, int(worst[place]))
    return [Rank(int(low), int(high), int(own)) for low, high, own in zip(best, worst, groups, strict=True)]


def band(d: NDArray[np.float64], *, alpha: float = 0.05) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Simultaneous band of mean gaps over layers, from d [replicate, layer].

    From six replicates on by sign-flip max-T, one flip per replicate for all layers; below by Bonferroni's t.
    """
    m, layers = d.shape
    mean, se = d.mean(axis=0), d.std(axis=0, ddof=1) / np.sqrt(m)
    if m < MAX_T_FROM:
        width = stats.t.ppf(1 - alpha / (2 * layers), m - 1) * se
    else:
        width = np.quantile(_max_t(d - mean), 1 - alpha, method="higher") * se
    return mean - width, mean + width


def _max_t(centred: NDArray[np.float64]) -> NDArray[np.float64]:
    m = len(centred)
    if m <= 14:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=m)))
    else:
        signs = np.random.default_rng(0).choice((-1.0, 1.0), size=(2**14, m))
    means = signs @ centred / m
    squares = (centred**2).sum(axis=0)
    se = np.sqrt(np.maximum(squares - m * means**2, 1e-300) / (m - 1) / m)
    return np.asarray(np.abs(means / se).max(axis=1))
