"""Linear discriminant analysis (Fisher 1936)."""

from __future__ import annotations

import warnings

from jaxtyping import Float, Int
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor

from baselines.logistic_probe.classes import ClassProbe


class LDAProbe:
    """One covariance for all classes, shrunk as Ledoit and Wolf do."""

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> ClassProbe:
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        with warnings.catch_warnings():
            # A class may have one token, which has no spread to add to the others'.
            warnings.filterwarnings("ignore", "Only one sample available")
            model.fit(activations.numpy(), labels.numpy())
        return ClassProbe(model, n_classes, len(labels))
