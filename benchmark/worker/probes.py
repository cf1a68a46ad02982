"""The probes track in a worker: fits a method's class to one question after the other, and asks what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.worker.session import Fetch, Reply, peak_bytes, seed_everything


class ProbesSession:
    """Probes of one worker, by number. Tensors stay on the CPU: few tokens are asked about, and most probes of
    libraries compute nowhere else.
    """

    def __init__(self, entry: Any, fetch: Fetch, device: torch.device) -> None:
        self._entry = entry
        self._probes: list[Any] = []

    def on_fit(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """A fresh object of the class for each question."""
        seed_everything(header["seed"])
        x, labels = tensors["x"], tensors["labels"]
        method = self._entry(**header["settings"])
        self._probes.append(method.fit(x, labels, n_classes=header["n_classes"], seed=header["seed"]))
        return {"index": len(self._probes) - 1, "peak_bytes": peak_bytes()}, {}

    @torch.no_grad()
    def on_predict(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Scores of activations."""
        found = self._probes[header["index"]].predict(tensors["x"])
        if not isinstance(found, Tensor):
            raise TypeError(f"predict must return a tensor of scores, and returned a {type(found).__name__}")
        return {}, {"scores": found.detach().cpu()}
