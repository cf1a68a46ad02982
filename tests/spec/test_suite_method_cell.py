"""Suites that ship, methods on disk, and cells with stable ids in an order that says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import keyed, registry
from benchmark.errors import BadInput
from benchmark.spec import cell as cells
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant


@pytest.mark.parametrize("name", suites.names())
def test_suites_that_ship_load(name: str) -> None:
    suite = suites.load(name)
    assert suite.name == name
    assert set(suite.variants) == set(registry.VARIANTS)
    for method in suite.methods:
        assert methods.rows(methods.load(method), suite)


def test_registry_entries_resolve() -> None:
    for table in (registry.VARIANTS, registry.TRACKS, registry.METRICS, registry.JOINS):
        for target in table.values():
            assert callable(registry.resolve(target))
    assert set(registry.HIGHER_IS_BETTER) <= {*registry.METRICS, *registry.JOINS}


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
    assert Variant.parse("step0:3") == Variant("step0", 3)
    assert str(Variant("step0", 3)) == "step0:3"
    with pytest.raises(BadInput, match="did you mean 'rerandomized'"):
        Variant.parse("rerandomised")
    for text in ("step0:x", "step0:", "trained:1"):
        with pytest.raises(BadInput, match="only nulls have draws"):
            Variant.parse(text)


def test_cells_cover_the_suite_in_a_keyed_order(suite: Suite) -> None:
    method = methods.load("topk_sae")
    made = cells.cells(suite, method, methods.rows(method, suite))
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
