"""How well single latents, and linear probes on few or all of them, tell a known concept.

Recovery picks the best latent for a concept on one half of the documents and scores it on the other, and back, and
averages: picking among many latents so costs nothing. Groups make it fair (`grouped_auroc`): with token ids as groups
lift = 2 AUROC - 1 is 0 for whatever only knows the token, and 1 for a latent that tells the concept.

Probes are fitted on the first half and scored on the second: the 1 latent that tells the concept best, by
firing or by silence; a ridge regression (scikit-learn) on the 5 best, standardised; and one on all. Sparse probing:
Gurnee et al. 2023 (arXiv 2305.01610).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import Ridge

from benchmark.metrics.grouped_auroc import Aurocs, aurocs

FEWEST = 10
TOO_FEW = "too few tokens of either class that share their token id"
FEW = 5
RIDGE = 10.0
MOST_LATENTS = 16_384


class LabelledHalf(NamedTuple):
    """One half of the documents: activations [token, latent], labels [token, label] and groups [token]."""

    z: sparse.csr_array
    y: NDArray[np.bool_]
    groups: NDArray[np.int64]


class Recovered(NamedTuple):
    """AUROC [label] on documents that nothing was picked on, NaN where a half has under `FEWEST` of either class with
    a partner; the latent [label] that the first half picked (-1 where undefined); and what either half says of every
    latent, NaN where the label is undefined [half, label, latent].
    """

    single: NDArray[np.float64]
    probes: dict[str, NDArray[np.float64]]
    latents: NDArray[np.int64]
    every: NDArray[np.float64]


class Matches(NamedTuple):
    """Of each latent the label that it tells best by the first half, -1 where there is none, and the AUROC of both on
    the second, both [latent].
    """

    labels: NDArray[np.int64]
    aurocs: NDArray[np.float64]


def halves(
    z: sparse.csr_array, y: NDArray[np.bool_], groups: NDArray[np.int64], documents: NDArray[np.int64]
) -> tuple[LabelledHalf, LabelledHalf]:
    """Split by document number: even and odd."""
    sides = (np.flatnonzero(documents % 2 == side) for side in (0, 1))
    first, second = (LabelledHalf(z[rows], y[rows], groups[rows]) for rows in sides)
    return first, second


def recover(first: LabelledHalf, second: LabelledHalf, *, probes: bool = True) -> Recovered:
    """Recovery by single latents, each way round and averaged, and by probes."""
    both = aurocs(*first), aurocs(*second)
    defined = np.all([np.minimum(side.positives, side.negatives) >= FEWEST for side in both], axis=0)
    best = [_best(side) for side in both]
    labels = np.arange(first.y.shape[1])
    single = np.mean([both[1].values[labels, best[0]], both[0].values[labels, best[1]]], axis=0)
    single[~defined] = np.nan
    grades: dict[str, NDArray[np.float64]] = {}
    if probes and defined.any():
        told = _probe(first, second, both[0], both[1], defined)
        grades = {size: np.where(defined, values, np.nan) for size, values in told.items()}
    every = np.stack([np.where(defined[:, None], side.values, np.nan) for side in both])
    return Recovered(single, grades, np.where(defined, best[0], -1), every)


def matches(every: NDArray[np.float64]) -> Matches:
    """Best labels of all latents, from AUROCs [half, label, latent]: picked on one half, so that picking is free."""
    known = np.flatnonzero(~np.isnan(every).any(axis=(0, 2)))
    if not len(known):
        return Matches(np.full(every.shape[2], -1), np.full(every.shape[2], np.nan))
    labels = known[np.argmax(every[0, known], axis=0)]
    return Matches(labels, every[1, labels, np.arange(every.shape[2])])


def _best(found: Aurocs) -> NDArray[np.int64]:
    best: NDArray[np.int64] = np.argmax(np.nan_to_num(found.values, nan=-1.0), axis=1)
    return best


def _probe(
    fitted: LabelledHalf, scored: LabelledHalf, known: Aurocs, held_out: Aurocs, defined: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    """AUROC [label] on one half of probes fitted on the other, by their size."""
    told = np.nan_to_num(known.values, nan=0.5) - 0.5
    order = np.argsort(-np.abs(told), axis=1, kind="stable")[:, :FEW]
    labels = np.arange(len(told))
    sign = np.where(told[labels, order[:, 0]] < 0, -1.0, 1.0)
    grades = {"1": 0.5 + sign * (held_out.values[labels, order[:, 0]] - 0.5)}
    scale = np.sqrt(np.maximum(np.asarray(fitted.z.multiply(fitted.z).mean(axis=0)).ravel(), 1e-12))
    x, x_scored = (sparse.csr_array(half.z.multiply(1 / scale)) for half in (fitted, scored))
    target = fitted.y - fitted.y.mean(axis=0)
    few = []
    for label in np.flatnonzero(defined):
        probe = Ridge(alpha=RIDGE).fit(x[:, order[label]].toarray(), target[:, label])
        few.append(probe.predict(x_scored[:, order[label]].toarray()))
    grades[str(FEW)] = _graded(np.stack(few, axis=1), scored, defined)
    if fitted.z.shape[1] <= MOST_LATENTS:
        probe = Ridge(alpha=RIDGE, fit_intercept=False, solver="cholesky").fit(_with_one(x), target[:, defined])
        predicted = np.asarray(probe.predict(_with_one(x_scored))).reshape(len(scored.y), -1)
        grades["all"] = _graded(predicted, scored, defined)
    return grades


def _with_one(x: sparse.csr_array) -> sparse.csr_array:
    """A constant beside the latents, large enough that the ridge does not shrink the intercept."""
    one = sparse.csr_array(np.full((x.shape[0], 1), 100.0))
    return sparse.csr_array(sparse.hstack([x, one], format="csr"))


def _graded(scores: NDArray[np.floating[Any]], half: LabelledHalf, defined: NDArray[np.bool_]) -> NDArray[np.float64]:
    shifted = sparse.csr_array((scores - scores.min(axis=0) + 1.0).astype(np.float64))
    values = np.full(half.y.shape[1], np.nan)
    values[defined] = np.diag(aurocs(shifted, half.y[:, defined], half.groups).values)
    return values
