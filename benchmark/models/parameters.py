"""Parameters by the names they have in checkpoint files, which do not change with the library that loads them."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn
from transformers import GPTNeoXForCausalLM

_RENAMED, _OUTPUT = "lm_head.weight", "embed_out.weight"


def named(model: GPTNeoXForCausalLM) -> Iterator[tuple[str, nn.Parameter]]:
    """Names as stored and parameters, each tied parameter once.

    Newer releases of transformers call the output embedding lm_head; the checkpoints say embed_out.
    """
    for name, parameter in model.named_parameters():
        yield _OUTPUT if name == _RENAMED else name, parameter


def is_norm(name: str) -> bool:
    """Whether a parameter belongs to a layer norm."""
    return "layernorm" in name or "layer_norm" in name


def is_embedding(name: str) -> bool:
    """Whether a parameter is the input or the output embedding."""
    return name.startswith(("gpt_neox.embed_in.", "embed_out."))
