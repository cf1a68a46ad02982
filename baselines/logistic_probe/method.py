"""Logistic regression, the usual probe (Alain and Bengio 2016, arXiv 1610.01644)."""

from __future__ import annotations

from jaxtyping import Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from .classes import ClassProbe


class LogisticProbe:
    """Multinomial, with an L2 penalty of 1 / C on standardised activations."""

    def __init__(self, *, C: float, max_iter: int) -> None:  # noqa: N803  as scikit-learn calls it
        if not C > 0:
            raise ValueError("C must be above 0: it divides the penalty")
        self.penalty, self.max_iter = C, max_iter

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> ClassProbe:
        model = make_pipeline(StandardScaler(), LogisticRegression(C=self.penalty, max_iter=self.max_iter))
        return ClassProbe(model.fit(activations.numpy(), labels.numpy()), n_classes, len(labels))
