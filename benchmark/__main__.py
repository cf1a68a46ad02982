"""`nullgap`, and `python -m benchmark`."""

from __future__ import annotations

from benchmark.commands import benching, looking, verifying  # noqa: F401  each adds its commands to the app
from benchmark.commands.shared import app

__all__ = ["app"]

if __name__ == "__main__":
    app(prog_name="nullgap")
