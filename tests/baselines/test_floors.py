"""Floors learn what they say and nothing else, on the reference's own engine, and are hashed with what they import."""

from __future__ import annotations

import ast
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.frozen_decoder_sae.method import FrozenDecoderSAE
from baselines.frozen_encoder_sae.method import FrozenEncoderSAE
from baselines.kmeans.method import FittedCentres, KMeans
from baselines.neurons.method import Neurons
from baselines.pca.method import PCA
from baselines.permuted_decoder.method import PermutedDecoder
from baselines.random_data_points.method import RandomDataPoints
from baselines.random_directions.method import RandomDirections
from baselines.soft_frozen_decoder_sae.method import COSINE, SoftFrozenDecoderSAE
from baselines.topk_sae.method import FittedSAE, TopKSAE
from benchmark.api import Decoder, FeatureMethod, Featurizer, Latents, Persistent
from benchmark.errors import BadInput
from benchmark.spec import method as methods
from benchmark.worker.session import load_class
from tests.baselines.test_topk_sae import SMALL, Recorded, activations

WIDTH, TOKENS = 16, 6_000
SAMPLED = {"expansion_factor": 4, "k": 4, "sample_tokens": 4096}
SETTINGS: dict[str, dict[str, Any]] = {
    "random_directions": SAMPLED,
    "random_data_points": SAMPLED,
    "neurons": SAMPLED | {"expansion_factor": 2},
    "pca": SAMPLED | {"expansion_factor": 2},
    "kmeans": SAMPLED | {"k": 1, "batch_size": 1024, "epochs": 5},
    "permuted_decoder": SMALL,
    "frozen_decoder_sae": SMALL,
    "frozen_encoder_sae": SMALL,
    "soft_frozen_decoder_sae": SMALL,
}
HELD = (FrozenDecoderSAE, FrozenEncoderSAE, SoftFrozenDecoderSAE)


def fitted(name: str, x: Tensor, seed: int = 0) -> Any:
    entry = load_class(methods.HOMES[0] / name, methods.load(name).manifest.entry)
    method: FeatureMethod = entry(**SETTINGS[name])
    return method.fit(Recorded(x), seed=seed)


def fvu(featurizer: Any, x: Tensor) -> float:
    return float((x - featurizer.decode(featurizer.encode(x))).square().sum() / (x - x.mean(0)).square().sum())


def test_all_floors_are_known() -> None:
    found = {name: use for name, use in methods.floors().items() if methods.load(name).manifest.track == "features"}
    assert set(found) == set(SETTINGS)
    assert [name for name, use in found.items() if use == "decoder"] == ["permuted_decoder"]


@pytest.mark.parametrize("name", SETTINGS)
def test_contract(name: str, tmp_path: Path) -> None:
    x = activations(TOKENS)
    one, again, other = (fitted(name, x, seed) for seed in (3, 3, 4))
    for kind in (Featurizer, Decoder, Persistent):
        assert isinstance(one, kind)
    codes = one.encode(x[:500])
    assert (codes.values >= 0).all()
    assert codes.values.isfinite().all()
    assert 0 <= int(codes.indices.min()) <= int(codes.indices.max()) < one.n_latents
    assert one.n_latents == SETTINGS[name]["expansion_factor"] * WIDTH
    assert ((codes.values > 0).sum(dim=1) <= SETTINGS[name]["k"]).all()
    assert 0 < fvu(one, x) < (20 if name == "permuted_decoder" else 1)
    assert torch.equal(again.encode(x[:500]).values, codes.values)
    if name not in ("neurons", "pca"):
        assert not torch.equal(other.decode(codes), one.decode(codes))
    one.save(tmp_path)
    loaded = type(one).load(tmp_path)
    assert torch.equal(loaded.encode(x[:500]).indices, codes.indices)
    assert torch.equal(loaded.decode(codes), one.decode(codes))
    nothing = Latents(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long))
    twice = one.decode(Latents(2 * codes.values, codes.indices)) - one.decode(nothing)
    torch.testing.assert_close(twice, 2 * (one.decode(codes) - one.decode(nothing)), rtol=1e-4, atol=1e-4)


