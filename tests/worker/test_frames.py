"""Messages survive the trip, and broken ones are refused."""

from __future__ import annotations

import socket
import struct
import threading
import tracemalloc

import pytest
import torch

from benchmark.worker import frames


def test_round_trip() -> None:
    ours, theirs = socket.socketpair()
    tensors = {"x": torch.randn(2000, 300), "ids": torch.arange(5), "empty": torch.empty(0, 4)}
    sender = threading.Thread(target=frames.send, args=(ours, {"op": "encode", "n": 1}, tensors))
    sender.start()
    header, found = frames.receive(theirs)
    sender.join()
    assert header == {"op": "encode", "n": 1}
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0",
        struct.pack("<IQ", 5, 0) + b"{bad}",
        struct.pack("<IQ", 2, 3) + b"{}abc",
        struct.pack("<IQ", 1 << 30, 0),
        struct.pack("<IQ", 2, frames.MAX_TENSORS + 1) + b"{}",
        struct.pack("<IQ", 2, 0) + b"[]",
    ],
    ids=["nothing", "cut", "not json", "not safetensors", "huge", "huge tensors", "not an object"],
)
def test_broken_frames_raise_closed(raw: bytes) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(raw)
    ours.close()
    with pytest.raises(frames.Closed):
        frames.receive(theirs)


def test_memory_grows_with_what_arrives_and_not_with_what_is_announced() -> None:
    tracemalloc.start()
    ours, theirs = socket.socketpair()
    ours.sendall(struct.pack("<IQ", 2, frames.MAX_TENSORS) + b"{}" + bytes(1000))
    ours.close()
    with pytest.raises(frames.Closed):
        frames.receive(theirs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * frames.GROWTH < frames.MAX_TENSORS
