"""Tokens per second and FVU of one training run beside the peers', step by step in turn.

All start from the same parameters, sparsify's own, and see the same activations at the same learning rate: what differs
is the engine. Ours runs once more from its own parameters, for its FVU.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from baselines.topk_sae.engines import engine
from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.method import FittedSAE
from baselines.topk_sae.training import Settings, Trainer
from tests.baselines.test_topk_sae import MANIFEST, Recorded
from tests.benchmarks.recorded import recorded

BATCH, HELD_OUT = 4_096, 8_192
OWN_START = "ours from its own start"


class Size(NamedTuple):
    """Width, latents, active latents and optimizer steps."""

    d_model: int
    n_latents: int
    k: int
    steps: int

    @property
    def rate(self) -> float:
        """The learning rate of all, constant."""
        peak: float = MANIFEST["settings"]["learning_rate"]
        return peak / math.sqrt(self.n_latents / 2**14)


class Trained(Protocol):
    """One library's training run."""

    def step(self, x: Tensor) -> None: ...

    def reconstruct(self, x: Tensor) -> Tensor: ...


class Ours:
    def __init__(self, size: Size, start: Parameters, *, own_start: bool = False) -> None:
        change = {"expansion_factor": size.n_latents // size.d_model, "k": size.k, "warmup": 0.0, "decay_from": 1.0}
        self.settings = Settings(**(MANIFEST["settings"] | change))
        self.trainer = Trainer(self.settings, Recorded(start.bias.expand(size.steps * BATCH, -1)), 0)
        if not own_start:
            copied = Parameters(*(parameter.clone() for parameter in start))
            self.trainer.engine = engine(copied, size.k, self.settings.auxk_coefficient)

    def step(self, x: Tensor) -> None:
        self.trainer.step(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        fitted = FittedSAE(self.trainer.finish(), self.settings.k)
        return fitted.decode(fitted.encode(x))


class Sparsify:
    def __init__(self, size: Size, start: Parameters) -> None:
        sparsify = pytest.importorskip("sparsify", reason="make benchmark installs the peers")
        config = sparsify.SparseCoderConfig(num_latents=size.n_latents, k=size.k)
        self.sae = sparsify.SparseCoder(size.d_model, config)
        self.sae.encoder.weight.data, self.sae.W_dec.data = start.encoder.clone(), start.decoder.clone()
        self.sae.b_dec.data = start.bias.clone()
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=size.rate)

    def step(self, x: Tensor) -> None:
        self.sae(x).fvu.backward()
        self.sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.sae.set_decoder_norm_to_unit_norm()

    def reconstruct(self, x: Tensor) -> Tensor:
        found: Tensor = self.sae(x).sae_out
        return found


class DictionaryLearning:
    def __init__(self, size: Size, start: Parameters) -> None:
        top_k = pytest.importorskip("dictionary_learning.trainers.top_k", reason="make benchmark installs the peers")
        options: dict[str, Any] = {"steps": size.steps + 2, "warmup_steps": 1, "seed": 0, "device": "cpu"}
        names = {"layer": 0, "lm_name": "recorded", "lr": size.rate}
        shape = {"activation_dim": size.d_model, "dict_size": size.n_latents, "k": size.k}
        self.trainer, self.steps = top_k.TopKTrainer(**options, **names, **shape), 0
        ae = self.trainer.ae
        ae.encoder.weight.data, ae.decoder.weight.data = start.encoder.clone(), start.decoder.T.contiguous()

    def step(self, x: Tensor) -> None:
        self.trainer.update(self.steps, x)
        self.steps += 1

    def reconstruct(self, x: Tensor) -> Tensor:
        ae = self.trainer.ae
        found: Tensor = ae.decode(ae.encode(x, use_threshold=False))
        return found


class SAELens:
    def __init__(self, size: Size, start: Parameters) -> None:
        lens = pytest.importorskip("sae_lens", reason="make benchmark installs the peers")
        self.input = pytest.importorskip("sae_lens.saes.sae").TrainStepInput
        config = lens.TopKTrainingSAEConfig(d_in=size.d_model, d_sae=size.n_latents, k=size.k, device="cpu")
        self.sae, self.steps = lens.TopKTrainingSAE(config), 0
        self.sae.W_enc.data, self.sae.W_dec.data = start.encoder.T.contiguous(), start.decoder.clone()
        self.sae.b_dec.data = start.bias.clone()
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=size.rate)

    def step(self, x: Tensor) -> None:
        named: dict[str, Any] = {"coefficients": {}, "dead_neuron_mask": None, "n_training_steps": self.steps}
        self.sae.training_forward_pass(self.input(sae_in=x, **named, is_logging_step=False)).loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.steps += 1

    def reconstruct(self, x: Tensor) -> Tensor:
        found: Tensor = self.sae(x)
        return found


