"""Methods as the trusted half sees them: a folder, its `method.toml` and a hash of its code, never its classes."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, ValidationError

from benchmark import keyed
from benchmark.errors import BadInput, unknown
from benchmark.spec.suite import Frozen, Suite, sentence

ROOT = Path(__file__).parents[2]
HOMES = (ROOT / "baselines", ROOT / "submissions")
PROSE = {"README.md", "expected.json", "method.toml"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}


class Manifest(Frozen):
    """`method.toml`."""

    track: Literal["features"]
    entry: str = Field(description="class in method.py")
    summary: str = Field(description="one sentence for tables")
    scope: Literal["hookpoint", "model"] = Field("hookpoint", description="model: one fit sees all hookpoints")
    settings: dict[str, Any] = Field(default_factory=dict, description="constructor's keyword arguments")
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="named changes to the settings")


class Method(NamedTuple):
    """A method that can be run."""

    name: str
    folder: Path
    manifest: Manifest
    code_hash: str


class RunSettings(NamedTuple):
    """One way of running a method: complete settings, and the short text that tells them from the defaults."""

    label: str
    settings: dict[str, Any]


def names(homes: tuple[Path, ...] = HOMES) -> list[str]:
    """All methods on disk; folders that begin with an underscore are templates."""
    found = {file.parent.name for home in homes for file in home.glob("*/method.toml")}
    return sorted(name for name in found if NAME.fullmatch(name))


def load(name: str, homes: tuple[Path, ...] = HOMES) -> Method:
    """Find a method by name.

    Raises:
        BadInput: no such method, a name that is a path, or its method.toml is not valid.
    """
    folders = [home / name for home in homes if NAME.fullmatch(name) and (home / name / "method.toml").is_file()]
    if not folders:
        raise unknown("method", name, names(homes))
    file = folders[0] / "method.toml"
    try:
        manifest = Manifest.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} is not TOML: {error}") from error
    except ValidationError as error:
        raise BadInput(f"{file}: {sentence(error, Manifest)}") from error
    for name_of_preset, preset in {"": manifest.settings, **manifest.presets}.items():
        _check_types(
            f"{file}, {f'preset {name_of_preset}' if name_of_preset else 'settings'}", manifest.settings, preset
        )
    return Method(name, folders[0], manifest, keyed.short(_code_hash(folders[0]), manifest.entry, manifest.scope))


def rows(method: Method, suite: Suite, preset: str | None = None) -> list[RunSettings]:
    """The settings this suite runs the method with; `preset` replaces the suite's own choice.

    Raises:
        BadInput: a preset or setting that the method does not have, or a value of another type than its default.
    """
    asked = ({"preset": preset},) if preset else suite.methods.get(method.name, ({},))
    found = [_row(method, dict(changes)) for changes in asked]
    for place, row in enumerate(found):
        if row.settings in [other.settings for other in found[:place]]:
            raise BadInput(f"suite {suite.name} runs {method.name} twice with the same settings: {row.label}")
    return found


def _row(method: Method, changes: dict[str, Any]) -> RunSettings:
    defaults, presets = method.manifest.settings, method.manifest.presets
    preset = changes.pop("preset", None)
    if preset is not None and preset not in presets:
        raise unknown(f"preset of {method.name}", preset, presets)
    for key in (*changes, *(presets[preset] if preset else ())):
        if key not in defaults:
            raise unknown(f"setting of {method.name}", key, defaults)
    _check_types(f"method {method.name}", defaults, changes)
    settings = defaults | (presets[preset] if preset else {}) | changes
    parts = [preset] if preset else []
    parts += [f"{key}={value}" for key, value in sorted(changes.items())]
    return RunSettings(" ".join(parts) or "default", settings)


def _check_types(where: str, defaults: Mapping[str, Any], changes: Mapping[str, Any]) -> None:
    """A setting has the type of its default; a whole number will do for a number, and no number is without a value."""
    for name, value in changes.items():
        wanted = type(defaults[name]) if name in defaults else None
        fits = wanted is None or type(value) is wanted or (wanted is float and type(value) is int)
        if not fits or type(value) not in KINDS:
            kind = KINDS.get(wanted or type(value), "one of " + ", ".join(KINDS.values()))
            raise BadInput(f"{where}: {name} = {value!r} is a {type(value).__name__}, and {kind} is needed")
        if isinstance(value, float) and not math.isfinite(value):
            raise BadInput(f"{where}: {name} = {value} is not a number that can be worked with: give a finite one")
        if isinstance(value, list) and defaults.get(name):
            _check_types(where, {f"{name}[{place}]": defaults[name][0] for place in range(len(value))},
                         {f"{name}[{place}]": one for place, one in enumerate(value)})  # fmt: skip
        if isinstance(value, dict):
            _check_types(where, defaults.get(name, {}), value)


def _code_hash(folder: Path) -> str:
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name not in PROSE and "__pycache__" not in file.parts
    ]
    return keyed.files_digest(files, folder)
