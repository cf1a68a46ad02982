"""Speed, as ratios within one run: the worker against the same session in process, joint fits against single ones."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.topk_sae.gradients import objective
from benchmark.execution.contract import Executor
from benchmark.execution.in_process import InProcess
from benchmark.execution.local import ForkServers
from benchmark.spec.method import ROOT
from benchmark.spec.suite import Limits
from benchmark.tracks.features import remote as featurizers
from benchmark.tracks.features.remote import Job
from benchmark.tracks.features.track import FeaturesTrack
from tests.baselines.test_topk_sae import MANIFEST, dense_loss, parameters

N_TOKENS, D_MODEL, CHUNK = 65_536, 64, 8_192


def cell(executor: Executor, folder: Path) -> float:
    """Seconds of a whole cell as a worker sees it: start, open, fit, encode, decode, close."""
    started = time.perf_counter()
    worker = executor.start(
        lambda stream, number: os.open(folder / f"{number}.bin", os.O_RDONLY), folder / "log", Limits()
    )
    home, session = ROOT / "baselines" / "topk_sae", {"session": FeaturesTrack.session}
    worker.call({"op": "open", "folder": str(home), "entry": "TopKSAE", "device": "cpu", "threads": 2} | session)
    spec = {"id": "s", "d_model": D_MODEL, "n_tokens": N_TOKENS, "chunk_tokens": CHUNK, "shuffle_tokens": 16_384}
    settings = MANIFEST["settings"] | {"expansion_factor": 8, "k": 8}
    job = Job("layers.0", spec | {"seed": 1, "dtype": "float32"}, 0, settings)
    (featurizer,), _ = featurizers.fit(worker, [job], "hookpoint")
    featurizer.decode(featurizer.encode(torch.zeros(8_192, D_MODEL)))
    worker.close()
    return time.perf_counter() - started


def test_cost_of_a_cell_over_in_process(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    for number in range(N_TOKENS // CHUNK):
        values = torch.randn(CHUNK, D_MODEL, generator=generator)
        (tmp_path / f"{number}.bin").write_bytes(values.numpy().tobytes())
    forked, inside = ForkServers(), InProcess()
    cell(forked, tmp_path), cell(inside, tmp_path)
    pairs = [(cell(forked, tmp_path), cell(inside, tmp_path)) for _ in range(5)]
    benchmark.pedantic(cell, args=(forked, tmp_path), rounds=3)
    forked.close()
    extra = statistics.median(a - b for a, b in pairs)
    benchmark.extra_info["extra_ms"] = 1000 * extra
    print(f"\na worker costs {1000 * extra:.0f} ms a cell over in-process")


def median_seconds(call: Callable[[], object], rounds: int = 7) -> float:
    found = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        found.append(time.perf_counter() - started)
    return statistics.median(found)


@pytest.mark.parametrize(("d_model", "n_latents", "k"), [(128, 2048, 16), (128, 8192, 32)])
def test_sparse_gradients_against_dense_autograd(
    benchmark: BenchmarkFixture, d_model: int, n_latents: int, k: int
) -> None:
    found, none = parameters(0, d_model, n_latents), torch.zeros(0, dtype=torch.long)
    x = torch.randn(2048, d_model)
    leaves = type(found)(*(value.clone().requires_grad_() for value in found))

    def dense() -> None:
        dense_loss(leaves, x, k, none, 0.0)[1].backward()

    sparse = benchmark(lambda: objective(found, x, k, None, 0.0))
    assert sparse.fvu > 0
    ratio = median_seconds(dense) / median_seconds(lambda: objective(found, x, k, None, 0.0))
    benchmark.extra_info["times_faster"] = ratio
    print(f"\nd {d_model}, n {n_latents}, k {k}: {ratio:.1f} times as fast as dense autograd")