LIBRARIES: dict[str, Callable[[Size, Parameters], Trained]] = {
    "ours": Ours,
    OWN_START: partial(Ours, own_start=True),
    "sparsify": Sparsify,
    "dictionary_learning": DictionaryLearning,
    "sae_lens": SAELens,
}


@pytest.mark.parametrize("size", [Size(128, 2048, 16, 40), Size(128, 8192, 32, 20), Size(512, 32768, 32, 6)], ids=str)
def test_training_beside_the_peers(size: Size, benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """At least twice as fast as the fastest peer, at an FVU no worse than its; medians of the last five steps."""
    torch.set_num_threads(2)
    x = recorded(size.d_model, (size.steps + 1) * BATCH + HELD_OUT, tmp_path)
    held_out, batches = x[:HELD_OUT], x[HELD_OUT:].split(BATCH)[: size.steps]
    start = initial(size, batches[0])
    runs = {name: made(size, start) for name, made in LIBRARIES.items()}
    seconds: dict[str, list[float]] = {name: [] for name in (*runs, "encoder matmul")}
    weight, out = torch.randn(size.n_latents, size.d_model), torch.empty(BATCH, size.n_latents)

    def matmul(x: Tensor) -> Tensor:
        return torch.mm(x, weight.T, out=out)

    for batch in batches:
        for name, run in runs.items():
            seconds[name].append(_timed(run.step, batch))
        seconds["encoder matmul"].append(_timed(matmul, batch))
    rate = {name: BATCH / statistics.median(found[-5:]) for name, found in seconds.items()}
    fvu = {name: _fvu(held_out, run) for name, run in runs.items()}
    benchmark.pedantic(runs["ours"].step, args=(batches[0],), rounds=5)
    for name, found in rate.items():
        print(f"\n{size}: {name} {found:,.0f} tokens/s" + (f", FVU {fvu[name]:.4f}" if name in fvu else ""), end="")
    benchmark.extra_info.update({"tokens_per_second": rate, "fvu": fvu})
    fastest = max(runs.keys() - {"ours", OWN_START}, key=lambda name: rate[name])
    assert rate["ours"] >= 2 * rate[fastest]
    assert fvu["ours"] <= 1.01 * fvu[fastest]
    if size.n_latents > 2048:
        assert rate["ours"] >= 0.7 * rate["encoder matmul"]


def initial(size: Size, batch: Tensor) -> Parameters:
    """Encoder as torch draws linear layers, decoder its rows at unit norm, bias the first batch's mean."""
    torch.manual_seed(0)
    encoder = torch.nn.Linear(size.d_model, size.n_latents).weight.detach()
    decoder = torch.nn.functional.normalize(encoder, dim=1)
    return Parameters(encoder, torch.zeros(size.n_latents), decoder, batch.mean(dim=0))


def _timed(call: Callable[[Tensor], object], x: Tensor) -> float:
    started = time.perf_counter()
    call(x)
    return time.perf_counter() - started


@torch.no_grad()
def _fvu(x: Tensor, run: Trained) -> float:
    return float((run.reconstruct(x) - x).square().sum() / (x - x.mean(dim=0)).square().sum())
