"""A new method's folder runs as it stands, and nothing is written over."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.errors import BadInput
from benchmark.spec import method as methods
from benchmark.spec import template


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("my_method", "MyMethod"),
        ("x", "X"),
        ("3-fold", "Method3Fold"),
        ("none", "MethodNone"),
        ("latents", "MethodLatents"),
    ],
)
def test_a_folder_that_is_a_method(tmp_path: Path, name: str, entry: str) -> None:
    folder = template.make(name, "features", tmp_path)
    made = methods.load(str(folder))
    assert (made.name, made.manifest.entry, made.manifest.settings) == (name, entry, {"k": 16})
    assert f"class {entry}" in (folder / "method.py").read_text()
    assert len((folder / "method.py").read_text().splitlines()) <= 20
    with pytest.raises(BadInput, match="already"):
        template.make(name, "features", tmp_path)


@pytest.mark.parametrize("name", ["topk_sae", "../x", "", "_template", "a b", "x" * 101])
def test_names_that_none_can_have(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadInput, match=r"already|cannot name a method"):
        template.make(name, "features", tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_track_without_a_template(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="allowed: features, probes"):
        template.make("mine", "feature", tmp_path)
