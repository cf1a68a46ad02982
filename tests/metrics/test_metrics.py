"""Every metric: a hand-computed answer, the perfect and the worst case, and any batching."""

from __future__ import annotations

import functools
import math
import operator

import numpy as np
import pytest
import torch
from scipy import sparse

from benchmark.metrics.causal import CausalEffect
from benchmark.metrics.context import ContextSensitivity
from benchmark.metrics.position import BINS, PositionCounts
from benchmark.metrics.reconstruction import Reconstruction
from benchmark.metrics.sparsity import Sparsity
from benchmark.metrics.splice import Divergence, Splice, kl_per_token
from benchmark.metrics.stability import stability
from benchmark.metrics.token_distribution import TokenDistribution, entropy
from benchmark.metrics.token_regression import TokenRegression
from benchmark.metrics.universality import universality


def csr(dense: object) -> sparse.csr_array:
    return sparse.csr_array(np.asarray(dense, dtype=np.float32))


def test_reconstruction_by_hand() -> None:
    x = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    xhat = torch.tensor([[1.0, 1.0], [3.0, 0.0]])
    values = Reconstruction.of(x, xhat, x.mean(dim=0)).values()
    assert values["fvu@1"].value == pytest.approx(1 / 2)
    assert values["explained_variance@1"].value == pytest.approx(1 / 2)
    assert values["explained_variance_paper@1"].value == pytest.approx((0 + 1) / 2)
    assert values["cosine@1"].value == pytest.approx((1 / math.sqrt(2) + 1) / 2)


def test_reconstruction_of_the_mean_scores_nothing_and_of_itself_everything() -> None:
    x = torch.randn(50, 4) + 5
    mean = x.mean(dim=0)
    assert Reconstruction.of(x, mean.expand_as(x), mean).values()["fvu@1"].value == pytest.approx(1)
    assert Reconstruction.of(x, x, mean).values()["fvu@1"].value == 0
    assert Reconstruction().values()["fvu@1"].value is None


def test_reconstruction_in_batches() -> None:
    x, xhat = torch.randn(30, 4), torch.randn(30, 4)
    mean = x.mean(dim=0)
    whole = Reconstruction.of(x, xhat, mean)
    parts = Reconstruction.of(x[:7], xhat[:7], mean) + Reconstruction.of(x[7:], xhat[7:], mean)
    assert parts.values() == {name: pytest.approx(value) for name, value in whole.values().items()}


def test_sparsity_by_hand_and_in_batches() -> None:
    codes = csr([[2, 0, 0], [1, 3, 0]])
    values = Sparsity.of(codes).values()
    assert values["l0@1"].value == 1.5
    assert values["l1@1"].value == 3
    assert values["dead@1"].value == pytest.approx(1 / 3)
    assert values["alive@1"].value == pytest.approx(2 / 3)
    merged = Sparsity.of(codes[:1]) + Sparsity.of(codes[1:])
    assert merged.values() == values


def test_kl_by_hand_and_zero_for_itself() -> None:
    clean, changed = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    assert float(kl_per_token(clean, changed)) == pytest.approx(expected)
    assert float(kl_per_token(clean, clean)) == 0


def test_splice_scores_and_refusals() -> None:
    splice = Splice(Divergence(2, 2.0, 0.0), Divergence(2, 3.0, 0.5), Divergence(2, 6.0, 4.0), Divergence(2, 8.0, 2.0))
    values = splice.values()
    assert values["ce_score@1"].value == pytest.approx((3 - 1.5) / (3 - 1))
    assert values["kl_score@1"].value == pytest.approx(1 - 0.25 / 1.0)
    flat = splice._replace(zero=Divergence(2, 2.09, 0.0), mean=Divergence(2, 2.0, 0.001))
    assert flat.values()["ce_score@1"].value is None
    assert "0.05" in str(flat.values()["ce_score@1"].reason)
    assert flat.values()["kl_score@1"].value is None
    assert flat.values()["ce_zero@1"].value == pytest.approx(1.045)


def test_divergence_in_batches() -> None:
    clean, changed = torch.randn(9, 5).log_softmax(1), torch.randn(9, 5).log_softmax(1)
    targets = torch.arange(9) % 5
    whole = Divergence.of(clean, changed, targets)
    parts = Divergence.of(clean[:4], changed[:4], targets[:4]) + Divergence.of(clean[4:], changed[4:], targets[4:])
    assert parts == pytest.approx(whole)
    assert whole.cross_entropy == pytest.approx(float(torch.nn.functional.nll_loss(changed, targets, reduction="sum")))


