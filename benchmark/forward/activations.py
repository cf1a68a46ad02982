"""Activations of all hookpoints from one forward, in chunk files that are spooled or made again on demand.

A chunk is a raw little-endian file of `CHUNK_TOKENS` activations of one hookpoint. Chunks of the fit split are
addressed by number. Within the disk cap every chunk stays (spooled: one forward in all); above it only a ring of recent
ones does (streamed), and a reader that asks for an older chunk starts another forward. Contents, and so the batches a
method sees, are the same either way.
"""

from __future__ import annotations

import shutil
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.blocks import Blocks
from benchmark.models import hookpoints
from benchmark.models.network import Network, NoiseKey
from benchmark.spec.suite import StreamSettings

CHUNK_TOKENS = 8192
FORWARD_TOKENS, ACCELERATOR_TOKENS = 2_048, 16_384
WINDOW_POSITIONS, WINDOW_BYTES = 65_536, 96 << 20
RING_SLACK = 4
VERSION = 5
Progress = Callable[[int, int], None]


class NotFinite(RuntimeError):
    """The network's own activations are not finite: nothing can be measured at that hookpoint."""


class Read(NamedTuple):
    """Activations of some blocks in block order, on the CPU, per layer: usable tokens, the first token of each block
    (float32), and whether all of the usable ones are finite.
    """

    rows: NDArray[np.int64]
    usable: list[Float[Tensor, "token d_model"]]
    first: list[Float[Tensor, "block d_model"]]
    finite: list[bool]


def by_length(lengths: NDArray[np.int32], positions: int) -> Iterator[NDArray[np.int64]]:
    """Places of all blocks, longest first, as many at a time as fit in `positions` when padded to the longest."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, positions // int(lengths[order[start]]))
        yield order[start:stop]
        start = stop


def positions_for(device: torch.device) -> int:
    """Positions of one forward: few stay in a processor's cache, an accelerator wants many."""
    return FORWARD_TOKENS if device.type == "cpu" else ACCELERATOR_TOKENS


def tokens_of(blocks: Blocks, rows: NDArray[np.int64]) -> Tensor:
    """Token ids of some blocks, [batch, pos] int64."""
    return torch.from_numpy(blocks.tokens[rows].astype(np.int64))


def keys_of(split: str, rows: NDArray[np.int64]) -> list[NoiseKey]:
    """Noise keys of some blocks."""
    return [(split, int(row)) for row in rows]


def usable(blocks: Blocks, rows: NDArray[np.int64]) -> Tensor:
    """Mask [batch, pos] of the positions that count: neither the first of a block nor padding."""
    place = np.arange(blocks.tokens.shape[1])[None, :]
    return torch.from_numpy((place >= 1) & (place < blocks.lengths[rows][:, None]))


