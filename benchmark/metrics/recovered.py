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
from benchmark.metrics.value import NotDefined, Value, undefined

PENALTIES = (1.0, 10.0, 100.0, 1_000.0, 10_000.0)
MOST_FACTORED = 8192
"""Latents whose products are kept and factored; more are solved for on the codes, by conjugate gradients."""
MOST_TOKENS, COLUMNS = 65_536, 128
"""Of a split where latents are more than that; and coordinates of the activations that are worked on at a time."""
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

    def first(self, tokens: int) -> CodedTokens:
        """The first tokens alone."""
        return CodedTokens(self.codes[:tokens], self.x[:tokens], self.ids[:tokens], self.documents[:tokens])


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
        """Ridge weights [latent, target]; NaN where rounding leaves none."""
        if not len(self.gram):
            return np.zeros_like(self.cross)
        double = self.gram.dtype == np.float64
        factor, solve = (lapack.dpotrf, lapack.dpotrs) if double else (lapack.spotrf, lapack.spotrs)
        penalised = self.gram.T.copy(order="F")  # as it lies in memory: it is its own transpose
        penalised.flat[:: len(penalised) + 1] += penalty
        root, failed = factor(penalised, lower=1, overwrite_a=1, clean=0)
        if failed and not double:
            return Factored(self.gram.astype(np.float64), self.cross.astype(np.float64), self.squares).weights(penalty)
        if failed:  # rounding took below 0 what latents that add up to each other have left
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
        return cls(
            codes, codes.sum(axis=0) / max(len(targets), 1), targets - targets.sum(axis=0) / max(len(targets), 1)
        )

    def predicted(self, weights: Matrix) -> Matrix:
        """Codes minus their means, times weights [token, target]."""
        found: Matrix = self.codes @ weights - self.means @ weights
        return found

    def _back(self, found: Matrix) -> Matrix:
        """Codes minus their means, transposed, times [token, target]."""
        back: Matrix = self.codes.T @ found - np.outer(self.means, found.sum(axis=0))
        return back

    def weights(self, penalty: float) -> Matrix:
        """Ridge weights [latent, target]; NaN where the steps do not end."""
        scale = (self.codes.multiply(self.codes).sum(axis=0) - len(self.targets) * self.means**2 + penalty)[:, None]
        residual = self._back(self.targets)
        weights, preconditioned = np.zeros_like(residual), residual / scale
        direction, along = preconditioned, (residual * preconditioned).sum(axis=0)
        enough = TOLERANCE**2 * along
        for _ in range(MOST_STEPS):
            if (along <= enough).all():
                return weights
            image = self._back(self.predicted(direction)) + penalty * direction
            step = along / np.maximum((direction * image).sum(axis=0), np.finfo(float).tiny)
            weights = weights + step * direction
            residual = residual - step * image
            preconditioned = residual / scale
            before, along = along, (residual * preconditioned).sum(axis=0)
            direction = preconditioned + along / np.maximum(before, np.finfo(float).tiny) * direction
        return np.full_like(weights, np.nan)

    def error(self, weights: Matrix) -> Matrix:
        """Squares of the targets that the weights leave, [target]."""
        left: Matrix = np.square(self.targets - self.predicted(weights)).sum(axis=0)
        return left


Regression = Factored | Iterated


