"""No metric moves unless its id or its judge has a new version: activations in, values out, as they were then."""

from __future__ import annotations

import json

import pytest

from benchmark.metrics import family
from tests.metrics import frozen

EXPECTED: dict[str, float | None] = json.loads(frozen.FILE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def found() -> dict[str, float | None]:
    return frozen.values()


def test_every_metric_is_frozen_and_defined() -> None:
    assert set(EXPECTED) == set(family.names())
    assert [name for name, value in EXPECTED.items() if value is None] == []


def test_values_tell_faults_apart() -> None:
    """A value of 0, .5 or 1 would hide most faults: only judges that know nothing may have one."""
    plain = {name for name, value in EXPECTED.items() if value in (0.0, 0.5, 1.0)}
    blind = {name for name in EXPECTED if ".empty@" in name} | {"fuzzing-token-matched.lexical:token@1"}
    assert plain <= blind


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_metric_is_what_it_was(name: str, found: dict[str, float | None]) -> None:
    assert found[name] == pytest.approx(EXPECTED[name], rel=1e-6)
