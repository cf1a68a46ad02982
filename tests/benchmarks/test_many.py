"""Cost of several SAEs from one stream against the first alone: over hookpoints, and over seeds at one of them."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.topk_sae.method import TopKSAE
from benchmark.api import FitJob
from benchmark.data import blocks
from benchmark.forward.activations import CHUNK_TOKENS, ChunkStore
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.models.network import Network
from benchmark.spec.suite import Corpus, StreamSettings, TokenBudget
from benchmark.worker.stream import ChunkedStream
from tests.baselines.test_topk_sae import MANIFEST
from tests.benchmarks.recorded import SOURCE, subject

N_TOKENS, ROUNDS = 65_536, 5
SETTINGS = MANIFEST["settings"] | {"expansion_factor": 4}
HOOKPOINTS = [((1,), 1), ((1, 2), 1), ((0, 1, 2, 3), 1)]
SEEDS = [((1,), 1), ((1,), 2), ((1,), 4)]


@pytest.mark.parametrize("shapes", [HOOKPOINTS, SEEDS], ids=["hookpoints", "seeds"])
def test_many_at_once_cost_less_than_their_sum(
    shapes: list[tuple[tuple[int, ...], int]], benchmark: BenchmarkFixture, tmp_path: Path
) -> None:
    """The subject's forward is shared; medians of runs that take turns."""
    torch.set_num_threads(2)
    checkpoint = builtin.checkpoint(SOURCE)
    found = blocks.prepare(
        Corpus(source="built-in:world:1"),
        TokenBudget(fit=N_TOKENS, explain=1_000, score=1_000, block=256),
        pythia.tokenizer(checkpoint),
        pythia.tokenizer_fingerprint(checkpoint),
        tmp_path / "blocks",
    )["fit"]
    network, seconds = Network(subject(128)), [[] for _ in shapes]  # type: tuple[Network, list[list[float]]]
    for _ in range(ROUNDS):
        for place, (layers, seeds) in enumerate(shapes):
            started = time.perf_counter()
            fit(network, found, layers, seeds, tmp_path / "spool")
            seconds[place].append(time.perf_counter() - started)
    benchmark.pedantic(fit, args=(network, found, *shapes[0], tmp_path / "spool"), rounds=1)
    cost = [statistics.median(one) / statistics.median(seconds[0]) for one in seconds]
    benchmark.extra_info["cost"] = cost
    for (layers, seeds), times in zip(shapes, cost, strict=True):
        count = len(layers) * seeds
        print(f"\n{len(layers)} hookpoints, {seeds} seeds: {times:.2f} times one SAE's cost", end="")
        assert count == 1 or times < 0.9 * count


def fit(network: Network, found: blocks.Blocks, layers: Sequence[int], seeds: int, folder: Path) -> None:
    """Train an SAE per layer and seed from one forward."""
    spool = ChunkStore(folder, network, found, layers, n_tokens=N_TOKENS, stream=StreamSettings(shuffle_tokens=16_384))
    shape = {"d_model": network.d_model, "n_tokens": N_TOKENS, "chunk_tokens": CHUNK_TOKENS}
    spec = shape | {"shuffle_tokens": 16_384, "seed": 0, "dtype": "float32"}

    def opened(layer: int, number: int) -> int:
        return os.open(spool.chunk(layer, number), os.O_RDONLY)

    streams = [ChunkedStream(spec, partial(opened, layer), network.device) for layer in layers]
    jobs = [FitJob(stream, seed, SETTINGS) for stream in streams for seed in range(seeds)]
    assert len(TopKSAE(**SETTINGS).fit_many(jobs)) == len(layers) * seeds
    spool.close()
