"""A sound method passes every question; each planted fault is refused, for its reason and with a remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import registry
from benchmark.checks import conformance, featurizers, fits
from benchmark.errors import BadInput
from benchmark.reporting import Finding
from benchmark.spec import method as methods
from benchmark.store import Store
from tests.checks.wrapping import MANIFEST, SOURCE
from tests.conftest import Silent


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up activations stand for the built-in subject's, few of them."""
    monkeypatch.setattr(featurizers, "subject", lambda store, reporter, scope: fits.made_up(32, 4_096))
    monkeypatch.setattr(featurizers, "TOKENS", {64: 1_024, 512: 600})


def asked(
    folder: Path, fault: str = "", manifest: str = "", source: str = SOURCE, beside: str = ""
) -> Iterator[Finding]:
    home = folder / "wrapper"
    home.mkdir()
    (home / "method.py").write_text(source)
    if beside:
        (home / f"{beside}.py").write_text("x = 1\n")
    (home / "method.toml").write_text(manifest + MANIFEST.format(fault=fault))
    store = Store(folder / "runs")
    store.check()
    return conformance.check(methods.load(str(home)), store, Silent())


def test_a_sound_wrapper_passes_every_question(tmp_path: Path) -> None:
    findings = list(asked(tmp_path))
    assert [found for found in findings if found.refused] == []
    assert len(findings) == 14
    said = {found.asked: found.said for found in findings}
    assert "FVU 0." in said["encodes and decodes as the library that it wraps"]
    assert "may take about" in said["time and memory"]


FAULTS = {
    "refuses its settings": ("imports", "no such thing: choose another"),
    "nothing active": ("finite codes", "no latent is active .*look at thresholds"),
    "negative": ("finite codes", "signed codes become two latents"),
    "not finite": ("finite codes", "non-finite"),
    "ids twice": ("finite codes", "ids must be distinct"),
    "ids out of range": ("finite codes", r"outside \[0, 256\)"),
    "batch topk": ("any batch", "must not depend on the others .*stored threshold"),
    "returns a tensor": ("finite codes", r"must return Latents\(values, indices\), and returned a tensor of shape"),
    "padding overwrites": ("decodes", "scatter overwrites latent 0"),
    "its own seed": ("same seed", "draw everything from the seed"),
    "bends": ("decodes", "not linear: .*linear = false"),
    "bias subtracted twice": ("wraps", "encode is not the library's.*bias subtracted twice"),
    "decoder norms not folded in": ("wraps", "decoder norms that are not folded in"),
    "normalised on one side only": ("wraps", "only one side normalises"),
    "output not scaled": ("wraps", "decode is not the library's.*scale of the output"),
    "wrong hookpoint": ("wraps", "another hookpoint or scale"),
    "transposed weights": ("wraps", "lie the other way round"),
    "forgets its threshold": ("save and load", "save everything that encode uses"),
    "pickles": ("save and load", "'w.pt': safetensors and JSON alone"),
    "wide activations": ("width 512", "out of memory"),
    "few tokens": ("more latents than tokens", "cannot draw more rows"),
    "writes beside itself": ("writes nowhere", "left_behind"),
    "reads what is not its own": (
        "in jail",
        "PermissionError: .*wrapper-data.json.*reads Python, libraries and its own",
    ),
    "opens a socket": ("in jail", "PermissionError: .*has no network"),
    "knows where it is": ("in jail", "the fit is another one: "),
    "writes elsewhere": ("writes nowhere", "elsewhere: a method may write"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_with_its_reason(fault: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    question, reason = FAULTS[fault]
    if question == "in jail":
        request.getfixturevalue("needs_jail")
        (tmp_path / "wrapper-data.json").write_text("{}")
    refused = next((found for found in asked(tmp_path, fault) if found.refused), None)
    assert refused is not None, "nothing was refused"
    assert question in refused.asked
    assert re.search(reason, refused.said), refused.said


OWN = """
import torch

class SAE(torch.nn.Module):
    def __init__(self, d_model, n_latents):
        super().__init__()
        self.W_enc = torch.nn.Parameter(torch.randn(d_model, n_latents) / d_model**0.5)
        self.W_dec = torch.nn.Parameter(self.W_enc.detach().T.clone())
        self.b_dec = torch.nn.Parameter(torch.zeros(d_model))

    def encode(self, x):
        return ((x - self.b_dec) @ self.W_enc).relu()

    def decode(self, codes):
        return codes @ self.W_dec + self.b_dec

def train(sae, batches):
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-2)
    for x in batches:
        loss = (sae.decode(sae.encode(x)) - x).square().mean() + 1e-3 * sae.encode(x).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
"""


def test_the_submissions_page_s_own_module_passes(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "submissions" / "README.md").read_text()
    (example,) = (code for code in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "from .sae import" in code)
    home = tmp_path / "own"
    home.mkdir()
    (home / "method.py").write_text(example)
    (home / "sae.py").write_text(OWN)
    (home / "method.toml").write_text(
        'track = "features"\nentry = "MySAE"\nsummary = "mine"\n[settings]\nn_latents = 128\n'
    )
    store = Store(tmp_path / "runs")
    store.check()
    findings = list(conformance.check(methods.load(str(home)), store, Silent()))
    assert [found for found in findings if found.refused] == []
    assert any(found.asked.startswith("encodes and decodes as the library") for found in findings)


def test_a_load_that_is_no_classmethod_is_named(tmp_path: Path) -> None:
    source = SOURCE.replace("    @classmethod\n    def load(cls, folder):", "    def load(cls, folder):")
    refused = [found.said for found in asked(tmp_path, source=source) if found.refused]
    assert any("load of Wrapper must be a classmethod" in said for said in refused)


def test_a_sibling_is_imported_with_a_dot(tmp_path: Path) -> None:
    refused = [found.said for found in asked(tmp_path, source="from wrapper_parts import x\n", beside="wrapper_parts")]
    assert "wrapper_parts.py lies beside method.py: write `from .wrapper_parts import" in refused[0]


def test_a_decoder_that_says_that_it_bends_may(tmp_path: Path) -> None:
    findings = list(asked(tmp_path, "bends", "linear = false\n"))
    refused = [found.asked for found in findings if found.refused]
    assert refused == ["encodes and decodes as the library that it wraps"]


def test_every_track_has_checks_or_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONFORMANCE", {})
    with pytest.raises(BadInput, match="methods of the features track have no checks"):
        next(asked(tmp_path))
