"""Real subjects: find a GPT-NeoX checkpoint on the hub, in a hub cache or in a local folder, and load it."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    StrictDataclassError,
)
from tokenizers import Tokenizer
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.errors import BadInput, unknown
from benchmark.models.linear import use_onednn

_PROSE = ["*.json", "*.txt"]
_INDEXED = ("model.safetensors", "pytorch_model.bin")
"""Weight files in the order in which the loader looks for them; `<name>.index.json` lists the shards of one."""
_POINTER = b"version https://git-lfs"
_BUFFERS = re.compile(r"\.attention\.(bias|masked_bias|rotary_emb\.inv_freq)$")
"""What older checkpoints carry beside their weights, and no network needs."""
_NAMED = 4


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
    """The configuration, without touching the weights.

    Raises:
        BadInput: a configuration that is refused.
    """
    try:
        return GPTNeoXConfig.from_pretrained(checkpoint.folder)
    except (OSError, ValueError, TypeError, StrictDataclassError) as error:
        raise BadInput(f"{_where(checkpoint)} has a config.json that is refused: {_last_line(error)}") from error


def load(checkpoint: Checkpoint, dtype: torch.dtype, device: torch.device) -> GPTNeoXForCausalLM:
    """The model in evaluation mode, every weight of it from the checkpoint and every tensor of the checkpoint in it.

    Raises:
        BadInput: weights that cannot be read, are not finite, or are not those of the configuration; names the tensors.
    """
    try:
        model, told = GPTNeoXForCausalLM.from_pretrained(
            checkpoint.folder, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # whatever a foreign file makes of a loader
        raise BadInput(
            f"{_where(checkpoint)}: its weights cannot be read ({_last_line(error)}): fetch the file again"
        ) from error
    _require_whole(checkpoint, told)
    for name, parameter in model.named_parameters():
        if not torch.isfinite(parameter).all():
            raise BadInput(f"{_where(checkpoint)}: its weights are not finite in {dtype}: {name}")
    use_onednn(model)
    return model.to(device).eval()


def tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerFast:
    """The subject's own tokenizer: what tokenizer.json says of text, without padding, truncation and dropout, which it
    may carry. Special tokens that are written in a document are text like any other.
    """
    text = _tokenizer_text(checkpoint)
    try:
        made = Tokenizer.from_str(text)
    except Exception as error:  # the library raises no other class for a file that is not its own
        raise BadInput(f"{_where(checkpoint)} has no readable tokenizer: {_last_line(error)}") from error
    wrapped = PreTrainedTokenizerFast(tokenizer_object=made, clean_up_tokenization_spaces=False)
    wrapped.backend_tokenizer.encode_special_tokens = True
    return wrapped


@functools.cache
def fingerprint(checkpoint: Checkpoint) -> str:
    """Content id of the files that decide the network, weights and configuration, independent of where they are."""
    files = [*_weight_files(checkpoint), checkpoint.folder / "config.json"]
    return keyed.files_digest(files, checkpoint.folder)[:16]


@functools.cache
def tokenizer_fingerprint(checkpoint: Checkpoint) -> str:
    """Content id of the tokenizer as it is used."""
    return keyed.short("tokenizer", _tokenizer_text(checkpoint))


def _tokenizer_text(checkpoint: Checkpoint) -> str:
    """tokenizer.json with what changes the text switched off, in one spelling."""
    try:
        said = json.loads((checkpoint.folder / "tokenizer.json").read_text(encoding="utf-8"))
        said |= {"padding": None, "truncation": None}
        if "dropout" in said["model"]:
            said["model"] |= {"dropout": None}
        return json.dumps(said, sort_keys=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(
            f"{_where(checkpoint)} has no readable tokenizer: tokenizer.json in {checkpoint.folder} "
            f"{_unreadable(checkpoint.folder / 'tokenizer.json')}"
        ) from error


def _require_whole(checkpoint: Checkpoint, told: dict[str, Any]) -> None:
    """Refuse what the loader would have drawn at random, or left out, without a word."""
    surplus = [name for name in told["unexpected_keys"] if not _BUFFERS.search(name)]
    mismatched = [entry[0] if isinstance(entry, tuple) else entry for entry in told["mismatched_keys"]]
    wrong = {
        "lacks": told["missing_keys"],
        "has other shapes than config.json says for": mismatched,
        "has tensors that the configured network has no place for:": surplus,
        "cannot be read:": told["error_msgs"],
    }
    said = [f"{what} {_some(names)}" for what, names in wrong.items() if names]
    if said:
        remedy = (
            "store the tensors under the names that GPTNeoXForCausalLM saves, without a prefix"
            if told["missing_keys"] and surplus
            else "save the whole model again with its own config.json"
        )
        raise BadInput(f"{_where(checkpoint)}: the checkpoint {', and it '.join(said)}; {remedy}")


def _some(names: Iterable[object]) -> str:
    listed = sorted(map(str, names))
    return ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")


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
    revisions = sorted(file.parent.name for file in path.glob("*/config.json"))
    refs = sorted(file.name for file in path.glob("refs/*"))
    raise NoRevision(str(unknown(f"revision of subject {path}", revision, revisions or refs)))


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
    where = _where(checkpoint)
    try:
        said = json.loads((checkpoint.folder / "config.json").read_text(encoding="utf-8"))
        kind, quantised = said.get("model_type"), said.get("quantization_config")
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{where} has no readable config.json in {checkpoint.folder}") from error
    if kind != "gpt_neox":
        raise BadInput(f"{where} is a {kind!r} model, not GPT-NeoX: subjects are Pythia-like models (gpt_neox)")
    if quantised:
        raise BadInput(f"{where} is quantised (quantization_config): give the weights that it was made from")
    if not (checkpoint.folder / "tokenizer.json").is_file():
        raise BadInput(f"{where} has no tokenizer: {checkpoint.folder} needs a tokenizer.json")
    for file in _weight_files(checkpoint):
        if fault := _unreadable(file):
            raise BadInput(f"{where} has no weights: {file.name} in {checkpoint.folder} {fault}")
    _check_vocabulary(checkpoint)


def _check_vocabulary(checkpoint: Checkpoint) -> None:
    """Refuse token ids that text can give and the embedding has no row for."""
    rows = int(config(checkpoint).vocab_size)
    backend = tokenizer(checkpoint).backend_tokenizer
    special = {number for number, token in backend.get_added_tokens_decoder().items() if token.special}
    largest = max((number for number in backend.get_vocab().values() if number not in special), default=0)
    if largest >= rows:
        raise BadInput(
            f"{_where(checkpoint)}: its tokenizer gives token ids up to {largest} and its embedding has {rows} rows: "
            "they are not of one model"
        )


def _weight_files(checkpoint: Checkpoint) -> list[Path]:
    """The files that the loader reads: a single one, or an index and its shards."""
    folder = checkpoint.folder
    for name in _INDEXED:
        index = folder / f"{name}.index.json"
        if (folder / name).is_file() or (folder / name).is_symlink():
            return [folder / name]
        if index.is_file():
            try:
                shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
                return [index, *(folder / shard for shard in shards)]
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise BadInput(
                    f"{_where(checkpoint)} has no weights: {index.name} is not an index of shards"
                ) from error
    raise BadInput(f"{_where(checkpoint)} has no weights: {folder} needs {' or '.join(_INDEXED)}")


def _unreadable(file: Path) -> str:
    """What is wrong with a file before its content is read; empty when nothing is."""
    if not file.is_file():
        return "is a link to a file that is gone" if file.is_symlink() else "is missing"
    with file.open("rb") as stream:
        head = stream.read(len(_POINTER))
    return "is a git-lfs pointer: run `git lfs pull`" if head == _POINTER else "" if head else "is empty"


def _where(checkpoint: Checkpoint) -> str:
    return f"subject {checkpoint.source} at {checkpoint.revision!r}"


def _last_line(error: BaseException) -> str:
    """The line of a library's message that says it."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()[:200]
