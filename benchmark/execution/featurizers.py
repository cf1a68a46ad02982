"""Fitted featurizers in a worker, as the trusted half uses them: every answer is validated before use."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.api import Latents
from benchmark.execution.contract import MethodError, Worker

BATCH_TOKENS = 8192
MAX_LATENTS = 1 << 24


class Job(NamedTuple):
    """One fit as the worker is asked for it; `stream` is an opaque id and says nothing about the variant."""

    hookpoint: str
    stream: dict[str, Any]
    seed: int
    settings: dict[str, Any]


class RemoteFeaturizer:
    """`api.Featurizer` in a worker; `decode` only where `decodes`."""

    def __init__(self, worker: Worker, index: int, n_latents: int, decodes: bool, d_model: int) -> None:
        self._worker, self._index, self._d_model = worker, index, d_model
        self.n_latents, self.decodes = n_latents, decodes

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        """Latents of any number of tokens, asked for in batches."""
        parts = [self._encode(batch) for batch in x.split(BATCH_TOKENS)]
        return Latents(torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts]))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        """Reconstructions of any number of codes."""
        pairs = zip(latents.values.split(BATCH_TOKENS), latents.indices.split(BATCH_TOKENS), strict=True)
        return torch.cat([self._decode(Latents(*pair)) for pair in pairs])

    def save(self, folder: Path) -> None:
        """Ask the featurizer to write itself into an existing, empty folder."""
        self._worker.call({"op": "save", "index": self._index, "folder": str(folder)})

    def _encode(self, x: Tensor) -> Latents:
        _, found = self._worker.call({"op": "encode", "index": self._index}, {"x": x})
        latents = Latents(_tensor(found, "values", "encode"), _tensor(found, "indices", "encode"))
        validate(latents, len(x), self.n_latents)
        return latents

    def _decode(self, latents: Latents) -> Tensor:
        _, found = self._worker.call({"op": "decode", "index": self._index}, latents._asdict())
        x = _tensor(found, "x", "decode")
        wanted = (len(latents.values), self._d_model)
        if tuple(x.shape) != wanted or not x.is_floating_point():
            raise MethodError(f"decode returned {x.dtype} of shape {tuple(x.shape)}: float of shape {wanted} is needed")
        if not torch.isfinite(x).all():
            raise MethodError("decode returned values that are not finite")
        return x.float()


def fit(worker: Worker, jobs: Sequence[Job], scope: str) -> tuple[list[RemoteFeaturizer], dict[str, Any]]:
    """Fit all jobs in one worker; returns the featurizers and the worker's figures."""
    streams = {job.stream["id"]: {**job.stream, "hookpoint": job.hookpoint} for job in jobs}
    header = {
        "op": "fit",
        "scope": scope,
        "streams": list(streams.values()),
        "hookpoints": [job.hookpoint for job in jobs],
        "jobs": [{"stream": job.stream["id"], "seed": job.seed, "settings": job.settings} for job in jobs],
    }
    reply, _ = worker.call(header)
    return _featurizers(worker, reply, jobs[0].stream["d_model"]), reply


def load(worker: Worker, folders: Sequence[Path], d_model: int) -> tuple[list[RemoteFeaturizer], dict[str, Any]]:
    """Stored featurizers, without fitting."""
    reply, _ = worker.call({"op": "load", "folders": [str(folder) for folder in folders]})
    return _featurizers(worker, reply, d_model), reply


def validate(latents: Latents, tokens: int, n_latents: int) -> None:
    """Refuse latents outside the contract, naming what is wrong."""
    values, indices = latents
    if values.ndim != 2 or values.shape != indices.shape or len(values) != tokens:
        raise MethodError(
            f"encode returned shapes {tuple(values.shape)} and {tuple(indices.shape)} for {tokens} tokens: "
            "both must be [token, k]"
        )
    if not values.is_floating_point() or indices.is_floating_point() or indices.dtype == torch.bool:
        raise MethodError(f"encode returned dtypes {values.dtype} and {indices.dtype}: float and integer are needed")
    if not torch.isfinite(values).all() or (values < 0).any():
        raise MethodError("encode returned negative or non-finite values: signed codes become two latents")
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= n_latents):
        raise MethodError(f"encode returned latent ids outside [0, {n_latents})")


def _featurizers(worker: Worker, reply: dict[str, Any], d_model: int) -> list[RemoteFeaturizer]:
    sizes, decodes = reply.get("n_latents"), reply.get("decodes")
    if not isinstance(sizes, list) or not isinstance(decodes, list) or len(sizes) != len(decodes):
        raise MethodError("fit gave no list of featurizers")
    for size in sizes:
        if not isinstance(size, int) or not 1 <= size <= MAX_LATENTS:
            raise MethodError(f"n_latents is {size!r}: a whole number from 1 to {MAX_LATENTS} is needed")
    return [
        RemoteFeaturizer(worker, index, size, bool(can), d_model)
        for index, (size, can) in enumerate(zip(sizes, decodes, strict=True))
    ]


def _tensor(found: dict[str, Tensor], name: str, op: str) -> Tensor:
    if name not in found:
        raise MethodError(f"{op} returned no {name}")
    return found[name]
