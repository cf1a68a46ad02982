"""Suites that ship, methods on disk, and cells with stable ids in an order that says nothing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.metrics import family
from benchmark.spec import cell as cells
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant, nulls_among
from benchmark.tracks.contract import track_class

THREE_NULLS = ("step0", "rerandomized", "rerandomized-keep-embeddings")


@pytest.mark.parametrize("name", suites.names())
def test_suites_that_ship_load(name: str) -> None:
    suite = suites.load(name)
    assert suite.name == name
    assert set(suite.variants) == {"trained", *THREE_NULLS, registry.CONTROL}, "a new null enters no suite by itself"
    for method in suite.methods:
        assert methods.rows(methods.load(method), suite)


def test_registry_entries_resolve() -> None:
    for table in (registry.VARIANTS, registry.TRACKS, registry.SCORERS, registry.JUDGES):
        for target in table.values():
            assert registry.resolve(target)
    every = [*family.families(), *family.joins()]
    assert len({one.name for one in every}) == len(every)
    assert len(family.names()) == sum(len(one.metrics) for one in every), "a metric is of one family"
    for name in registry.TRACKS:
        track = track_class(name)
        assert {track.headline, *track.first} <= set(family.names())
    assert all(known.says and known.unit for one in every for known in one.metrics.values())


def test_rows_join_presets_and_changes(suite: Suite) -> None:
    method = methods.load("topk_sae")
    (row,) = methods.rows(method, suite)
    assert row.label == "batch_size=512 expansion_factor=4 k=4"
    assert row.settings["k"] == 4
    (paper,) = methods.rows(method, suite, "paper")
    assert paper.label == "paper"
    assert paper.settings["expansion_factor"] == 64
    assert methods.rows(method, suite.model_copy(update={"methods": {}}))[0].label == "default"


def test_the_same_settings_twice_are_refused(suite: Suite) -> None:
    twice = suite.model_copy(update={"methods": {"topk_sae": ({}, {"k": 16})}})
    with pytest.raises(BadInput, match="twice with the same settings"):
        methods.rows(methods.load("topk_sae"), twice)


def test_code_hash_follows_code_and_not_prose(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    home.mkdir()
    (home / "method.toml").write_text('track = "features"\nentry = "A"\nsummary = "a"\n')
    (home / "method.py").write_text("class A: ...\n")
    first = methods.load("mine", (tmp_path,)).code_hash
    (home / "README.md").write_text("words")
    assert methods.load("mine", (tmp_path,)).code_hash == first
    (home / "method.py").write_text("class A: pass\n")
    assert methods.load("mine", (tmp_path,)).code_hash != first


def test_variants_parse_and_print() -> None:
    assert str(Variant.parse("step0")) == "step0"
    assert Variant.parse("step0:3") == Variant("step0", None, 3)
    assert str(Variant("step0", None, 3)) == "step0:3"
    assert Variant.parse("cascade:2") == Variant("cascade", 2)
    assert Variant.parse("cascade:2:5") == Variant("cascade", 2, 5)
    assert [str(Variant.parse(text)) for text in ("cascade:2", "cascade:2:5")] == ["cascade:2", "cascade:2:5"]
    assert Variant.parse("cascade:2:5").name == "cascade:2"
    assert nulls_among(["cascade:10", "trained", "cascade:2", "step0:1", "step0:0"]) == [
        "step0",
        "cascade:2",
        "cascade:10",
    ]
    with pytest.raises(BadInput, match="did you mean 'rerandomized'"):
        Variant.parse("rerandomised")
    for text in ("trained:1", "step0:1:2", "cascade:1:2:3"):
        with pytest.raises(BadInput, match="only nulls have draws"):
            Variant.parse(text)
    for text in ("step0:x", "step0:", "step0:03"):
        with pytest.raises(BadInput, match="whole number"):
            Variant.parse(text)
    for text in ("cascade", "cascade:0"):
        with pytest.raises(BadInput, match="how many of the top blocks"):
            Variant.parse(text)


def test_a_suite_without_variants_is_refused(tiny: dict[str, Any]) -> None:
    del tiny["variants"]
    with pytest.raises(ValidationError, match="variants"):
        Suite.model_validate(tiny)


def test_methods_are_named_by_name_or_path_each_once(tmp_path: Path) -> None:
    mine = tmp_path / "elsewhere" / "mine"
    mine.mkdir(parents=True)
    (mine / "method.toml").write_text('track = "features"\nentry = "A"\nsummary = "a"\n')
    (mine / "method.py").write_text("class A: ...\n")
    chosen = methods.chosen(["topk_sae  topk_sae", str(mine)])
    assert [method.name for method in chosen] == ["topk_sae", "mine"]
    assert chosen[1].folder == mine.resolve()
    assert [method.name for method in methods.chosen(["all"])] == methods.names()
    with pytest.raises(BadInput, match="no method"):
        methods.chosen([str(tmp_path / "elsewhere") + "/nothing"])
    with pytest.raises(BadInput, match="no method is named"):
        methods.chosen([" "])
    other = tmp_path / "other" / "mine"
    shutil.copytree(mine, other)
    with pytest.raises(BadInput, match="two methods are called mine"):
        methods.chosen([str(mine), str(other)])


def test_cells_cover_the_suite_in_a_keyed_order(suite: Suite) -> None:
    method = methods.load("topk_sae")
    made = cells.cells(suite, method, methods.rows(method, suite), suite.hookpoints)
    assert len(made) == len({cell.opaque for cell in made}) == 2 * 5 * 2
    groups = cells.grouped(made)
    assert groups == cells.grouped(list(reversed(made)))
    assert len(groups) == 10
    kinds = [group.variant.kind for group, _ in groups]
    assert kinds != sorted(kinds)
    assert all(cell.group.variant.kind not in cell.opaque for cell in made)


def test_keys_are_stable() -> None:
    """Golden values: a change here changes every draw of the benchmark."""
    assert keyed.short("a", 1, {"b": None}) == keyed.short("a", 1, {"b": None})
    assert keyed.seed("latents", "tiny", 0, 0, "layers.0") == SEED
    assert keyed.rng("x").integers(1000, size=3).tolist() == DRAWS


SEED = 1966212465926177530
DRAWS = [375, 356, 372]
