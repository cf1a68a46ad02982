"""A method that knows the networks by heart, and one that does not need to see where coordinates lie."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
import torch
from typer.testing import CliRunner

from benchmark.__main__ import app
from benchmark.forward.frame import LARGEST, Frame
from benchmark.records import Record
from benchmark.spec import method as methods
from benchmark.store import Store

SUBSPACE = """
import torch

from benchmark.api import Latents


class Subspace:
    def fit(self, activations, *, seed):
        x = torch.cat(list(activations.batches(8192)))
        self.mean, self.n_latents = x.mean(dim=0), 2 * activations.d_model
        _, _, axes = torch.linalg.svd((x - self.mean).double(), full_matrices=False)
        # Signs by skewness, which a rotation leaves as it is.
        axes = axes * ((x - self.mean).double() @ axes.T).pow(3).mean(dim=0).sign()[:, None]
        self.rows = torch.cat([axes, -axes]).float()
        self.seen = x[:4].tolist()
        return self

    def encode(self, x):
        values, indices = ((x - self.mean) @ self.rows.T).clamp(min=0).topk(8, dim=1)
        return Latents(values, indices)

    def decode(self, latents):
        return self.mean + (latents.values[:, :, None] * self.rows[latents.indices]).sum(dim=1)
"""
BY_HEART = """
import json
from pathlib import Path

import torch

from benchmark.api import Latents

REPORT = Path(__file__).with_name("report.jsonl")


class ByHeart:
    def fit(self, activations, *, seed):
        x = torch.cat(list(activations.batches(8192)))
        known = x.mean(dim=0) / x.std()
        with REPORT.open("a") as file:
            file.write(json.dumps([known.tolist(), float(x.norm(dim=1).mean())]) + "\\n")
        self.n_latents = 2 * activations.d_model
        return self

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(2 * x.shape[1]).expand(len(x), -1))
"""
SALT = ("--salt", "unknown")
runner = CliRunner()


def method(folder: Path, text: str, entry: str, **said: object) -> Path:
    folder.mkdir()
    (folder / "method.py").write_text(text)
    manifest = {"track": "features", "entry": entry, "summary": "looks", **said}
    (folder / "method.toml").write_text(tomli_w.dumps(manifest))
    return folder


def run(tiny: dict[str, Any], folder: Path, runs: Path, *options: str) -> dict[tuple[str, int, str], Record]:
    suite = runs.with_suffix(".toml")
    suite.write_text(tomli_w.dumps(tiny | {"hookpoints": ["layers.1"], "methods": {}}))
    given = ["run", str(folder), "--suite", str(suite), "--runs", str(runs), "--isolation", "process", *options]
    found = runner.invoke(app, given)
    assert found.exit_code == 0, found.output
    records = Store(runs).selected()[0]
    return {(one.where.variant, one.where.replicate, one.where.place): one for one in records}


def test_a_frame_keeps_angles_and_undoes_itself() -> None:
    frame = Frame.drawn(np.random.Generator(np.random.PCG64(0)), 16)
    x = torch.randn(32, 16, generator=torch.Generator().manual_seed(0))
    hidden = frame.hide(x)
    torch.testing.assert_close(hidden @ hidden.T, frame.scale**2 * x @ x.T, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(frame.show(hidden), x, atol=1e-5, rtol=1e-5)
    assert 1 / LARGEST <= frame.scale <= LARGEST
    assert not torch.allclose(hidden, x * frame.scale, atol=0.1)
    assert frame.hide(x.bfloat16()).dtype == torch.bfloat16


def test_who_needs_no_coordinates_scores_the_same(tiny: dict[str, Any], tmp_path: Path) -> None:
    """In every metric, of codes, of what is written, of interventions with it."""
    tiny |= {"variants": ["trained", "step0"]}
    blind = run(tiny, method(tmp_path / "blind", SUBSPACE, "Subspace"), tmp_path / "a", *SALT)
    seeing = run(tiny, method(tmp_path / "sees", SUBSPACE, "Subspace", blind=False), tmp_path / "b", *SALT)
    assert {one.blind for one in blind.values()} == {True}
    assert {one.blind for one in seeing.values()} == {False}
    assert {one.score_id for one in blind.values()}.isdisjoint(one.score_id for one in seeing.values())
    compared = 0
    for cell, record in blind.items():
        for name, value in record.metrics.items():
            other = seeing[cell].metrics[name]
            assert (value.value is None) == (other.value is None), (cell, name)
            if value.value is not None and other.value is not None:
                assert value.value == pytest.approx(other.value, rel=2e-2, abs=2e-3), (cell, name)
                compared += 1
    assert compared > 100


def reported(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean activations and lengths, of all fits."""
    lines = [json.loads(line) for line in (folder / "report.jsonl").read_text().splitlines()]
    (folder / "report.jsonl").unlink()
    return torch.tensor([mean for mean, _ in lines]), torch.tensor([length for _, length in lines])


def nearest(seen: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """How alike each mean is to the one that it is most alike of those that are known."""
    return torch.nn.functional.cosine_similarity(seen[:, None], known[None], dim=2).max(dim=1).values


def test_networks_that_are_known_by_heart_are_not_recognised(tiny: dict[str, Any], tmp_path: Path) -> None:
    folder = method(tmp_path / "by_heart", BY_HEART, "ByHeart")
    tiny |= {"metrics": ["l0@1"], "variants": ["trained"]}
    run(tiny, folder, tmp_path / "learnt", "--salt", "")
    known, lengths = reported(folder)
    seeing = method(tmp_path / "sees", BY_HEART, "ByHeart", blind=False)
    run(tiny, seeing, tmp_path / "seen", *SALT)
    again, _ = reported(seeing)
    assert nearest(again, known).min() > 0.999, "a salt alone hides no network"
    run(tiny, folder, tmp_path / "blind", *SALT)
    hidden, hidden_lengths = reported(folder)
    assert nearest(hidden, known).max() < 0.8
    ratios = {round(float(one), 3) for one in hidden_lengths.sort().values / lengths.sort().values}
    assert ratios != {1.0}


def test_baselines_and_what_is_trained_elsewhere_see() -> None:
    assert not methods.load("topk_sae").is_blind
    assert methods.load("saelens_topk").is_blind
