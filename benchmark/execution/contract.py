"""Two nouns: an executor starts workers, a worker answers requests while it may ask for chunks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from benchmark.execution.environments import Environment
from benchmark.spec.suite import Limits

Chunks = Callable[[str, int], int]
"""What opens a chunk of a stream; whoever asks closes it."""
Reply = tuple[dict[str, Any], dict[str, Tensor]]


class MethodError(RuntimeError):
    """The method raised, died, or answered something that its contract does not allow."""


@runtime_checkable
class Worker(Protocol):
    """One process, or stand-in for it, that holds one method."""

    def call(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Reply:
        """Ask and wait; raises `MethodError` when the method fails or its process is gone."""
        ...

    def exchange(self) -> Path:
        """An empty folder of a drawn name that worker and harness both reach; it goes with the worker."""
        ...

    def close(self) -> None:
        """End the worker."""
        ...


class Executor(Protocol):
    """Starts workers."""

    isolation: str

    def start(
        self,
        chunks: Chunks,
        log: Path,
        limits: Limits,
        environment: Environment | None = None,
        method: Path | None = None,
    ) -> Worker:
        """A fresh worker, in an environment of its own or in the harness's; what the method prints goes to `log`. In
        jail it reads the folder `method`.
        """
        ...

    def close(self) -> None:
        """End everything."""
        ...
