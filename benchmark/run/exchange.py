"""What goes between harness and method as files: into a folder of a drawn name, which says nothing of the cell, and out
of it as copies of plain files of weights and JSON, which nobody who is left in the method's process can change.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from benchmark.execution.contract import MethodError
from benchmark.store import finished

SUFFIXES = (".safetensors", ".json")


@contextmanager
def handed_over(folders: Sequence[Path], exchange: Path) -> Iterator[list[Path]]:
    """Copies of what is kept, for a method to load."""
    copies = [exchange / str(number) for number in range(len(folders))]
    try:
        for folder, copy in zip(folders, copies, strict=True):
            shutil.copytree(folder, copy)
        yield copies
    finally:
        shutil.rmtree(exchange, ignore_errors=True)


def take(exchange: Path, folder: Path, most_bytes: float) -> int:
    """Keep what a method wrote: copies, in a folder that is there at once or not at all. Returns how many bytes.

    Raises:
        MethodError: a link, a folder, another kind of file, or more bytes than that; nothing is kept then.
    """
    size = 0
    with finished(folder) as temporary:
        for name in sorted(os.listdir(exchange)):
            with _plain(exchange, name) as file:
                size += os.fstat(file.fileno()).st_size
                if size > most_bytes:
                    raise MethodError(f"save wrote {size / 2**30:.1f} GiB, more than the suite's limits.disk_gib")
                with (temporary / name).open("wb") as copy:
                    shutil.copyfileobj(file, copy)
    return size


def _plain(exchange: Path, name: str) -> BinaryIO:
    """A file, opened without following links and asked then: the method may still be there to swap files."""
    try:
        descriptor = os.open(exchange / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise MethodError(f"save wrote {name!r}, which cannot be read as a file: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode) or Path(name).suffix not in SUFFIXES:
        os.close(descriptor)
        raise MethodError(
            f"save wrote {name!r}: safetensors and JSON alone are kept, as plain files in the folder itself"
        )
    return open(descriptor, "rb")
