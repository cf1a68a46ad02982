"""What a branch changes, as git says it: names, kinds and sizes, never contents."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmark.errors import BadInput

PLAIN = ("100644", "100755")


class Change(NamedTuple):
    """A file that differs: its mode in git afterwards (000000: gone), and its size in bytes."""

    path: str
    mode: str
    size: int

    @property
    def gone(self) -> bool:
        return self.mode == "000000"

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))


def since(base: str, root: Path) -> list[Change]:
    """Files that differ between HEAD and where it left `base`.

    Raises:
        BadInput: no such revision, or no repository.
    """
    if base.startswith("-"):
        raise BadInput(f"{base!r} is no revision")
    raw = _git(root, "diff", "--raw", "-z", "--no-renames", "--abbrev=40", f"{base}...HEAD", "--").split("\0")
    heads, paths = raw[:-1:2], raw[1::2]
    found = []
    for head, path in zip(heads, paths, strict=True):
        _, mode, _, blob, _ = head.split()
        known = mode in PLAIN or mode == "120000"
        found.append(Change(path, mode, int(_git(root, "cat-file", "-s", blob)) if known else 0))
    return found


def uncommitted(root: Path, below: Sequence[str]) -> list[str]:
    """Files below some paths that are changed or new and not committed; what git ignores is left out."""
    listed = _git(root, "status", "--porcelain", "-z", "--no-renames", "--", *below).split("\0")
    return [line[3:] for line in listed if line]


def head(root: Path) -> str:
    """The commit that is checked out."""
    return _git(root, "rev-parse", "HEAD").strip()


def _git(root: Path, *command: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *command], capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["failed"]
        raise BadInput(f"git {command[0]}: {said[0]}")
    return done.stdout.decode("utf-8", "replace")
