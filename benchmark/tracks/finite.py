"""Nothing that is not finite becomes a number: which hookpoints cannot be measured, and what came out of bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.data.blocks import Blocks
from benchmark.forward import activations
from benchmark.metrics.value import Value
from benchmark.models.network import Network


def not_finite(hookpoints: Sequence[str], found_on: Mapping[str, Sequence[Tensor]]) -> dict[str, str]:
    """Why nothing can be measured, by hookpoint, from the network's own activations by split, [hookpoint] each."""
    reasons: dict[str, str] = {}
    for part, layers in found_on.items():
        for hookpoint, x in zip(hookpoints, layers, strict=True):
            if not torch.isfinite(x).all():
                reasons.setdefault(
                    hookpoint, f"the network's activations at {hookpoint} are not finite on the {part} split"
                )
    return reasons


def first_not_finite(network: Network, blocks: Blocks) -> str:
    """Which of the network's own layers stops being finite first, as a reason; its output where no layer does."""
    every = list(range(int(network.model.config.num_hidden_layers)))
    for read in activations.forward(network, blocks, "score", every):
        for layer, is_finite in zip(every, read.finite, strict=True):
            if not is_finite:
                return f"the network's own activations at layers.{layer} are not finite on the score split"
    return "the network's own output is not finite on the score split"


def finite(value: Value, hookpoint: str, output: str | None) -> Value:
    """Undefined rather than not finite: what a reconstruction out of bounds makes of a network, or what the network
    makes of itself, which `output` says.
    """
    if value.value is None or np.isfinite(value.value):
        return value
    return value._replace(value=None, reason=output or f"came out as {value.value} at {hookpoint}")
