"""What the features track knows of a group and no method sees: tokens, activations, ablations, labels, text."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from benchmark.autointerp.windows import Windows
from benchmark.data.blocks import Blocks
from benchmark.data.world.concepts import Family
from benchmark.forward import activations, interventions, order
from benchmark.forward.activations import ChunkStore
from benchmark.forward.interventions import Ablations, Residual
from benchmark.judges.contract import Language
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.spec.cell import CellKeys
from benchmark.spec.suite import Suite
from benchmark.tracks.blind import frame_of
from benchmark.tracks.features import autointerp
from benchmark.tracks.features.below import Below, Inputs
from benchmark.tracks.finite import first_not_finite, not_finite
from benchmark.tracks.tokens import TokenTable, known_families


class FeaturesData(NamedTuple):
    """Of one group: the network, the tokens, activations per hookpoint, and the chunks that methods are fitted on.
    `undefined` says of hookpoints why nothing can be measured there, `output` why the network's own predictions cannot
    be. `streams` are chunks, layers and keys by the names under which methods ask for them; `below` is what methods
    of pairs encode.
    """

    network: Network
    score_blocks: Blocks
    score: TokenTable
    explain: TokenTable
    families: list[Family]
    x: dict[str, Float[Tensor, "token d_model"]]
    first: dict[str, Float[Tensor, "block d_model"]]
    x_explain: dict[str, Float[Tensor, "token d_model"]]
    swapped_rows: NDArray[np.int64]
    x_swapped: dict[str, Float[Tensor, "event d_model"]]
    clean: Float[Tensor, "event d_model"]
    ablations: dict[str, Ablations]
    block: int
    text: autointerp.Text
    undefined: dict[str, str]
    output: str | None
    chunks: ChunkStore
    below: Below
    streams: dict[str, tuple[ChunkStore, int, CellKeys]]

    def residual(self, hookpoint: str) -> Residual:
        """The residual stream at a hookpoint on the score split."""
        return Residual(layer_of(hookpoint), self.x[hookpoint], self.first[hookpoint])

    def named(self, chunks: ChunkStore, layer: int, keys: CellKeys) -> str:
        """The name under which a method asks for a stream, drawn anew in each group: nothing can be read off it. Fits
        with the same keys share a stream.
        """
        asked = chunks, layer, keys
        name = next((name for name, known in self.streams.items() if known == asked), uuid.uuid4().hex)
        self.streams[name] = asked
        return name

    def chunk(self, stream: str, number: int) -> int:
        """A chunk of the fit split, as an open file: in the order of the text, or where there is a salt in the cell's
        own, and hidden where the method is blind.
        """
        chunks, layer, keys = self.streams[stream]
        if keys.salt:
            return order.opened(chunks, layer, number, keys.rng, frame_of(keys, chunks.d_model))
        return os.open(chunks.chunk(layer, number), os.O_RDONLY)

    def inputs(self, hookpoint: str, *, below: bool) -> Inputs:
        """What codes are of: the stream at the hookpoint, or one block below it."""
        if below:
            return self.below.inputs(hookpoint)
        parts = (self.x, self.first, self.x_explain, self.x_swapped)
        return Inputs(*(part[hookpoint] for part in parts))

    def cost(self) -> dict[str, float]:
        """Forwards over the fit split that were begun."""
        return {"fit_forwards": float(self.chunks.forwards + self.below.forwards)}

    def close(self) -> None:
        """Delete the chunks, those below with them."""
        self.chunks.close()


def prepare(  # noqa: PLR0917
    network: Network,
    blocks: Mapping[str, Blocks],
    suite: Suite,
    decode: Callable[[Sequence[int]], str],
    needs: Collection[str],
    spool: Path,
    progress: Callable[[str, int, int], None],
) -> FeaturesData:
    """Everything of a group that does not depend on a method, on the score and explain splits, as far as `needs` name
    what rests on it.
    """
    hookpoints = suite.hookpoints
    layers = [layer_of(hookpoint) for hookpoint in hookpoints]
    progress("score and explain activations", 0, 0)
    x, first = activations.collect(network, blocks["score"], "score", layers)
    explain, _ = activations.collect(network, blocks["explain"], "explain", layers)
    where, swapped = np.zeros((0, 2), np.int64), [torch.empty(0, network.d_model)] * len(layers)
    if "context" in needs:
        progress("swapped contexts", 0, 0)
        where, swapped = interventions.swapped(network, blocks["score"], layers)
    ablated: dict[str, Ablations] = {}
    clean = torch.empty(0, network.d_model)
    if "splice" in needs:
        progress("ablations", 0, 0)
        residuals = [Residual(*parts) for parts in zip(layers, x, first, strict=True)]
        clean, sums = interventions.ablations(network, blocks["score"], residuals)
        ablated = dict(zip(hookpoints, sums, strict=True))
    score = TokenTable.of(blocks["score"])
    labelled = bool({"concept_recovery", "concept_probes"} & set(needs))
    return FeaturesData(
        network,
        blocks["score"],
        score,
        TokenTable.of(blocks["explain"]),
        known_families(blocks["score"], score.places) if labelled else [],
        dict(zip(hookpoints, x, strict=True)),
        dict(zip(hookpoints, first, strict=True)),
        dict(zip(hookpoints, explain, strict=True)),
        _rows_of(score.places, where),
        dict(zip(hookpoints, swapped, strict=True)),
        clean,
        ablated,
        blocks["score"].tokens.shape[1],
        _text(blocks, int(network.model.config.vocab_size), decode),
        not_finite(hookpoints, {"score": x, "explain": explain, "first-token": first, "swapped": swapped}),
        None if torch.isfinite(clean).all() else first_not_finite(network, blocks["score"]),
        ChunkStore(
            spool,
            network,
            blocks["fit"],
            layers,
            n_tokens=suite.tokens.fit,
            stream=suite.stream,
            progress=lambda done, total: progress("fit", done, total),
        ),
        Below(network, blocks, suite, spool / "below", progress, swaps="context" in needs),
        {},
    )


def _text(blocks: Mapping[str, Blocks], vocab: int, decode: Callable[[Sequence[int]], str]) -> autointerp.Text:
    explain, score = (
        Windows.of(np.asarray(part.tokens), np.asarray(part.lengths, np.int64))
        for part in (blocks["explain"], blocks["score"])
    )
    counts = np.bincount(TokenTable.of(blocks["explain"]).ids, minlength=vocab)
    return autointerp.Text(explain, score, Language(counts, decode))


def _rows_of(places: NDArray[np.int64], where: NDArray[np.int64]) -> NDArray[np.int64]:
    """Token rows of (block, position) pairs; every pair is present."""
    width = int(places[:, 1].max()) + 1
    return np.searchsorted(places[:, 0] * width + places[:, 1], where[:, 0] * width + where[:, 1])
