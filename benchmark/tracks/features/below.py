"""The residual stream one block below the hookpoints, for methods of pairs; read when one of them first asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.data.blocks import Blocks
from benchmark.forward import activations, interventions
from benchmark.forward.activations import ChunkStore
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.spec.suite import Suite


class Inputs(NamedTuple):
    """What codes are of: usable and first tokens of the score split, usable ones of the explain split, and score tokens
    in swapped contexts, in the order in which the track has all of these at its hookpoints.
    """

    score: Float[Tensor, "token d_model"]
    first: Float[Tensor, "block d_model"]
    explain: Float[Tensor, "token d_model"]
    swapped: Float[Tensor, "event d_model"]


class Below:
    """Of one group. Chunks of the fit split are those of the same tokens as the hookpoints' own, number by number."""

    def __init__(
        self,
        network: Network,
        blocks: Mapping[str, Blocks],
        suite: Suite,
        spool: Path,
        progress: Callable[[str, int, int], None],
        *,
        swaps: bool,
    ) -> None:
        self._network, self._blocks, self._suite = network, blocks, suite
        self._spool, self._progress, self._swaps = spool, progress, swaps
        self._chunks: ChunkStore | None = None
        self._read: dict[str, Inputs] = {}

    @property
    def chunks(self) -> ChunkStore:
        """The fit split, below all hookpoints."""
        if self._chunks is None:
            self._chunks = ChunkStore(
                self._spool,
                self._network,
                self._blocks["fit"],
                [layer_of(hookpoint) - 1 for hookpoint in self._suite.hookpoints],
                n_tokens=self._suite.tokens.fit,
                stream=self._suite.stream,
                progress=lambda done, total: self._progress("fit, one block below", done, total),
            )
        return self._chunks

    @property
    def forwards(self) -> int:
        """Forwards over the fit split that were begun."""
        return self._chunks.forwards if self._chunks else 0

    def inputs(self, hookpoint: str) -> Inputs:
        """What is one block below a hookpoint."""
        if hookpoint not in self._read:
            self._read[hookpoint] = self._inputs(hookpoint)
        return self._read[hookpoint]

    def _inputs(self, hookpoint: str) -> Inputs:
        layers = [layer_of(hookpoint) - 1]
        (score,), (first,) = activations.collect(self._network, self._blocks["score"], "score", layers)
        (explain,), _ = activations.collect(self._network, self._blocks["explain"], "explain", layers)
        swapped = torch.empty(0, self._network.d_model)
        if self._swaps:
            _, (swapped,) = interventions.swapped(self._network, self._blocks["score"], layers)
        return Inputs(score, first, explain, swapped)
