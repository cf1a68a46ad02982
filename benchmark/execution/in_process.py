"""Methods inside the harness's own process: for debugging, with the same numbers.

Headers and tensors are copied each way, as they are between processes: a method may write into what it is given, and
may reuse what it gave.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.execution.contract import Chunks, MethodError, Reply
from benchmark.execution.environments import Environment
from benchmark.spec.suite import Limits
from benchmark.worker.session import Session


class InProcessWorker:
    """Calls a session directly; an exception of the method keeps its traceback as the cause."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._session = Session(self._fetch)
        self._room = tempfile.TemporaryDirectory(prefix="nullgap-room-")
        self._own: Exception | None = None

    def _fetch(self, stream: str, number: int) -> int:
        """What goes wrong in the harness while a method reads is not the method's doing."""
        try:
            return self._chunks(stream, number)
        except Exception as error:
            self._own = error
            raise

    def call(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Reply:
        try:
            with _own_settings():
                reply, found = self._session.handle(json.loads(json.dumps(header)), _copied(tensors or {}))
            return json.loads(json.dumps(reply)), _copied(found)
        except Exception as error:
            if error is self._own:
                raise
            raise MethodError(f"{type(error).__name__}: {error}") from error

    def exchange(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._room.name))

    def close(self) -> None:
        self._room.cleanup()


class InProcess:
    """Executor without isolation."""

    isolation = "none"

    def start(
        self,
        chunks: Chunks,
        log: Path,
        limits: Limits,
        environment: Environment | None = None,
        method: Path | None = None,
    ) -> InProcessWorker:
        """A session of its own; what runs in this process has its limits, its environment, and no others."""
        assert environment is None, "this process has an environment already"
        return InProcessWorker(chunks)

    def close(self) -> None:
        pass


@contextmanager
def _own_settings() -> Iterator[None]:
    """What a method sets for its whole process is not for the harness."""
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    try:
        yield
    finally:
        torch.set_default_dtype(before[0])
        torch.set_num_threads(before[1])
        torch.set_grad_enabled(before[2])


def _copied(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()}
