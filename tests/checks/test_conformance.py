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


def asked(folder: Path, fault: str = "", manifest: str = "") -> Iterator[Finding]:
    home = folder / "wrapper"
    home.mkdir()
    (home / "method.py").write_text(SOURCE)
    (home / "method.toml").write_text(manifest + MANIFEST.format(fault=fault))
    store = Store(folder / "runs")
    store.check()
    return conformance.check(methods.load(str(home)), store, Silent())


def test_a_sound_wrapper_passes_every_question(tmp_path: Path) -> None:
    findings = list(asked(tmp_path))
    assert [found for found in findings if found.refused] == []
    assert len(findings) == 13
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
    "its own seed": ("same seed", "draw everything from the seed"),
    "bends": ("decodes", "not linear: .*linear = false"),
    "bias subtracted twice": ("wraps", "encode is not the library's.*bias subtracted twice"),
    "decoder norms not folded in": ("wraps", "decoder norms that are not folded in"),
    "normalised on one side only": ("wraps", "only one side normalises"),
    "output not scaled": ("wraps", "decode is not the library's.*scale of the output"),
    "wrong hookpoint": ("wraps", "another hookpoint or scale"),
    "transposed weights": ("wraps", "lie the other way round"),
    "forgets its threshold": ("save and load", "save everything that encode uses"),
    "pickles": ("save and load", "w.pt: safetensors and JSON alone"),
    "wide activations": ("width 512", "out of memory"),
    "few tokens": ("more latents than tokens", "cannot draw more rows"),
    "writes beside itself": ("writes nowhere", "left_behind"),
    "writes elsewhere": ("writes nowhere", "elsewhere: a method may write"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_with_its_reason(fault: str, tmp_path: Path) -> None:
    question, reason = FAULTS[fault]
    refused = next((found for found in asked(tmp_path, fault) if found.refused), None)
    assert refused is not None, "nothing was refused"
    assert question in refused.asked
    assert re.search(reason, refused.said), refused.said


def test_a_decoder_that_says_that_it_bends_may(tmp_path: Path) -> None:
    findings = list(asked(tmp_path, "bends", "linear = false\n"))
    refused = [found.asked for found in findings if found.refused]
    assert refused == ["encodes and decodes as the library that it wraps"]


def test_every_track_has_checks_or_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "CONFORMANCE", {})
    with pytest.raises(BadInput, match="methods of the features track have no checks"):
        next(asked(tmp_path))
