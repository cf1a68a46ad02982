"""Messages between harness and worker: a JSON header and safetensors, length-prefixed, over a stream socket."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

_PREFIX = struct.Struct("<IQ")
MAX_HEADER = 1 << 22
MAX_TENSORS = 1 << 33

Message = tuple[dict[str, Any], dict[str, Tensor]]


class Closed(ConnectionError):
    """The other side is gone."""


def send(channel: socket.socket, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
    """Write one message; a closed peer raises `Closed`."""
    body = save({name: tensor.contiguous() for name, tensor in tensors.items()}) if tensors else b""
    head = json.dumps(header).encode()
    try:
        channel.sendall(_PREFIX.pack(len(head), len(body)) + head)
        if body:
            channel.sendall(body)
    except OSError as error:
        raise Closed(str(error)) from error


def receive(channel: socket.socket) -> Message:
    """Read one message; end of stream, a broken or an oversized frame raises `Closed`."""
    head_size, body_size = _PREFIX.unpack(_read(channel, _PREFIX.size))
    if head_size > MAX_HEADER or body_size > MAX_TENSORS:
        raise Closed(f"frame of {head_size} + {body_size} bytes is over the limit")
    try:
        header = json.loads(_read(channel, head_size))
        tensors = load(bytes(_read(channel, body_size))) if body_size else {}
    except (ValueError, SafetensorError) as error:
        raise Closed(f"broken frame: {error}") from error
    if not isinstance(header, dict):
        raise Closed("broken frame: header is not an object")
    return header, tensors


def _read(channel: socket.socket, size: int) -> bytearray:
    buffer = bytearray(size)
    view, done = memoryview(buffer), 0
    while done < size:
        try:
            count = channel.recv_into(view[done:])
        except OSError as error:
            raise Closed(str(error)) from error
        if count == 0:
            raise Closed("the other side closed the connection")
        done += count
    return buffer