def test_entropy_golden_value() -> None:
    assert entropy(np.array([4.0, 2.0, 1.0, 1.0])) == pytest.approx(1.21301, abs=5e-6)


def test_token_distribution_by_hand() -> None:
    latents, tokens = np.array([0, 0, 0, 1]), np.array([7, 7, 3, 5])
    weights = np.array([1.0, 1.0, 2.0, 4.0])
    spread = TokenDistribution.of(latents, tokens, weights, (3, 10))
    values = spread.values()
    plain = values["token_entropy@2"].per_latent
    assert plain is not None
    np.testing.assert_allclose(plain, [math.log(2), 0, np.nan])
    corrected = values["token_entropy_mm@2"].per_latent
    assert corrected is not None
    assert corrected[0] == pytest.approx(math.log(2) + 1 / (2 * (16 / 6)))
    share = values["top_token_share@2"].per_latent
    assert share is not None
    np.testing.assert_allclose(share, [0.5, 1, np.nan])
    assert values["token_entropy@2"].undefined == 1
    merged = TokenDistribution.of(latents[:2], tokens[:2], weights[:2], (3, 10)) + TokenDistribution.of(
        latents[2:], tokens[2:], weights[2:], (3, 10)
    )
    assert merged.values()["token_entropy_mm@2"].value == pytest.approx(values["token_entropy_mm@2"].value)


def test_miller_madow_corrects_most_of_the_bias() -> None:
    rng = np.random.default_rng(0)
    shares = 1 / np.arange(1, 51)
    shares /= shares.sum()
    truth = entropy(shares)
    assert truth == pytest.approx(3.20, abs=0.005)
    draws = rng.choice(50, p=shares, size=(200, 100))
    rows = np.repeat(np.arange(200), 100)
    values = TokenDistribution.of(rows, draws.ravel(), np.ones(20_000), (200, 50)).values()
    plain, corrected = values["token_entropy@2"].value, values["token_entropy_mm@2"].value
    assert plain is not None
    assert corrected is not None
    assert plain == pytest.approx(truth - 49 / 200, abs=0.02)
    assert abs(corrected - truth) < 0.45 * (truth - plain)


def regression(
    current: list[int], previous: list[int], documents: list[int], z: list[float], vocab: int = 10
) -> TokenRegression:
    columns = np.array(z, dtype=np.float32)[:, None]
    return TokenRegression.of(np.array(current), np.array(previous), np.array(documents), columns, vocab)


def test_token_regression_by_hand() -> None:
    """One token per half, twice: shrunk means are known fractions."""
    sums = regression([1, 2, 1, 2], [0, 0, 0, 0], [0, 0, 1, 1], [1.0, 0.0, 1.0, 0.0])
    mean_one, mean_two = (1 + 10 * 0.5) / 11, (0 + 10 * 0.5) / 11
    expected = 1 - ((1 - mean_one) ** 2 + mean_two**2) / 0.5
    assert sums.values()["token_r2@1"].value == pytest.approx(expected)
    deeper_one, deeper_two = (1 + 10 * mean_one) / 11, (0 + 10 * mean_two) / 11
    deeper = 1 - ((1 - deeper_one) ** 2 + deeper_two**2) / 0.5
    assert sums.values()["bigram_r2@1"].value == pytest.approx(deeper)
    assert sums.values()["bigram_r2_increment@1"].value == pytest.approx(deeper - expected)


def test_token_regression_tells_token_bigram_and_noise_apart() -> None:
    rng = np.random.default_rng(0)
    size = 40_000
    current, previous = rng.integers(20, size=size), rng.integers(20, size=size)
    documents = np.arange(size) // 100
    z = np.stack([current == 3, (current == 3) & (previous == 5), rng.random(size)], axis=1).astype(np.float32)
    values = TokenRegression.of(current, previous, documents, z, 20).values()
    token, increment = values["token_r2@1"].per_latent, values["bigram_r2_increment@1"].per_latent
    assert token is not None
    assert increment is not None
    assert token[0] > 0.98
    assert token[1] < 0.1
    assert abs(token[2]) < 0.01
    assert abs(increment[0]) < 0.01
    assert increment[1] > 0.7
    assert increment[2] < 0.01


