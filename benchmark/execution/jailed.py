"""Workers in jail (`benchmark.worker.jail`): what they may read and change, and a trial of the walls before they are
relied on.
"""

from __future__ import annotations

import glob
import os
import socket
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

from benchmark.errors import BadInput
from benchmark.execution.contract import MethodError
from benchmark.execution.environments import ROOT, SEEN, Environment
from benchmark.execution.local import ForkServer, ForkServers
from benchmark.spec.suite import Limits

SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys/devices/system", "/sys/fs/cgroup", "/dev/urandom",
    "/dev/random", "/dev/zero", "/etc/ld.so.cache", "/etc/localtime", "/etc/passwd", "/etc/group",
    "/etc/nsswitch.conf", "/etc/mime.types",
)  # fmt: skip
"""What any process reads: programs, libraries, their configuration, its own /proc, and what the processor is."""
DEVICES = ("/dev/null", "/dev/nvidia*", "/dev/nvidia-caps/*")


class Tried(NamedTuple):
    """What a jailed process managed of what must not work; why there is no jail, where there is none."""

    worked: tuple[str, ...]
    missing: str | None

    @property
    def holds(self) -> bool:
        return not self.worked and self.missing is None


class Jailed(ForkServers):
    """Executor whose workers see no network, no other process, and no file but their own and what is needed to run.

    Raises:
        BadInput: the walls do not hold on this machine.
    """

    isolation = "jail"

    def __init__(self) -> None:
        super().__init__()
        tried = trial(self._servers[None])
        if not tried.holds:
            self.close()
            raise BadInput(sentence(tried))

    def _request(self, environment: Environment | None, method: Path | None) -> dict[str, Any]:
        return {"walls": walls(environment, method)}


def walls(environment: Environment | None, method: Path | None) -> dict[str, list[str]]:
    """What a worker may read, what it may change beside its room, and where it sees names, as its server is told."""
    own = [method] if method else []
    own += [] if environment is None else [Path(environment.python).parents[1], Path(environment.path)]
    # Of the search path libraries alone: its first entry may be the folder that somebody happens to be in.
    libraries = [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]
    python = {Path(place) for place in (sys.prefix, sys.base_prefix, *libraries)}
    ours = [ROOT / seen for seen in SEEN]
    read = {str(path.resolve()) for path in (*own, *python, *ours) if path.exists()}
    # Compiled kernels of the baselines are kept where their module lies, and compiled once for all.
    baseline = method is not None and method.resolve().is_relative_to(ROOT / "baselines")
    kept = map(str, ROOT.glob("baselines/*/__pycache__")) if baseline else ()
    devices = [path for pattern in DEVICES for path in glob.glob(pattern)]
    return {
        "read": [*SYSTEM, *sorted(read)],
        "write": [*kept, *devices],
        "names": [str(ROOT / "benchmark")],
    }


def trial(server: ForkServer) -> Tried:
    """Let a jailed process of a server try what must not work."""
    if sys.platform != "linux":
        return Tried((), f"{sys.platform} has none")
    try:
        with tempfile.TemporaryDirectory(prefix="nullgap-trial-") as folder, ExitStack() as listening:
            return _trial(server, Path(folder), listening)
    except OSError as error:
        return Tried((), f"it cannot be tried out: {error}")


def _trial(server: ForkServer, folder: Path, listening: ExitStack) -> Tried:
    canary, log, service = folder / "canary", folder / "log", str(folder / "s")
    canary.write_text("nobody's to read", encoding="utf-8")
    host = listening.enter_context(socket.create_server(("127.0.0.1", 0)))
    for path, kind in ((service, socket.SOCK_SEQPACKET), (f"{service}d", socket.SOCK_DGRAM)):
        local = listening.enter_context(socket.socket(socket.AF_UNIX, kind))
        local.bind(path)
        if kind == socket.SOCK_SEQPACKET:
            local.listen()
    told = {"canary": str(canary), "port": host.getsockname()[1], "service": service, "harness": os.getpid()}
    try:
        with closing(server.start(_none, log, Limits(), {"walls": walls(None, None)})) as worker:
            found, _ = worker.call({"op": "attempts", "told": told})
    except MethodError:
        said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.is_file() else []
        return Tried((), said[-1].partition(": ")[2] if said else "it ended without a word")
    return Tried(tuple(name for name, worked in found["worked"].items() if worked), None)


def _none(stream: str, number: int) -> int:
    raise MethodError("a trial reads nothing")


def sentence(tried: Tried) -> str:
    """Why there is no jail, and what to do."""
    if tried.missing:
        return (
            f"no jail on this machine: {tried.missing}; it needs Linux with user namespaces "
            "(sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu) and Landlock"
        )
    return f"the jail does not hold on this machine: in it one could {', '.join(tried.worked)}"
