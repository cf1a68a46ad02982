"""What a method imports of ours is named, and hashed with its own code."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.errors import BadInput
from benchmark.spec import method as methods

MANIFEST = 'track = "features"\nentry = "Mine"\nsummary = "mine"\n'


def written(home: Path, code: str, uses: str = "") -> str:
    folder = home / "mine"
    folder.mkdir(exist_ok=True)
    (folder / "method.py").write_text(code)
    (folder / "method.toml").write_text(MANIFEST + uses)
    return str(folder)


@pytest.mark.parametrize(
    ("code", "used"),
    [
        ("from benchmark.adapters.sae_lens import SAELensMethod", "adapters.sae_lens"),
        ("from benchmark.adapters import sae_lens", "adapters.sae_lens"),
        ("import torch, benchmark.adapters.sparsify as s", "adapters.sparsify"),
        ("from baselines.topk_sae.method import TopKSAE", "topk_sae"),
        ("def late():\n    from baselines import pca", "pca"),
    ],
)
def test_what_is_imported_is_named(code: str, used: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f'write uses = ..{used}"'):
        methods.load(written(tmp_path, code))
    assert methods.load(written(tmp_path, code, f'uses = ["{used}"]\n')).manifest.uses == (used,)
    with pytest.raises(BadInput, match="unknown baseline or adapter"):
        methods.load(written(tmp_path, code, f'uses = ["{used}_x"]\n'))


@pytest.mark.parametrize("changed", ["sae_lens.py", "codes.py"])
def test_a_changed_adapter_makes_another_method(changed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = written(tmp_path, "", 'uses = ["adapters.sae_lens"]\n')
    before = methods.load(folder).code_hash
    monkeypatch.setattr(methods, "ADAPTERS", shutil.copytree(methods.ADAPTERS, tmp_path / "adapters"))
    assert methods.load(folder).code_hash == before
    with (tmp_path / "adapters" / "sparsify.py").open("a") as file:
        file.write("# another one\n")
    assert methods.load(folder).code_hash == before
    with (tmp_path / "adapters" / changed).open("a") as file:
        file.write("# changed\n")
    assert methods.load(folder).code_hash != before
