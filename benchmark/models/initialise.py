"""Step-0 weights of a GPT-NeoX, drawn by tensor name so that they are the same on every platform.

One torch seed gives different weights under different CPU capabilities; numpy's PCG64 does not.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from benchmark import keyed
from benchmark.models import parameters

STATED = "N(0, initializer_range) for weights and embeddings, biases 0, layer norms 1; PCG64 keyed by tensor name"


def step0(config: GPTNeoXConfig, seed: int) -> GPTNeoXForCausalLM:
    """A fresh model in float32 whose weights follow from `config` and `seed` alone."""
    model = GPTNeoXForCausalLM(config)
    draw(model, seeded(seed))
    return model.eval()


def seeded(seed: int) -> Callable[[str], np.random.Generator]:
    """The generator of each tensor of the initialisation with this seed."""
    return lambda name: keyed.rng("step0", seed, name)


@torch.no_grad()
def draw(model: GPTNeoXForCausalLM, rng: Callable[[str], np.random.Generator]) -> None:
    """Initialise `model` in place as `STATED`."""
    for name, parameter in parameters.named(model):
        if parameters.is_norm(name):
            parameter.fill_(1.0 if name.endswith("weight") else 0.0)
        elif name.endswith("bias"):
            parameter.zero_()
        else:
            values = rng(name).standard_normal(tuple(parameter.shape), dtype="float32")
            parameter.copy_(torch.from_numpy(values) * model.config.initializer_range)
