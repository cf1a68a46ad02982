"""The folder of a site: what an earlier site wrote is taken away, and nothing else ever."""

from __future__ import annotations

from pathlib import Path

from benchmark.errors import BadInput
from benchmark.store import temporary_of, write_text

NAME, MARKER = "site", ".nullgap-site"
"""Where it is below a store, and the file that lists what a site wrote."""


def check(root: Path) -> None:
    """Refuse what is neither empty, nor not there, nor an earlier site (`BadInput`)."""
    if root.is_symlink() or (root.exists() and not root.is_dir()):
        raise BadInput(f"{root} is a link or a file: a site needs a folder of its own")
    if root.is_dir() and any(root.iterdir()) and not (root / MARKER).is_file():
        raise BadInput(f"{root} holds other things than a site: give an empty folder, or move them away")


class SiteFolder:
    """An empty site to put files into. Each is listed before it is written, so that a killed site can be cleared, too.

    Raises:
        BadInput: see `check`.
    """

    def __init__(self, root: Path) -> None:
        check(root)
        self.root = root
        self._clear()
        root.mkdir(parents=True, exist_ok=True)
        (root / MARKER).write_text("", encoding="utf-8")

    def put(self, name: str, text: str) -> None:
        """Write a file below the site, by its path with slashes."""
        with (self.root / MARKER).open("a", encoding="utf-8") as marker:
            marker.write(f"{name}\n")
        write_text(self.root / name, text)

    def _clear(self) -> None:
        marker, folders = self.root / MARKER, set[Path]()
        for name in marker.read_text(encoding="utf-8").splitlines() if marker.is_file() else ():
            path = self.root / name
            if path.resolve().is_relative_to(self.root.resolve()):
                for one in (path, temporary_of(path)):
                    one.unlink(missing_ok=True)
                folders |= {folder for folder in path.parents if self.root in folder.parents and folder.is_dir()}
        for folder in sorted(folders, reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
