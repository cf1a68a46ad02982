"""A new method's folder, from the template of its track: it runs as it stands."""

from __future__ import annotations

import re
from keyword import iskeyword
from pathlib import Path

from benchmark import api
from benchmark.errors import BadInput, unknown
from benchmark.spec import method as methods

SUBMISSIONS = methods.HOMES[1]
TEMPLATES = SUBMISSIONS / "_template"
CLASS = "NewMethod"


def make(name: str, track: str, home: Path = SUBMISSIONS) -> Path:
    """`<home>/<name>/` with method.py, method.toml and README.md.

    Raises:
        BadInput: a name that no method can have or that one has, or a track without a template.
    """
    known = sorted(folder.name for folder in TEMPLATES.iterdir() if folder.is_dir())
    if track not in known:
        raise unknown("track", track, known)
    if not methods.NAME.fullmatch(name):
        raise BadInput(f"{name!r} cannot name a method: letters, digits, _ and -, at most 100, a letter or digit first")
    if name in methods.names() or (home / name).exists():
        raise BadInput(f"there is a method {name} already: choose another name")
    entry = "".join(part[:1].upper() + part[1:] for part in re.split(r"[_-]+", name))
    # No class that cannot be, or that its own imports would be taken for.
    entry = entry if entry.isidentifier() and not iskeyword(entry) and not hasattr(api, entry) else f"Method{entry}"
    folder = home / name
    folder.mkdir()
    for template in sorted(path for path in (TEMPLATES / track).iterdir() if path.is_file()):
        text = template.read_text(encoding="utf-8").replace(CLASS, entry).replace("new_method", name)
        (folder / template.name).write_text(text, encoding="utf-8")
    return folder
