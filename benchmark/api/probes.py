"""The probes track: activations into classes that somebody else named.

The smallest working method says how often each class is there, whatever the activation:

    class Majority:
        def fit(self, activations, labels, *, n_classes, seed):
            self.scores = torch.bincount(labels, minlength=n_classes).add(1).log()
            return self

        def predict(self, x):
            return self.scores.expand(len(x), -1)
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


@runtime_checkable
class Probe(Protocol):
    """What a probes method returns: activations of one hookpoint into scores of classes, token by token."""

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        """Scores of each token, finite, independent of the other tokens in the batch: larger is likelier, and their
        softmax is read as probabilities.
        """
        ...


class ProbeMethod(Protocol):
    """What `method.py` holds; the constructor's keyword arguments are the settings of `method.toml`."""

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> Probe:
        """A probe for one question. Tokens are drawn from many documents, in a drawn order; labels are in
        [0, n_classes), and some classes may have none; all tensors are on the CPU. What the question is, or which
        network it is asked of, is not told.
        """
        ...
