"""Which files a method's Python opens to write, for `make check`: an honest author's mirror, not a jail. What a
library in another language or another process writes is not heard.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {"os.mkdir": 2, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.chmod": 2}
"""Events that change a folder, and which argument is the open folder that their path is relative to, -1 for none."""
CACHE, DEVICES = "__pycache__", "/dev"
"""Nobody's: compiled code, and what is no file."""


class Watch:
    """Paths that this process writes outside the folders it may, from now on: an audit hook cannot be taken away."""

    def __init__(self) -> None:
        self.written: dict[str, None] = {}
        own = [tempfile.gettempdir(), DEVICES, *filter(None, [os.environ.get("NUMBA_CACHE_DIR")])]
        self.allowed = [*map(Path, own), *map(Path, map(os.path.realpath, own))]
        sys.addaudithook(self._heard)

    def _heard(self, event: str, arguments: Sequence[Any]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING:
                self._note(path)
        elif event in CHANGES:
            self._note(arguments[0], arguments[CHANGES[event]])

    def _note(self, path: Any, folder: int = -1) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if folder != -1:
            path = os.path.join(_folder(folder), os.fsdecode(path))
        # Of the text alone: to look at the file system here would be heard again.
        found = Path(os.path.abspath(os.fsdecode(path)))
        if CACHE not in found.parts and not any(found.is_relative_to(one) for one in self.allowed):
            self.written[str(found)] = None


def _folder(descriptor: int) -> str:
    """Where an open folder lies, on Linux; elsewhere the temporary one, which cannot be told from it."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return tempfile.gettempdir()
