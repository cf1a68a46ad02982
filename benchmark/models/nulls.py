"""Variants of a replicate: each a function (model, rng, option) -> network on a copy, with the gate that it must pass.

The first three nulls are those of arXiv 2501.17727. Re-randomised: every tensor is redrawn as N(mean, std) with its
own scalar moments, biases included; layer norms keep their values, and so do tensors of zero variance. Shuffled: the
entries of every tensor change places, so that its distribution is kept whole. Cascade: the top k blocks are redrawn as
re-randomised ones are, and everything below and above them stays (Adebayo et al. 2018). The control keeps the trained
weights and feeds fresh N(0, 1) input embeddings at every forward.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from transformers import GPTNeoXForCausalLM

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.models import gates, initialise, parameters
from benchmark.models.contents import weight_hash
from benchmark.models.gates import Gated, kept_because, moments
from benchmark.models.network import Network
from benchmark.spec.variant import Variant

TensorRng = Callable[[str], np.random.Generator]
VERSION = 2
BLOCK = re.compile(r"gpt_neox\.layers\.(\d+)\.")


class Treatment(NamedTuple):
    """What a variant does to a trained model, and what proves it: figures for the record, or a `GateError`."""

    build: Callable[[GPTNeoXForCausalLM, TensorRng, int | None], Network]
    gate: Callable[[Gated], dict[str, object]]


def tensor_rng(name: str, subject: str, replicate: int, draw: int | None = None) -> TensorRng:
    """The generator of each tensor, by name, for a null of a replicate, or for one of many draws of it. An option is no
    part of the key: the blocks that two cascades both redraw are the same.
    """
    kind, which = Variant.parse(name).kind, () if draw is None else (draw,)
    return lambda tensor: keyed.rng("null", kind, subject, replicate, *which, tensor)


def build(name: str, model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """The variant `name` of a trained model."""
    variant = Variant.parse(name)
    network: Network = _treatment(variant).build(model, rng, variant.option)
    return network


def gate(name: str, original: GPTNeoXForCausalLM, network: Network, *, own_step0: bool = False) -> dict[str, object]:
    """Check that a network is the variant it claims to be, and return the figures for the record.

    `own_step0`: a checkpoint's own step-0 weights, whose standard deviations are theirs and not the configuration's.

    Raises:
        GateError: naming the tensor and the figure.
    """
    variant = Variant.parse(name)
    gated = Gated(original, network, variant.option, own_step0)
    return {"weight_hash": weight_hash(network.model), **_treatment(variant).gate(gated)}


def check(variant: Variant, n_layers: int) -> None:
    """Refuse an option that a network of `n_layers` blocks has no room for."""
    if variant.option is not None and variant.option > n_layers:
        raise BadInput(f"variant {variant}: the subject has {n_layers} blocks: write {variant.kind}:1 to :{n_layers}")


def drawn_like(own: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """A fresh initialisation around 0 with the deviations of a checkpoint's own step-0, which its configuration may not
    tell: GPT-NeoX initialises what writes to the residual stream more narrowly.
    """
    return Network(_redrawn(own, rng, lambda name: False, around_zero=True))


def _treatment(variant: Variant) -> Treatment:
    treatment: Treatment = registry.resolve(registry.VARIANTS[variant.kind])
    return treatment


def _trained(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    return Network(model)


def _step0(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    fresh = copy.deepcopy(model)
    initialise.draw(fresh, rng)
    return Network(fresh)


def _rerandomized(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    return Network(_redrawn(model, rng, lambda name: False))


def _keep_embeddings(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    return Network(_redrawn(model, rng, parameters.is_embedding))


@torch.no_grad()
def _shuffled(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    fresh = copy.deepcopy(model)
    for name, parameter in parameters.named(fresh):
        order = torch.from_numpy(rng(name).permutation(parameter.numel()))
        parameter.copy_(parameter.flatten()[order.to(parameter.device)].view_as(parameter))
    return Network(fresh)


def _cascade(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    return Network(_redrawn(model, rng, _below(model, option)))


def _noise_embeddings(model: GPTNeoXForCausalLM, rng: TensorRng, option: int | None) -> Network:
    return Network(model, noise=int(rng("noise").integers(1 << 62)))


def _gate_cascade(gated: Gated) -> dict[str, object]:
    """As for re-randomised ones; which tensors are redrawn is read off the blocks themselves, not off their names."""
    assert gated.option is not None
    top = list(gated.original.gpt_neox.layers)[-gated.option :]
    redrawn = {id(parameter) for block in top for parameter in block.parameters()}
    names = {name for name, parameter in parameters.named(gated.original) if id(parameter) in redrawn}
    return gates.redrawn(gated, keep=lambda name: name not in names)


def _below(model: GPTNeoXForCausalLM, option: int | None) -> Callable[[str], bool]:
    """Whether a tensor is none of the top `option` blocks'."""
    assert option is not None
    first = int(model.config.num_hidden_layers) - option

    def kept(name: str) -> bool:
        block = BLOCK.match(name)
        return block is None or int(block[1]) < first

    return kept


def _redrawn(
    model: GPTNeoXForCausalLM, rng: TensorRng, keep: Callable[[str], bool], *, around_zero: bool = False
) -> GPTNeoXForCausalLM:
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in parameters.named(fresh):
            if kept_because(name, parameter, keep) is None:
                mean, std = moments(parameter)
                draw = rng(name).standard_normal(tuple(parameter.shape), dtype="float32")
                shift = np.float32(0 if around_zero else mean)
                parameter.copy_(torch.from_numpy(draw * np.float32(std) + shift))
    return fresh


TRAINED = Treatment(_trained, gates.same_weights)
STEP0 = Treatment(_step0, gates.step0)
RERANDOMIZED = Treatment(_rerandomized, partial(gates.redrawn, keep=lambda name: False))
KEEP_EMBEDDINGS = Treatment(_keep_embeddings, partial(gates.redrawn, keep=parameters.is_embedding))
SHUFFLED = Treatment(_shuffled, gates.shuffled)
CASCADE = Treatment(_cascade, _gate_cascade)
NOISE_EMBEDDINGS = Treatment(_noise_embeddings, gates.noise)
