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
from benchmark.forward.frame import Frame
from benchmark.tracks.features.featurizer import Siblings

BATCH_TOKENS, FEWEST_TOKENS = 8192, 256
BATCH_ENTRIES = 1 << 24
"""Entries of one answer, where all of its tokens have all latents active."""
MAX_LATENTS = 1 << 24


_WHOLE = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


class Job(NamedTuple):
    """One fit as the worker is asked for it; ids of streams are opaque and say nothing about the variant. Where there
    are `inputs`, these are encoded and `stream` is what is decoded to. A `frame` is what streams are hidden in.
    """

    hookpoint: str
    stream: dict[str, Any]
    seed: int
    settings: dict[str, Any]
    inputs: dict[str, Any] | None = None
    frame: Frame | None = None


class RemoteFeaturizer:
    """`api.Featurizer` in a worker, of a job; `decode` only where `decodes`."""

    def __init__(self, worker: Worker, index: int, n_latents: int, decodes: bool, job: Job) -> None:
        self._worker, self._index, self._d_model = worker, index, job.stream["d_model"]
        self.n_latents, self.decodes, self.below = n_latents, decodes, job.inputs is not None
        self.siblings, self._frame = Siblings(), job.frame

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        """Latents of any number of tokens, asked for in batches; k is the largest that any batch needs."""
        parts = [self._encode(batch) for batch in x.split(_tokens_at_once(self.n_latents))]
        k = max(1, *(part.values.shape[1] for part in parts))
        return Latents(*(torch.cat([_padded(part[field], k) for part in parts]) for field in range(2)))

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        """Reconstructions of any number of codes."""
        size = _tokens_at_once(latents.values.shape[1])
        pairs = zip(latents.values.split(size), latents.indices.split(size), strict=True)
        return torch.cat([self._decode(Latents(*pair)) for pair in pairs])

    def save(self, folder: Path) -> None:
        """Ask the featurizer to write itself into an existing, empty folder."""
        self._worker.call({"op": "save", "index": self._index, "folder": str(folder)})

    def _encode(self, x: Tensor) -> Latents:
        asked = x if self._frame is None else self._frame.hide(x)
        _, found = self._worker.call({"op": "encode", "index": self._index}, {"x": asked})
        latents = Latents(_tensor(found, "values", "encode"), _tensor(found, "indices", "encode"))
        latents = validated(latents, len(x), self.n_latents)
        return latents if self._frame is None else latents._replace(values=latents.values / self._frame.scale)

    def _decode(self, latents: Latents) -> Tensor:
        values = latents.values if self._frame is None else latents.values * self._frame.scale
        asked = {"values": values, "indices": latents.indices.long()}
        _, found = self._worker.call({"op": "decode", "index": self._index}, asked)
        x = _tensor(found, "x", "decode")
        wanted = (len(latents.values), self._d_model)
        if tuple(x.shape) != wanted or not x.is_floating_point():
            raise MethodError(f"decode returned {x.dtype} of shape {tuple(x.shape)}: float of shape {wanted} is needed")
        x = x.float()
        if not torch.isfinite(x).all():
            raise MethodError("decode returned values that are not finite in float32")
        return x if self._frame is None else self._frame.show(x)


def fit(worker: Worker, jobs: Sequence[Job], scope: str) -> tuple[list[RemoteFeaturizer], dict[str, Any]]:
    """Fit all jobs in one worker; returns the featurizers and the worker's figures. Where a stream stands is told to
    methods of scope `model` alone, which have one for each hookpoint.
    """
    named = scope == "model"
    streams = {job.stream["id"]: job.stream | ({"hookpoint": job.hookpoint} if named else {}) for job in jobs}
    streams |= {job.inputs["id"]: job.inputs for job in jobs if job.inputs}
    header = {
        "op": "fit",
        "scope": scope,
        "streams": list(streams.values()),
        **({"hookpoints": [job.hookpoint for job in jobs]} if named else {}),
        "jobs": [
            {
                "stream": job.stream["id"],
                "inputs": job.inputs and job.inputs["id"],
                "seed": job.seed,
                "settings": job.settings,
            }
            for job in jobs
        ],
    }
    reply, _ = worker.call(header)
    return _featurizers(worker, reply, jobs), reply


