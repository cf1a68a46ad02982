"""What `make check` asks of methods of the probes track: the template passes, planted faults do not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark.checks import conformance, fits, probes
from benchmark.reporting import Finding
from benchmark.spec import method as methods
from benchmark.spec import template
from benchmark.store import Store
from tests.conftest import Silent

FIT = "self.share = y.mean(dim=0)"
TOLD = "return ((x - self.mean) @ self.weights + self.share).clamp(min=1e-4).log()"
FAULTS = {
    "batch": (TOLD, "x = x - x.mean(dim=0)\n        " + TOLD, "any batch|each class", "stand alone|treat tokens alone"),
    "no logarithm of nothing": (".clamp(min=1e-4)", ".clamp(min=0)", "each class", "bound logarithms"),
    "one score": ("+ self.share).clamp", "+ self.share)[:, :1].clamp", "each class", "a score for each class"),
    "its own seed": (FIT, FIT + "\n        torch.seed()\n        self.mean += torch.randn(x.shape[1])", "same seed",
                     "draw everything from the seed"),
    "a class without tokens": (TOLD, TOLD.replace("+ self.share", "+ self.share + 9 * (self.share == 0)"), "no token",
                               "no other score may be lower"),
    "writes": (FIT, FIT + "\n        open(__file__ + '.left_behind', 'w').close()", "writes nowhere|in jail|each class",
               "left_behind"),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up activations stand for the built-in subject's."""
    monkeypatch.setattr(probes, "subject", lambda store, reporter, scope: fits.made_up(32, 2_048))


def asked(home: Path, old: str = "", new: str = "") -> Iterator[Finding]:
    folder = template.make("mine", "probes", home)
    text = (folder / "method.py").read_text()
    assert old in text
    (folder / "method.py").write_text(text.replace(old, new))
    store = Store(home / "runs")
    store.check()
    return conformance.check(methods.load(str(folder)), store, Silent())


def test_the_template_passes_every_question(tmp_path: Path) -> None:
    findings = list(asked(tmp_path))
    assert [found for found in findings if found.refused] == []
    assert len(findings) == 10
    said = {found.asked: found.said for found in findings}
    assert int(said["fits, and answers with a finite score for each class"].partition("%")[0]) > 50
    assert "may take about" in said["time and memory"]
    assert len((tmp_path / "mine" / "method.py").read_text().splitlines()) <= 20


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_refused_with_its_reason(fault: str, tmp_path: Path) -> None:
    old, new, question, reason = FAULTS[fault]
    refused = next((found for found in asked(tmp_path, old, new) if found.refused), None)
    assert refused is not None, "nothing was refused"
    assert re.search(question, refused.asked), refused
    assert re.search(reason, refused.said), refused.said
