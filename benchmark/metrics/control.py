"""The control task of probing: labels that the token alone decides (Hewitt and Liang 2019, arXiv 1909.03368)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def control_classes(frequencies: NDArray[Any], ids: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Class [token]: each token id keeps one, drawn as often as `frequencies` [class] say, up to a factor. How many ids
    there are does not matter to any of them.
    """
    shares = frequencies.cumsum()
    drawn = np.searchsorted(shares / shares[-1], rng.random(int(ids.max(initial=0)) + 1), side="right")
    return drawn[ids]