def token_rows(blocks: Blocks, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of the usable tokens of some blocks among those of the whole split."""
    ends = np.cumsum(blocks.lengths - 1)
    return np.concatenate([np.arange(ends[row] - blocks.lengths[row] + 1, ends[row]) for row in rows])


def forward(
    network: Network, blocks: Blocks, split: str, layers: Sequence[int], dtype: torch.dtype = torch.float32
) -> Iterator[Read]:
    """Activations of a split in `dtype`, a window of blocks at a time; within it blocks of like length share a forward.

    A window is put together where the network is, and leaves that device once.
    """
    positions = min(WINDOW_POSITIONS, WINDOW_BYTES // (4 * network.d_model * len(layers)))
    window = max(1, positions // blocks.tokens.shape[1])
    for start in range(0, len(blocks.lengths), window):
        rows = np.arange(start, min(start + window, len(blocks.lengths)))
        part = Blocks(blocks.tokens[rows], blocks.lengths[rows], blocks.documents[rows], blocks.data_hash)
        values = [torch.empty(part.n_activations, network.d_model, dtype=dtype, device=network.device) for _ in layers]
        first = [torch.empty(len(rows), network.d_model) for _ in layers]
        for places in by_length(part.lengths, positions_for(network.device)):
            longest = int(part.lengths[places[0]])
            embeds = network.embed(tokens_of(part, places), keys_of(split, rows[places]))[:, :longest]
            mask = usable(part, places)[:, :longest].to(network.device)
            own = torch.from_numpy(token_rows(part, places)).to(network.device)
            for layer, found in enumerate(hookpoints.read(network, embeds, layers)):
                values[layer][own] = found[mask].to(dtype)
                first[layer][places] = found[:, 0].float().cpu()
        finite = [bool(torch.isfinite(each).all()) for each in values]
        yield Read(rows, [each.cpu() for each in values], first, finite)


def chunks_kept(n_tokens: int, d_model: int, layers: int, stream: StreamSettings) -> int:
    """Chunks of a hookpoint that are on disk at a time: all of them where the spool takes them, else a ring."""
    dtype: torch.dtype = getattr(torch, stream.dtype)
    every = -(-n_tokens // CHUNK_TOKENS)
    if n_tokens * d_model * dtype.itemsize * layers <= stream.spool_gib * 2**30:
        return every
    return min(every, -(-stream.shuffle_tokens // CHUNK_TOKENS) + RING_SLACK)


def spool_bytes(n_tokens: int, d_model: int, layers: int, stream: StreamSettings) -> int:
    """Disk that the fit activations of a group take at a time."""
    dtype: torch.dtype = getattr(torch, stream.dtype)
    tokens = min(n_tokens, chunks_kept(n_tokens, d_model, layers, stream) * CHUNK_TOKENS)
    return tokens * d_model * dtype.itemsize * layers


class ChunkStore:
    """Chunk files of the fit split for all hookpoints of a group."""

    def __init__(
        self,
        folder: Path,
        network: Network,
        blocks: Blocks,
        layers: Sequence[int],
        *,
        n_tokens: int,
        stream: StreamSettings,
        progress: Progress = lambda done, total: None,
    ) -> None:
        self.folder, self.n_tokens, self.layers = folder, n_tokens, list(layers)
        self.dtype: torch.dtype = getattr(torch, stream.dtype)
        self.d_model = network.d_model
        self.n_chunks = -(-n_tokens // CHUNK_TOKENS)
        self.ring = chunks_kept(n_tokens, self.d_model, len(self.layers), stream)
        self.spooled = self.ring == self.n_chunks
        self.forwards = 0
        self._network, self._blocks, self._progress = network, blocks, progress
        self._cursors: list[_Cursor] = []
        self._present: OrderedDict[int, None] = OrderedDict()
        self._not_finite: set[int] = set()
        shutil.rmtree(folder, ignore_errors=True)
        # A method that looks up what it has open reads these names.
        self._homes = {layer: folder / uuid.uuid4().hex for layer in self.layers}
        for home in self._homes.values():
            home.mkdir(parents=True)

    def chunk(self, layer: int, number: int) -> Path:
        """The file of a chunk, made now unless it is there; valid until the next call.

        Raises:
            NotFinite: the network's activations at this layer are not finite.
        """
        if not 0 <= number < self.n_chunks:
            raise IndexError(f"chunk {number} of {self.n_chunks}")
        if number not in self._present:
            cursor = self._cursor_before(number)
            while number not in self._present:
                self._write(*next(cursor))
        if layer in self._not_finite:
            raise NotFinite(f"the network's activations at layers.{layer} are not finite on the fit split")
        return self._path(layer, number)

    def close(self) -> None:
        """Delete all chunks."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _cursor_before(self, number: int) -> _Cursor:
        behind = [cursor for cursor in self._cursors if cursor.number <= number]
        if behind:
            return max(behind, key=lambda cursor: cursor.number)
        self._cursors = self._cursors[-len(self.layers) :]
        self.forwards += 1
        self._cursors.append(_Cursor(self._chunks()))
        return self._cursors[-1]

    def _write(self, number: int, chunk: list[Tensor]) -> None:
        for layer, values in zip(self.layers, chunk, strict=True):
            path = self._path(layer, number)
            temporary = path.with_suffix(".tmp")
            values.contiguous().view(torch.uint8).numpy().tofile(temporary)
            temporary.rename(path)
        self._present[number] = None
        self._present.move_to_end(number)
        while len(self._present) > self.ring:
            oldest, _ = self._present.popitem(last=False)
            for layer in self.layers:
                self._path(layer, oldest).unlink()
        self._progress(min((number + 1) * CHUNK_TOKENS, self.n_tokens), self.n_tokens)

    def _chunks(self) -> Iterator[list[Tensor]]:
        waiting: list[list[Tensor]] = [[] for _ in self.layers]
        held = sent = 0
        for read in forward(self._network, self._blocks, "fit", self.layers, self.dtype):
            self._not_finite |= {layer for layer, finite in zip(self.layers, read.finite, strict=True) if not finite}
            for queue, values in zip(waiting, read.usable, strict=True):
                queue.append(values)
            held += len(read.usable[0])
            while held >= CHUNK_TOKENS or (held and sent + held >= self.n_tokens):
                size = min(CHUNK_TOKENS, self.n_tokens - sent)
                joined = [torch.cat(queue) for queue in waiting]
                yield [values[:size] for values in joined]
                sent += size
                if sent == self.n_tokens:
                    return
                waiting = [[values[size:]] for values in joined]
                held -= size

    def _path(self, layer: int, number: int) -> Path:
        return self._homes[layer] / f"{number}.bin"


class _Cursor:
    """A forward in progress; `number` is the next chunk it makes."""

    def __init__(self, chunks: Iterator[list[Tensor]]) -> None:
        self._chunks, self.number = chunks, 0

    def __next__(self) -> tuple[int, list[Tensor]]:
        chunk = next(self._chunks)
        self.number += 1
        return self.number - 1, chunk


def collect(
    network: Network, blocks: Blocks, split: str, layers: Sequence[int], progress: Progress = lambda done, total: None
) -> tuple[list[Float[Tensor, "token d_model"]], list[Float[Tensor, "block d_model"]]]:
    """All usable activations of a split in block order, and those of the first tokens, float32 on the CPU per layer."""
    kept: list[list[Tensor]] = [[] for _ in layers]
    first: list[list[Tensor]] = [[] for _ in layers]
    for read in forward(network, blocks, split, layers):
        for place in range(len(layers)):
            kept[place].append(read.usable[place])
            first[place].append(read.first[place])
        progress(int(read.rows[-1]) + 1, len(blocks.lengths))
    return [torch.cat(parts) for parts in kept], [torch.cat(parts) for parts in first]
