"""The frame in which a blind method sees activations."""

from __future__ import annotations

import functools

from benchmark.forward.frame import Frame
from benchmark.spec.cell import CellKeys


def frame_of(keys: CellKeys, d_model: int) -> Frame | None:
    """What a blind method sees activations in, one for all variants and hookpoints of a replicate."""
    return _frame(keys._replace(method_seed=0, place=""), d_model) if keys.blind else None


@functools.lru_cache(maxsize=4)
def _frame(keys: CellKeys, d_model: int) -> Frame:
    return Frame.drawn(keys.of_replicate("frame"), d_model)
