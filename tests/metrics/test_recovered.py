"""The harness's own decoder: against a dense solution, at both ends, and however the sums are made."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import sparse

from benchmark.metrics import recovered as module
from benchmark.metrics.recovered import PENALTIES, CodedTokens, Factored, Iterated, Products, recovered
from benchmark.metrics.value import NotDefined

TOKENS, WIDTH, VOCAB = 3_000, 6, 40


def codes_of(tokens: int, latents: int, seed: int, rate: float = 0.1) -> sparse.csr_array:
    rng = np.random.default_rng(seed)
    return sparse.csr_array((rng.random((tokens, latents)) < rate) * rng.exponential(1.0, (tokens, latents)))


def split(codes: sparse.csr_array, x: NDArray[np.floating], seed: int = 0) -> CodedTokens:
    tokens = len(x)
    ids = np.random.default_rng(seed).integers(VOCAB, size=tokens)
    return CodedTokens(codes, x.astype(np.float32), ids, np.arange(tokens) // 50)


def made(latents: int, seed: int, tokens: int = TOKENS) -> CodedTokens:
    """Activations that are the codes' sums of one fixed dictionary, and as much noise."""
    codes, rng = codes_of(tokens, latents, seed), np.random.default_rng(seed)
    clean = codes @ np.random.default_rng(99).standard_normal((latents, WIDTH))
    return split(codes, 3 + clean + clean.std() * rng.standard_normal(clean.shape), seed)


def value(explain: CodedTokens, score: CodedTokens, name: str = "recovered_variance@1") -> float:
    found = recovered(explain, score)[name].value
    assert found is not None
    return found


def dense(explain: CodedTokens, score: CodedTokens, penalty: float) -> float:
    """Share of variance by least squares on augmented rows."""
    z, x, other, y = (one.astype(float) for one in (explain.codes.toarray(), explain.x, score.codes.toarray(), score.x))
    scale = np.sqrt([np.square(column[column > 0]).mean() for column in z.T])
    z, other = z / scale, other / scale
    rows = np.vstack([z - z.mean(0), np.sqrt(penalty) * np.eye(z.shape[1])])
    weights = np.linalg.lstsq(rows, np.vstack([x - x.mean(0), np.zeros((z.shape[1], WIDTH))]), rcond=None)[0]
    return float(1 - (y - other @ weights).var(axis=0).sum() / y.var(axis=0).sum())


@pytest.mark.parametrize("penalty", PENALTIES)
def test_it_is_the_dense_ridge_regression(penalty: float, monkeypatch: pytest.MonkeyPatch) -> None:
    explain, score = made(30, 1), made(30, 2)
    monkeypatch.setattr(module, "PENALTIES", (penalty,))
    assert value(explain, score) == pytest.approx(dense(explain, score, penalty), abs=1e-9)
    monkeypatch.setattr(module, "MOST_FACTORED", 10)
    assert value(explain, score) == pytest.approx(dense(explain, score, penalty), abs=1e-6)


def test_the_penalty_is_the_one_that_halves_predict_each_other_with_best() -> None:
    explain, score = made(30, 1), made(30, 2)
    few = explain._replace(**{name: getattr(explain, name)[:200] for name in explain._fields})
    for known, other in ((explain, score), (few, score)):
        by_penalty = [dense(known, other, penalty) for penalty in PENALTIES]
        assert value(known, other) == pytest.approx(max(by_penalty), abs=0.02)
        assert value(known, other) in [pytest.approx(one, abs=1e-9) for one in by_penalty]


def test_codes_that_are_the_activations_recover_everything() -> None:
    x = [np.random.default_rng(seed).standard_normal((TOKENS, WIDTH)) + 2 for seed in (1, 2)]
    explain, score = (split(sparse.csr_array(np.hstack([one, -one]).clip(0)), one, seed) for seed, one in enumerate(x))
    assert value(explain, score) == pytest.approx(1, abs=1e-5)
    assert value(explain, score, "recovered_context@1") > 0.98, "means of tokens that say nothing are noise in it"


def test_dead_codes_recover_nothing() -> None:
    empty = sparse.csr_array((TOKENS, 20))
    explain, score = (made(20, seed)._replace(codes=empty) for seed in (1, 2))
    assert [found.value for found in recovered(explain, score).values()] == [0.0, 0.0]
    alive = made(20, 2)
    assert value(explain, alive) == 0, "latents that are dead where the decoder is fitted"
    assert value(alive, explain) == 0, "and those that are dead where it is judged"


def test_noise_recovers_nothing_and_harms_nothing() -> None:
    explain, score = (made(20, seed)._replace(codes=codes_of(TOKENS, 400, seed + 50)) for seed in (1, 2))
    assert abs(value(explain, score)) < 0.01


def test_one_latent() -> None:
    """x = 5 z + noise in one direction of six: its share of the variance."""
    splits = []
    for seed in (1, 2):
        codes, rng = codes_of(20_000, 1, seed, 0.5), np.random.default_rng(seed)
        x = rng.standard_normal((20_000, WIDTH))
        x[:, :1] += 5 * codes.toarray()
        splits.append(split(codes, x, seed))
    signal = 25 * float(splits[1].codes.toarray().var())
    assert value(splits[0], splits[1]) == pytest.approx(signal / (signal + WIDTH), abs=0.01)


