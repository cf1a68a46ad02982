"""Recovery by single latents and probes: hand-made codes whose right score is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics.concepts import FEWEST, Recovered, halves, matches, recover

N = 4_000
RNG = np.random.default_rng(0)
IDS = RNG.integers(20, size=N)
DOCUMENTS = np.arange(N) // 50
TRUTH = (RNG.random(N) < 0.4)[:, None]


def recovered(*latents: NDArray[np.float64], y: NDArray[np.bool_] = TRUTH) -> Recovered:
    z = sparse.csr_array(np.stack(latents, axis=1))
    return recover(*halves(z, y, IDS, DOCUMENTS))


def noise(count: int) -> list[NDArray[np.float64]]:
    return [RNG.random(N) * (RNG.random(N) < 0.05) for _ in range(count)]


def test_the_latent_that_is_the_concept_is_found_among_many() -> None:
    found = recovered(*noise(300), np.where(TRUTH[:, 0], 0.3, 0.0), *noise(300))
    assert found.single[0] == 1.0
    assert found.latents[0] == 300
    assert all(grade[0] > 0.99 for grade in found.probes.values())


def test_picking_the_best_of_a_thousand_random_latents_gains_nothing() -> None:
    found = recovered(*noise(1_000))
    for grade in (found.single, *found.probes.values()):
        assert grade[0] == pytest.approx(0.5, abs=0.03)


def test_token_identity_gains_nothing_even_where_it_predicts_the_concept() -> None:
    y = (RNG.random(N) < 0.1 + 0.04 * IDS)[:, None]
    z = sparse.csr_array(np.eye(20)[IDS])
    within = recover(*halves(z, y, IDS, DOCUMENTS))
    pooled = recover(*halves(z, y, np.zeros_like(IDS), DOCUMENTS))
    assert within.single[0] == 0.5
    assert within.probes["all"][0] == pytest.approx(0.5, abs=1e-6)
    assert pooled.probes["all"][0] > 0.7


def test_a_latent_that_is_silent_on_the_concept_counts_for_probes_only() -> None:
    found = recovered(np.where(TRUTH[:, 0], 0.0, 1.0), *noise(20))
    assert found.single[0] < 0.6
    assert found.probes["1"][0] == 1.0


def test_five_latents_tell_what_none_of_them_does() -> None:
    parts = RNG.integers(5, size=N)
    found = recovered(*(np.where(TRUTH[:, 0] & (parts == part), 1.0, 0.0) for part in range(5)))
    assert found.single[0] < 0.65
    assert found.probes["5"][0] > 0.99


def test_too_few_of_a_class_is_undefined() -> None:
    rare = np.zeros((N, 2), dtype=bool)
    rare[: FEWEST - 1, 0] = True
    rare[:, 1] = TRUTH[:, 0]
    found = recovered(*noise(20), y=rare)
    assert np.isnan(found.single[0])
    assert not np.isnan(found.single[1])
    assert found.latents[0] == -1
    assert all(np.isnan(grade[0]) and not np.isnan(grade[1]) for grade in found.probes.values())


def test_what_is_picked_on_one_half_is_scored_on_the_other() -> None:
    """A latent that tells the concept in one half alone is worth a half of its lift, not all of it."""
    even = DOCUMENTS % 2 == 0
    found = recovered(np.where(TRUTH[:, 0] & even, 1.0, 0.0))
    assert found.single[0] == pytest.approx(0.75, abs=0.02)


def test_what_a_latent_tells_best_is_picked_on_one_half_and_told_of_the_other() -> None:
    y = np.stack([TRUTH[:, 0], RNG.random(N) < 0.2, np.zeros(N, bool)], axis=1)
    first, second = halves(sparse.csr_array(np.stack([y[:, 1], y[:, 0]], axis=1) * 0.5), y, IDS, DOCUMENTS)
    found = matches(recover(first, second, probes=False).every)
    assert found.labels.tolist() == [1, 0]
    assert found.aurocs.tolist() == [1.0, 1.0]
    many = sparse.csr_array(np.stack(noise(500), axis=1))
    drawn = matches(recover(*halves(many, RNG.random((N, 40)) < 0.3, IDS, DOCUMENTS), probes=False).every)
    assert drawn.aurocs.mean() == pytest.approx(0.5, abs=0.005)
    none = matches(recover(first, second._replace(y=np.zeros_like(second.y)), probes=False).every)
    assert none.labels.tolist() == [-1, -1]
    assert np.isnan(none.aurocs).all()
