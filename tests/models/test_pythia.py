"""Finding checkpoints: local folders, a hub cache, and everything that must be refused."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants, snapshot_download
from transformers import GPTNeoXForCausalLM

from benchmark.errors import BadInput
from benchmark.models import contents, pythia
from benchmark.models.linear import OneDNNLinear
from tests.conftest import REVISION


def test_local_revisions_are_told_apart(subjects: Path) -> None:
    trained = pythia.locate(str(subjects / "seed0"), REVISION)
    first = pythia.step0_of(trained)
    assert first is not None
    assert pythia.fingerprint(trained) != pythia.fingerprint(first)
    device = torch.device("cpu")
    models = [pythia.load(checkpoint, torch.float32, device) for checkpoint in (trained, first)]
    assert contents.weight_hash(models[0]) != contents.weight_hash(models[1])


def test_fingerprint_follows_content_and_not_names(subjects: Path, tmp_path: Path) -> None:
    shutil.copytree(subjects / "seed0" / REVISION, tmp_path / "elsewhere" / "v1")
    here, there = pythia.locate(str(subjects / "seed0"), REVISION), pythia.locate(str(tmp_path / "elsewhere"), "v1")
    assert pythia.fingerprint(here) == pythia.fingerprint(there)


def test_hub_cache_offline(subjects: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub id resolves through refs and snapshots of the hub's cache, and a revision that is absent is refused."""
    home = tmp_path / "models--EleutherAI--tiny-neox"
    for commit, revision in (("a" * 40, REVISION), ("b" * 40, "step0")):
        (home / "refs").mkdir(parents=True, exist_ok=True)
        (home / "refs" / revision).write_text(commit)
        shutil.copytree(subjects / "seed0" / revision, home / "snapshots" / commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(pythia, "snapshot_download", cached(tmp_path))
    trained = pythia.locate("EleutherAI/tiny-neox", REVISION)
    assert trained.folder.name == "a" * 40
    assert pythia.step0_of(trained) is not None
    with pytest.raises(BadInput, match="step7"):
        pythia.locate("EleutherAI/tiny-neox", "step7")
    (home / "refs" / "step0").unlink()
    with pytest.raises(BadInput, match="not in the hub cache"):
        pythia.step0_of(trained)
    folder = pythia.locate(str(home), REVISION)
    assert pythia.fingerprint(folder) == pythia.fingerprint(trained)


def cached(cache: Path):  # type: ignore[no-untyped-def]
    return lambda *args, **options: snapshot_download(*args, cache_dir=cache, **options | {"local_files_only": True})


def test_a_folder_without_revisions_is_refused(subjects: Path) -> None:
    with pytest.raises(BadInput, match="cannot be told"):
        pythia.locate(str(subjects / "seed0" / REVISION), "step0")


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda folder: (folder / "tokenizer.json").unlink(), "no tokenizer"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no weights"),
        (lambda folder: (folder / "config.json").write_text("{"), "no readable config"),
        (lambda folder: rename_kind(folder, "llama"), "not GPT-NeoX"),
    ],
)
def test_unusable_checkpoints_are_refused(subjects: Path, tmp_path: Path, spoil, word: str) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(subjects / "seed0" / REVISION, tmp_path / REVISION)
    spoil(tmp_path / REVISION)
    with pytest.raises(BadInput, match=word):
        pythia.locate(str(tmp_path), REVISION)


def rename_kind(folder: Path, kind: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": kind}))


def test_nearest_revision_is_named(subjects: Path) -> None:
    with pytest.raises(BadInput, match=f"did you mean '{REVISION}'"):
        pythia.locate(str(subjects / "seed0"), REVISION + "0")


def test_linear_layers_give_what_the_plain_ones_give(subjects: Path) -> None:
    """In inference and in training, also in a copy."""
    model = pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu"))
    plain = GPTNeoXForCausalLM.from_pretrained(subjects / "seed0" / REVISION).eval()
    tokens = torch.arange(24).view(2, 12)
    for made in (model, copy.deepcopy(model)):
        with torch.no_grad():
            torch.testing.assert_close(made(tokens).logits, plain(tokens).logits, rtol=1e-4, atol=1e-5)
        made(tokens).logits.sum().backward()
        assert all(parameter.grad is not None for parameter in made.get_output_embeddings().parameters())
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    assert layers
    fast = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()
    assert all(isinstance(layer, OneDNNLinear) for layer in layers) == fast
