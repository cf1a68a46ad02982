"""Chunks in an order of a cell's own, hidden where a method is blind: what it reads says nothing of where its tokens
stand in the text, and as little as may be of the network.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from typing import IO

import numpy as np
import torch

from benchmark.forward import activations
from benchmark.forward.activations import ChunkStore
from benchmark.forward.frame import Frame

Rng = Callable[..., np.random.Generator]


def opened(chunks: ChunkStore, layer: int, number: int, rng: Rng, frame: Frame | None) -> int:
    """A chunk as an open file, the reader's to close, of the same tokens for all layers. Whole chunks are exchanged
    where all of them are kept, and the tokens of each chunk, as the generators of these purposes say; activations are
    hidden in a frame where there is one.

    Raises:
        NotFinite: the network's activations at this layer are not finite.
    """
    whole = chunks.n_tokens // activations.CHUNK_TOKENS
    place = int(rng("order of chunks").permutation(whole)[number]) if chunks.spooled and number < whole else number
    tokens = np.fromfile(chunks.chunk(layer, place), np.uint8).reshape(-1, chunks.d_model * chunks.dtype.itemsize)
    tokens = tokens[rng("order of tokens", number).permutation(len(tokens))]
    if frame is not None:
        tokens = frame.hide(torch.from_numpy(tokens).view(chunks.dtype)).view(torch.uint8).numpy()
    with _nameless() as file:
        tokens.tofile(file)
        file.flush()
        return os.dup(file.fileno())


def _nameless() -> IO[bytes]:
    """A file that lies nowhere: in memory where the system can."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("chunk"), "w+b")
    return tempfile.TemporaryFile()
