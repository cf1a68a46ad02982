"""Real subjects: find a GPT-NeoX checkpoint on the hub, in a hub cache or in a local folder, and load it."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.errors import BadInput, unknown
from benchmark.models import parameters
from benchmark.models.linear import use_onednn

_PROSE = ["*.json", "*.txt"]


class NoRevision(BadInput):
    """The subject is there and the revision is not."""


class Checkpoint(NamedTuple):
    """One revision of a subject on this machine."""

    source: str
    revision: str
    folder: Path


def locate(source: str, revision: str, *, download: bool = True) -> Checkpoint:
    """The folder of a revision; hub ids are fetched into the hub's cache when `download` is set.

    Raises:
        BadInput: no such subject or revision, not GPT-NeoX, no weights, no tokenizer, or a folder whose revision
            cannot be told.
        LocalEntryNotFoundError: a hub id that is not cached, with `download` off.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        folder = _local_revision(path, revision)
    elif source.startswith(("/", ".", "~")) or source.count("/") != 1:
        raise BadInput(f"subject {source!r} does not exist: give a hub id such as EleutherAI/pythia-70m or a folder")
    else:
        folder = _hub_revision(source, revision, download)
    checkpoint = Checkpoint(source, revision, folder)
    _check(checkpoint)
    return checkpoint


def step0_of(checkpoint: Checkpoint, *, download: bool = True) -> Checkpoint | None:
    """The subject's own `step0` revision, or None when it has none; an unreachable hub is an error, not a None."""
    try:
        return locate(checkpoint.source, "step0", download=download)
    except NoRevision:
        return None


def config(checkpoint: Checkpoint) -> GPTNeoXConfig:
    """The configuration, without touching the weights."""
    return GPTNeoXConfig.from_pretrained(checkpoint.folder)


def load(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> GPTNeoXForCausalLM:
    """The model in evaluation mode."""
    model = GPTNeoXForCausalLM.from_pretrained(checkpoint.folder, dtype=dtype)
    use_onednn(model)
    return model.to(device).eval()


def tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The subject's own tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(checkpoint.folder)


@functools.cache
def fingerprint(checkpoint: Checkpoint) -> str:
    """Content id of weights, configuration and tokenizer files, independent of names."""
    files = [*_weight_files(checkpoint.folder), checkpoint.folder / "config.json"]
    return keyed.files_digest(files, checkpoint.folder)[:16]


@functools.cache
def tokenizer_fingerprint(checkpoint: Checkpoint) -> str:
    """Content id of the tokenizer."""
    return keyed.files_digest([checkpoint.folder / "tokenizer.json"], checkpoint.folder)[:16]


def weight_hash(model: GPTNeoXForCausalLM) -> str:
    """Content id of the weights, each tensor quantised to 1/4096 of its largest magnitude.

    Quantising keeps the hash of a drawn null the same where platforms differ in the last bit.
    """
    total = hashlib.sha256()
    for name, parameter in sorted(parameters.named(model), key=lambda pair: pair[0]):
        values = parameter.detach().float().cpu()
        scale = float(values.abs().max()) or 1.0
        steps = (values * (4096 / scale)).round().to(torch.int16)
        total.update(f"{name} {tuple(values.shape)} {scale:.6e}".encode())
        total.update(steps.numpy().tobytes())
    return total.hexdigest()[:16]


def _local_revision(path: Path, revision: str) -> Path:
    reference = path / "refs" / revision
    if reference.is_file():
        return path / "snapshots" / reference.read_text().strip()
    folder = path / revision
    if (folder / "config.json").is_file():
        return folder
    if (path / "config.json").is_file():
        raise BadInput(
            f"subject folder {path} holds one unnamed revision, so {revision!r} cannot be told from any other: "
            f"move its files to {path / revision}"
        )
    found = sorted(file.parent.name for file in path.glob("*/config.json"))
    refs = sorted(file.name for file in path.glob("refs/*"))
    raise NoRevision(str(unknown(f"revision of subject {path}", revision, found or refs)))


def _hub_revision(source: str, revision: str, download: bool) -> Path:
    def fetch(patterns: list[str]) -> Path:
        return Path(
            snapshot_download(source, revision=revision, allow_patterns=patterns, local_files_only=not download)
        )

    try:
        folder = fetch([*_PROSE, "*.safetensors"])
        return folder if list(folder.glob("*.safetensors")) else fetch([*_PROSE, "*.bin"])
    except RevisionNotFoundError as error:
        raise NoRevision(f"subject {source} has no revision {revision!r} on the hub") from error
    except RepositoryNotFoundError as error:
        raise BadInput(f"subject {source!r} is neither a folder here nor a model on the hub") from error
    except LocalEntryNotFoundError as error:
        if not download:
            raise
        raise BadInput(
            f"subject {source} at {revision!r} is not in the hub cache and the hub cannot be reached: "
            "connect once, or give a local folder"
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise BadInput(f"subject {source} at {revision!r} cannot be fetched: {str(error).splitlines()[0]}") from error


def _check(checkpoint: Checkpoint) -> None:
    where = f"subject {checkpoint.source} at {checkpoint.revision!r}"
    try:
        kind = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise BadInput(f"{where} has no readable config.json in {checkpoint.folder}") from error
    if kind != "gpt_neox":
        raise BadInput(f"{where} is a {kind!r} model, not GPT-NeoX: subjects are Pythia-like models (gpt_neox)")
    if not (checkpoint.folder / "tokenizer.json").is_file():
        raise BadInput(f"{where} has no tokenizer: {checkpoint.folder} needs a tokenizer.json")
    if not _weight_files(checkpoint.folder):
        raise BadInput(f"{where} has no weights: {checkpoint.folder} needs model.safetensors")


def _weight_files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
