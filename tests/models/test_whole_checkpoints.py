"""What a loader would draw at random, leave out or read otherwise is refused in one sentence that names it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from benchmark.errors import BadInput
from benchmark.models import contents, pythia
from benchmark.models.pythia import Checkpoint
from tests.conftest import REVISION

Tensors = dict[str, Tensor]
CPU = torch.device("cpu")


@pytest.fixture
def folder(subjects: Path, tmp_path: Path) -> Path:
    shutil.copytree(subjects / "seed0" / REVISION, tmp_path / "copy" / REVISION)
    return tmp_path / "copy" / REVISION


def located(folder: Path) -> Checkpoint:
    return pythia.locate(str(folder.parent), folder.name)


def load(folder: Path) -> GPTNeoXForCausalLM:
    return pythia.load(located(folder), torch.float32, CPU)


def stored(folder: Path, change: Callable[[Tensors], Tensors], metadata: str = "pt") -> None:
    path = folder / "model.safetensors"
    tensors = {name: tensor.clone() for name, tensor in change(load_file(path)).items()}
    save_file(tensors, path, {"format": metadata})


def with_surplus(tensors: Tensors) -> Tensors:
    own = {name: tensor for name, tensor in tensors.items() if ".layers.1." in name}
    return tensors | {name.replace(".layers.1.", ".layers.2."): tensor for name, tensor in own.items()}


SPOILED: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a compiler's prefix": (
        lambda tensors: {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()}, "without a prefix",
    ),
    "a layer that is missing": (
        lambda tensors: {name: tensor for name, tensor in tensors.items() if ".layers.1." not in name},
        r"lacks gpt_neox\.layers\.1\.attention\.dense\.bias, .* and \d+ more",
    ),
    "no output embedding": (
        lambda tensors: {name: tensor for name, tensor in tensors.items() if "embed_out" not in name}, "lacks",
    ),
    "one layer too many": (with_surplus, r"no place for: gpt_neox\.layers\.2"),
    "another shape": (
        lambda tensors: tensors | {"embed_out.weight": tensors["embed_out.weight"][:100]}, "other shapes than config",
    ),
    "not a number": (
        lambda tensors: tensors | {"gpt_neox.final_layer_norm.bias": torch.full((32,), torch.nan)},
        "not finite in torch.float32: gpt_neox.final_layer_norm.bias",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SPOILED)
@pytest.mark.parametrize("kind", ["safetensors", "bin", "shards"])
def test_weights_that_are_not_all_the_networks_own_are_refused(folder: Path, case: str, kind: str) -> None:
    change, word = SPOILED[case]
    stored(folder, change)
    if kind != "safetensors":
        as_other_files(folder, kind)
    with pytest.raises(BadInput, match=word):
        load(folder)


def as_other_files(folder: Path, kind: str) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    path.unlink()
    if kind == "bin":
        torch.save(tensors, folder / "pytorch_model.bin")
        return
    names = sorted(tensors)
    parts = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for part, own in parts.items():
        save_file({name: tensors[name] for name in own}, folder / part, {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: part for part, own in parts.items() for name in own}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize("kind", ["bin", "shards"])
def test_other_files_hold_the_same_network(folder: Path, subjects: Path, kind: str) -> None:
    wanted = contents.weight_hash(load(subjects / "seed0" / REVISION))
    as_other_files(folder, kind)
    assert contents.weight_hash(load(folder)) == wanted


def test_what_older_checkpoints_carry_beside_their_weights_is_no_fault(folder: Path) -> None:
    buffers = {
        "gpt_neox.layers.0.attention.bias": torch.ones(1, 1, 4, 4),
        "gpt_neox.layers.0.attention.masked_bias": torch.tensor(-1e9),
        "gpt_neox.layers.0.attention.rotary_emb.inv_freq": torch.ones(4),
    }
    stored(folder, lambda tensors: tensors | buffers)
    load(folder)


def test_files_that_hold_no_weights_are_refused_before_anything_is_loaded(folder: Path) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(BadInput, match=r"weights: model\.safetensors in .* is a git-lfs pointer"):
        located(folder)
    path.write_bytes(b"")
    with pytest.raises(BadInput, match="is empty"):
        located(folder)
    path.unlink()
    path.symlink_to("/nowhere/blob")
    with pytest.raises(BadInput, match="link to a file that is gone"):
        located(folder)
    path.unlink()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BadInput, match="its weights cannot be read"):
        load(folder)


def test_a_shard_that_is_missing_is_named(folder: Path) -> None:
    as_other_files(folder, "shards")
    (folder / "model-2.safetensors").unlink()
    with pytest.raises(BadInput, match=r"model-2\.safetensors in .* is missing"):
        located(folder)


def test_only_what_is_read_is_in_the_fingerprint(folder: Path) -> None:
    def fingerprint() -> str:
        pythia.fingerprint.cache_clear()
        return pythia.fingerprint(located(folder))

    before = fingerprint()
    (folder / "adapter.safetensors").write_bytes(b"not read")
    (folder / "generation_config.json").write_text("{}")
    assert fingerprint() == before
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 0.1}))
    assert fingerprint() != before


def test_other_files_than_weights_are_one_sentence(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    for content in ([1, 2], {"a": 1}, "text"):
        torch.save(content, folder / "pytorch_model.bin")
        with pytest.raises(BadInput, match=r"its weights cannot be read|the checkpoint lacks"):
            load(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": {"quant_method": "bitsandbytes"}}))
    with pytest.raises(BadInput, match="is quantised"):
        located(folder)


def test_a_config_that_is_refused_is_one_sentence(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_attention_heads": 3}))
    with pytest.raises(BadInput, match=r"config\.json that is refused") as caught:
        located(folder)
    assert "\n" not in str(caught.value)


def spoil_tokenizer(folder: Path, **changes: object) -> None:
    path = folder / "tokenizer.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"padding": {"strategy": {"Fixed": 40}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                     "pad_type_id": 0, "pad_token": "x"}},
        {"truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}},
        {"model": "dropout"},
    ],
    ids=["padding", "truncation", "dropout"],
)  # fmt: skip
def test_what_a_tokenizer_file_carries_changes_no_token(
    folder: Path, subjects: Path, changes: dict[str, object]
) -> None:
    if changes == {"model": "dropout"}:
        changes = {"model": json.loads((folder / "tokenizer.json").read_text())["model"] | {"dropout": 0.5}}
    spoil_tokenizer(folder, **changes)
    plain = pythia.locate(str(subjects / "seed0"), REVISION)
    text = "the old farmer sells seven brown horses at the market"
    ids = [pythia.tokenizer(one).backend_tokenizer.encode(text).ids for one in (plain, located(folder))]
    assert ids[0] == ids[1]
    assert len(ids[0]) > 4
    assert pythia.tokenizer_fingerprint(plain) == pythia.tokenizer_fingerprint(located(folder))


def test_special_tokens_in_text_are_text(subjects: Path) -> None:
    made = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    ids = made.backend_tokenizer.encode("a<|endoftext|>b", add_special_tokens=False).ids
    assert 0 not in ids
    assert made.decode(ids) == "a<|endoftext|>b"


def test_a_tokenizer_that_is_no_tokenizer_or_of_another_model_is_refused(folder: Path) -> None:
    for content, word in (("version https://git-lfs", "git-lfs pointer"), ("{}", "no readable tokenizer")):
        whole = (folder / "tokenizer.json").read_text()
        (folder / "tokenizer.json").write_text(content)
        with pytest.raises(BadInput, match=word):
            located(folder)
        (folder / "tokenizer.json").write_text(whole)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(BadInput, match=r"token ids up to 383 and its embedding has 100 rows"):
        located(folder)
