"""From records to tables: pure, so that rendering twice gives the same bytes. `load` gives them as frames."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leaderboard.frames import load

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    """`load` is there for notebooks and costs nobody else an import."""
    if name == "load":
        return importlib.import_module("leaderboard.frames").load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