def test_token_regression_in_batches() -> None:
    rng = np.random.default_rng(1)
    current, previous, documents = (rng.integers(8, size=300) for _ in range(3))
    z = rng.random((300, 4)).astype(np.float32)
    whole = TokenRegression.of(current, previous, documents, z, 8).values()
    parts = [
        TokenRegression.of(current[part], previous[part], documents[part], z[part], 8)
        for part in np.array_split(np.arange(300), 5)
    ]
    merged = functools.reduce(operator.add, parts).values()
    for name, value in whole.items():
        assert value.per_latent is not None
        other = merged[name].per_latent
        assert other is not None
        np.testing.assert_allclose(other, value.per_latent, rtol=1e-9)


def test_position_information_by_hand_and_in_batches() -> None:
    """A latent that fires in exactly one of 16 bins: mutual information equals the entropy of firing."""
    positions = np.tile(np.arange(8, 8 + BINS), 100)
    codes = csr(np.stack([positions == 8, np.arange(len(positions)) % 7 == 0, np.ones(len(positions))], axis=1))
    whole = PositionCounts.of(positions, codes, 8 + BINS)
    found = whole.values()["position_information@1"].per_latent
    assert found is not None
    p = 1 / BINS
    firing = -(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert found[0] == pytest.approx(1 - (BINS - 1) / (2 * len(positions)) / firing)
    assert abs(found[1]) < 0.05
    assert math.isnan(found[2])
    parts = [PositionCounts.of(positions[rows], codes[rows], 8 + BINS) for rows in np.array_split(np.arange(1600), 3)]
    merged = functools.reduce(operator.add, parts).values()["position_information@1"]
    np.testing.assert_allclose(np.asarray(merged.per_latent), found)


def test_context_sensitivity_by_hand() -> None:
    z, swapped = csr([[2, 1, 0], [2, 0, 0]]), csr([[1, 5, 0], [0, 9, 0]])
    sums = ContextSensitivity.of(z[:1], swapped[:1]) + ContextSensitivity.of(z[1:], swapped[1:])
    value = sums.values()["context_sensitivity@1"]
    assert value.per_latent is not None
    np.testing.assert_allclose(value.per_latent, [0.75, 0, np.nan])
    assert value.value == pytest.approx(0.375)
    assert value.undefined == 1


def test_causal_effect_by_hand() -> None:
    first = CausalEffect.of(np.array([0, 0]), np.array([2.0, 4.0]), np.array([1.0, 1.0]), 2)
    sums = first + CausalEffect.of(np.array([0]), np.array([0.0]), np.array([1.0]), 2)
    value = sums.values()["causal_effect@1"]
    assert value.value == pytest.approx(math.log(2))
    assert value.undefined == 1


def test_universality_ignores_what_the_token_explains() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(5, size=4000)
    hidden = rng.random(4000) < 0.2
    token_latent = (tokens == 2).astype(np.float32)
    noise = [(rng.random(4000) < 0.3) * rng.random(4000) for _ in range(2)]
    context = (tokens == 3) & hidden
    drawn = csr(np.stack([context, token_latent + 0.01 * noise[0], np.zeros(4000)], axis=1))
    other = csr(np.stack([token_latent + 0.01 * noise[1], 2.0 * context], axis=1))
    value = universality(drawn, other, tokens)["universality@1"]
    assert value.per_latent is not None
    assert value.per_latent[0] == pytest.approx(1)
    assert value.per_latent[1] < 0.1
    assert math.isnan(value.per_latent[2])


def test_universality_is_a_plain_correlation_where_there_is_one_token() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.random(200), rng.random(200)
    value = universality(csr(a[:, None]), csr(b[:, None]), np.zeros(200, dtype=np.int64))["universality@1"].value
    assert value == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-6)


def test_stability_chance_and_identity() -> None:
    rng = np.random.default_rng(0)
    a, b = (torch.from_numpy(rng.standard_normal((512, 64), dtype=np.float32)) for _ in range(2))
    chance = stability(a, b, np.random.default_rng(1))["stability@1"].value
    same = stability(a, a, np.random.default_rng(1))["stability@1"].value
    assert chance == pytest.approx(0, abs=0.01)
    assert same == pytest.approx(1 - 0.37, abs=0.01)
    assert stability(a[:0], b, rng)["stability@1"].value is None
