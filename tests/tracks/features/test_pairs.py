"""Methods of pairs: they encode the stream one block below what they decode to, in fits and in every score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from baselines.topk_sae.gradients import Parameters
from baselines.transcoder.method import Transcoder
from benchmark.data import blocks as token_blocks
from benchmark.errors import BadInput
from benchmark.forward import activations
from benchmark.models import subjects
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.method import RunSettings
from benchmark.spec.suite import Suite
from benchmark.spec.variant import Variant
from benchmark.store import Store
from tests.conftest import Silent

LEAST_SQUARES = '''
import json
import torch
from safetensors.torch import load_file, save_file
from benchmark.api import Latents

class Line:
    """Targets from inputs by least squares, both orders of codes: signed coordinates of the inputs."""

    def fit(self, activations, *, seed):
        x, y = (torch.cat(part).double() for part in zip(*activations.batches(1000)))
        ones = torch.ones(len(x), 1, dtype=torch.double)
        return Fitted(torch.linalg.lstsq(torch.cat([x, ones], dim=1), y).solution.float())

    @staticmethod
    def load(folder):
        return Fitted(load_file(folder / "line.safetensors")["weight"])

class Fitted:
    def __init__(self, weight):
        self.weight, self.n_latents = weight, 2 * (len(weight) - 1)

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents):
        dense = torch.zeros(len(latents.values), self.n_latents).scatter_add(1, latents.indices, latents.values)
        half = self.n_latents // 2
        return (dense[:, :half] - dense[:, half:]) @ self.weight[:-1] + self.weight[-1]

    def save(self, folder):
        save_file({"weight": self.weight}, folder / "line.safetensors")
'''


def run_of(folder: Path) -> MethodRun:
    home = folder / "line"
    home.mkdir()
    (home / "method.py").write_text(LEAST_SQUARES)
    (home / "method.toml").write_text('track = "features"\nentry = "Line"\nsummary = "a line"\nscope = "pair"\n')
    return MethodRun(methods.load("line", (folder,)), [RunSettings("default", {})])


def expected(suite: Suite, runs: Path) -> float:
    """Explained variance of layers.1 on the score split by the least squares of layers.0 on the fit split."""
    subject = subjects.resolve(suite.subject, [Variant("trained")], runs / "subjects", download=False)
    blocks = token_blocks.prepare(
        suite.corpus, suite.tokens, subject.tokenizer(), subject.tokenizer_hash, runs / "blocks"
    )
    network, _ = subject.network(0, Variant("trained"))
    (x, y), _ = activations.collect(network, blocks["fit"], "fit", [0, 1])
    (to_x, to_y), _ = activations.collect(network, blocks["score"], "score", [0, 1])
    a, b = (np.c_[part.double().numpy(), np.ones(len(part))] for part in (x[: suite.tokens.fit], to_x))
    weight = np.linalg.lstsq(a, y[: suite.tokens.fit].double().numpy(), rcond=None)[0]
    target = to_y.double().numpy()
    return float(1 - ((b @ weight - target) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum())


def test_a_pair_is_the_stream_below_and_the_stream_at_the_hookpoint(suite: Suite, tmp_path: Path) -> None:
    """Aligned token by token in the fit, in scores, and once more when what was fitted is loaded for another family."""
    metrics = ("explained_variance@1", "context_sensitivity@1", "recovered_variance@1")
    asked = {"variants": ("trained",), "hookpoints": ("layers.1",), "metrics": metrics[:2]}
    small, one = suite.model_copy(update=asked), run_of(tmp_path)
    store = Store(tmp_path / "runs")
    pipeline.run(small, [one], store, "none", Silent())
    more = small.model_copy(update={"metrics": metrics})
    outcome = pipeline.run(more, [one], store, "none", Silent())
    assert not outcome.failed
    (record, *_) = (each for each in store.selected()[0] if each.where.replicate == 0)
    found = {name: record.metrics[name].value for name in metrics}
    line = expected(small, store.root)
    assert 0.2 < line < 0.999
    assert found["explained_variance@1"] == pytest.approx(line, abs=1e-3)
    assert found["context_sensitivity@1"] is not None
    # The harness's own ridge from the same codes, fitted on the explain split, predicts the hookpoint about as well.
    assert found["recovered_variance@1"] == pytest.approx(line, abs=0.05)


def test_a_pair_needs_a_block_below(suite: Suite, tmp_path: Path) -> None:
    small = suite.model_copy(update={"variants": ("trained",), "metrics": ("l0@1",)})
    assert "layers.0" in small.hookpoints
    with pytest.raises(BadInput, match="reads the block below: there is none"):
        pipeline.run(small, [run_of(tmp_path)], Store(tmp_path / "runs"), "none", Silent())


class Pairs:
    """Targets are a fixed mixing of what makes the inputs."""

    d_model, n_tokens, device = 16, 20_000, torch.device("cpu")

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        codes = torch.rand(self.n_tokens, 24, generator=generator)
        codes = torch.where(codes > 0.92, codes, 0)
        self.x = 3 * codes @ torch.randn(24, 16, generator=generator) + 5
        self.y = 0.1 * codes @ torch.randn(24, 16, generator=generator) - 2

    def batches(self, size: int, *, epochs: int = 1) -> Any:
        for _ in range(epochs):
            yield from zip(self.x.split(size), self.y.split(size), strict=True)


def test_the_transcoder_learns_what_a_line_through_the_same_latents_cannot_undo() -> None:
    """Far better than the mean of the targets, in units that are not the inputs'; the same for the same seed."""
    manifest = methods.load("transcoder").manifest
    settings = manifest.settings | {"expansion_factor": 4, "k": 4, "batch_size": 128, "epochs": 4}
    pairs = Pairs()
    fitted, again = (Transcoder(**settings).fit(pairs, seed=0) for _ in range(2))
    error = fitted.decode(fitted.encode(pairs.x)) - pairs.y
    fvu = float(error.square().sum() / (pairs.y - pairs.y.mean(dim=0)).square().sum())
    assert fvu < 0.2
    assert all(torch.equal(one, other) for one, other in zip(fitted.parameters, again.parameters, strict=True))
    assert isinstance(fitted.parameters, Parameters)
    torch.testing.assert_close(fitted.parameters.decoder.norm(dim=1), torch.ones(64))
