"""Fits that were made elsewhere: found and asked what they are of before any compute, then put beside those made here.

Of SAELens (https://github.com/jbloomAus/SAELens) and sparsify (https://github.com/EleutherAI/sparsify) the metadata are
read, which name the width, the network and the hookpoint; of another format nothing but its files is known.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from benchmark.errors import BadInput
from benchmark.models.subjects import ResolvedSubject
from benchmark.run.exchange import SUFFIXES
from benchmark.spec.cell import Cell, source_of_cell
from benchmark.spec.method import PROSE, Method
from benchmark.spec.pretrained import HubFolder, on_hub, require_apart
from benchmark.spec.suite import Suite, public_name

CONFIG, WEIGHTS = "cfg.json", "*.safetensors"
READ = tuple(f"*{suffix}" for suffix in SUFFIXES)
MODULE = re.compile(r"(?:gpt_neox\.)?layers\.(\d+)")
MODULES = re.compile(r"(?:gpt_neox\.)?layers\.\d+(?:\.\w+)*|embed_in")
AFTER, BEFORE = re.compile(r"blocks\.(\d+)\.hook_resid_post"), re.compile(r"blocks\.([1-9]\d*)\.hook_resid_pre")
CENTRED = "center_writing_weights"
ABSENT = (
    "is not in the hub cache and the hub cannot be reached: connect once, or put the files into the method's folder"
)


class Told(NamedTuple):
    """What a folder of weights says of itself, None where it says nothing."""

    d_model: int | None = None
    network: str | None = None
    point: str | None = None
    transcoder: bool = False
    centred: bool = False


def refused(suite: Suite, method: Method, cells: Iterable[Cell]) -> str | None:
    """Why a suite cannot be asked of a method; None where it can."""
    manifest, places = method.manifest, dict[int, set[str]]()
    for cell in cells:
        places.setdefault(cell.group.replicate, set()).add(cell.place)
    try:
        require_apart(suite.subject.replicates.values())
    except ValueError as error:
        return str(error)
    if not places:
        networks = ", ".join(sorted(map(public_name, manifest.pretrained)))
        known = ", ".join(sorted({place for one in manifest.pretrained.values() for place in one}))
        return f"suite {suite.name} asks for none of its fits: it has some of {networks}, at {known}"
    if manifest.revision != suite.subject.revision:
        return (
            f"its fits are of revision {manifest.revision} of the networks, and suite {suite.name} has "
            f"{suite.subject.revision}: write revision into method.toml where they are of that"
        )
    first, *others = places
    for other in others:
        if places[other] != places[first]:
            said = " and ".join(
                f"{', '.join(sorted(places[one]))} of {public_name(suite.subject.replicates[one])}"
                for one in (first, other)
            )
            return f"it has {said}: means over networks need the same hookpoints of each"
    return None


def check(suite: Suite, method: Method, cells: Iterable[Cell], subject: ResolvedSubject, *, download: bool) -> int:
    """Find the fits of cells, and ask each what it is of. Returns how many are on the hub alone.

    Raises:
        BadInput: one that is not there, holds no weights, or is of another network, hookpoint or width.
    """
    absent = set[str]()
    d_model = subject.d_model if subject.config is not None else None
    for cell in cells:
        source = str(source_of_cell(suite, cell))
        folder = located(method, source, download=download)
        if folder is None:
            absent.add(source)
        else:
            network = subject.source(cell.group.replicate)
            require(f"{method.name}: {source}", told(folder), network, cell.place, d_model)
    return len(absent)


def place(suite: Suite, method: Method, cell: Cell, folder: Path) -> None:
    """Put what is loaded of a cell into a folder."""
    source = located(method, str(source_of_cell(suite, cell)), download=False)
    assert source is not None, "what is on the hub was fetched when it was checked"
    copy(source, folder)


def copy(source: Path, folder: Path) -> None:
    """Put weights and metadata of a source into a folder, and no other files."""
    for file in read_of(source):
        shutil.copyfile(file, folder / file.name)


def read_of(source: Path) -> list[Path]:
    """The files of a source that are loaded."""
    found = {file for pattern in READ for file in source.glob(pattern) if file.is_file()}
    return sorted(file for file in found if file.name not in PROSE)


def located(method: Method, source: str, *, download: bool) -> Path | None:
    """The folder of a source; None for one on the hub that is not on this machine, where it is not to be fetched.

    Raises:
        BadInput: there is none, it lies outside the method's folder, or it holds no safetensors.
    """
    hub = on_hub(source)
    if hub is not None:
        return _of_hub(f"{method.name}: {source}", hub, download=download)
    home = method.folder.resolve()
    folder = (home / source).resolve()
    if not folder.is_relative_to(home) or not folder.is_dir() or "__pycache__" in folder.parts:
        raise BadInput(f"{method.name}: there is no folder {source} in {method.folder}, where method.toml has one")
    for file in read_of(folder):
        if not file.resolve().is_relative_to(home):
            raise BadInput(
                f"{method.name}: {source}/{file.name} is a link out of the method's folder: put the file there"
            )
    if not list(folder.glob(WEIGHTS)):
        raise BadInput(f"{method.name}: {source} holds no safetensors, and nothing else is loaded")
    return folder


def patterns(folder: str) -> dict[str, list[str]]:
    """What is downloaded of a repository: files of one folder. A star matches slashes, too, so that folders within it
    are left out by name.
    """
    below = f"{folder}/" if folder else ""
    return {"allow_patterns": [below + pattern for pattern in READ], "ignore_patterns": [f"{below}*/*"]}


def _of_hub(which: str, hub: HubFolder, *, download: bool) -> Path | None:
    try:
        found = snapshot_download(
            hub.repository, revision=hub.commit, local_files_only=not download, **patterns(hub.folder)
        )
    except RepositoryNotFoundError as error:
        raise BadInput(f"{which}: there is no such repository on the hub, or it is not public") from error
    except RevisionNotFoundError as error:
        raise BadInput(f"{which}: the repository has no such commit") from error
    except LocalEntryNotFoundError as error:
        if not download:
            return None
        raise BadInput(f"{which} {ABSENT}") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise BadInput(f"{which} cannot be fetched: {str(error).splitlines()[0]}") from error
    folder = Path(found) / hub.folder
    if list(folder.glob(WEIGHTS)):
        return folder
    if not download:
        return None
    raise BadInput(f"{which} {ABSENT}, or holds no safetensors, and nothing else is loaded")


def told(folder: Path) -> Told:
    """What metadata say; a folder of sparsify is named after the module.

    Raises:
        BadInput: metadata that are not JSON.
    """
    named = folder.name if MODULES.fullmatch(folder.name) else None
    file = folder / CONFIG
    if not file.is_file():
        return Told(point=named)
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        beside = said.get("metadata") or {}
        return Told(
            d_model=_first(int, said.get("d_in"), beside.get("d_in")),
            network=_first(str, beside.get("model_name"), said.get("model_name")),
            point=_first(str, beside.get("hook_name"), said.get("hook_name"), said.get("hook_point")) or named,
            transcoder=_is_transcoder(said, beside),
            centred=bool(_options(beside).get(CENTRED) or _options(said).get(CENTRED)),
        )
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{file} holds no metadata that can be read: {str(error).splitlines()[0]}") from error


def require(which: str, said: Told, network: str, place: str, d_model: int | None) -> None:
    """Refuse what says that it is of something else than a cell.

    Raises:
        BadInput: says of what.
    """
    if said.transcoder:
        raise BadInput(f"{which} is a transcoder: it encodes one stream and writes another, and is not loaded")
    if said.d_model is not None and d_model is not None and said.d_model != d_model:
        raise BadInput(f"{which} takes activations of width {said.d_model}, and {network} has {d_model}")
    if said.network is not None and _last(said.network) != _last(network):
        raise BadInput(f"{which} was trained on {said.network}, and method.toml has it under {network}")
    if said.point is not None and hookpoint(said.point) != place:
        of = hookpoint(said.point)
        where = f"({of}) " if of else "(no residual stream after a block) "
        raise BadInput(f"{which} was trained on {said.point} {where}and method.toml has it at {place}")
    if said.centred:
        raise BadInput(
            f"{which} was trained on centred activations ({CENTRED}), and codes of others mean something else: take "
            "one that was trained without processing of the weights"
        )


def hookpoint(point: str) -> str | None:
    """The place, as suites name it, of a module or of a hook of TransformerLens; None for what is no residual stream
    after a block.
    """
    if found := MODULE.fullmatch(point):
        return f"layers.{int(found[1])}"
    if found := AFTER.fullmatch(point):
        return f"layers.{int(found[1])}"
    if found := BEFORE.fullmatch(point):
        return f"layers.{int(found[1]) - 1}"
    return None


def _is_transcoder(said: Mapping[str, Any], beside: Mapping[str, Any]) -> bool:
    named = "transcoder" in str(said.get("architecture", ""))
    other = (said.get("d_out") or said.get("d_in")) != said.get("d_in")
    written = beside.get("hook_name_out") or beside.get("hook_name")
    return bool(said.get("transcode")) or named or other or written != beside.get("hook_name")


def _first(kind: type, *values: Any) -> Any:
    return next((value for value in values if isinstance(value, kind) and value not in ("", "unknown")), None)


def _options(said: Mapping[str, Any]) -> Mapping[str, Any]:
    return said.get("model_from_pretrained_kwargs") or {}


def _last(name: str) -> str:
    return name.rstrip("/").rpartition("/")[2].lower()
