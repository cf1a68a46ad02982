"""Methods inside the harness's own process: for debugging, with the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.execution.contract import Chunks, MethodError, Reply
from benchmark.worker.session import Session


class InProcessWorker:
    """Calls a session directly; an exception of the method keeps its traceback as the cause."""

    def __init__(self, chunks: Chunks) -> None:
        self._session = Session(chunks)

    def call(self, header: Mapping[str, Any], tensors: Mapping[str, Tensor] | None = None) -> Reply:
        try:
            return self._session.handle(dict(header), tensors or {})
        except Exception as error:
            raise MethodError(f"{type(error).__name__}: {error}") from error

    def close(self) -> None:
        pass


class InProcess:
    """Executor without isolation."""

    isolation = "none"

    def start(self, chunks: Chunks, log: Path) -> InProcessWorker:
        return InProcessWorker(chunks)

    def close(self) -> None:
        pass
