"""What a method sees of activations that are blind: turned and scaled, so that what it knows of coordinates and lengths
is of no use as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

LARGEST = 2**0.5
"""By which factor lengths may grow or shrink."""


class Frame(NamedTuple):
    """A rotation or reflection, float32, and the factor of all lengths, those of codes with them."""

    rotation: Float[Tensor, "d_model d_model"]
    scale: float

    @classmethod
    def drawn(cls, rng: np.random.Generator, d_model: int) -> Frame:
        """Haar measure, by QR with positive diagonal (Mezzadri, math-ph/0609050); scales even in their logarithm."""
        q, r = np.linalg.qr(rng.standard_normal((d_model, d_model)))
        scale = LARGEST ** rng.uniform(-1, 1)
        return cls(torch.from_numpy((q * np.sign(np.diag(r))).astype(np.float32)), float(scale))

    def hide(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """As a method sees it."""
        return (x.float() @ self.rotation * self.scale).to(x.dtype)

    def show(self, x: Float[Tensor, "token d_model"]) -> Float[Tensor, "token d_model"]:
        """As the network has it."""
        return (x.float() @ self.rotation.T / self.scale).to(x.dtype)
