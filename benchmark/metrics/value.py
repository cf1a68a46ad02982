"""What a metric returns."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Value(NamedTuple):
    """A metric's value for one cell.

    `value` is None when undefined, and then `reason` says why. `per_latent` holds one float per drawn latent, NaN where
    that latent is undefined; `undefined` counts those.
    """

    value: float | None
    reason: str | None = None
    per_latent: NDArray[np.float64] | None = None
    undefined: int = 0


def undefined(reason: str) -> Value:
    """No value, and why."""
    return Value(None, reason)


def mean_over_latents(per_latent: NDArray[np.float64], reason: str) -> Value:
    """Mean over the latents where the metric is defined (not NaN); `reason` says what makes one undefined."""
    missing = int(np.isnan(per_latent).sum())
    if missing == len(per_latent):
        return Value(None, reason, per_latent, missing)
    return Value(float(np.nanmean(per_latent)), reason if missing else None, per_latent, missing)


class NotDefined(Exception):
    """Raised where a quantity does not exist for a cell: what rests on it is undefined, for this reason."""
