"""Scoring with featurizers whose right answer is known."""

from __future__ import annotations

import math
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from benchmark.api import Latents
from benchmark.data import blocks as token_blocks
from benchmark.metrics import family
from benchmark.metrics.value import Value
from benchmark.models import pythia
from benchmark.models.network import Network
from benchmark.spec.cell import CellKeys
from benchmark.spec.suite import Suite
from benchmark.tracks.contract import Scored
from benchmark.tracks.features.featurizer import Siblings, csr
from benchmark.tracks.features.track import FeaturesTrack
from benchmark.tracks.features.trusted import FeaturesData
from tests.conftest import LANGUAGE, REVISION

D_MODEL = 32
KEYS = CellKeys("tiny", 0, 0, "layers.0")


class Signed:
    """Coordinates of an orthonormal basis as positive and negative parts: perfect reconstruction, dense."""

    n_latents = 2 * D_MODEL
    decodes = True
    below = False
    siblings: ClassVar[Siblings] = Siblings()

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


EVERY = tuple(one.name for one in family.families("features") if one.usual)
SUITE = Suite.model_validate(
    {
        "name": "known",
        "summary": "for tests",
        "subject": {"name": "tiny", "replicates": {"0": "unused"}},
        "corpus": LANGUAGE,
        "tokens": {"fit": 100, "explain": 1500, "score": 1500, "block": 64},
        "stream": {"shuffle_tokens": 100},
        "variants": ["trained"],
        "hookpoints": ["layers.0"],
        "latents": 30,
    }
)


@pytest.fixture(scope="module")
def track() -> FeaturesTrack:
    return FeaturesTrack(SUITE, Path("unused"), replay=False)


@pytest.fixture(scope="module")
def trusted(subjects: Path, tmp_path_factory: pytest.TempPathFactory, track: FeaturesTrack) -> FeaturesData:
    checkpoint = pythia.locate(str(subjects / "seed0"), REVISION)
    network = Network(pythia.load(checkpoint, torch.float32, torch.device("cpu")))
    folder = tmp_path_factory.mktemp("blocks")
    blocks = token_blocks.prepare(LANGUAGE, SUITE.tokens, pythia.tokenizer(checkpoint), "t", folder)
    decode = pythia.tokenizer(checkpoint).decode
    return track.prepare(network, blocks, decode, EVERY, folder / "spool", lambda text, done, total: None)


def score(trusted: FeaturesData, featurizer: object, families: tuple[str, ...] = EVERY) -> Scored:
    own = FeaturesTrack(SUITE, Path("unused"), replay=False)
    return own.score(trusted, featurizer, KEYS, families, lambda text, done, total: None)  # type: ignore[arg-type]


def metrics(scored: Scored) -> dict[str, Value]:
    return {name: value for told in scored.values.values() for name, value in told.items()}


def test_a_perfect_featurizer_scores_perfectly(trusted: FeaturesData) -> None:
    scored = score(trusted, Signed())
    values = {name: value.value for name, value in metrics(scored).items()}
    assert set(values) == {name for one in family.families("features") if one.usual for name in one.metrics}
    assert values["explained_variance@1"] == pytest.approx(1, abs=1e-5)
    assert values["cosine@1"] == pytest.approx(1, abs=1e-5)
    assert values["kl_score@1"] == pytest.approx(1, abs=1e-3)
    assert values["ce_spliced@1"] == pytest.approx(values["ce_clean@1"], rel=1e-4)
    assert values["l0@1"] == pytest.approx(D_MODEL, rel=1e-3)
    few = {name for one in family.families() if one.labelled or "judged" in one.needs for name in one.metrics}
    assert all(value is not None for name, value in values.items() if name not in few)
    assert all(metrics(scored)[name].reason for name in few if values[name] is None)
    assert len(scored.samples) == 30
    assert scored.samples["rate"].between(0.001, 1).all()
    assert {"token_r2@1", "causal_effect@1", "context_sensitivity@1"} <= set(scored.samples)


def test_a_dead_featurizer_has_reasons_and_no_made_up_numbers(trusted: FeaturesData) -> None:
    scored = score(trusted, Dead())
    assert metrics(scored)["dead@1"].value == 1
    assert metrics(scored)["l0@1"].value == 0
    for name in ("fvu@1", "kl_score@1", "causal_effect@1", "token_r2@1", "context_sensitivity@1", "token_entropy@2"):
        assert metrics(scored)[name].value is None
        assert metrics(scored)[name].reason
    assert len(scored.samples) == 0


def test_a_nonlinear_decoder_has_no_directions(trusted: FeaturesData) -> None:
    scored = score(trusted, Signed(nonlinear=True))
    assert metrics(scored)["causal_effect@1"].value is None
    assert "not linear" in str(metrics(scored)["causal_effect@1"].reason)
    assert metrics(scored)["explained_variance@1"].value is not None


def test_only_what_is_asked_comes_back_and_draws_do_not_depend_on_it(trusted: FeaturesData) -> None:
    alone, everything = score(trusted, Signed(), ("token_regression",)), score(trusted, Signed())
    assert list(alone.values) == ["token_regression"]
    assert metrics(alone)["token_r2@1"].value == metrics(everything)["token_r2@1"].value
    np.testing.assert_array_equal(alone.samples["latent"], everything.samples["latent"])


def test_context_sensitivity_of_what_only_knows_the_token_is_zero(trusted: FeaturesData) -> None:
    """Latents read from the token's own embedding survive any change of context."""
    embedding = trusted.network.model.get_input_embeddings().weight.detach()
    rows = torch.from_numpy(trusted.score.ids)
    swapped = torch.from_numpy(trusted.score.ids[trusted.swapped_rows])
    token_only = trusted._replace(x={"layers.0": embedding[rows]}, x_swapped={"layers.0": embedding[swapped]})
    value = metrics(score(token_only, Signed(), ("context", "token_regression")))
    assert value["context_sensitivity@1"].value == pytest.approx(0, abs=1e-6)
    assert value["token_r2@1"].value > 0.5  # type: ignore[operator]
    assert metrics(score(trusted, Signed()))["context_sensitivity@1"].value > 0.02  # type: ignore[operator]


def test_csr_drops_padding_and_keeps_values() -> None:
    latents = Latents(torch.tensor([[2.0, 0.0], [0.5, 1.0]]), torch.tensor([[3, 3], [1, 0]]))
    dense = csr(latents, 4).toarray()
    np.testing.assert_allclose(dense, np.array([[0, 0, 0, 2], [1, 0.5, 0, 0]]))
    assert csr(latents, 4).nnz == 3
    assert not math.isnan(dense.sum())
