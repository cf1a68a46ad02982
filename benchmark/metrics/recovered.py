"""How much of the activations a method's codes carry, by a decoder of the harness's own: nobody can decline or fake it.

A ridge regression from codes to activations is fitted on the explain split and judged on the score split. A latent is
divided by the root mean square of its activations, so that the penalty counts tokens: as if on so many more it had
fired and nothing followed. The penalty is the one of five with which two halves of the documents predict each other
best. `recovered_context` asks the same of what the token id leaves unexplained.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.token_regression import Means
from benchmark.metrics.value import Value, undefined

PENALTIES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
MOST_FACTORED = 8192
"""Latents whose products are kept and factored; more are solved for on the codes, by conjugate gradients."""
DENSE, ROWS_AT_ONCE = 0.05, 1024
TOLERANCE, MOST_STEPS = 1e-4, 500
CONSTANT = "no variance to recover: activations are constant or absent"
Matrix = NDArray[np.floating]


class CodedTokens(NamedTuple):
    """A split: codes [token, latent], activations [token, d_model], token ids and documents, both [token]."""

    codes: sparse.csr_array
    x: Matrix
    ids: NDArray[np.int64]
    documents: NDArray[np.int64]


class Products(NamedTuple):
    """Sums over tokens: of codes [latent], targets [target] and their squares [target], and of codes times codes
    [latent, latent] and times targets [latent, target], in float64.
    """

    tokens: int
    codes: Matrix
    targets: Matrix
    squares: Matrix
    gram: Matrix
    cross: Matrix

    @classmethod
    def of(cls, codes: sparse.csr_array, targets: Matrix) -> Products:
        """Sums of a batch."""
        width = codes.shape[1]
        gram, cross = np.zeros((width, width)), np.zeros((width, targets.shape[1]))
        if codes.nnz <= DENSE * len(targets) * width:
            gram, cross = (codes.T @ codes).toarray(), codes.T @ targets
        else:
            for start in range(0, len(targets), ROWS_AT_ONCE):
                part = codes[start : start + ROWS_AT_ONCE].toarray()
                gram += part.T @ part
                cross += part.T @ targets[start : start + ROWS_AT_ONCE]
        fired: Matrix = codes.T @ np.ones(len(targets))
        return cls(len(targets), fired, targets.sum(axis=0), np.square(targets).sum(axis=0), gram, cross)

    def __add__(self, other: Products) -> Products:  # type: ignore[override]
        tokens, *sums = (a + b for a, b in zip(self, other, strict=True))  # type: ignore[operator]
        return Products(tokens, *sums)

    def centred(self, dtype: type[np.floating]) -> Factored:
        """About the means of these tokens."""
        mean = self.codes / max(self.tokens, 1)
        gram, cross = self.gram - mean[:, None] * self.codes, self.cross - mean[:, None] * self.targets
        squares = self.squares - self.targets**2 / max(self.tokens, 1)
        return Factored(gram.astype(dtype), cross.astype(dtype, order="F"), squares)


class Factored(NamedTuple):
    """Ridge regressions by Cholesky's factor, from products about the means: gram [latent, latent], cross
    [latent, target], squares [target].
    """

    gram: Matrix
    cross: Matrix
    squares: Matrix

    def weights(self, penalty: float) -> Matrix:
        """Ridge weights [latent, target]."""
        double = self.gram.dtype == np.float64
        factor, solve = (lapack.dpotrf, lapack.dpotrs) if double else (lapack.spotrf, lapack.spotrs)
        penalised = self.gram.T.copy(order="F")  # as it lies in memory: it is its own transpose
        penalised.flat[:: len(penalised) + 1] += penalty
        root, failed = factor(penalised, lower=1, overwrite_a=1, clean=0)
        if failed:  # rounding took a latent that others add up to below 0: such a penalty is too small to be chosen
            return np.full_like(self.cross, np.nan)
        weights: Matrix = solve(root, self.cross, lower=1)[0]
        return weights

    def error(self, weights: Matrix) -> Matrix:
        """Squares of the targets that the weights leave, [target]."""
        left: Matrix = ((self.gram @ weights - 2 * self.cross) * weights).sum(axis=0, dtype=np.float64) + self.squares
        return left


class Iterated(NamedTuple):
    """Ridge regressions by conjugate gradients (Hestenes and Stiefel 1952), preconditioned by the diagonal: codes
    [token, latent] and their means, targets [token, target] minus theirs. Every target has steps of its own.
    """

    codes: sparse.csr_array
    means: Matrix
    targets: Matrix

    @classmethod
    def of(cls, codes: sparse.csr_array, targets: Matrix) -> Iterated:
        """All tokens of `codes` and `targets`."""
        return cls(codes, codes.sum(axis=0) / max(len(targets), 1), targets - targets.mean(axis=0))

    def predicted(self, weights: Matrix) -> Matrix:
        """Codes minus their means, times weights [token, target]."""
        found: Matrix = self.codes @ weights - self.means @ weights
        return found

    def _back(self, found: Matrix) -> Matrix:
        """Codes minus their means, transposed, times [token, target]."""
        back: Matrix = self.codes.T @ found - np.outer(self.means, found.sum(axis=0))
        return back

    def weights(self, penalty: float) -> Matrix:
        """Ridge weights [latent, target]."""
        scale = (self.codes.multiply(self.codes).sum(axis=0) - len(self.targets) * self.means**2 + penalty)[:, None]
        residual = self._back(self.targets)
        weights, preconditioned = np.zeros_like(residual), residual / scale
        direction, along = preconditioned, (residual * preconditioned).sum(axis=0)
        enough = TOLERANCE**2 * along
        for _ in range(MOST_STEPS):
            if (along <= enough).all():
                break
            image = self._back(self.predicted(direction)) + penalty * direction
            step = along / np.maximum((direction * image).sum(axis=0), np.finfo(float).tiny)
            weights = weights + step * direction
            residual = residual - step * image
            preconditioned = residual / scale
            before, along = along, (residual * preconditioned).sum(axis=0)
            direction = preconditioned + along / np.maximum(before, np.finfo(float).tiny) * direction
        return weights

    def error(self, weights: Matrix) -> Matrix:
        """Squares of the targets that the weights leave, [target]."""
        left: Matrix = np.square(self.targets - self.predicted(weights)).sum(axis=0)
        return left


Regression = Factored | Iterated


def recovered(explain: CodedTokens, score: CodedTokens) -> dict[str, Value]:
    """Shares of the score split's variance, and of its variance given the token id, that codes predict linearly: 1 is
    all of it, 0 what no codes predict. Both splits have the same latents and width.
    """
    d_model = explain.x.shape[1]
    codes, targets = _normalised(explain, score), _targets(explain, score)
    halves, whole = _regressions(codes[0], targets[0], explain.documents % 2 == 0)
    blocks = {"recovered_variance@1": slice(0, d_model), "recovered_context@1": slice(d_model, None)}
    weights = _chosen(halves, whole, list(blocks.values())) if codes[0].shape[1] else np.zeros((0, 2 * d_model))
    left, total = _left(codes[1], targets[1], weights)
    return {
        name: Value(float(1 - left[block].sum() / total[block].sum()))
        if total[block].sum() > 0
        else undefined(CONSTANT)
        for name, block in blocks.items()
    }


def _chosen(halves: tuple[Regression, Regression], whole: Regression, blocks: list[slice]) -> Matrix:
    """Weights [latent, target], each block of targets with the penalty under which the halves predict it best."""
    left = {penalty: _crossed(*halves, penalty) for penalty in PENALTIES}
    best = [min(PENALTIES, key=lambda penalty: float(left[penalty][block].sum())) for block in blocks]
    made = {penalty: whole.weights(penalty) for penalty in set(best)}
    return np.hstack([made[penalty][:, block] for penalty, block in zip(best, blocks, strict=True)])


def _left(codes: sparse.csr_array, targets: Matrix, weights: Matrix) -> tuple[Matrix, Matrix]:
    """Squares about the mean of what weights leave of the targets, and of the targets, both [target]; in parts that
    stay in the processor's cache.
    """
    sums = np.zeros((4, targets.shape[1]))
    for start in range(0, len(targets), ROWS_AT_ONCE):
        part = targets[start : start + ROWS_AT_ONCE]
        rest = part - codes[start : start + ROWS_AT_ONCE] @ weights
        sums += [
            np.einsum("tj,tj->j", rest, rest),
            rest.sum(axis=0),
            np.einsum("tj,tj->j", part, part),
            part.sum(axis=0),
        ]
    count = max(len(targets), 1)
    return sums[0] - sums[1] ** 2 / count, sums[2] - sums[3] ** 2 / count


def _crossed(first: Regression, second: Regression, penalty: float) -> Matrix:
    """What each half's weights leave of the other half, [target]; infinite where there are no weights."""
    left = first.error(second.weights(penalty)) + second.error(first.weights(penalty))
    return np.where(np.isfinite(left), left, np.inf)