@pytest.mark.parametrize("most", [module.MOST_FACTORED, 100])
def test_more_latents_than_tokens(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FACTORED", most)
    explain, score = made(300, 1, tokens=200), made(300, 2, tokens=200)
    assert 0 < value(explain, score) < 0.5


def test_the_scale_of_a_latent_says_nothing() -> None:
    explain, score = made(30, 1), made(30, 2)
    scale = sparse.diags_array(np.geomspace(1e-3, 1e3, 30))
    other = [one._replace(codes=sparse.csr_array(one.codes @ scale)) for one in (explain, score)]
    assert value(other[0], other[1]) == pytest.approx(value(explain, score), rel=1e-6)


def test_context_is_what_the_token_leaves() -> None:
    """x = a vector of the token + 2 z + noise: codes of the token recover no context, z all but the noise."""
    rows = np.random.default_rng(0).standard_normal((VOCAB, WIDTH))
    told, context = [], []
    for seed in (1, 2):
        rng = np.random.default_rng(seed)
        ids, z = rng.integers(VOCAB, size=20_000), codes_of(20_000, 5, seed)
        inside = 2 * z @ np.random.default_rng(7).standard_normal((5, WIDTH))
        x = (rows[ids] + inside + 0.1 * rng.standard_normal(inside.shape)).astype(np.float32)
        documents = np.arange(20_000) // 50
        one_hot = sparse.csr_array((np.ones(20_000), (np.arange(20_000), ids)), shape=(20_000, VOCAB))
        told.append(CodedTokens(one_hot, x, ids, documents))
        context.append(CodedTokens(z, x, ids, documents))
    assert value(told[0], told[1]) == pytest.approx(1 - _share(told[1], rows), abs=0.02)
    assert abs(value(told[0], told[1], "recovered_context@1")) < 0.01
    assert value(context[0], context[1], "recovered_context@1") > 0.97


def _share(one: CodedTokens, rows: NDArray[np.floating]) -> float:
    """Share of the variance that is not the token's."""
    return float((one.x - rows[one.ids]).var(axis=0).sum() / one.x.var(axis=0).sum())


def test_sums_merge_and_dense_codes_have_the_same() -> None:
    explain = made(30, 1)
    codes, targets = explain.codes, explain.x.astype(float)
    whole = Products.of(codes, targets)
    parts = [Products.of(codes[some], targets[some]) for some in np.array_split(np.arange(TOKENS), 7)]
    merged = parts[0]
    for part in parts[1:]:
        merged += part
    full = Products.of(sparse.csr_array(codes.toarray() + 1e-12), targets)
    for other in (merged, full):
        for name in Products._fields:
            np.testing.assert_allclose(getattr(whole, name), getattr(other, name), rtol=1e-9, atol=1e-6)


def test_both_ways_of_solving_agree() -> None:
    explain = made(200, 1)
    targets = explain.x.astype(float)
    factored, iterated = Products.of(explain.codes, targets).centred(np.float64), Iterated.of(explain.codes, targets)
    assert isinstance(factored, Factored)
    for penalty in PENALTIES:
        weights = factored.weights(penalty)
        np.testing.assert_allclose(iterated.weights(penalty), weights, atol=1e-3 * np.abs(weights).max())
        np.testing.assert_allclose(iterated.error(weights), factored.error(weights), rtol=1e-9)


def test_activations_without_variance_have_no_share() -> None:
    explain = made(20, 1)
    found = recovered(explain, explain._replace(x=np.ones_like(explain.x)))
    assert found["recovered_variance@1"].value is None
    assert "no variance" in (found["recovered_variance@1"].reason or "")


@pytest.mark.parametrize("most", [module.MOST_FACTORED, 10])
def test_coordinates_in_parts_are_as_good_as_all_at_once(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    explain, score = made(30, 1), made(30, 2)
    monkeypatch.setattr(module, "MOST_FACTORED", most)
    monkeypatch.setattr(module, "PENALTIES", (10.0,))
    whole = recovered(explain, score)
    monkeypatch.setattr(module, "COLUMNS", 2)
    for name, found in recovered(explain, score).items():
        assert found.value == pytest.approx(whole[name].value, abs=1e-6)


def test_wide_dictionaries_are_judged_on_the_first_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    explain, score = made(30, 1), made(30, 2)
    monkeypatch.setattr(module, "MOST_FACTORED", 10)
    monkeypatch.setattr(module, "MOST_TOKENS", 1_000)
    assert value(explain, score) == pytest.approx(value(explain.first(1_000), score.first(1_000)))
    assert len(explain.first(1_000).x) == explain.first(1_000).codes.shape[0] == 1_000


def test_one_half_alone_says_nothing_of_the_penalty_and_all_else_is_as_it_was() -> None:
    """Documents of one parity: no half to fit on, so that the largest penalty that is finite anywhere is taken."""
    explain, score = made(30, 1), made(30, 2)
    odd = explain._replace(documents=np.ones_like(explain.documents))
    assert value(odd, score) in [pytest.approx(dense(odd, score, penalty), abs=1e-9) for penalty in PENALTIES]


@pytest.mark.parametrize("most", [module.MOST_FACTORED, 10])
def test_without_weights_there_is_no_value(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    explain, score = made(30, 1), made(30, 2)
    monkeypatch.setattr(module, "MOST_FACTORED", most)
    monkeypatch.setattr(module, "MOST_STEPS", 1)
    monkeypatch.setattr(module, "PENALTIES", (-1e9, -1e8) if most > 30 else (1.0,))
    with pytest.raises(NotDefined, match="no weights under any penalty"):
        recovered(explain, score)


def test_a_penalty_without_weights_gives_way_to_a_larger_one(monkeypatch: pytest.MonkeyPatch) -> None:
    explain, score = made(30, 1), made(30, 2)
    monkeypatch.setattr(module, "PENALTIES", (-1e9, 100.0))
    assert value(explain, score) == pytest.approx(dense(explain, score, 100.0), abs=1e-9)
