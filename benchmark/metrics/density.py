"""Latents that fire so often that no single explanation can be expected of them."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.sparsity import Sparsity
from benchmark.metrics.value import Value, undefined

DENSE_RATE = 0.1


def density(sparsity: Sparsity) -> Mapping[str, Value]:
    """Share of all latents that fire on over a tenth of the tokens."""
    if sparsity.tokens == 0:
        return {"dense@1": undefined("no tokens")}
    return {"dense@1": Value(float((sparsity.rates > DENSE_RATE).mean()))}


FAMILY = MetricFamily(
    "density",
    1,
    {"dense@1": Metric("latents that fire on over a tenth of the tokens", "share")},
    ("sparsity",),
    density,
)
