"""Keyed randomness and content ids: every draw and every name follows from what it is for, never from call order."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np


def digest(*parts: object) -> str:
    """Hex SHA-256 of the canonical JSON of `parts`; equal on every platform for equal parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def short(*parts: object) -> str:
    """The first 16 hex digits of `digest`: long enough for a file name, collision-safe for millions of cells."""
    return digest(*parts)[:16]


def seed(*parts: object) -> int:
    """A 63-bit integer seed for the purpose named by `parts`."""
    return int(digest(*parts)[:16], 16) >> 1


def rng(*parts: object) -> np.random.Generator:
    """A PCG64 generator for the purpose named by `parts`."""
    return np.random.Generator(np.random.PCG64(seed(*parts)))


def file_digest(file: Path) -> str:
    """Hex SHA-256 of a file's name and content, read again only when its size or time of change says so."""
    stat = file.stat()
    return _file_digest(file, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _file_digest(file: Path, size: int, modified: int) -> str:
    return files_digest([file], file.parent)


def files_digest(paths: Iterable[Path], root: Path) -> str:
    """Hex SHA-256 over names (relative to `root`) and contents of files, in name order."""
    total = hashlib.sha256()
    for path in sorted(paths):
        total.update(str(path.relative_to(root)).encode() + b"\0")
        with path.open("rb") as stream:
            total.update(hashlib.file_digest(stream, "sha256").digest())
    return total.hexdigest()
