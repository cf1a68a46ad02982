"""Do two method seeds find the same directions, beyond what random directions would?"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, undefined

ROWS = 1024


def stability(
    a: Float[Tensor, "latent d_model"], b: Float[Tensor, "other d_model"], rng: np.random.Generator
) -> dict[str, Value]:
    """Mean over latents of the largest cosine with any direction of the other seed, minus its chance value.

    The chance value is that of Gaussian directions of the same numbers and width (.37 at d 64, n 512), estimated from
    up to 1,024 of them drawn from `rng`.
    """
    if not len(a) or not len(b):
        return {"stability@1": undefined("no alive latents to compare")}
    rows = min(len(a), ROWS)
    random = [torch.from_numpy(rng.standard_normal((size, a.shape[1]), dtype=np.float32)) for size in (rows, len(b))]
    return {"stability@1": Value(_mean_max_cosine(a, b) - _mean_max_cosine(*random))}


def _mean_max_cosine(a: Tensor, b: Tensor) -> float:
    unit_a, unit_b = (torch.nn.functional.normalize(side.double(), dim=1) for side in (a, b))
    best = [(part @ unit_b.T).max(dim=1).values for part in unit_a.split(ROWS)]
    return float(torch.cat(best).double().mean())


FAMILY = MetricFamily(
    "stability",
    1,
    {"stability@1": Metric("mean max cosine of directions between two method seeds, less chance", "cosine")},
    (),
    stability,
    compares="method_seed",
    of_decoder=True,
)
