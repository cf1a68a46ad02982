"""Linear layers through oneDNN, whose float32 kernels are half as fast again as the default ones on some processors."""

from __future__ import annotations

import torch
from torch import Tensor


class OneDNNLinear(torch.nn.Linear):
    """The same product in the same precision, for inference in float32 on a CPU; else the plain layer's."""

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() or input.device.type != "cpu" or input.dtype != torch.float32:
            return super().forward(input)
        product: Tensor = torch.ops.mkldnn._linear_pointwise(input, self.weight, self.bias, "none", [], "")
        return product


def use_onednn(model: torch.nn.Module) -> None:
    """Turn the plain linear layers of a model into `OneDNNLinear`, where this build of torch has oneDNN."""
    if torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        for module in model.modules():
            if type(module) is torch.nn.Linear:
                # The class alone is exchanged: the module keeps its parameters, their names and its place in the model,
                # so that checkpoints load, weights hash and hooks fire as before.
                module.__class__ = OneDNNLinear