def load(worker: Worker, folders: Sequence[Path], jobs: Sequence[Job]) -> tuple[list[RemoteFeaturizer], dict[str, Any]]:
    """Stored featurizers of these jobs, without fitting."""
    header = {"op": "load", "folders": [str(folder) for folder in folders], "seed": jobs[0].seed}
    reply, _ = worker.call(header)
    return _featurizers(worker, reply, jobs), reply


def validated(latents: Latents, tokens: int, n_latents: int) -> Latents:
    """Active entries alone, float32 and int32, padded with 0; latents outside the contract are refused by name."""
    values, indices = latents
    if values.ndim != 2 or values.shape != indices.shape or len(values) != tokens:
        raise MethodError(
            f"encode returned shapes {tuple(values.shape)} and {tuple(indices.shape)} for {tokens} tokens: "
            "both must be [token, k]"
        )
    if not values.is_floating_point() or indices.dtype not in _WHOLE:
        raise MethodError(f"encode returned dtypes {values.dtype} and {indices.dtype}: float and integer are needed")
    values = values.float()
    if not torch.isfinite(values).all() or (values < 0).any():
        raise MethodError("encode returned negative or non-finite values: signed codes become two latents")
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= n_latents):
        raise MethodError(f"encode returned latent ids outside [0, {n_latents})")
    values, indices = _active(values, indices.int())
    if _repeats(values, indices):
        raise MethodError("encode returned a latent id twice for one token: ids must be distinct within a token")
    return Latents(values, indices)


def _active(values: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Entries above 0, in their order, as far left as they go: a dense method's codes may be mostly zeros."""
    active = values > 0
    count = active.sum(dim=1)
    k = int(count.max()) if len(count) else 0
    if k == values.shape[1]:
        return values, indices
    row, column = active.nonzero(as_tuple=True)
    slot = torch.arange(len(row)) - (count.cumsum(0) - count)[row]
    kept = torch.zeros(len(values), max(k, 1)), torch.zeros(len(values), max(k, 1), dtype=torch.int32)
    kept[0][row, slot], kept[1][row, slot] = values[row, column], indices[row, column]
    return kept


def _repeats(values: Tensor, indices: Tensor) -> bool:
    """Whether any token has an id in two active entries."""
    nobody = -1 - torch.arange(indices.shape[1], dtype=torch.int32)
    ordered = torch.where(values > 0, indices, nobody).sort(dim=1).values
    return bool((ordered[:, 1:] == ordered[:, :-1]).any())


def _tokens_at_once(width: int) -> int:
    return min(BATCH_TOKENS, max(FEWEST_TOKENS, BATCH_ENTRIES // max(width, 1)))


def _padded(values: Tensor, k: int) -> Tensor:
    return torch.nn.functional.pad(values, (0, k - values.shape[1]))


def _featurizers(worker: Worker, reply: dict[str, Any], jobs: Sequence[Job]) -> list[RemoteFeaturizer]:
    sizes, decodes = reply.get("n_latents"), reply.get("decodes")
    if not isinstance(sizes, list) or not isinstance(decodes, list) or not len(sizes) == len(decodes) == len(jobs):
        raise MethodError("fit gave no list of a featurizer for each job")
    for size in sizes:
        if not isinstance(size, int) or not 1 <= size <= MAX_LATENTS:
            raise MethodError(f"n_latents is {size!r}: a whole number from 1 to {MAX_LATENTS} is needed")
    return [
        RemoteFeaturizer(worker, index, size, bool(can), job)
        for index, (size, can, job) in enumerate(zip(sizes, decodes, jobs, strict=True))
    ]


def _tensor(found: dict[str, Tensor], name: str, op: str) -> Tensor:
    if name not in found:
        raise MethodError(f"{op} returned no {name}")
    return found[name]
