"""How often each class is there."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class MajorityFloor:
    """The same scores for every token."""

    def fit(
        self, activations: Float[Tensor, "token d_model"], labels: Int[Tensor, " token"], *, n_classes: int, seed: int
    ) -> MajorityFloor:
        self.scores = torch.bincount(labels, minlength=n_classes).add(0.5).log()
        return self

    def predict(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token n_classes"]:
        return self.scores.expand(len(x), -1)
