"""A network to be interpreted: a model, and where its input embeddings come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from benchmark import keyed

NoiseKey = tuple[str, int]


class Network(NamedTuple):
    """`noise` is None, or the seed of N(0, 1) input embeddings drawn fresh for every block that passes."""

    model: GPTNeoXForCausalLM
    noise: int | None = None

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def d_model(self) -> int:
        return int(self.model.config.hidden_size)

    def embed(self, tokens: Int[Tensor, "batch pos"], keys: Sequence[NoiseKey]) -> Float[Tensor, "batch pos d_model"]:
        """Input embeddings; `keys` (purpose, block) name each row, so that noise depends on nothing else.

        The control never maps a token to a vector: the same key gives the same noise whatever the tokens are.
        """
        if self.noise is None:
            embedded: Tensor = self.model.get_input_embeddings()(tokens.to(self.device))
            return embedded
        rows = []
        for key in keys:
            rng = keyed.rng("noise", self.noise, *key)
            rows.append(rng.standard_normal((tokens.shape[1], self.d_model), dtype=np.float32))
        return torch.from_numpy(np.stack(rows)).to(self.device, self.model.dtype)
