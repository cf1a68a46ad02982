"""Tokens of a split that are measured, and what the built-in language knows of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmark.data.blocks import Blocks
from benchmark.data.world.concepts import Family, families
from benchmark.forward import activations


class TokenTable(NamedTuple):
    """What is known of each usable token of a split, all [token]; `places` is block and position, [token, 2]."""

    ids: NDArray[np.int64]
    previous: NDArray[np.int64]
    documents: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, blocks: Blocks) -> TokenTable:
        block, position = np.nonzero(activations.usable(blocks, np.arange(len(blocks.lengths))).numpy())
        ids = blocks.tokens.astype(np.int64)
        places = np.stack([block, position], axis=1)
        return cls(ids[block, position], ids[block, position - 1], blocks.documents[block].astype(np.int64), places)


def known_families(blocks: Blocks, places: NDArray[np.int64]) -> list[Family]:
    """What is asked about the usable tokens of labelled blocks."""
    if blocks.labels is None:
        return []
    block, position = places.T
    return families(blocks.labels[block, position], blocks.labels[block, position - 1], block)
