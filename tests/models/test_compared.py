"""Copies are no training seeds, an untrained checkpoint is not trained, and one subject has one architecture."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import GPTNeoXConfig

from benchmark.errors import BadInput
from benchmark.models import compared, initialise, pythia
from benchmark.models.compared import Replicate
from tests.conftest import REVISION


def replicate(home: Path) -> Replicate:
    trained = pythia.locate(str(home), REVISION)
    return Replicate(trained, pythia.step0_of(trained))


@pytest.fixture
def two(subjects: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Both training seeds, to be spoiled."""
    for seed in (0, 1):
        shutil.copytree(subjects / f"seed{seed}", tmp_path / f"seed{seed}")
    return tmp_path / "seed0", tmp_path / "seed1"


def check(homes: tuple[Path, Path]) -> None:
    compared.check("tiny", {seed: replicate(home) for seed, home in enumerate(homes)})


def restored(source: Path, target: Path, dtype: torch.dtype) -> None:
    """The weights of one checkpoint in the file of another, in a precision of their own."""
    tensors = load_file(source / "model.safetensors")
    halves = {name: tensor.to(dtype) for name, tensor in tensors.items()}
    save_file(halves, target / "model.safetensors", {"format": "pt", "note": "another file"})


def test_different_training_seeds_pass(two: tuple[Path, Path]) -> None:
    check(two)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_copy_is_no_training_seed_however_it_is_stored(two: tuple[Path, Path], dtype: torch.dtype) -> None:
    restored(two[0] / REVISION, two[1] / REVISION, dtype)
    with pytest.raises(BadInput, match="replicates 0 and 1 of tiny have the same weights"):
        check(two)


def test_trained_weights_that_are_step0_are_refused(two: tuple[Path, Path]) -> None:
    restored(two[1] / "step0", two[1] / REVISION, torch.float16)
    with pytest.raises(BadInput, match=f"the weights at '{REVISION}' are those of step0"):
        check(two)


def test_what_one_replicate_began_from_is_no_other_replicate(two: tuple[Path, Path]) -> None:
    restored(two[0] / "step0", two[1] / REVISION, torch.float32)
    shutil.rmtree(two[1] / "step0")
    with pytest.raises(BadInput, match="replicate 1 of tiny: its trained weights are the step0 of another replicate"):
        check(two)


def test_one_initialisation_is_one_null(two: tuple[Path, Path]) -> None:
    restored(two[0] / "step0", two[1] / "step0", torch.float32)
    with pytest.raises(BadInput, match="replicates 0 and 1 of tiny have the same step0 weights"):
        check(two)
    compared.check("tiny", {seed: replicate(home) for seed, home in enumerate(two)}, with_step0=False)


def narrower(folder: Path) -> Path:
    """A checkpoint of half the width in place of the folder's own."""
    config = json.loads((folder / "config.json").read_text()) | {"hidden_size": 16, "intermediate_size": 64}
    (folder / "config.json").write_text(json.dumps(config))
    initialise.step0(GPTNeoXConfig.from_pretrained(folder), 9).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (
            lambda homes: narrower(homes[1] / "step0"),
            r"replicate 1 of tiny and its step0 differ in hidden_size \(32 and 16\)",
        ),
        (
            lambda homes: (narrower(homes[1] / "step0"), narrower(homes[1] / REVISION)),
            "replicates 0 and 1 of tiny differ in hidden_size",
        ),
    ],
)  # fmt: skip
def test_architectures_that_differ_are_refused(
    two: tuple[Path, Path], spoil: Callable[[tuple[Path, Path]], object], word: str
) -> None:
    spoil(two)
    with pytest.raises(BadInput, match=word):
        check(two)


def test_tokenizers_that_differ_are_refused(two: tuple[Path, Path]) -> None:
    path = two[1] / REVISION / "tokenizer.json"
    found = json.loads(path.read_text())
    found["model"]["merges"] = found["model"]["merges"][:-1]
    path.write_text(json.dumps(found))
    with pytest.raises(BadInput, match="different tokenizers"):
        check(two)
