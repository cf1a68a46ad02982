"""Layer statistics against a direct count, one draw at a time."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from benchmark.metrics.layers import FAMILY, LayerMass


def direct(codes: np.ndarray, layers: list[int]) -> dict[str, float]:
    """From codes [layer, token, latent], by the definitions."""
    number = np.array(layers, float)
    found = []
    for latent in range(codes.shape[2]):
        mass = codes[:, :, latent]
        if not mass.any():
            continue
        weight = mass.sum(axis=0) / mass.sum()
        seen = weight > 0
        within = mass[:, seen] / mass[:, seen].sum(axis=0)
        mean = number @ within
        variance = (number**2) @ within - mean**2
        overall = weight[seen] @ mean
        found.append(
            (
                weight[seen] @ variance,
                weight[seen] @ (mean - overall) ** 2,
                (mass.sum(axis=1).max() / mass.sum()) >= 0.9,
            )
        )
    within_mean, between_mean, alone = np.array(found, float).mean(axis=0)
    return {
        "layer_variance@1": within_mean + between_mean,
        "layer_variance_within@1": within_mean,
        "layer_variance_between@1": between_mean,
        "one_layer@1": alone,
    }


def summed(codes: np.ndarray, layers: list[int]) -> dict[str, float | None]:
    total = LayerMass.none(codes.shape[1:])
    for layer, own in zip(layers, codes, strict=True):
        total += LayerMass.of(sparse.csr_array(own.astype(np.float32)), layer)
    return {name: value.value for name, value in total.values().items()}


@pytest.mark.parametrize("seed", range(3))
def test_as_by_the_definitions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = np.round(rng.exponential(size=(4, 60, 12)), 3) * (rng.random((4, 60, 12)) < 0.15)
    codes[:, :, 3] = 0
    codes[1:, :, 5] = 0
    layers = [0, 2, 3, 7]
    assert summed(codes, layers) == pytest.approx(direct(codes, layers), abs=1e-5)


def test_known_cases() -> None:
    everywhere = np.ones((2, 5, 1))
    assert summed(everywhere, [1, 3]) == pytest.approx(
        {"layer_variance@1": 1, "layer_variance_within@1": 1, "layer_variance_between@1": 0, "one_layer@1": 0}
    )
    by_token = np.zeros((2, 4, 1))
    by_token[0, :2], by_token[1, 2:] = 1, 1
    assert summed(by_token, [1, 3]) == pytest.approx(
        {"layer_variance@1": 1, "layer_variance_within@1": 0, "layer_variance_between@1": 1, "one_layer@1": 0}
    )


def test_what_is_silent_everywhere_has_no_layer() -> None:
    found = LayerMass.none((5, 3)).values()
    assert set(found) == set(FAMILY.metrics)
    assert all(value.value is None and value.reason for value in found.values())
