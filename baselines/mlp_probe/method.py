"""A multilayer perceptron with one hidden layer (Hewitt and Liang 2019, arXiv 1909.03368)."""

from __future__ import annotations

import warnings

from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from baselines.logistic_probe.classes import ClassProbe


class MLPProbe:
    """Two layers of weights, trained by Adam for a fixed number of epochs."""

    def __init__(self, *, hidden: int, epochs: int, learning_rate: float, weight_decay: float) -> None:
        self.given = {"hidden_layer_sizes": (hidden,), "max_iter": epochs, "alpha": weight_decay}
        self.learning_rate = learning_rate

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> ClassProbe:
        network = MLPClassifier(
            **self.given, learning_rate_init=self.learning_rate, batch_size=min(512, len(labels)),
            random_state=seed % 2**32,
        )  # fmt: skip
        model = make_pipeline(StandardScaler(), network)
        with warnings.catch_warnings():
            # It is stopped after its epochs, which is what is meant.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(activations.numpy(), labels.numpy())
        return ClassProbe(model, n_classes, len(labels))
