"""The features track in a worker: fits a method's class and asks the featurizers that come back."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.api import Decoder, FitJob, Latents, Persistent, Wrapped
from benchmark.worker.session import Fetch, Reply, peak_bytes, seed_everything
from benchmark.worker.stream import ChunkedStream, PairedChunks


class FeaturesSession:
    """Featurizers of one worker, by number."""

    def __init__(self, entry: Any, fetch: Fetch, device: torch.device) -> None:
        self._entry, self._fetch, self._device = entry, fetch, device
        self._featurizers: list[Any] = []

    def on_fit(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Fit one method, several jointly, or one on all hookpoints."""
        streams = {spec["id"]: self._stream(spec) for spec in header["streams"]}
        asked = [(job["inputs"], job["stream"]) for job in header["jobs"]]
        paired: dict[tuple[str, str], Any] = {
            pair: PairedChunks(*(streams[name] for name in pair)) for pair in asked if pair[0]
        }
        jobs = [
            FitJob(paired.get(pair, streams[pair[1]]), job["seed"], job["settings"])
            for pair, job in zip(asked, header["jobs"], strict=True)
        ]
        first = jobs[0]
        seed_everything(first.seed)
        method = self._entry(**first.settings)
        if header["scope"] == "model":
            fitted = method.fit({spec["hookpoint"]: streams[spec["id"]] for spec in header["streams"]}, seed=first.seed)
            self._featurizers = [fitted[hookpoint] for hookpoint in header["hookpoints"]]
        elif len(jobs) > 1:
            self._featurizers = list(method.fit_many(jobs))
        else:
            self._featurizers = [method.fit(first.stream, seed=first.seed)]
        if len(self._featurizers) != len(jobs):
            raise ValueError(f"{len(self._featurizers)} featurizers came back for {len(jobs)} jobs")
        return self._described(), {}

    def on_load(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Featurizers that were saved."""
        if not hasattr(self._entry, "load"):
            raise TypeError(f"{self._entry.__name__} has no load(folder), which is to read what was trained elsewhere")
        if inspect.isfunction(inspect.getattr_static(self._entry, "load", None)):
            raise TypeError(f"load of {self._entry.__name__} must be a classmethod or a staticmethod, load(folder)")
        seed_everything(header["seed"])
        self._featurizers = [self._entry.load(Path(folder)) for folder in header["folders"]]
        return self._described(), {}

    def on_save(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Write a featurizer into a folder."""
        self._featurizers[header["index"]].save(Path(header["folder"]))
        return {}, {}

    @torch.no_grad()
    def on_encode(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Codes of activations."""
        answer = self._featurizers[header["index"]].encode(tensors["x"].to(self._device))
        if not isinstance(answer, tuple) or len(answer) != 2:
            raise TypeError(f"encode must return Latents(values, indices), and returned {_shape_of(answer)}")
        values, indices = answer
        return {}, {"values": values.detach().cpu(), "indices": indices.detach().cpu()}

    @torch.no_grad()
    def on_decode(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Activations of codes."""
        latents = Latents(tensors["values"].to(self._device), tensors["indices"].to(self._device))
        return {}, {"x": self._featurizers[header["index"]].decode(latents).detach().cpu()}

    @torch.no_grad()
    def on_original(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """What the library inside a featurizer makes of activations."""
        codes, x = self._featurizers[header["index"]].original(tensors["x"].to(self._device))
        return {}, {"codes": codes.detach().cpu(), "x": x.detach().cpu()}

    def _stream(self, spec: dict[str, Any]) -> ChunkedStream:
        return ChunkedStream(spec, lambda number: self._fetch(spec["id"], number), self._device)

    def _described(self) -> dict[str, Any]:
        return {
            "n_latents": [int(featurizer.n_latents) for featurizer in self._featurizers],
            "decodes": [isinstance(featurizer, Decoder) for featurizer in self._featurizers],
            "wrapped": all(isinstance(featurizer, Wrapped) for featurizer in self._featurizers),
            "persistent": all(isinstance(featurizer, Persistent) for featurizer in self._featurizers),
            "peak_bytes": peak_bytes(),
        }


def _shape_of(answer: object) -> str:
    return f"a tensor of shape {tuple(answer.shape)}" if isinstance(answer, Tensor) else f"a {type(answer).__name__}"
