"""One fit of all hookpoints: its latents are asked at all of them, also when a part of its cells is computed again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from baselines.mlsae.method import MLSAE, LayerSAE
from benchmark.metrics.layers import FAMILY
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from tests.baselines.test_topk_sae import Recorded, activations
from tests.conftest import Silent

SMALL = {"expansion_factor": 4, "k": 4, "batch_size": 512}


def run(suite: Suite, store: Store, name: str) -> dict[tuple[int, str], dict[str, Any]]:
    """Values and reasons of all cells, by replicate and hookpoint."""
    method = methods.load(name)
    rows = methods.rows(method, suite.model_copy(update={"methods": {name: (SMALL,)}}))
    assert not pipeline.run(suite, [MethodRun(method, rows)], store, "none", Silent()).failed
    found = (record for record in store.selected()[0] if record.where.method == name)
    return {(one.where.replicate, one.where.place): dict(one.metrics) for one in found}


def test_layer_statistics_are_of_the_whole_fit(suite: Suite, tmp_path: Path) -> None:
    asked = ("l0@1", *FAMILY.metrics)
    assert not set(FAMILY.metrics) & set(suite.metrics), "asked where a suite names it"
    small, store = suite.model_copy(update={"variants": ("trained",), "metrics": asked}), Store(tmp_path / "runs")
    found = run(small, store, "mlsae")
    assert len(found) == 4
    for replicate in (0, 1):
        one, other = (found[replicate, place] for place in ("layers.0", "layers.1"))
        assert one["layer_variance@1"].value == other["layer_variance@1"].value
        assert 0 < one["layer_variance@1"].value < 0.25, "of two layers, a quarter at most"
    # A kill between two cells of a fit leaves one of them without a record, and what was fitted behind.
    gone = next(record for record in store.selected()[0] if record.where.place == "layers.1")
    for path in (tmp_path / "runs").rglob(f"*{gone.score_id}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert run(small, store, "mlsae") == found
    told = run(small, store, "topk_sae")
    assert {metrics["layer_variance@1"].reason for metrics in told.values()} == {
        "the latents are not one fit's of several hookpoints"
    }


def test_a_latent_is_the_same_at_every_hookpoint_and_decodes_in_its_units(tmp_path: Path) -> None:
    settings = methods.load("mlsae").manifest.settings | SMALL | {"epochs": 4}
    x = activations(8_192)
    streams = {"layers.0": Recorded(x), "layers.3": Recorded(100 * x - 7)}
    fitted = MLSAE(**settings).fit(streams, seed=0)
    one, other = fitted["layers.0"], fitted["layers.3"]
    codes = one.encode(x)
    torch.testing.assert_close(codes, other.encode(100 * x - 7), atol=1e-3, rtol=1e-3)
    for name, stream in streams.items():
        error = fitted[name].decode(fitted[name].encode(stream.x)) - stream.x
        assert float(error.square().sum() / (stream.x - stream.x.mean(dim=0)).square().sum()) < 0.5
    other.save(tmp_path)
    torch.testing.assert_close(LayerSAE.load(tmp_path).decode(codes), other.decode(codes))


@pytest.mark.parametrize(("field", "value"), [("k", 0), ("batch_size", 0), ("expansion_factor", 0)])
def test_settings_that_cannot_work_are_refused(field: str, value: int) -> None:
    with pytest.raises(ValueError, match=r"must be positive|exceeds"):
        MLSAE(**methods.load("mlsae").manifest.settings | {field: value}).check(16)
