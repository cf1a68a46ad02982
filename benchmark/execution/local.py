"""Methods in processes forked from a server that has torch imported, so that a fresh worker costs milliseconds."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from torch import Tensor

from benchmark.execution.contract import Chunks, MethodError, Reply
from benchmark.execution.environments import ROOT, Environment
from benchmark.spec.suite import Limits
from benchmark.worker import frames

LIVENESS_SECONDS = 1.0
PASSED_ON = (
    "PATH", "PYTHONPATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH",
    "CUDA_HOME", "CUDA_VISIBLE_DEVICES", "CUBLAS_WORKSPACE_CONFIG", "NVIDIA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE",
    "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA",
    "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "NUMBA_CACHE_DIR", "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip
"""All that a worker sees of the environment: no key, token or name of anybody's is in it."""


class ForkedWorker:
    """The harness's end of one worker process."""

    def __init__(  # noqa: PLR0917
        self,
        server: ForkServer,
        channel: socket.socket,
        pid: int,
        chunks: Chunks,
        log: Path,
        limits: Limits,
        room: Path,
        *,
        waits: bool,
    ) -> None:
        self._server, self._channel, self.pid, self._room, self._waits = server, channel, pid, room, waits
        channel.settimeout(LIVENESS_SECONDS)
        self._process = os.pidfd_open(pid) if hasattr(os, "pidfd_open") else None
        self._chunks, self._log, self._limits = chunks, log, limits
        self._printed_before = log.stat().st_size if log.is_file() else 0
        self._asked = self._looked = time.monotonic()
        self._op = "open"

    def call(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Reply:
        self._op, self._asked = str(header["op"]), time.monotonic()
        self._send(header, tensors)
        while True:
            reply, found = self._receive(header)
            self._alive()
            if reply.get("op") == "chunk":
                stream, number = reply.get("stream"), reply.get("number")
                if not isinstance(stream, str) or not isinstance(number, int):
                    raise MethodError(f"worker asked for chunk {number!r} of stream {stream!r}")
                self._hand_over(self._chunks(stream, number), header)
            elif reply.get("op") == "error":
                raise MethodError(f"{reply.get('type')}: {reply.get('message')} ({reply.get('where')})")
            else:
                return reply, found

    def _send(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> None:
        try:
            frames.send(self._channel, header, tensors, self._alive)
        except frames.Closed as error:
            raise MethodError(self._fate(header)) from error

    def _hand_over(self, descriptor: int, header: Mapping[str, Any]) -> None:
        """An open file in place of its path, which would say where it lies."""
        try:
            self._send({"op": "chunk"})
            frames.send_file(self._channel, descriptor, self._alive)
        except frames.Closed as error:
            raise MethodError(self._fate(header)) from error
        finally:
            os.close(descriptor)

    def _receive(self, header: Mapping[str, Any]) -> Reply:
        try:
            return frames.receive(self._channel, self._alive)
        except frames.Closed as error:
            raise MethodError(f"{self._fate(header)} ({error})") from error

    def exchange(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._room))

    def close(self) -> None:
        self._channel.close()
        self._server.wait(self.pid)
        shutil.rmtree(self._room, ignore_errors=True)
        if self._process is not None:
            os.close(self._process)
            self._process = None
        if self._log.is_file() and not self._log.stat().st_size:
            self._log.unlink()

    def _alive(self) -> bool:
        """Whether the process still runs, within its limits; only its death makes its pidfd readable."""
        if time.monotonic() - self._looked >= LIVENESS_SECONDS:
            self._looked = time.monotonic()
            if over := self._over():
                with suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                raise MethodError(f"{over}; the method was stopped, what it printed is in {self._log}")
        return self._process is None or not select.select([self._process], [], [], 0)[0]

    def _over(self) -> str | None:
        """The limit that the worker is over."""
        limits = self._limits
        name = "fit_seconds" if self._op == "fit" else "answer_seconds"
        if time.monotonic() - self._asked > getattr(limits, name):
            return f"{self._op} took more than the suite's limits.{name}, {getattr(limits, name)}"
        sizes = _resident(self.pid)
        # In jail two more stand before the worker, and wait.
        if len(sizes) - 2 * self._waits > limits.processes:
            return f"{self._op} had more processes than the suite's limits.processes, {limits.processes}"
        if _together(sizes, waits=self._waits) > limits.memory_gib * 2**30:
            return f"{self._op} took more memory than the suite's limits.memory_gib, {limits.memory_gib:g}"
        printed = self._log.stat().st_size - self._printed_before if self._log.is_file() else 0
        if printed > limits.output_mib * 2**20:
            return f"{self._op} printed more than the suite's limits.output_mib, {limits.output_mib:g}"
        return None

    def _fate(self, header: Mapping[str, Any]) -> str:
        self._channel.close()
        status = self._server.wait(self.pid)
        how = f"was killed by {signal.Signals(-status).name}" if status and status < 0 else f"ended with {status}"
        return f"worker {how} during {header['op']}: its output is in {self._log}"


class ForkServers:
    """Executor with a server for each environment that methods run in; the harness's own is there from the start."""

    isolation = "process"

    def __init__(self) -> None:
        self._servers: dict[str | None, ForkServer] = {None: ForkServer()}

    def start(
        self,
        chunks: Chunks,
        log: Path,
        limits: Limits,
        environment: Environment | None = None,
        method: Path | None = None,
    ) -> ForkedWorker:
        """A fresh worker of the environment's server."""
        name = environment.python if environment else None
        if name not in self._servers:
            self._servers[name] = ForkServer(environment)
        return self._servers[name].start(chunks, log, limits, self._request(environment, method))

    def _request(self, environment: Environment | None, method: Path | None) -> dict[str, Any]:
        """What the server is told of a worker beside its limits."""
        return {}

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


class ForkServer:
    """The server process of one environment, and the workers that it forked.

    The server imports torch while the harness goes on. Of the environment's variables workers see `PASSED_ON`, and a
    home of their own, for temporary files and the caches of libraries. Its threads wait passively: harness and worker
    take turns, and threads that spin while the other side works would take its cores.
    """

    def __init__(self, environment: Environment | None = None) -> None:
        self._environment = environment
        self._home = tempfile.TemporaryDirectory(prefix="nullgap-home-")
        self._launch()

    def _launch(self) -> None:
        self._ended: dict[int, int | None] = {}
        passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        environment = self._environment
        if environment is not None:
            passed["PYTHONPATH"] = environment.path
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [environment.python if environment else sys.executable, "-m", "benchmark.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=environment.path if environment else ROOT,
                env={"OMP_WAIT_POLICY": "PASSIVE", **passed, "PYTHONUNBUFFERED": "1"}
                | dict.fromkeys(("HOME", "TMPDIR"), self._home.name),
            )

    def start(
        self, chunks: Chunks, log: Path, limits: Limits, request: Mapping[str, Any] | None = None
    ) -> ForkedWorker:
        """A fresh worker; a server that is gone costs the worker it had, and not the next one. A worker in jail may
        change its room, and nothing else.
        """
        if self._process.poll() is not None:
            self._control.close()
            self._launch()
        log.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        room = tempfile.mkdtemp(dir=self._home.name)
        asked = {"op": "fork", "file_bytes": int(limits.disk_gib * 2**30), "room": room, **(request or {})}
        try:
            with theirs:
                socket.send_fds(self._control, [json.dumps(asked).encode()], [theirs.fileno(), printed])
                pid = int(self._answer()["pid"])
        finally:
            os.close(printed)
        self._ended.pop(pid, None)
        return ForkedWorker(self, ours, pid, chunks, log, limits, Path(room), waits="walls" in asked)

    def wait(self, pid: int) -> int | None:
        """How a worker ended, negative for a signal; None when the server is gone."""
        if pid not in self._ended:
            try:
                self._control.sendall(json.dumps({"op": "wait", "pid": pid}).encode())
                self._ended[pid] = self._answer()["status"]
            except (OSError, MethodError):
                self._ended[pid] = None
        return self._ended.get(pid)

    def close(self) -> None:
        self._control.close()
        self._process.wait()
        self._home.cleanup()

    def _answer(self) -> dict[str, Any]:
        text = self._control.recv(1 << 16)
        if not text:
            raise MethodError("the worker server is gone: see its message above")
        return dict(json.loads(text))


def _resident(pid: int) -> list[int]:
    """Resident bytes of a process and of all that it started: RLIMIT_AS counts what CUDA only maps."""
    sizes: list[int] = []
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for one in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                sizes.append(one.memory_info().rss)
    return sizes


def _together(sizes: Sequence[int], *, waits: bool) -> int:
    """Bytes of all of them. Where the first only waits for the others, what it holds is what they share, and is counted
    once.
    """
    shared = sizes[0] if waits and sizes else 0
    return shared + sum(max(0, size - shared) for size in sizes)
