"""The activation stream a method reads: chunk files through a bounded shuffle buffer."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor


class ChunkedStream:
    """`api.ActivationStream` over chunk files.

    Memory on `device` is two buffers of `shuffle_tokens` activations and one chunk, whatever `n_tokens` is. When the
    buffer is full its tokens are permuted and half of them handed out before it is filled again, so the order depends
    on the seed, the epoch and the chunks alone.
    """

    def __init__(self, spec: dict[str, Any], fetch: Callable[[int], int], device: torch.device) -> None:
        self.d_model: int = spec["d_model"]
        self.n_tokens: int = spec["n_tokens"]
        self.device = device
        self._chunk_tokens: int = spec["chunk_tokens"]
        self._shuffle_tokens: int = spec["shuffle_tokens"]
        self._seed: int = spec["seed"]
        self._dtype = torch.bfloat16 if spec["dtype"] == "bfloat16" else torch.float32
        self._fetch = fetch

    def batches(self, size: int, *, epochs: int = 1) -> Iterator[Tensor]:
        """Float32 batches [size, d_model] on `device`; the last of an epoch may be smaller."""
        if size < 1 or epochs < 1:
            raise ValueError(f"size and epochs must be at least 1, not {size} and {epochs}")
        for epoch in range(epochs):
            for batch in self._epoch(size, epoch):
                yield batch.to(self.device, torch.float32)

    def _epoch(self, size: int, epoch: int) -> Iterator[Tensor]:
        capacity = max(self._shuffle_tokens, 2 * size)
        key = hashlib.sha256(f"{self._seed}:{epoch}".encode()).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(key[:8], "little")))
        buffer = torch.empty(0, self.d_model, dtype=self._dtype, device=self.device)
        chunks = self._chunks()
        exhausted = False
        while not exhausted:
            parts, held = [buffer], len(buffer)
            while held < capacity and not exhausted:
                chunk = next(chunks, None)
                if chunk is None:
                    exhausted = True
                else:
                    parts.append(chunk.to(self.device))
                    held += len(chunk)
            buffer = torch.cat(parts)
            parts.clear()
            order = torch.from_numpy(rng.permutation(held)).to(self.device)
            out = held if exhausted else held // 2 // size * size
            for start in range(0, out, size):
                yield buffer[order[start : min(start + size, out)]]
            buffer = buffer[order[out:]]

    def _chunks(self) -> Iterator[Tensor]:
        for number, start in enumerate(range(0, self.n_tokens, self._chunk_tokens)):
            count = min(self._chunk_tokens, self.n_tokens - start)
            descriptor = self._fetch(number)
            try:
                wanted, found = count * self.d_model * self._dtype.itemsize, os.fstat(descriptor).st_size
                if found != wanted:
                    raise ValueError(f"chunk {number} has {found} bytes instead of {wanted}")
                # A private copy on write: what a method does to its batch stays in its process.
                mapped = mmap.mmap(descriptor, wanted, access=mmap.ACCESS_COPY)
            finally:
                os.close(descriptor)
            yield torch.frombuffer(mapped, dtype=self._dtype).view(count, self.d_model)


class PairedChunks:
    """`api.PairedStream` over two streams of the same tokens with the same seed, which hands them out in one order."""

    def __init__(self, inputs: ChunkedStream, targets: ChunkedStream) -> None:
        self.d_model, self.n_tokens, self.device = inputs.d_model, inputs.n_tokens, inputs.device
        self._inputs, self._targets = inputs, targets

    def batches(self, size: int, *, epochs: int = 1) -> Iterator[tuple[Tensor, Tensor]]:
        """Float32 batches of inputs and targets, [size, d_model] each."""
        yield from zip(
            self._inputs.batches(size, epochs=epochs), self._targets.batches(size, epochs=epochs), strict=True
        )
