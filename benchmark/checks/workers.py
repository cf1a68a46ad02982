"""Fresh workers of one method for `make check`, and what they write where they may not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import torch

from benchmark.checks.conformance import Refused
from benchmark.errors import BadInput
from benchmark.execution.contract import Executor, MethodError, Worker
from benchmark.execution.isolation import BEST, ISOLATION, PLAIN, needs_jail
from benchmark.run.group import opening
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites

SUITE = "smoke"
WALLS = (
    "in jail a method has no network, reads Python, libraries and its own folder, and writes into the temporary folder "
    "(tempfile) and the one that save gets"
)


class Workers:
    """Starts workers of a method, each with the method's class imported."""

    def __init__(self, run: MethodRun, log: Path) -> None:
        self.run, self._log = run, log
        # Outside a jail what a method writes is heard, and can be named.
        self.executor: Executor = ISOLATION[BEST if needs_jail([run.method.folder]) else PLAIN]()
        self.joint, self.written = False, set[str]()
        self._before, self._limits = contents(run.method.folder), suites.load(SUITE).limits

    def start(self, files: Mapping[str, Path], executor: Executor | None = None) -> Worker:
        """A fresh worker that finds chunks by number in these folders."""
        worker = (executor or self.executor).start(
            lambda stream, number: os.open(files[stream] / str(number), os.O_RDONLY),
            self._log,
            self._limits,
            self.run.environment,
            self.run.method.folder,
        )
        self.joint = bool(worker.call(opening(self.run, torch.device("cpu"), 1))[0]["joint"])
        worker.call({"op": "watch", "allowed": [str(self._log)]})
        return worker

    def settle(self, worker: Worker) -> None:
        """Note what a worker wrote, as it heard it or as its folder shows it."""
        self.written |= set(worker.call({"op": "written"})[0]["written"])
        self.written |= contents(self.run.method.folder) - self._before

    def close(self) -> None:
        """End the executor."""
        self.executor.close()


def takes_settings(workers: Workers, width: int) -> None:
    """Its defaults and presets, for activations of this width."""
    manifest = workers.run.method.manifest
    with closing(workers.start({})) as worker:
        for changes in ({}, *manifest.presets.values()):
            worker.call({"op": "check", "settings": {**manifest.settings, **changes}, "d_model": width})
        workers.settle(worker)


def says_no(workers: Workers, width: int) -> str | None:
    """Why the method itself refuses activations of this width; None where it does not."""
    with closing(workers.start({})) as worker:
        try:
            worker.call({"op": "check", "settings": workers.run.rows[0].settings, "d_model": width})
        except MethodError as refusal:
            return f"its own check says no: {refusal}"
    return None


def in_jail(workers: Workers, differs: Callable[[Executor], str | None]) -> str | None:
    """Ask how a fit in jail differs from the one before; says why it was not asked, where there is no jail.

    Raises:
        Refused: it does, or the method fails there.
    """
    if workers.executor.isolation == BEST:
        return None
    try:
        jail = ISOLATION[BEST]()
    except BadInput as reason:
        return f"not asked: {reason}"
    with closing(jail):
        try:
            other = differs(jail)
        except MethodError as offence:
            raise Refused(f"{offence}; {WALLS}") from offence
    if other:
        raise Refused(f"in jail the fit is another one: {other}; {WALLS}")
    return None


def contents(folder: Path) -> set[str]:
    """Files below a method's folder, but compiled code."""
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}