def recovered(explain: CodedTokens, score: CodedTokens) -> dict[str, Value]:
    """Shares of the score split's variance, and of its variance given the token id, that codes predict linearly: 1 is
    all of it, 0 what no codes predict. Both splits have the same latents and width. Wide dictionaries are fitted and
    judged on the first tokens of either split alone, and penalties chosen on some coordinates.

    Raises:
        NotDefined: no penalty has weights.
    """
    if explain.codes.shape[1] > MOST_FACTORED:
        explain, score = explain.first(MOST_TOKENS), score.first(MOST_TOKENS)
    codes = _normalised(explain, score)
    d_model, even = explain.x.shape[1], explain.documents % 2 == 0
    some = np.unique(np.linspace(0, d_model - 1, min(d_model, COLUMNS)).astype(int))
    penalties = _penalties(codes[0], _targets(explain, score, some)[0], even)
    left, total = np.zeros(2), np.zeros(2)
    for start in range(0, d_model, COLUMNS):
        targets = _targets(explain, score, np.arange(start, min(start + COLUMNS, d_model)))
        weights = _weights(codes[0], targets[0], penalties)
        rest, squares = _left(codes[1], targets[1], weights)
        left, total = left + rest.reshape(2, -1).sum(axis=1), total + squares.reshape(2, -1).sum(axis=1)
    return {
        name: Value(float(1 - left[kind] / total[kind])) if total[kind] > 0 else undefined(CONSTANT)
        for kind, name in enumerate(("recovered_variance@1", "recovered_context@1"))
    }


def _penalties(codes: sparse.csr_array, targets: Matrix, even: NDArray[np.bool_]) -> list[float]:
    """For variance and for context, the penalty under which two halves of the documents predict each other best; the
    largest where no half has weights under any.
    """
    # Half the digits will do for choosing among penalties, and take half the time.
    one, other = (_regression(codes[side], targets[side], np.float32) for side in (even, ~even))
    left = {penalty: _crossed(one, other, penalty) for penalty in PENALTIES}
    return [min(PENALTIES[::-1], key=lambda penalty: float(left[penalty][kind])) for kind in (0, 1)]


def _weights(codes: sparse.csr_array, targets: Matrix, penalties: list[float]) -> Matrix:
    """Weights [latent, target] of targets of variance and, behind them, of context; under a larger penalty than asked
    for where there are none.
    """
    whole, kinds = _regression(codes, targets, np.float64), []
    made: dict[float, Matrix] = {}
    for kind, asked in enumerate(penalties):
        for penalty in (one for one in PENALTIES if one >= asked):
            if penalty not in made:
                made[penalty] = whole.weights(penalty)
            if np.isfinite(made[penalty]).all():
                kinds.append(np.hsplit(made[penalty], 2)[kind])
                break
        else:
            raise NotDefined("the harness's decoder has no weights under any penalty")
    return np.hstack(kinds)


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
    """What each half's weights leave of the other half's targets, of variance and of context; infinite where there are
    no weights.
    """
    left = first.error(second.weights(penalty)) + second.error(first.weights(penalty))
    summed: Matrix = np.where(np.isfinite(left), left, np.inf).reshape(2, -1).sum(axis=1)
    return summed


def _regression(codes: sparse.csr_array, targets: Matrix, dtype: type[np.floating]) -> Regression:
    if codes.shape[1] > MOST_FACTORED:
        return Iterated.of(codes, targets)
    return Products.of(codes, targets).centred(dtype)


def _normalised(explain: CodedTokens, score: CodedTokens) -> list[sparse.csr_array]:
    """Codes of both splits of the latents that fire on the explain split, each in units of its root mean square."""
    firing = np.bincount(explain.codes.indices, minlength=explain.codes.shape[1])
    squares = np.bincount(
        explain.codes.indices, weights=np.square(explain.codes.data, dtype=np.float64), minlength=len(firing)
    )
    alive = np.flatnonzero(squares > 0)
    scale = sparse.diags_array(np.sqrt(firing[alive] / squares[alive]))
    return [sparse.csr_array(split.codes[:, alive].astype(np.float64) @ scale) for split in (explain, score)]


def _targets(explain: CodedTokens, score: CodedTokens, columns: NDArray[np.int64]) -> list[Matrix]:
    """Of both splits some coordinates of the activations, and beside them the same minus their token's mean on the
    explain split [token, 2 columns].
    """
    known, others = explain.x[:, columns], score.x[:, columns]
    overall, means = known.mean(axis=0, dtype=np.float64), Means.of(explain.ids, known)
    shrunk = means.shrunk(overall[None])
    return [
        np.hstack([x, x - means.at(ids, shrunk, np.broadcast_to(overall, x.shape))])
        for x, ids in ((known, explain.ids), (others, score.ids))
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
