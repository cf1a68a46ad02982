"""The concept metric gives codes whose right score is known that score, on trained and random networks alike."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmark.spec.suite import Suite, load
from benchmark.studies import validity
from benchmark.studies.mini.readme import README, replace_section

VARIANTS = ("trained", "rerandomized", "step0", "rerandomized-keep-embeddings", "noise-embeddings")


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    settings = load("smoke").model_dump()
    settings["subject"]["replicates"] = {0: "built-in:pythia-mini/seed0"}
    settings["tokens"] |= {"score": 65_536}
    suite, cache = Suite.model_validate(settings), tmp_path_factory.mktemp("cache")
    return validity.measure(suite, cache, VARIANTS, lambda text: None)


def mean(scores: pd.DataFrame, code: str, variant: str, part: str) -> float:
    chosen = scores[(scores["code"] == code) & (scores["variant"] == variant)]
    return float(chosen[part].mean())


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_oracle_recovers_everything_on_every_variant(scores: pd.DataFrame, variant: str) -> None:
    for part in validity.SHOWN:
        assert mean(scores, "oracle", variant, part) > 0.97


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_only_knows_the_token_has_no_lift(scores: pd.DataFrame, variant: str) -> None:
    assert mean(scores, "token identity", variant, "token_class") > 0.6
    for part in ("bigram", "latent_state", "topic", "sense", "agreement"):
        assert mean(scores, "token identity", variant, part) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
def test_random_codes_have_no_lift(scores: pd.DataFrame, variant: str) -> None:
    for part in ("bigram", "latent_state", "topic"):
        assert mean(scores, "random codes", variant, part) == pytest.approx(0, abs=0.03)


def test_random_directions_have_no_lift_where_there_is_nothing_to_find(scores: pd.DataFrame) -> None:
    for part in ("bigram", "latent_state", "topic"):
        assert mean(scores, "random directions", "noise-embeddings", part) == pytest.approx(0, abs=0.03)


def test_the_oracle_on_trained_alone_has_the_full_gap_and_everywhere_has_none(scores: pd.DataFrame) -> None:
    means = scores.groupby(["code", "variant"])[list(validity.SHOWN)].mean()
    assert (validity.worst_gap(means, "oracle", "oracle") == 0).all()
    full = validity.worst_gap(means, "oracle", "random codes")
    assert full[["bigram", "latent_state", "topic"]].min() > 0.95


def test_tables_state_every_code_and_gap(scores: pd.DataFrame) -> None:
    text = validity.tables(scores)
    for name in (*validity.CODES, "oracle on trained, random codes on nulls", "Worst-null gap"):
        assert name in text
    assert "nan" not in text


def test_the_command_writes_its_section(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("before\n<!-- validity: made by its command -->\nold\n<!-- end of validity -->\nafter\n")
    replace_section("validity", "new", page)
    replace_section("validity", "newer", page)
    text = page.read_text()
    assert "newer" in text
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_the_published_dictionaries_are_tabled_from_their_rows() -> None:
    """The README's table follows from the published files."""
    table = validity.of_published(validity.PUBLISHED)
    assert "expansion_factor=16" in table
    assert table in README.read_text(encoding="utf-8")
