"""Methods as the trusted half sees them: a folder, its `method.toml` and a hash of its code, never its classes."""

from __future__ import annotations

import ast
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from benchmark import keyed, registry
from benchmark.errors import BadInput, unknown
from benchmark.spec import pretrained, words
from benchmark.spec.suite import Frozen, Suite, sentence

ROOT = Path(__file__).parents[2]
HOMES = (ROOT / "baselines", ROOT / "submissions")
PROSE = {"README.md", "expected.json", "method.toml"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
REQUIREMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._,\s-]+\])?==[A-Za-z0-9.!+_-]+(\s*;.*)?")
ADAPTERS, ADAPTED = ROOT / "benchmark" / "adapters", "adapters."
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", list: "a list", dict: "a table"}


class Manifest(Frozen):
    """`method.toml`."""

    track: str = Field(description="features, or another track of the registry")
    entry: Annotated[str, AfterValidator(words.identifier)] = Field(description="class in method.py")
    summary: Annotated[str, AfterValidator(words.sentence)] = Field(description="one sentence for tables")
    scope: Literal["hookpoint", "pair", "model", "token"] = Field(
        "hookpoint",
        description="pair: a fit sees a hookpoint and what is a block below; model: one fit sees all hookpoints; "
        "token: of floors, features of the token's id in place of activations",
    )
    floor: bool = Field(False, description="learns nothing of what it asks about: a claim must lead it; baselines only")
    floor_for: Literal["all", "decoder"] = Field(
        "all", description="decoder: where it learns nothing is what it writes, and it is no floor for metrics of codes"
    )
    uses: tuple[str, ...] = Field(
        (), description="what its code imports of ours, hashed with its own: baselines, and adapters.NAME"
    )
    complete: bool = Field(
        False, description="requirements.txt names all that is installed: pip follows no dependencies of its packages"
    )
    linear: bool = Field(
        True, description="decode is linear in the codes: without that, metrics of directions are undefined"
    )
    blind: bool | None = Field(
        None, description="activations are turned and scaled, by a draw for each replicate; submissions, if not told"
    )
    settings: dict[str, Any] = Field(default_factory=dict, description="constructor's keyword arguments")
    presets: dict[str, dict[str, Any]] = Field(default_factory=dict, description="named changes to the settings")
    pretrained: dict[str, dict[str, str]] = Field(
        default_factory=dict,
        description="of a method that is loaded and never fitted: network -> hookpoint -> folder of its weights",
    )
    revision: str = Field("main", description="of such a method: the revision of the networks")
    recipe: str | None = Field(None, description="of such a method: whose fits it is compared with")

    @field_validator("track")
    @classmethod
    def _known_track(cls, value: str) -> str:
        if value not in registry.TRACKS:
            raise ValueError(str(unknown("track", value, registry.TRACKS)))
        return value

    @model_validator(mode="after")
    def _in_plain_words(self) -> Self:
        words.settings(self.settings)
        for name, preset in self.presets.items():
            if not NAME.fullmatch(name):
                raise ValueError(f"preset {name[:40]!r}: letters, digits, _ and - make its name")
            words.settings(preset)
        return self

    @model_validator(mode="after")
    def _fitted_or_not(self) -> Self:
        if self.scope == "token" and not self.floor:
            raise ValueError("scope token is of floors: a method reads activations")
        if pretrained.SETTING in self.settings:
            raise ValueError(f"no setting can be called {pretrained.SETTING}: it is a table of its own")
        if self.blind and self.pretrained:
            raise ValueError("[pretrained] goes without blind: weights that are there are of the network's own frame")
        if self.recipe and not self.pretrained:
            raise ValueError("recipe goes with [pretrained]: what is fitted here is compared by its gap")
        if self.pretrained and (self.settings or self.presets or self.floor or self.scope != "hookpoint"):
            raise ValueError("[pretrained] is never fitted: it has no settings and presets, no scope, and is no floor")
        pretrained.require_apart(self.pretrained)
        for network, places in self.pretrained.items():
            if not places:
                raise ValueError(f"[pretrained.{network!r}] names no hookpoint")
            for source in places.values():
                pretrained.on_hub(source)
        return self


