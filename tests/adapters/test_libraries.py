"""Wrapped libraries, in their own environments: trained by their trainers, and the same as what the library makes."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w

from benchmark.checks import featurizers, fits, loaded
from benchmark.checks.conformance import Refused
from benchmark.execution import environments
from benchmark.execution.contract import MethodError
from benchmark.run import pretrained
from benchmark.run.exchange import take
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import RunSettings
from benchmark.store import Store
from tests.conftest import Silent

WRAPPED = sorted(name for name in methods.names(methods.HOMES[1:]) if methods.load(name).requirements)
FEATURIZERS = {"sae_lens": "SAELensFeaturizer", "sparsify": "SparsifyFeaturizer"}
ASKED = ("ids in range", "any batch", "wraps", "save and load", "more latents than tokens")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments of this module: libraries come from the package registry."""
    return tmp_path_factory.mktemp("environments")


def test_the_libraries_stand_in_submissions() -> None:
    assert {"saelens_topk", "sparsify_topk", "dictionary_learning_batch_topk"} <= set(WRAPPED)
    for name in WRAPPED:
        assert len((methods.load(name).folder / "method.py").read_text().splitlines()) <= 30


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_library_answers_as_the_library_does(
    name: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(featurizers, "subject", lambda store, reporter, scope: fits.made_up(32, 8_192))
    method = methods.load(name)
    few = {"expansion_factor": 4, "batch_size": 256}
    environment = environments.prepare(method, home)
    run = MethodRun(method, [RunSettings("small", method.manifest.settings | few)], environment)
    asked = []
    with featurizers.questions(run, Store(tmp_path), Silent()) as questions:
        for said, ask in questions:
            if any(word in said for word in ASKED):
                ask()
                asked.append(said)
    assert len(asked) == len(ASKED)


def test_a_scale_that_decode_cannot_know_is_refused(home: Path, tmp_path: Path) -> None:
    """SAELens divides by each token's norm and keeps it for the next decode: codes alone do not say it."""
    method = methods.load("saelens_topk")
    environment = environments.prepare(method, home)
    settings = method.manifest.settings | {"normalize_activations": "constant_norm_rescale"}
    run = MethodRun(method, [RunSettings("scaled", settings)], environment)
    bench = fits.Bench(run, tmp_path, fits.made_up(32, 2_048), tmp_path / "log")
    with pytest.raises(MethodError, match="decode gets codes alone"):
        bench.fit(bench.subject)
    bench.close()


@pytest.mark.parametrize(("name", "loads"), [("saelens_topk", "sae_lens"), ("sparsify_topk", "sparsify")])
def test_what_a_library_has_saved_is_loaded_as_trained_elsewhere(
    name: str, loads: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the library's own format, with its metadata: saved by one process, loaded by another."""
    fitted, x = methods.load(name), fits.made_up(32, 4_096)
    settings = fitted.manifest.settings | {"expansion_factor": 4, "batch_size": 128, "epochs": 10}
    run = MethodRun(fitted, [RunSettings("small", settings)], environments.prepare(fitted, home))
    (tmp_path / "bench").mkdir()
    bench = fits.Bench(run, tmp_path / "bench", x, tmp_path / "log")
    weights = tmp_path / "elsewhere" / "weights" / "sae"
    exchange = bench.first.worker.exchange()
    bench.first.featurizer.save(exchange)
    take(exchange, weights, 2**30)
    bench.close()
    assert pretrained.told(weights).d_model == 32

    adapter = f"from benchmark.adapters.{loads} import {FEATURIZERS[loads]} as Adapter\n"
    (weights.parents[1] / "method.py").write_text(f"{adapter}\n\nclass Elsewhere:\n    load = Adapter.load\n")
    manifest = {"track": "features", "entry": "Elsewhere", "summary": "loaded", "uses": [f"adapters.{loads}"]}
    there = {"built-in:pythia-mini/seed0": {"layers.1": "weights/sae", "layers.2": "weights/sae"}}
    (weights.parents[1] / "method.toml").write_text(tomli_w.dumps(manifest | {"pretrained": there}))
    (weights.parents[1] / "requirements.txt").write_text("\n".join(fitted.requirements))
    streams = {"layers.1": x.asked, "layers.2": x.asked + 1}
    monkeypatch.setattr(loaded, "activations_of", lambda store, reporter, network, revision: streams)
    method = methods.load(str(weights.parents[1]))
    run = MethodRun(method, [RunSettings("pretrained", {})], environments.prepare(method, home))
    with loaded.questions(run, Store(tmp_path), Silent()) as questions:
        (_, sound), (_, wrong) = questions
        assert "values and reconstructions are the library's" in str(sound())
        with pytest.raises(Refused, match=r"of layers\.2 unexplained, and least of layers\.1"):
            wrong()
