"""The layer table: a module imports from its own layer's row or below, never above."""

from __future__ import annotations

import ast
import itertools
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = ("benchmark", "baselines", "leaderboard")

FLOORS = (
    {"api", "errors", "keyed", "registry", "reporting", "records", "stats"},
    {"adapters", "baselines", "judges", "metrics", "store", "worker"},
    {"autointerp", "spec"},
    {"data", "execution", "models"},
    {"forward"},
    {"tracks"},
    {"run"},
    {"checks", "leaderboard", "studies"},
    {"terminal"},
    {"commands"},
    {"__main__"},
)
"""Rooms from the bottom up: a module imports from its own room and from floors below, and from no other."""
ONLY = {
    "api": set(), "stats": set(), "records": set(), "worker": {"api"}, "adapters": {"api"}, "baselines": {"api"},
    "metrics": {"keyed", "registry"}, "store": {"errors", "records"}, "judges": {"errors", "keyed", "registry"},
    "autointerp": {"judges", "metrics", "registry"}, "execution": {"errors", "keyed", "spec", "worker"},
}  # fmt: skip
"""Rooms that see less than the floor would let them."""
WITHIN = {
    "tracks.features": "tracks.contract", "tracks.probes": "tracks.contract", "data.blocks": "data.world",
}  # fmt: skip
"""Upper and lower parts of one room: the upper imports the lower, never the other way round."""
TRACKS = ("features", "probes")
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


def room_of(module: str) -> str:
    """The package or module on the top level of the benchmark, or the leaderboard, or the baselines."""
    top, *rest = module.split(".")
    return (rest[0] if rest else top) if top == "benchmark" else top


def arrows() -> dict[tuple[str, str], str]:
    """Pairs of rooms of which the first imports the second, with an example."""
    drawn = {}
    for path in MODULES:
        for imported in imports(path):
            if imported.split(".")[0] in OURS:
                pair = room_of(name_of(path)), room_of(imported)
                if pair[0] != pair[1]:
                    drawn[pair] = f"{name_of(path)} imports {imported}"
    return drawn


def test_every_room_stands_on_one_floor() -> None:
    rooms = {room_of(name_of(path)) for path in MODULES} - {"benchmark"}
    assert sorted(rooms) == sorted(room for floor in FLOORS for room in floor)


def test_imports_point_down() -> None:
    floor_of = {room: number for number, floor in enumerate(FLOORS) for room in floor}
    for (upper, lower), example in arrows().items():
        if upper != "benchmark" and lower != "benchmark":
            assert floor_of[lower] < floor_of[upper], example
            assert lower in ONLY.get(upper, {lower}), example


def test_within_a_room_the_lower_part_imports_nothing_of_the_upper() -> None:
    for path in MODULES:
        for upper, lower in WITHIN.items():
            if name_of(path).startswith(f"benchmark.{lower}"):
                assert not [one for one in imports(path) if one.startswith(f"benchmark.{upper}")]


def test_the_pipeline_knows_no_track_by_name() -> None:
    for path in MODULES:
        if name_of(path).startswith("benchmark.run"):
            for track in TRACKS:
                assert not [one for one in imports(path) if one.startswith(f"benchmark.tracks.{track}")]
            assert not [word for word in ("fuzzing", "probe_lift") if word in path.read_text()]


def test_a_track_knows_no_other() -> None:
    for path in MODULES:
        for track, other in itertools.permutations(TRACKS, 2):
            if name_of(path).startswith(f"benchmark.tracks.{track}"):
                assert not [one for one in imports(path) if one.startswith(f"benchmark.tracks.{other}")]


def test_a_class_name_means_one_thing() -> None:
    places: dict[str, list[str]] = {}
    for path in MODULES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name_of(path))
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


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