def _regressions(
    codes: sparse.csr_array, targets: Matrix, even: NDArray[np.bool_]
) -> tuple[tuple[Regression, Regression], Regression]:
    """Of the two halves of the explain split, and of the whole."""
    halves = [(codes[side], targets[side]) for side in (even, ~even)]
    if codes.shape[1] > MOST_FACTORED:
        one, other = (Iterated.of(*half) for half in halves)
        return (one, other), Iterated.of(codes, targets)
    first, second = (Products.of(*half) for half in halves)
    # Half the digits will do for choosing among penalties, and take half the time.
    return (first.centred(np.float32), second.centred(np.float32)), (first + second).centred(np.float64)


def _normalised(explain: CodedTokens, score: CodedTokens) -> list[sparse.csr_array]:
    """Codes of both splits of the latents that fire on the explain split, each in units of its root mean square."""
    firing = np.bincount(explain.codes.indices, minlength=explain.codes.shape[1])
    squares = np.bincount(
        explain.codes.indices, weights=np.square(explain.codes.data, dtype=np.float64), minlength=len(firing)
    )
    alive = np.flatnonzero(squares > 0)
    scale = sparse.diags_array(np.sqrt(firing[alive] / squares[alive]))
    return [sparse.csr_array(split.codes[:, alive].astype(np.float64) @ scale) for split in (explain, score)]


def _targets(explain: CodedTokens, score: CodedTokens) -> list[Matrix]:
    """Activations, and beside them activations minus their token's mean on the explain split [token, 2 d_model]."""
    overall = explain.x.mean(axis=0, dtype=np.float64)
    means = Means.of(explain.ids, explain.x)
    shrunk = means.shrunk(overall[None])
    return [
        np.hstack([split.x, split.x - means.at(split.ids, shrunk, np.broadcast_to(overall, split.x.shape))])
        for split in (explain, score)
    ]


FAMILY = MetricFamily(
    "recovered",
    1,
    {
        "recovered_variance@1": Metric(
            "what a decoder of the harness's own predicts of the activations from the codes", "share", "higher"
        ),
        "recovered_context@1": Metric(
            "the same of what the token alone leaves unexplained of the activations", "share", "higher"
        ),
    },
    ("explain_coded", "score_coded"),
    recovered,
)
