"""Scoring with featurizers whose right answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.api import Latents
from benchmark.data import blocks as token_blocks
from benchmark.judges.open import Judging
from benchmark.models import pythia
from benchmark.models.network import Network
from benchmark.spec.suite import TokenBudget
from benchmark.tracks.features.featurizer import csr
from benchmark.tracks.features.track import CellKeys, FeaturesTrack, TrustedData
from tests.conftest import LANGUAGE, REVISION

D_MODEL = 32
KEYS = CellKeys("tiny", 0, 0, "layers.0")


class Signed:
    """Coordinates of an orthonormal basis as positive and negative parts: perfect reconstruction, dense."""

    n_latents = 2 * D_MODEL
    decodes = True

    def __init__(self, nonlinear: bool = False) -> None:
        draw = np.random.default_rng(0).standard_normal((D_MODEL, D_MODEL)).astype(np.float32)
        self.basis = torch.from_numpy(np.linalg.qr(draw)[0].copy())
        self.nonlinear = nonlinear

    def encode(self, x: torch.Tensor) -> Latents:
        y = x @ self.basis
        values = torch.cat([y, -y], dim=1).clamp(min=0)
        return Latents(values, torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents: Latents) -> torch.Tensor:
        dense = torch.zeros(len(latents.values), self.n_latents).scatter_add(1, latents.indices, latents.values)
        y = dense[:, :D_MODEL] - dense[:, D_MODEL:]
        return (y.sign() * y**2 if self.nonlinear else y) @ self.basis.T


class Dead(Signed):
    """Never fires."""

    decodes = False

    def encode(self, x: torch.Tensor) -> Latents:
        return Latents(torch.zeros(len(x), 1), torch.zeros(len(x), 1, dtype=torch.long))


def track(metrics: tuple[str, ...]) -> FeaturesTrack:
    return FeaturesTrack(metrics, 30, Judging("lexical", Path("unused")))


@pytest.fixture(scope="module")
def hidden(subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> TrustedData:
    checkpoint = pythia.locate(str(subjects / "seed0"), REVISION)
    network = Network(pythia.load(checkpoint, torch.float32, torch.device("cpu")))
    tokens = TokenBudget(fit=100, explain=1500, score=1500, block=64)
    folder = tmp_path_factory.mktemp("blocks")
    blocks = token_blocks.prepare(LANGUAGE, tokens, pythia.tokenizer(checkpoint), "t", folder)
    decode = pythia.tokenizer(checkpoint).decode
    return track(tuple(registry.METRICS)).prepare(network, blocks, ["layers.0"], decode, lambda text: None)


def score(hidden: TrustedData, featurizer: object, metrics: tuple[str, ...] = tuple(registry.METRICS)):  # type: ignore[no-untyped-def]
    return track(metrics).score(hidden, "layers.0", featurizer, KEYS, lambda text, done, total: None)  # type: ignore[arg-type]


def test_a_perfect_featurizer_scores_perfectly(hidden: TrustedData) -> None:
    scored = score(hidden, Signed())
    values = {name: value.value for name, value in scored.metrics.items()}
    assert set(values) == set(registry.METRICS)
    assert values["explained_variance@1"] == pytest.approx(1, abs=1e-5)
    assert values["cosine@1"] == pytest.approx(1, abs=1e-5)
    assert values["kl_score@1"] == pytest.approx(1, abs=1e-3)
    assert values["ce_spliced@1"] == pytest.approx(values["ce_clean@1"], rel=1e-4)
    assert values["l0@1"] == pytest.approx(D_MODEL, rel=1e-3)
    few = {*registry.CONCEPTS, *registry.AUTOINTERP}
    assert all(value is not None for name, value in values.items() if name not in few)
    assert all(scored.metrics[name].reason for name in few if values[name] is None)
    assert len(scored.latents) == 30
    assert scored.latents["rate"].between(0.001, 1).all()
    assert {"token_r2@1", "causal_effect@1", "context_sensitivity@1"} <= set(scored.latents)


def test_a_dead_featurizer_has_reasons_and_no_made_up_numbers(hidden: TrustedData) -> None:
    scored = score(hidden, Dead())
    assert scored.metrics["dead@1"].value == 1
    assert scored.metrics["l0@1"].value == 0
    for name in ("fvu@1", "kl_score@1", "causal_effect@1", "token_r2@1", "context_sensitivity@1", "token_entropy@2"):
        assert scored.metrics[name].value is None
        assert scored.metrics[name].reason
    assert len(scored.latents) == 0


def test_a_nonlinear_decoder_has_no_directions(hidden: TrustedData) -> None:
    scored = score(hidden, Signed(nonlinear=True))
    assert scored.metrics["causal_effect@1"].value is None
    assert "not linear" in str(scored.metrics["causal_effect@1"].reason)
    assert scored.metrics["explained_variance@1"].value is not None


def test_only_what_is_asked_comes_back_and_draws_do_not_depend_on_it(hidden: TrustedData) -> None:
    alone, everything = score(hidden, Signed(), ("token_r2@1",)), score(hidden, Signed())
    assert set(alone.metrics) == {"token_r2@1"}
    assert alone.metrics["token_r2@1"].value == everything.metrics["token_r2@1"].value
    np.testing.assert_array_equal(alone.shared.drawn, everything.shared.drawn)


def test_context_sensitivity_of_what_only_knows_the_token_is_zero(hidden: TrustedData) -> None:
    """Latents read from the token's own embedding survive any change of context."""
    embedding = hidden.network.model.get_input_embeddings().weight.detach()
    rows = torch.from_numpy(hidden.score.ids)
    swapped = torch.from_numpy(hidden.score.ids[hidden.swapped_rows])
    token_only = hidden._replace(x={"layers.0": embedding[rows]}, x_swapped={"layers.0": embedding[swapped]})
    value = score(token_only, Signed(), ("context_sensitivity@1", "token_r2@1")).metrics
    assert value["context_sensitivity@1"].value == pytest.approx(0, abs=1e-6)
    assert value["token_r2@1"].value > 0.5
    assert score(hidden, Signed()).metrics["context_sensitivity@1"].value > 0.02


def test_csr_drops_padding_and_keeps_values() -> None:
    latents = Latents(torch.tensor([[2.0, 0.0], [0.5, 1.0]]), torch.tensor([[3, 3], [1, 0]]))
    dense = csr(latents, 4).toarray()
    np.testing.assert_allclose(dense, np.array([[0, 0, 0, 2], [1, 0.5, 0, 0]]))
    assert csr(latents, 4).nnz == 3
    assert not math.isnan(dense.sum())
