"""Differences of class means, as probes without any optimisation (Marks and Tegmark 2023, arXiv 2310.06824)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

SHARPNESS = torch.from_numpy(np.geomspace(1e-4, 10, 41)).float()
"""Factors of the scores that are tried, to make probabilities of them."""


class MeanDifferenceProbe:
    """Scores are projections onto each class mean, less half of its squared length: of two classes, those onto the
    difference of their means.
    """

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> MeanDifferenceProbe:
        self.centre, self.scale = activations.mean(dim=0), activations.std(dim=0).clamp(min=1e-6)
        one_hot = torch.nn.functional.one_hot(labels, n_classes).float()
        self.priors = ((one_hot.sum(dim=0) + 0.5) / (len(labels) + 0.5 * n_classes)).log()
        x, half = (activations - self.centre) / self.scale, len(labels) // 2
        # The factor is for tokens that the means are not of: on their own they look surer than they are.
        scores = _projected(x[half:], _means(x[:half], one_hot[:half]))
        losses = [cross_entropy(size * scores + self.priors, labels[half:]) for size in SHARPNESS]
        self.sharpness = SHARPNESS[int(torch.stack(losses).argmin())]
        self.means = _means(x, one_hot)
        return self

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        return self.sharpness * _projected((x - self.centre) / self.scale, self.means) + self.priors


def _means(x: Float[Tensor, "token d_model"], one_hot: Float[Tensor, "token n_classes"]) -> Tensor:
    return one_hot.T @ x / one_hot.sum(dim=0).clamp(min=1)[:, None]


def _projected(x: Float[Tensor, "token d_model"], means: Float[Tensor, "n_classes d_model"]) -> Tensor:
    return x @ means.T - means.square().sum(dim=1) / 2
