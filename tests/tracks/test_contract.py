"""The pipeline knows tracks by their contract: one that it has never heard of goes from suite to board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmark import registry
from benchmark.errors import BadInput
from benchmark.run import pipeline, plan
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.contract import track_class
from leaderboard import board
from tests.conftest import Silent

METHOD = """
class Say:
    def __init__(self, times=1.0):
        self.times = times
    def say(self, x):
        return self.times * float(x.std())
"""


@pytest.fixture
def toy(tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Suite:
    monkeypatch.setattr(registry, "TRACKS", registry.TRACKS | {"toy": "tests.tracks.toy:ToyTrack"})
    monkeypatch.setattr(registry, "FAMILIES", (*registry.FAMILIES, "tests.tracks.toy:FAMILY"))
    del tiny["hookpoints"]
    variants = {"variants": ["trained", "step0", registry.CONTROL]}
    asked = {"tracks": {"toy": {"places": ["here", "there"], "scale": 2}}, "methods": {}}
    return Suite.model_validate(tiny | variants | asked)


@pytest.fixture
def say(tmp_path: Path, toy: Suite) -> MethodRun:
    folder = tmp_path / "methods" / "say"
    folder.mkdir(parents=True)
    (folder / "method.py").write_text(METHOD)
    settings = "[settings]\ntimes = 1.0\n"
    (folder / "method.toml").write_text(f'track = "toy"\nentry = "Say"\nsummary = "says a number"\n{settings}')
    method = methods.load(str(folder))
    return MethodRun(method, methods.rows(method, toy))


def test_a_track_of_its_own_goes_from_suite_to_board(toy: Suite, say: MethodRun, tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.check()
    made = plan.make(toy, [say], store, download=False)
    assert {item.cell.place for item in made.cells} == {"here", "there"}
    assert "toy: 12 numbers" in plan.needs(made, 1)
    assert pipeline.run(toy, [say], store, "process", Silent()).computed == 12
    assert pipeline.run(toy, [say], store, "process", Silent()).cached == 12
    records = store.records("tiny", "say")
    assert {record.where.track for record in records} == {"toy"}
    assert {tuple(record.metrics) for record in records} == {("spread@1",)}
    assert all(record.families == {"toy": track_class("toy").families(toy)["toy"]} for record in records)
    (row,), (entry,), paths = board.render_local(store)
    assert entry.headline == "spread@1"
    assert [gate.name for gate in entry.gates] == ["assay sensitivity", "one setting"]
    control = [record.metrics["spread@1"].value for record in records if record.where.variant == registry.CONTROL]
    assert control == pytest.approx([2.0] * 4, rel=0.1), "twice N(0, 1)"
    assert entry.scores[registry.CONTROL].mean == pytest.approx(sum(map(float, filter(None, control))) / 4)
    assert "track toy" in paths["board"].read_text()
    assert "what the method says, in units" in paths["all metrics"].read_text()
    assert len(row.scores) == 12


def test_what_a_track_is_asked_is_part_of_the_content(toy: Suite, say: MethodRun, tmp_path: Path) -> None:
    hashes = set()
    for scale in (2, 3):
        asked = toy.model_copy(update={"tracks": {"toy": {"places": ["here"], "scale": scale}}})
        hashes.add(plan.make(asked, [say], Store(tmp_path / "runs"), download=False).suite_hashes["toy"])
    assert len(hashes) == 2


def test_tracks_and_their_tables_are_named(tiny: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="did you mean 'features'"):
        Suite.model_validate(tiny | {"tracks": {"feature": {}}})
    suite = Suite.model_validate(tiny | {"tracks": {"features": {"latents": 3}}})
    method = methods.load("topk_sae")
    with pytest.raises(BadInput, match="takes no table of its own"):
        plan.make(suite, [MethodRun(method, methods.rows(method, suite))], Store(tmp_path), download=False)
    bare = Suite.model_validate({name: value for name, value in tiny.items() if name != "hookpoints"})
    with pytest.raises(BadInput, match="has no hookpoints"):
        plan.make(bare, [MethodRun(method, methods.rows(method, bare))], Store(tmp_path), download=False)
