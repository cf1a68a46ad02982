"""What was trained elsewhere is asked on the networks that it is said to be of: their activations tell a mistake."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import tomli_w
import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmark.checks import conformance, fits
from benchmark.reporting import Finding
from benchmark.spec import method as methods
from benchmark.store import Store
from tests.conftest import REVISION, Silent

SEED0, SEED1 = "built-in:pythia-mini/seed0", "built-in:pythia-mini/seed1"
SOURCE = '''
import torch
from safetensors.torch import load_file

from benchmark.api import Latents


class Elsewhere:
    """Principal components of one hookpoint, positive and negative part each."""

    @classmethod
    def load(cls, folder):
        made = cls()
        made.__dict__.update(load_file(folder / "weights.safetensors"))
        made.n_latents = len(made.rows)
        return made

    def codes(self, x):
        return ((x - self.mean) @ self.rows.T).clamp(min=0)

    def encode(self, x):
        return Latents(self.codes(x), torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents):
        none = torch.zeros(len(latents.values), self.n_latents)
        return none.scatter_add(1, latents.indices, latents.values) @ self.rows + self.mean

    def original(self, x):
        codes = self.codes(x + FAULT)
        return codes, codes @ self.rows + self.mean
'''


def components(folder: Path, x: Tensor, number: int = 16) -> None:
    folder.mkdir(parents=True)
    axes = torch.linalg.svd(x - x.mean(dim=0), full_matrices=False).Vh[:number]
    save_file({"mean": x.mean(dim=0), "rows": torch.cat([axes, -axes])}, folder / "weights.safetensors")
    (folder / "cfg.json").write_text(json.dumps({"d_in": x.shape[1]}))


def asked(
    home: Path, pretrained: Mapping[str, Mapping[str, str]], store: Store, fault: float = 0, revision: str = "main"
) -> list[Finding]:
    (home / "method.py").write_text(SOURCE.replace("FAULT", str(fault)))
    said = {"track": "features", "entry": "Elsewhere", "summary": "loaded", "pretrained": pretrained}
    said |= {"revision": revision}
    (home / "method.toml").write_text(tomli_w.dumps(said))
    store.check()
    return list(conformance.check(methods.load(str(home)), store, Silent()))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Store]:
    """Weights of two hookpoints of one training seed."""
    folder = tmp_path_factory.mktemp("loaded")
    store = Store(folder / "runs")
    store.check()
    streams = fits.activations_of(store, Silent(), SEED0, "main")
    assert streams is not None
    for place in ("layers.1", "layers.2"):
        components(folder / "elsewhere" / "weights" / place.replace(".", "-"), streams[place])
    return folder / "elsewhere", store


def test_weights_of_another_hookpoint_or_network_are_told_by_its_activations(home: tuple[Path, Store]) -> None:
    one, two = "weights/layers-1", "weights/layers-2"
    sound, swapped, other, missing = asked(
        home[0], {SEED0: {"layers.1": one, "layers.2": one}, SEED1: {"layers.2": two, "layers.9": two}}, home[1]
    )
    assert not sound.refused
    assert "32 latents" in sound.said
    assert "FVU 0." in sound.said
    assert "values and reconstructions are the library's" in sound.said
    assert swapped.refused
    assert "and least of layers.1" in swapped.said
    assert other.refused
    assert "of another hookpoint, network or scale" in other.said
    assert missing.refused
    assert "has no layers.9" in missing.said


def test_what_answers_otherwise_than_its_library_is_refused(home: tuple[Path, Store]) -> None:
    (found,) = asked(home[0], {SEED0: {"layers.1": "weights/layers-1"}}, home[1], fault=1)
    assert found.refused
    assert "encode is not the library's" in found.said


def test_of_a_network_that_is_not_built_in_its_own_hookpoint_is_no_question(
    home: tuple[Path, Store], subjects: Path
) -> None:
    """The built-in text is not what such a network was trained on."""
    network = subjects / "seed0"
    streams = fits.activations_of(home[1], Silent(), str(network), REVISION)
    assert streams is not None
    components(home[0] / "weights" / "tiny", streams["layers.0"])
    (found,) = asked(home[0], {str(network): {"layers.1": "weights/tiny"}}, home[1], revision=REVISION)
    assert not found.refused
    assert "(layers.0 0." in found.said
    (found,) = asked(home[0], {str(network): {"layers.1": "weights/tiny"}}, home[1])
    assert found.refused
    assert "unknown revision" in found.said


def test_of_a_network_that_is_not_here_only_the_metadata_are_asked(
    home: tuple[Path, Store], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    (found,) = asked(home[0], {"EleutherAI/pythia-70m": {"layers.1": "weights/layers-1"}}, home[1])
    assert not found.refused
    assert "EleutherAI/pythia-70m is not, so that no more is asked" in found.said
