"""Nearest neighbours, a probe without any shape of its own (Cover and Hart 1967)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

BATCH = 2_048


class KNNProbe:
    """Log shares of the classes among the k nearest tokens of the fit, each share with a token more of the prior."""

    def __init__(self, *, k: int) -> None:
        if k < 1:
            raise ValueError("k must be at least 1")
        self.k = k

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> KNNProbe:
        self.x, self.one_hot = activations, torch.nn.functional.one_hot(labels, n_classes).float()
        self.prior = (self.one_hot.sum(dim=0) + 0.5) / (len(labels) + 0.5 * n_classes)
        return self

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        return torch.cat([self._predict(batch) for batch in x.split(BATCH)])

    def _predict(self, x: Tensor) -> Tensor:
        nearest = torch.cdist(x, self.x).topk(min(self.k, len(self.x)), largest=False).indices
        return ((self.one_hot[nearest].sum(dim=1) + self.prior) / (nearest.shape[1] + 1)).log()
