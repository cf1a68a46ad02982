"""A method's own requirements are installed beside the harness, once, and seen by its worker alone."""

from __future__ import annotations

import importlib.util
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from benchmark.errors import BadInput
from benchmark.execution import environments
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from leaderboard import rows
from tests.conftest import Silent

WHEEL = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
METHOD = """
import importlib.util
import torch
import tinylib
from benchmark.api import Latents

class Asking:
    def check(self, d_model):
        seen = [name for name in ("run", "metrics", "store", "spec") if importlib.util.find_spec(f"benchmark.{name}")]
        if seen or importlib.util.find_spec("leaderboard"):
            raise ValueError(f"a guest sees {seen} of the harness")

    def fit(self, activations, *, seed):
        self.n_latents = tinylib.SIGNS * activations.d_model
        return self

    def encode(self, x):
        signed = torch.cat([x, -x], dim=1).clamp(min=0)
        return Latents(signed, torch.arange(self.n_latents).expand(len(x), -1))
"""


@pytest.fixture
def registry_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All that pip can find: a package of one module."""
    home = tmp_path / "wheels"
    home.mkdir()
    wheel(home, "tinylib", **{"tinylib.py": "SIGNS = 2\n"})
    # What a machine's own configuration forbids would hide what ours does.
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    return home


@pytest.fixture
def asking(tmp_path: Path, registry_of_one: Path) -> methods.Method:
    folder = tmp_path / "methods" / "asking"
    folder.mkdir(parents=True)
    (folder / "method.py").write_text(METHOD)
    (folder / "method.toml").write_text('track = "features"\nentry = "Asking"\nsummary = "every unit twice"\n')
    (folder / "requirements.txt").write_text("# what it needs\ntinylib==1.0\n")
    return methods.load(str(folder))


def mine(*requirements: str, complete: bool = False) -> methods.Method:
    manifest = methods.Manifest(track="features", entry="Mine", summary="mine", complete=complete)
    return methods.Method("mine", Path("mine"), manifest, "hash", requirements)


def test_a_method_runs_with_what_it_requires_and_its_row_says_so(
    tiny: dict[str, Any], asking: methods.Method, tmp_path: Path
) -> None:
    few = {"variants": ["trained", "step0"], "hookpoints": ["layers.1"], "metrics": ["l0@1"]}
    suite, store, said = Suite.model_validate(tiny | few), Store(tmp_path / "runs"), Silent()
    run = MethodRun(asking, methods.rows(asking, suite))
    assert not pipeline.run(suite, [run], store, "process", said).failed
    assert importlib.util.find_spec("tinylib") is None
    assert [line for line in said.said if "tinylib==1.0" in line] == said.said[:1]
    records = store.records("tiny", "asking")
    assert [record.environment for record in records] == [{"tinylib": "1.0"}] * 4
    (row,) = rows.of_records(records, [], lambda record: None)
    assert row.info.machines[0].environment == {"tinylib": "1.0"}
    # The second run installs nothing.
    (tmp_path / "wheels" / "tinylib-1.0-py3-none-any.whl").unlink()
    assert pipeline.run(suite, [run], store, "process", said).computed == 0
    with pytest.raises(BadInput, match="a process of its own"):
        pipeline.run(suite, [run], Store(tmp_path / "others"), "none", said)


def test_an_installation_that_fails_is_one_sentence_and_leaves_nothing(registry_of_one: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"what mine requires could not be installed.* No matching distribution .*other"):
        environments.prepare(mine("other==3.1"), tmp_path / "environments")
    assert [path.suffix for path in (tmp_path / "environments").iterdir()] == [".lock"]


def wheel(home: Path, name: str, metadata: str = "", version: str = "1.0", **files: str) -> None:
    with zipfile.ZipFile(home / f"{name}-{version}-py3-none-any.whl", "w") as made:
        said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
        for path, text in {
            f"{name}-{version}.dist-info/METADATA": said,
            f"{name}-{version}.dist-info/WHEEL": WHEEL,
            **files,
        }.items():
            made.writestr(path, text)
        made.writestr(f"{name}-{version}.dist-info/RECORD", "")


def test_what_is_installed_sees_no_token(
    registry_of_one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    wheel(
        registry_of_one, "nosy", **{"nosy.pth": f"import os; open({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n"}
    )
    monkeypatch.setenv("HF_TOKEN", "secret")
    environments.prepare(mine("nosy==1.0"), tmp_path / "environments")
    assert "PATH" in seen.read_text()
    assert "secret" not in seen.read_text()


def test_torch_stays_the_harnesss(registry_of_one: Path, tmp_path: Path) -> None:
    wheel(registry_of_one, "torch", version="99.0")
    wheel(registry_of_one, "greedy", "Requires-Dist: torch>=99\n")
    with pytest.raises(BadInput, match=r"greedy 1.0 depends on torch>=99"):
        environments.prepare(mine("greedy==1.0"), tmp_path)
    wheel(registry_of_one, "modest", "Requires-Dist: torch>=2\n")
    made = environments.prepare(mine("modest==1.0"), tmp_path)
    assert made is not None
    assert made.pinned == {"modest": "1.0"}
    whole = environments.prepare(mine("greedy==1.0", complete=True), tmp_path)
    assert whole is not None
    assert whole.pinned == {"greedy": "1.0"}


def test_a_half_made_environment_is_made_again(registry_of_one: Path, tmp_path: Path) -> None:
    made = environments.prepare(mine("tinylib==1.0"), tmp_path)
    assert made is not None
    Path(made.path).parent.joinpath(environments.PINNED).unlink()
    again = environments.prepare(mine("tinylib==1.0"), tmp_path)
    assert again == made
    assert json.loads(Path(made.path).parent.joinpath(environments.PINNED).read_text()) == {"tinylib": "1.0"}


def test_no_requirements_no_environment(tmp_path: Path) -> None:
    assert environments.prepare(mine(), tmp_path / "environments") is None
    assert not (tmp_path / "environments").exists()


@pytest.mark.parametrize(
    "line", ["torch", "torch>=2", "--index-url=x", "-r other.txt", "git+https://h/x", "x @ file:y"]
)
def test_requirements_are_pinned_releases(line: str, asking: methods.Method) -> None:
    (asking.folder / "requirements.txt").write_text(f"numpy==2.0  # fine\n{line}\n")
    with pytest.raises(BadInput, match="pin a release"):
        methods.load(str(asking.folder))