class Method(NamedTuple):
    """A method that can be run."""

    name: str
    folder: Path
    manifest: Manifest
    code_hash: str
    requirements: tuple[str, ...] = ()

    @property
    def is_baseline(self) -> bool:
        """Whether it is one of the repository's own."""
        return self.folder.parent.resolve() == HOMES[0].resolve()

    @property
    def is_blind(self) -> bool:
        """Whether it sees activations in a drawn frame, where there is a salt to draw it by."""
        usual = not self.is_baseline and not self.manifest.pretrained
        return usual if self.manifest.blind is None else self.manifest.blind


class RunSettings(NamedTuple):
    """One way of running a method: complete settings, and the short text that tells them from the defaults. Seeds and
    draws are keyed by `salt`, too, so that who knows the benchmark does not know them; none gives the baselines' own.
    `blind` methods see activations in a drawn frame.
    """

    label: str
    settings: dict[str, Any]
    salt: str = ""
    blind: bool = False

    @property
    def identity(self) -> tuple[object, ...]:
        """What tells it from others: the settings, and a salt and blindness where there are."""
        return (self.settings, *filter(None, (self.salt, self.blind and "blind")))


def names(homes: tuple[Path, ...] = HOMES) -> list[str]:
    """All methods on disk; folders that begin with an underscore are templates."""
    folders = {file.parent.name for home in homes for file in home.glob("*/method.toml")}
    return sorted(name for name in folders if NAME.fullmatch(name))


def load(name: str, homes: tuple[Path, ...] = HOMES) -> Method:
    """Find a method by name, or by the path of its folder, which has a slash in it.

    Raises:
        BadInput: no such method, a folder without method.toml, or one that is not valid.
    """
    folder = _folder(name, homes)
    file = folder / "method.toml"
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
    known = folder.name in names(homes[:1])
    if known and folder.parent.resolve() != homes[0].resolve():
        raise BadInput(
            f"{folder}: {folder.name} is a baseline, and its results would be taken for that: rename the folder"
        )
    if manifest.floor and folder.parent.resolve() != HOMES[0].resolve():
        raise BadInput(
            f"{file}: floor = true is for baselines/ alone: what a claim must lead is not a submission's to say"
        )
    if manifest.recipe and manifest.recipe not in names(homes):
        raise BadInput(f"{file}: {unknown('recipe', manifest.recipe, names(homes))}")
    code = [_code_hash(folder), *(_code_hash(used) for used in _used(file, manifest)), *_adapters(manifest)]
    hashed = keyed.short(*code, manifest.entry, manifest.scope)
    return Method(folder.name, folder, manifest, hashed, _requirements(folder / "requirements.txt"))


def floors() -> dict[str, Literal["all", "decoder"]]:
    """Floors of the benchmark, and the metrics that each is a floor for."""
    manifests = {name: load(name).manifest for name in names(HOMES[:1])}
    return {name: one.floor_for for name, one in manifests.items() if one.floor}


def chosen(said: Sequence[str], floors: Sequence[str] = (), homes: tuple[Path, ...] = HOMES) -> list[Method]:
    """Methods by name or path, several in one text, each once; `all` for every method on disk, `floors` for these.

    Raises:
        BadInput: see `load`; two methods of one name.
    """
    listed = [name for text in said for name in ([text] if _is_folder(text) else text.split())]
    several = {"all": names(homes), "floors": floors}
    wanted = dict.fromkeys(name for text in listed for name in several.get(text, [text]))
    methods = list({method.folder.resolve(): method for method in (load(name, homes) for name in wanted)}.values())
    if not methods:
        raise BadInput(f"no method is named: give some of {', '.join(names(homes))}, a path, floors, or all")
    for number, method in enumerate(methods):
        for other in methods[:number]:
            if other.name == method.name:
                raise BadInput(
                    f"two methods are called {method.name} ({other.folder}, {method.folder}): rename a folder"
                )
    return methods


def rows(method: Method, suite: Suite, preset: str | None = None) -> list[RunSettings]:
    """The settings this suite runs the method with; `preset` replaces the suite's own choice.

    Raises:
        BadInput: a preset or setting that the method does not have, or a value of another type than its default.
    """
    asked = ({"preset": preset},) if preset else suite.methods.get(method.name, ({},))
    if method.manifest.pretrained:
        if asked != ({},):
            raise BadInput(f"{method.name} was trained elsewhere: it has no presets, and no suite has settings for it")
        manifest = method.manifest
        settings = pretrained.settings_of(manifest.pretrained, manifest.revision, manifest.recipe)
        return [RunSettings(pretrained.LABEL, settings)]
    listed = [_row(method, dict(changes)) for changes in asked]
    for place, row in enumerate(listed):
        if row.settings in [other.settings for other in listed[:place]]:
            raise BadInput(f"suite {suite.name} runs {method.name} twice with the same settings: {row.label}")
    return listed


