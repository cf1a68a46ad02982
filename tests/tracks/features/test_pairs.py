"""Methods of pairs: they encode the stream one block below what they decode to, in fits and in every score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from baselines.topk_sae.gradients import Parameters
from baselines.transcoder.method import Transcoder
from benchmark.commands.shared import chosen_methods
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
from benchmark.tracks.features import remote
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
        return Fitted(torch.linalg.lstsq(torch.cat([x, ones], dim=1), y).solution.float().contiguous())

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

    load = staticmethod(Line.load)
'''


def run_of(folder: Path) -> MethodRun:
    home = folder / "line"
    home.mkdir()
    (home / "method.py").write_text(LEAST_SQUARES)
    (home / "method.toml").write_text('track = "features"\nentry = "Line"\nsummary = "a line"\nscope = "pair"\n')
    return MethodRun(methods.load("line", (folder,)), [RunSettings("default", {})])


class Expected(NamedTuple):
    """Of the least squares from layers.0 to layers.1 on the fit split: explained variance on the score split, the same
    for who encodes layers.1 itself, and the relative error at first tokens.
    """

    explained: float
    mistaken: float
    first_error: float


def expected(suite: Suite, runs: Path) -> Expected:
    subject = subjects.resolve(suite.subject, [Variant("trained")], runs / "subjects", download=False)
    blocks = token_blocks.prepare(
        suite.corpus, suite.tokens, subject.tokenizer(), subject.tokenizer_hash, runs / "blocks"
    )
    network, _ = subject.network(0, Variant("trained"))
    (x, y), _ = activations.collect(network, blocks["fit"], "fit", [0, 1])
    (to_x, to_y), (first_x, first_y) = activations.collect(network, blocks["score"], "score", [0, 1])
    inputs, mistaken, first = (np.c_[part.double().numpy(), np.ones(len(part))] for part in (to_x, to_y, first_x))
    fitted = np.c_[x[: suite.tokens.fit].double().numpy(), np.ones(suite.tokens.fit)]
    weight = np.linalg.lstsq(fitted, y[: suite.tokens.fit].double().numpy(), rcond=None)[0]
    target, first_target = to_y.double().numpy(), first_y.double().numpy()

    def explained(seen: Any) -> float:
        return float(1 - ((seen @ weight - target) ** 2).sum() / ((target - target.mean(axis=0)) ** 2).sum())

    error = ((first @ weight - first_target) ** 2).sum() / (first_target**2).sum()
    return Expected(explained(inputs), explained(mistaken), float(error))


def test_a_pair_is_the_stream_below_and_the_stream_at_the_hookpoint(
    suite: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Aligned token by token in the fit, in scores, and when what was fitted is loaded for another family."""
    small, one = suite.model_copy(update={"variants": ("trained",), "hookpoints": ("layers.1",)}), run_of(tmp_path)
    store, names = Store(tmp_path / "runs"), ("explained_variance@1", "context_sensitivity@1", "recovered_variance@1")
    found = {}
    for asked in (("l0@1", "context_sensitivity@1"), ("l0@1", *names)):
        outcome = pipeline.run(small.model_copy(update={"metrics": asked}), [one], store, "none", Silent())
        assert [record.error for record in outcome.failed] == []
        (found[len(asked)], *_) = (each for each in store.selected()[0] if each.where.replicate == 0)
        monkeypatch.setattr(remote, "fit", lambda *unused: pytest.fail("what was fitted is there"))
    line, loaded = expected(small, store.root), found[4]
    assert abs(line.explained - line.mistaken) > 2e-3
    assert loaded.metrics["explained_variance@1"].value == pytest.approx(line.explained, abs=1e-4)
    assert loaded.counts["first_token_relative_error"] == pytest.approx(line.first_error, rel=1e-2)
    assert found[2].counts["first_token_relative_error"] == pytest.approx(line.first_error, rel=1e-2)
    assert loaded.metrics["context_sensitivity@1"] == found[2].metrics["context_sensitivity@1"]
    # The harness's own ridge from the same codes, fitted on the explain split, predicts the hookpoint about as well.
    assert loaded.metrics["recovered_variance@1"].value == pytest.approx(line.explained, abs=0.05)


def test_a_pair_needs_a_block_below(suite: Suite, tmp_path: Path) -> None:
    small = suite.model_copy(update={"variants": ("trained",), "metrics": ("l0@1",)})
    assert "layers.0" in small.hookpoints
    with pytest.raises(BadInput, match="reads the block below: there is none"):
        pipeline.run(small, [run_of(tmp_path)], Store(tmp_path / "runs"), "none", Silent())


def test_all_leaves_out_what_a_suite_cannot_ask_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    _, runs = chosen_methods(["all"], "layers", None, None)
    assert {"topk_sae", "mlsae"} <= {one.method.name for one in runs}
    assert "transcoder" not in {one.method.name for one in runs}
    assert "all but transcoder: suite layers asks at layers.0" in " ".join(capsys.readouterr().out.split())
    _, named = chosen_methods(["transcoder"], "layers", None, None)
    assert [one.method.name for one in named] == ["transcoder"], "who is named is refused by the plan, with the reason"


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