def test_the_sample_is_what_is_seen_and_pca_is_of_it() -> None:
    x = activations(TOKENS) * torch.linspace(3, 0.1, WIDTH)
    found: FittedSAE = PCA(**(SETTINGS["pca"] | {"expansion_factor": 1})).fit(Recorded(x), seed=0)
    centred = (x[:4096] - x[:4096].mean(0)).double()
    values = ((found.parameters.decoder.double() @ centred.T) ** 2).sum(dim=1)
    expected = torch.linalg.svdvals(centred)[: WIDTH // 2] ** 2
    torch.testing.assert_close(values, torch.cat([expected, expected]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.parameters.bias, x[:4096].mean(0))


def test_directions_are_what_their_names_say() -> None:
    x = activations(TOKENS)
    points = RandomDataPoints(**SAMPLED).fit(Recorded(x), seed=0).parameters.decoder
    unit = torch.nn.functional.normalize(x[:4096] - x[:4096].mean(0), dim=1)
    nearest = (points @ unit.T).max(dim=1)
    torch.testing.assert_close(nearest.values, torch.ones(len(points)))
    assert len(set(nearest.indices.tolist())) == len(points)
    few = RandomDataPoints(**(SAMPLED | {"sample_tokens": 40})).fit(Recorded(x), seed=0)
    assert few.n_latents == 64
    own = Neurons(**SETTINGS["neurons"]).fit(Recorded(x), seed=0).parameters.decoder
    assert torch.equal(own, torch.cat([torch.eye(WIDTH), -torch.eye(WIDTH)]))
    drawn = [RandomDirections(**SAMPLED).fit(Recorded(one), seed=0).parameters.decoder for one in (x, 5 * x + 1)]
    assert torch.equal(*drawn), "whatever the activations are"


def test_centres_are_hard() -> None:
    means = torch.randn(64, WIDTH, generator=torch.Generator().manual_seed(0)) * 10
    which = torch.randint(64, (TOKENS,), generator=torch.Generator().manual_seed(1))
    x = means[which] + 0.1 * torch.randn(TOKENS, WIDTH, generator=torch.Generator().manual_seed(2))
    found: FittedCentres = KMeans(**SETTINGS["kmeans"]).fit(Recorded(x), seed=0)
    codes = found.encode(x)
    assert set(codes.values.flatten().tolist()) == {1.0}
    distances = torch.cdist(x, found.centres)
    assert torch.equal(codes.indices[:, 0], distances.argmin(dim=1))
    torch.testing.assert_close(found.decode(codes), found.centres[codes.indices[:, 0]], rtol=1e-4, atol=1e-4)
    assert fvu(found, x) < 0.3
    with pytest.raises(ValueError, match="fewer than the 64 centres"):
        KMeans(**SETTINGS["kmeans"]).fit(Recorded(x[:50]), seed=0)


def start_of(x: Tensor, seed: int) -> Tensor:
    """The decoder that every SAE of this seed starts as."""
    settings = SMALL | {"learning_rate": 1e-30}
    return TopKSAE(**settings).fit(Recorded(x), seed=seed).parameters.decoder


@pytest.mark.parametrize("method", HELD)
def test_what_is_frozen_stays_and_the_rest_is_learned(method: type[TopKSAE]) -> None:
    x = activations(40_000)
    start, learned = start_of(x, 5), method(**SMALL).fit(Recorded(x), seed=5).parameters
    free = TopKSAE(**SMALL).fit(Recorded(x), seed=5).parameters
    decoder, encoder = (
        torch.nn.functional.cosine_similarity(rows, start) for rows in (learned.decoder, learned.encoder)
    )
    assert (torch.nn.functional.cosine_similarity(free.decoder, start) < COSINE).any(), "training goes farther"
    torch.testing.assert_close(learned.decoder.norm(dim=1), torch.ones(len(start)))
    if method is FrozenDecoderSAE:
        torch.testing.assert_close(learned.decoder, start)
        assert float(encoder.min()) < 0.99
    elif method is FrozenEncoderSAE:
        torch.testing.assert_close(encoder, torch.ones(len(start)))
        assert float(learned.encoder.norm(dim=1).std()) > 1e-3
        assert float(decoder.min()) < 0.99
    else:
        assert float(decoder.min()) == pytest.approx(COSINE, abs=1e-5)
        assert 0.01 < float((decoder < COSINE + 1e-4).float().mean()) < 1


def test_fidelity_is_in_the_order_of_what_is_learned() -> None:
    x = activations(40_000)
    found = {method: fvu(method(**SMALL).fit(Recorded(x), seed=0), x) for method in (TopKSAE, *HELD, PermutedDecoder)}
    drawn = fvu(RandomDirections(**SAMPLED).fit(Recorded(x), seed=0), x)
    assert found[TopKSAE] < found[SoftFrozenDecoderSAE] < found[FrozenDecoderSAE] < drawn
    assert found[TopKSAE] < found[FrozenEncoderSAE] < drawn
    assert found[PermutedDecoder] > 1


def test_a_permuted_decoder_has_the_references_codes_and_rows() -> None:
    x = activations(TOKENS)
    reference, permuted = (method(**SMALL).fit(Recorded(x), seed=2) for method in (TopKSAE, PermutedDecoder))
    assert torch.equal(reference.encode(x).values, permuted.encode(x).values)
    one, other = reference.parameters.decoder, permuted.parameters.decoder
    assert not torch.equal(one, other)
    assert sorted(map(tuple, one.tolist())) == sorted(map(tuple, other.tolist()))


@pytest.mark.parametrize(
    ("name", "change", "word"),
    [
        ("neurons", {"expansion_factor": 4}, "must be 2"),
        ("pca", {"expansion_factor": 3}, "at most 2"),
        ("kmeans", {"k": 16}, "one nearest centre"),
        ("kmeans", {"sample_tokens": 10}, "n_latents = 64"),
        ("random_directions", {"k": 65}, "exceeds n_latents = 64"),
        ("frozen_decoder_sae", {"k": 65}, "exceeds n_latents = 64"),
    ],
)
def test_settings_that_cannot_work_are_refused(name: str, change: dict[str, Any], word: str) -> None:
    entry = load_class(methods.HOMES[0] / name, methods.load(name).manifest.entry)
    with pytest.raises(ValueError, match=word):
        entry(**(SETTINGS[name] | change)).check(WIDTH)
    entry(**SETTINGS[name]).check(WIDTH)


def test_floors_on_the_references_engine_have_its_settings() -> None:
    reference = methods.load("topk_sae").manifest.settings
    for method in (*HELD, PermutedDecoder):
        name = method.__module__.split(".")[1]
        assert methods.load(name).manifest.settings == reference, name
    assert {methods.load(name).manifest.settings["k"] for name in SETTINGS} == {reference["k"], 1}


@pytest.mark.parametrize("name", methods.names(methods.HOMES[:1]))
def test_what_is_imported_is_hashed(name: str) -> None:
    folder, wanted = methods.HOMES[0] / name, set()
    queue = [folder]
    while queue:
        for file in queue.pop().glob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("baselines."):
                    used = (node.module or "").split(".")[1]
                    queue += [methods.HOMES[0] / used] if used not in wanted else []
                    wanted.add(used)
    assert set(methods.load(name).manifest.uses) == wanted


def test_a_change_of_what_is_used_is_a_change_of_the_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "baselines"
    shutil.copytree(methods.HOMES[0], home)
    monkeypatch.setattr(methods, "HOMES", (home, tmp_path / "submissions"))
    homes = methods.HOMES
    every = {name: methods.load(name, homes) for name in methods.names(homes)}
    before = {name: one.code_hash for name, one in every.items() if one.manifest.track == "features"}
    (home / "topk_sae" / "gradients.py").write_text("# another\n" + (home / "topk_sae" / "gradients.py").read_text())
    assert not [name for name in before if methods.load(name, homes).code_hash == before[name]]


@pytest.mark.parametrize(("line", "word"), [("floor = true", "baselines/ alone"), ('uses = ["topk"]', "topk_sae")])
def test_manifests_that_a_submission_may_not_have(tmp_path: Path, line: str, word: str) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    text = f'track = "features"\nentry = "Mine"\nsummary = "mine"\n{line}\n'
    assert tomllib.loads(text)
    (folder / "method.toml").write_text(text)
    (folder / "method.py").write_text("class Mine: ...\n")
    with pytest.raises(BadInput, match=word):
        methods.load(str(folder))


def test_a_baselines_name_is_taken(tmp_path: Path) -> None:
    """A folder elsewhere that is called like a floor, or like the reference, is not run under that name."""
    for name in ("random_directions", "topk_sae"):
        shutil.copytree(methods.HOMES[0] / name, tmp_path / name)
        with pytest.raises(BadInput, match="is a baseline, and its results would be taken"):
            methods.load(str(tmp_path / name))
    shutil.copytree(methods.HOMES[0] / "topk_sae", tmp_path / "mine")
    assert methods.load(str(tmp_path / "mine")).name == "mine"


def test_imports_of_baselines_are_said(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    manifest = 'track = "features"\nentry = "Mine"\nsummary = "mine"\n'
    (folder / "method.toml").write_text(manifest)
    (folder / "method.py").write_text("from baselines.topk_sae.method import TopKSAE as Mine\n")
    with pytest.raises(BadInput, match=r'write uses = \["topk_sae"\]'):
        methods.load(str(folder))
    (folder / "method.toml").write_text(manifest + 'uses = ["topk_sae"]\n')
    assert methods.load(str(folder)).manifest.uses == ("topk_sae",)
