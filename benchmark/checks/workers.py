"""Fresh workers of one method for `make check`, and what they write where they may not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch

from benchmark.execution.contract import Executor, Worker
from benchmark.execution.isolation import BEST, ISOLATION, PLAIN, needs_jail
from benchmark.run.group import opening
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites

SUITE = "smoke"


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


def contents(folder: Path) -> set[str]:
    """Files below a method's folder, but compiled code."""
    return {str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts}
