"""Messages between harness and worker: a JSON header and safetensors, length-prefixed, over a stream socket; files go
as open descriptors behind a message, so that the other side learns no path.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_PREFIX, _MARK = struct.Struct("<IQ"), b"\0"
MAX_HEADER = 1 << 22
MAX_TENSORS = 1 << 30
GROWTH = 1 << 22

Frame = tuple[dict[str, Any], dict[str, Tensor]]


class Closed(ConnectionError):
    """The other side is gone."""


def send(
    channel: socket.socket,
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor] | None = None,
    alive: Callable[[], bool] = lambda: True,
) -> None:
    """Write one message; a peer that is gone raises `Closed`."""
    body = save({name: tensor.contiguous() for name, tensor in tensors.items()}) if tensors else b""
    head = json.dumps(header).encode()
    for part in (_PREFIX.pack(len(head), len(body)) + head, body):
        view, done = memoryview(part), 0
        while done < len(part):
            done += _while_alive(partial(channel.send, view[done:]), alive)


def receive(channel: socket.socket, alive: Callable[[], bool] = lambda: True) -> Frame:
    """Read one message; end of stream, a broken or an oversized frame raises `Closed`.

    A socket with a timeout asks `alive` at each one: a dead peer's own children may hold its end open.
    """
    head_size, body_size = _PREFIX.unpack(_read(channel, _PREFIX.size, alive))
    if head_size > MAX_HEADER or body_size > MAX_TENSORS:
        raise Closed(f"frame of {head_size} + {body_size} bytes is over the limit")
    try:
        header = json.loads(_read(channel, head_size, alive))
        tensors = load(bytes(_read(channel, body_size, alive))) if body_size else {}
    except (ValueError, SafetensorError) as error:
        raise Closed(f"broken frame: {error}") from error
    if not isinstance(header, dict):
        raise Closed("broken frame: header is not an object")
    return header, tensors


def send_file(channel: socket.socket, descriptor: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Hand over an open file; a peer that is gone raises `Closed`."""
    _while_alive(lambda: socket.send_fds(channel, [_MARK], [descriptor]), alive)


def receive_file(channel: socket.socket) -> int:
    """The descriptor of a file that was handed over, which is the reader's to close; anything else raises `Closed`."""
    try:
        mark, descriptors, _, _ = socket.recv_fds(channel, len(_MARK), 1)
    except OSError as error:
        raise Closed(str(error)) from error
    if mark != _MARK or len(descriptors) != 1:
        for descriptor in descriptors:
            os.close(descriptor)
        raise Closed("no file was handed over")
    return descriptors[0]


def _read(channel: socket.socket, size: int, alive: Callable[[], bool]) -> bytearray:
    """Memory grows with what arrives, not with what a header announces."""
    buffer, done = bytearray(), 0
    while done < size:
        if done == len(buffer):
            buffer.extend(bytes(min(size - done, max(done, GROWTH))))
        with memoryview(buffer) as view, view[done:] as rest:
            count = _while_alive(partial(channel.recv_into, rest), alive)
        if count == 0:
            raise Closed("the other side closed the connection")
        done += count
    return buffer


def _while_alive(call: Callable[[], int], alive: Callable[[], bool]) -> int:
    while True:
        try:
            return call()
        except TimeoutError as error:
            if not alive():
                raise Closed("the other side is gone") from error
        except OSError as error:
            raise Closed(str(error)) from error
