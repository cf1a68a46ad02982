"""A family of the registry in a second version, which says percent."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.metrics.family import Metric
from benchmark.metrics.reconstruction import FAMILY, Reconstruction
from benchmark.metrics.value import Value


def _percent(found: Reconstruction) -> Mapping[str, Value]:
    value = found.values()["fvu@1"].value
    return {"fvu@2": Value(None if value is None else 100 * value)}


RECONSTRUCTION = FAMILY._replace(version=2, metrics={"fvu@2": Metric("fvu", "percent", "lower")}, compute=_percent)