def _is_folder(text: str) -> bool:
    """Whether a text, which may be anything that somebody typed, is the path of a folder."""
    try:
        return bool(text.strip()) and Path(text).expanduser().is_dir()
    except (OSError, RuntimeError, ValueError):
        return False


def _folder(name: str, homes: tuple[Path, ...]) -> Path:
    """The folder of a method; a text without a slash is a name."""
    if "/" in name or name in (".", ".."):
        folder = Path(name).expanduser().resolve() if _is_folder(name) else Path(name)
        if not _is_folder(name) or not (folder / "method.toml").is_file():
            raise BadInput(f"{name} is no method: a folder with method.py and method.toml is needed")
        if not NAME.fullmatch(folder.name):
            raise BadInput(f"{name}: a method's folder is named with letters, digits, _ and -, as it names its results")
        return folder
    folders = [home / name for home in homes if NAME.fullmatch(name) and (home / name / "method.toml").is_file()]
    if not folders:
        raise unknown("method", name, names(homes))
    return folders[0]


def _row(method: Method, changes: dict[str, Any]) -> RunSettings:
    defaults, presets = method.manifest.settings, method.manifest.presets
    preset = changes.pop("preset", None)
    if preset is not None and preset not in presets:
        raise unknown(f"preset of {method.name}", preset, presets)
    for key in (*changes, *(presets[preset] if preset else ())):
        if key not in defaults:
            raise unknown(f"setting of {method.name}", key, defaults)
    _check_types(f"method {method.name}", defaults, changes)
    try:
        words.settings(changes)
    except ValueError as error:
        raise BadInput(f"method {method.name}: {error}") from error
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


def _used(file: Path, manifest: Manifest) -> list[Path]:
    """Folders of the baselines that a method imports: a change of theirs makes another method of it."""
    adapters = [ADAPTED + path.stem for path in sorted(ADAPTERS.glob("[!_]*.py"))]
    for name in manifest.uses:
        if name not in (*names(HOMES[:1]), *adapters):
            raise BadInput(f"{file}: uses: {unknown('baseline or adapter', name, [*names(HOMES[:1]), *adapters])}")
    for source in file.parent.rglob("*.py"):
        for used in sorted(_imported(source) - {*manifest.uses, file.parent.name}):
            raise BadInput(f'{source} imports {used} of ours: write uses = ["{used}"] into {file.name}')
    return [HOMES[0] / name for name in manifest.uses if not name.startswith(ADAPTED)]


def _imported(source: Path) -> set[str]:
    """Baselines and adapters that a file imports, as `uses` names them; what cannot be parsed ends when it is run."""
    try:
        nodes = list(ast.walk(ast.parse(source.read_bytes())))
    except (SyntaxError, ValueError):
        return set()
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {
        f"{node.module}.{alias.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    parts = [name.split(".") for name in names]
    found = {part[1] for part in parts if part[0] == "baselines" and len(part) > 1}
    return found | {ADAPTED + part[2] for part in parts if part[:2] == ["benchmark", "adapters"] and len(part) > 2}


def _adapters(manifest: Manifest) -> list[str]:
    """Hashes of the adapters that a method imports, each with what they share."""
    shared = ADAPTERS / "codes.py"
    named = [ADAPTERS / f"{name.removeprefix(ADAPTED)}.py" for name in manifest.uses if name.startswith(ADAPTED)]
    return [keyed.files_digest([file, shared], ADAPTERS) for file in named]


def _requirements(file: Path) -> tuple[str, ...]:
    """What a method needs installed, a pinned version each: numbers that others can make again need no less."""
    if not file.is_file():
        return ()
    lines = [line.partition("#")[0].strip() for line in file.read_text(encoding="utf-8", errors="replace").splitlines()]
    for line in filter(None, lines):
        if not REQUIREMENT.fullmatch(line):
            raise BadInput(f"{file}: {line!r} is not name==version: pin a release of the registry, without options")
    return tuple(filter(None, lines))


def _code_hash(folder: Path) -> str:
    files = [
        file
        for file in folder.rglob("*")
        if file.is_file() and file.name not in PROSE and "__pycache__" not in file.parts
    ]
    return keyed.files_digest(files, folder)
