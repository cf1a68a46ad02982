"""Reading and replacing the residual stream, and *leaves*: single positions recomputed on an unchanged prefix.

A leaf is an extra position appended to a block that attends to the block's positions before its own and to itself,
with its own rotary position. What is done to a leaf therefore changes no other position, and hundreds of
one-position interventions share a single forward pass.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GPTNeoXModel

from benchmark.errors import unknown
from benchmark.models.network import Network


class Layout(NamedTuple):
    """Attention layout of blocks with leaves: additive mask [batch, 1, all, all] and rotary positions [batch, all]."""

    mask: Tensor
    positions: Tensor


class _Stop(Exception):
    """Raised by a hook after the last layer that is needed."""


def layer_of(hookpoint: str) -> int:
    """The block number of `layers.N`."""
    return int(hookpoint.removeprefix("layers."))


def check(hookpoints: Sequence[str], n_layers: int) -> None:
    """Refuse hookpoints that the subject does not have."""
    for hookpoint in hookpoints:
        if layer_of(hookpoint) >= n_layers:
            raise unknown("hookpoint", hookpoint, [f"layers.{layer}" for layer in range(n_layers)])


@torch.no_grad()
def read(
    network: Network, embeds: Float[Tensor, "batch pos d_model"], layers: Sequence[int], layout: Layout | None = None
) -> list[Float[Tensor, "batch pos d_model"]]:
    """Residual stream after each of `layers`, in the network's dtype; the forward stops after the last one."""
    streams: dict[int, Tensor] = {}
    last = max(layers)

    def keep(layer: int) -> Callable[..., None]:
        def hook(module: torch.nn.Module, inputs: Any, output: Any) -> None:
            streams[layer] = _hidden(output)
            if layer == last:
                raise _Stop

        return hook

    with ExitStack() as hooks:
        for layer in set(layers):
            handle = network.model.gpt_neox.layers[layer].register_forward_hook(keep(layer))
            hooks.callback(handle.remove)
        with suppress(_Stop):
            _forward(network.model.gpt_neox, embeds, layout)
    return [streams[layer] for layer in layers]


@torch.no_grad()
def resume(
    network: Network, hidden: Float[Tensor, "batch pos d_model"], layer: int, layout: Layout | None = None
) -> Float[Tensor, "batch pos d_model"]:
    """Normed final hidden states from the residual stream after `layer`: only the blocks above it are run."""
    above = copy.copy(network.model.gpt_neox)
    above._modules = above._modules | {"layers": above.layers[layer + 1 :]}
    return _forward(above, hidden, layout)


@torch.no_grad()
def log_probabilities(network: Network, hidden: Float[Tensor, "token d_model"]) -> Float[Tensor, "token vocab"]:
    """Next-token log-probabilities in float32 of final hidden states."""
    return torch.log_softmax(network.model.get_output_embeddings()(hidden).float(), dim=-1)


def leaf_layout(block: int, leaves: Int[Tensor, "batch leaf"], dtype: torch.dtype) -> Layout:
    """Layout of blocks of `block` positions with leaves that stand for the positions `leaves`."""
    batch, count = leaves.shape
    device = leaves.device
    everything = torch.arange(block, device=device)
    allowed = torch.zeros(batch, block + count, block + count, dtype=torch.bool, device=device)
    # Block positions see the block as ever. A leaf sees the positions before the one that it stands for, and itself,
    # but no other leaf: what is done to it stays with it.
    allowed[:, :block, :block] = everything[:, None] >= everything[None, :]
    allowed[:, block:, :block] = everything[None, None, :] < leaves[:, :, None]
    allowed[:, block:, block:] = torch.eye(count, dtype=torch.bool, device=device)
    mask = torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, torch.finfo(dtype).min)
    positions = torch.cat([everything.expand(batch, block), leaves], dim=1)
    return Layout(mask[:, None], positions)


def _forward(model: GPTNeoXModel, embeds: Tensor, layout: Layout | None) -> Tensor:
    options = {} if layout is None else {"attention_mask": layout.mask, "position_ids": layout.positions}
    hidden: Tensor = model(inputs_embeds=embeds, use_cache=False, **options).last_hidden_state
    return hidden


def _hidden(output: Any) -> Tensor:
    hidden: Tensor = output[0] if isinstance(output, tuple) else output
    return hidden
