"""Parts of a run, each alone, for `make benchmark-compare`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.topk_sae import engines
from baselines.topk_sae.training import Settings, Trainer
from benchmark import registry
from benchmark.stats.null_gap import gaps_of, verdict
from tests.baselines.test_topk_sae import MANIFEST, Recorded, parameters
from tests.benchmarks.recorded import recorded
from tests.metrics import frozen

ROOT = Path(__file__).parents[2]
SIZES = pytest.mark.parametrize(("n_latents", "k"), [(512, 16), (2048, 16), (8192, 32)])


@SIZES
def test_training_step(benchmark: BenchmarkFixture, n_latents: int, k: int) -> None:
    x = torch.randn(1_024, 128)
    settings = MANIFEST["settings"] | {"expansion_factor": n_latents // 128, "k": k}
    trainer = Trainer(Settings(**settings), Recorded(x.repeat(100, 1)), 0)
    assert benchmark(trainer.step, x).isfinite()


@SIZES
def test_encode(benchmark: BenchmarkFixture, n_latents: int, k: int) -> None:
    found, x = parameters(0, 128, n_latents), torch.randn(8_192, 128)
    assert benchmark(engines.encode, found, x, k).values.shape == (8_192, k)


def test_streaming_32k_activations(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """Of the built-in subject's middle layer, from blocks that are already there."""
    recorded(128, 32_768, tmp_path)
    assert len(benchmark.pedantic(recorded, args=(128, 32_768, tmp_path), rounds=5)) >= 32_768


def test_every_metric_once(benchmark: BenchmarkFixture) -> None:
    """All scorers, judges and metrics on the made-up activations of the frozen fixtures."""
    assert benchmark.pedantic(frozen.values, rounds=3)


def test_verdict_of_a_row(benchmark: BenchmarkFixture) -> None:
    rng = np.random.default_rng(0)
    d = {null: rng.normal(0.05, 0.01, 8) for null in registry.NULLS}

    def row() -> object:
        gaps = gaps_of(d)
        assert gaps is not None
        return verdict(d, gaps, delta=0.01)

    assert benchmark(row)


def test_the_whole_smoke_suite(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "topk_sae", "--suite", "smoke", "--runs", str(tmp_path)]
    benchmark.pedantic(subprocess.run, args=(command,), kwargs={"cwd": ROOT, "check": True}, rounds=1)
