"""What scikit-learn's classifiers say of all classes, also of those that they have never seen."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

LEAST = -20.0
"""Bound of log probabilities: what a classifier rules out would have an infinite code."""


class Classifier(Protocol):
    """Of scikit-learn."""

    classes_: NDArray[np.int64]

    def predict_proba(self, x: NDArray[np.float32]) -> NDArray[np.float64]: ...


class ClassProbe:
    """Log probabilities of a fitted classifier; a class without tokens has half a token's share of the fit."""

    def __init__(self, model: Classifier, n_classes: int, tokens: int) -> None:
        self._model, self._n_classes, self._absent = model, n_classes, float(np.log(0.5 / tokens))

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        scores = np.full((len(x), self._n_classes), self._absent)
        shares = np.asarray(self._model.predict_proba(x.numpy()))
        scores[:, self._model.classes_] = np.log(np.maximum(shares, np.exp(LEAST)))
        return torch.from_numpy(scores)
