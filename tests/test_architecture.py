"""The layer table: a module imports from its own layer's row or below, never above."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("benchmark", "baselines", "leaderboard")

LOWEST = {"benchmark.errors", "benchmark.keyed", "benchmark.registry"}
SETTINGS = LOWEST | {"benchmark.api", "benchmark.spec.variant", "benchmark.spec.suite"}
CELLS = SETTINGS | {"benchmark.spec.method", "benchmark.spec.cell"}
MODELS = SETTINGS | {"benchmark.models", "benchmark.data", "benchmark.reporting"}
JUDGES = LOWEST | {"benchmark.judges"}
AUTOINTERP = JUDGES | {"benchmark.metrics", "benchmark.autointerp"}
TRACKS = MODELS | AUTOINTERP | {"benchmark.tracks"}
RECORDS = LOWEST | {"benchmark.records"}
PLAN = CELLS | TRACKS | RECORDS | {"benchmark.run.plan"}
GROUP = PLAN | {"benchmark.run.provenance", "benchmark.execution", "benchmark.worker", "benchmark.reporting"}
RUN = GROUP | {"benchmark.run.joins", "benchmark.run.launch.processes", "benchmark.run.group", "benchmark.run.pipeline"}

MAY_IMPORT = {
    "benchmark": set(),
    "benchmark.api": set(),
    "benchmark.errors": set(),
    "benchmark.keyed": set(),
    "benchmark.registry": set(),
    "benchmark.reporting": set(),
    "benchmark.spec.variant": LOWEST,
    "benchmark.spec.suite": LOWEST | {"benchmark.spec.variant", "benchmark.stats"},
    "benchmark.spec.method": SETTINGS,
    "benchmark.spec.cell": CELLS,
    "benchmark.records": RECORDS,
    "benchmark.metrics": {"benchmark.metrics"},
    "benchmark.stats": {"benchmark.stats"},
    "benchmark.judges": JUDGES,
    "benchmark.autointerp": AUTOINTERP,
    "benchmark.models": MODELS,
    "benchmark.data": MODELS,
    "benchmark.tracks": TRACKS,
    "benchmark.worker": {"benchmark.worker", "benchmark.api"},
    "benchmark.execution": SETTINGS | {"benchmark.execution", "benchmark.worker"},
    "benchmark.run.plan": PLAN,
    "benchmark.run.provenance": PLAN,
    "benchmark.run.joins": RECORDS | {"benchmark.metrics"},
    "benchmark.run.group": GROUP,
    "benchmark.run.launch.processes": {"benchmark.reporting"},
    "benchmark.run.pipeline": RUN,
    "benchmark.checks.verify": RUN | {"benchmark.checks.verify", "benchmark.stats"},
    "benchmark.checks.guard": RECORDS | {"benchmark.checks.verify", "benchmark.stats"},
    "benchmark.studies": RUN | {"benchmark.reporting", "benchmark.stats"},
    "benchmark.terminal": RECORDS | {"benchmark.reporting", "benchmark.checks.guard", "leaderboard"},
    "benchmark.__main__": RUN
    | {"benchmark.reporting", "benchmark.terminal", "benchmark.checks.verify", "benchmark.checks.guard", "leaderboard"},
    "leaderboard": RECORDS
    | {"leaderboard", "benchmark.stats", "benchmark.spec.variant", "benchmark.spec.suite", "benchmark.run.plan"},
    "baselines": {"benchmark.api", "baselines"},
}
MODULES = sorted(path for top in OURS for path in (ROOT / top).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            home = name_of(path).split(".")[: -node.level] if node.level else []
            assert not node.level or home[:1] == ["baselines"], f"{path}: relative import outside a method's folder"
            module = ".".join([*home, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def layer(module: str) -> str:
    return max((name for name in MAY_IMPORT if module == name or module.startswith(f"{name}.")), key=len)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    allowed = MAY_IMPORT[layer(name_of(path))]
    for imported in imports(path):
        if imported.split(".")[0] in OURS:
            home = layer(imported)
            assert home in allowed or home == "benchmark", f"{name_of(path)} imports {imported}"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_stay_short_and_never_pickle(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    assert not imports(path) & {"pickle", "dill", "cloudpickle", "joblib"}
    assert "torch.load(" not in text


def test_only_what_a_method_or_a_cell_raises_is_caught_whole() -> None:
    catching = [name_of(path) for path in MODULES if "except Exception" in path.read_text()]
    cells = ["benchmark.execution.in_process", "benchmark.run.group", "benchmark.worker.__main__"]
    assert catching == sorted([*cells, "benchmark.models.pythia"]), "tokenizers raises nothing more special"


def test_every_direct_dependency_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    assert {name.lower().replace("_", "-").partition("[")[0] for name in wanted} <= pinned


def test_make_compares_with_a_commit_and_sets_up_with_a_python() -> None:
    def planned(*arguments: str) -> str:
        command, clean = ["make", "-n", *arguments], {"PATH": os.environ["PATH"]}
        return subprocess.run(command, cwd=ROOT, env=clean, capture_output=True, text=True, check=True).stdout

    assert '--detach ".compare/base" "$BASE"' in planned("benchmark-compare", f"PYTHON={sys.executable}")
    assert "BASE := HEAD~1" in planned("-p", "help").splitlines()
    assert "-m venv" in planned("--always-make", ".venv/.installed", "BASE=HEAD~3")
    assert "HEAD~3" not in planned("--always-make", ".venv/.installed", "BASE=HEAD~3")


def test_what_a_user_says_to_make_is_text(tmp_path: Path) -> None:
    """Neither make nor its shell runs what stands in METHOD, SUITE or RUNS."""
    (tmp_path / "python").write_text('#!/bin/sh\nprintf "%s\\n" "$@" >> arguments\n')
    (tmp_path / "python").chmod(0o755)
    hostile = "`touch ran`$(touch ran)$(shell touch ran);touch ran"
    said = [f"{name}={hostile}" for name in ("METHOD", "SUITE", "RUNS", "JUDGE", "PRESET")]
    for target in ("bench", "plan", "publish"):
        command = ["make", "-f", str(ROOT / "Makefile"), target, f"PYTHON={tmp_path}/python", *said]
        subprocess.run(command, cwd=tmp_path, env={"PATH": os.environ["PATH"]}, check=True)
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "arguments").read_text().splitlines().count(hostile) == 5 + 5 + 3
