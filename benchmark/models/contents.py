"""What a network's weights are, to the bit, whatever file they came from: its hash, and whether two are the same."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from transformers import GPTNeoXForCausalLM

from benchmark.models import parameters

FORMATS = (torch.float32, torch.float16, torch.bfloat16)


class Contents(NamedTuple):
    """Hash of the weights rounded to each of `FORMATS`, and whether that format holds them without rounding."""

    hashes: tuple[str, ...]
    exact: tuple[bool, ...]

    def same_as(self, other: Contents) -> bool:
        """Whether the weights are equal, or one is the other stored in half precision."""
        formats = zip(self.hashes, other.hashes, self.exact, other.exact, strict=True)
        return any(one == two and (mine or theirs) for one, two, mine, theirs in formats)


def weight_hash(model: GPTNeoXForCausalLM, dtype: torch.dtype | None = None) -> str:
    """Content id of the weights: SHA-256 of names, shapes and bytes, in the model's dtype or rounded to `dtype`.

    The last bit counts. A drawn null has the same hash on another machine only as long as that machine computes the
    same bits.
    """
    total = hashlib.sha256()
    for name, parameter in sorted(parameters.named(model), key=lambda pair: pair[0]):
        values = parameter.detach().to(dtype or parameter.dtype).cpu().contiguous()
        total.update(f"{name} {tuple(values.shape)} {values.dtype}".encode())
        total.update(values.flatten().view(torch.uint8).numpy().data)
    return total.hexdigest()[:16]


def contents(model: GPTNeoXForCausalLM) -> Contents:
    """Of a model in float32."""
    rounded = [
        all(torch.equal(parameter.to(dtype).float(), parameter) for _, parameter in parameters.named(model))
        for dtype in FORMATS
    ]
    return Contents(tuple(weight_hash(model, dtype) for dtype in FORMATS), tuple(rounded))
