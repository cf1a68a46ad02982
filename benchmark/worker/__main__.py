"""Fork server: imports torch and touches no tensor, then forks one worker per request.

`python -m benchmark.worker FD`: FD is a Unix socket. A request {"op": "fork", "file_bytes": n} carries the worker's own
socket and the file that it prints to as descriptors; with "walls" the worker goes to jail, where it may change its
"room"; {"op": "wait", "pid": n} answers how a worker ended. When the harness goes away the socket closes and every
worker is killed. A worker outlives neither side.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import numpy  # noqa: F401  imported before the fork, so that workers start with it
import safetensors.torch  # noqa: F401
import torch._dynamo  # noqa: F401  torch.optim imports it on first use, which costs a second in every worker

import benchmark.api  # noqa: F401
from benchmark.worker import frames, jail
from benchmark.worker.session import Session

_PR_SET_PDEATHSIG = 1


def serve(control: socket.socket) -> None:
    """Answer the harness until it closes the control socket."""
    # Found now, for in jail nobody looks around in the folder that they lie in.
    importlib.util.find_spec("baselines")
    workers: set[int] = set()
    while True:
        text, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 2)
        if not text:
            break
        request = json.loads(text)
        if request["op"] == "fork":
            pid = os.fork()
            if pid == 0:
                control.close()
                _work(socket.socket(fileno=descriptors[0]), descriptors[1], request)
            for descriptor in descriptors:
                os.close(descriptor)
            workers.add(pid)
            control.sendall(json.dumps({"pid": pid}).encode())
        else:
            workers.discard(request["pid"])
            control.sendall(json.dumps({"status": _ended(request["pid"])}).encode())
    for pid in workers:
        _kill_session(pid)


def _work(channel: socket.socket, log: int, request: Mapping[str, Any]) -> NoReturn:
    status = 1
    try:
        os.setsid()
        _die_with_parent()
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.close(log)
        _limit_files(request["file_bytes"])
        if walls := request.get("walls"):
            _at_home(request["room"])
            jail.enter(jail.Walls(walls["read"], [*walls["write"], request["room"]], walls["names"]))
        run(channel)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _at_home(room: str) -> None:
    """Temporary files and caches lie in the worker's own room: those of others are out of its sight."""
    os.environ.pop("NUMBA_CACHE_DIR", None)
    os.environ |= {"HOME": room, "TMPDIR": room}
    tempfile.tempdir = None
    os.chdir(room)


def _limit_files(size: int) -> None:
    """No file that the worker writes grows beyond this, or beyond what the system allows anyway."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    size = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def run(channel: socket.socket) -> None:
    """Answer requests until the harness closes the channel; an exception of the method is an answer too."""

    def fetch(stream: str, number: int) -> int:
        frames.send(channel, {"op": "chunk", "stream": stream, "number": number})
        frames.receive(channel)
        return frames.receive_file(channel)

    session = Session(fetch)
    while True:
        try:
            header, tensors = frames.receive(channel)
        except frames.Closed:
            return
        try:
            answer, found = session.handle(header, tensors)
        except frames.Closed:
            return
        except Exception as error:
            traceback.print_exc()
            frames_of = traceback.extract_tb(error.__traceback__)
            own = [one for one in frames_of if session.folder and Path(one.filename).is_relative_to(session.folder)]
            last = (own or frames_of)[-1]
            where = f"{Path(last.filename).name}, line {last.lineno}"
            frames.send(channel, {"op": "error", "type": type(error).__name__, "message": str(error), "where": where})
        else:
            frames.send(channel, {"op": "done", **answer}, found)


def _ended(pid: int) -> int | None:
    """Exit code of a worker, negative for a signal; one that does not end within five seconds is killed.

    What it left running dies with it.
    """
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _kill_session(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    _kill_session(pid)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _kill_session(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
    os._exit(0)  # nothing is left to write, and torch takes most of a second to take itself down
