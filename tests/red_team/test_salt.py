"""A method that knows the benchmark: it works out what its seed says and which latents will be drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from typer.testing import CliRunner

from benchmark.__main__ import app
from benchmark.errors import BadInput
from benchmark.records import Record
from benchmark.store import Store

KNOWING = """
import hashlib
import itertools
import json
from pathlib import Path

import numpy as np
import torch

from benchmark.api import Latents

REPORT = Path(__file__).with_name("report.jsonl")


def seed_of(*parts):
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) >> 1


class Knowing:
    def fit(self, activations, *, seed):
        self.n_latents = 2 * activations.d_model
        cells = itertools.product(["tiny-neox"], range(3), range(3), [f"layers.{layer}" for layer in range(4)])
        where = next((list(cell) for cell in cells if seed_of("fit", *cell) == seed), None)
        drawn = None
        if where is not None:
            rng = np.random.Generator(np.random.PCG64(seed_of("latents", *where)))
            drawn = rng.permutation(self.n_latents)[:8].tolist()
        with REPORT.open("a") as file:
            file.write(json.dumps([where, drawn]) + "\\n")
        return self

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(2 * x.shape[1]).expand(len(x), -1))
"""
runner = CliRunner()


@pytest.fixture
def method(tmp_path: Path) -> Path:
    folder = tmp_path / "knowing"
    folder.mkdir()
    (folder / "method.py").write_text(KNOWING)
    (folder / "method.toml").write_text(tomli_w.dumps({"track": "features", "entry": "Knowing", "summary": "guesses"}))
    return folder


def run(tiny: dict[str, Any], method: Path, runs: Path, *options: str) -> tuple[list[Record], list[Any]]:
    suite = runs.with_suffix(".toml")
    said = tiny | {"hookpoints": ["layers.1"], "variants": ["trained", "step0"], "metrics": ["l0@1", "fuzzing@1"]}
    suite.write_text(tomli_w.dumps(said | {"methods": {}}))
    (method / "report.jsonl").unlink(missing_ok=True)
    given = ["run", str(method), "--suite", str(suite), "--runs", str(runs), "--isolation", "process", *options]
    assert runner.invoke(app, given).exit_code == 0
    reported = [json.loads(line) for line in (method / "report.jsonl").read_text().splitlines()]
    return sorted(Store(runs).selected()[0], key=lambda one: one.where.model_dump_json()), reported


def drawn(record: Record, runs: Path) -> list[int]:
    table = Store(runs).latents(record)
    assert table is not None
    return [int(latent) for latent in table["latent"][:8]]


def test_without_a_salt_it_knows_where_it_is_and_what_will_be_drawn(
    tiny: dict[str, Any], method: Path, tmp_path: Path
) -> None:
    """Without this the next test could be passed by a method that guesses wrongly."""
    records, reported = run(tiny, method, tmp_path / "runs", "--salt", "")
    assert {tuple(where) for where, _ in reported} == {("tiny-neox", seed, 0, "layers.1") for seed in (0, 1)}
    guesses = [guess for _, guess in reported]
    assert all(drawn(record, tmp_path / "runs") in guesses for record in records)


def test_the_folder_s_salt_is_nothing_that_it_can_know(tiny: dict[str, Any], method: Path, tmp_path: Path) -> None:
    records, reported = run(tiny, method, tmp_path / "runs")
    assert [where for where, _ in reported] == [None] * 4
    assert {record.salt for record in records} == {Store(tmp_path / "runs").salt}
    assert len(Store(tmp_path / "runs").salt) == 16
    by_replicate: dict[int, list[list[int]]] = {}
    for record in records:
        by_replicate.setdefault(record.where.replicate, []).append(drawn(record, tmp_path / "runs"))
    assert all(one == other for one, other in by_replicate.values()), "variants share the draw"
    others, _ = run(tiny, method, tmp_path / "others")
    assert {record.salt for record in others} != {record.salt for record in records}
    assert [drawn(one, tmp_path / "others") for one in others] != [drawn(one, tmp_path / "runs") for one in records]


def test_a_record_s_salt_repeats_it(tiny: dict[str, Any], method: Path, tmp_path: Path) -> None:
    records, _ = run(tiny, method, tmp_path / "runs")
    again, _ = run(tiny, method, tmp_path / "again", "--salt", records[0].salt)
    assert [one.metrics for one in again] == [one.metrics for one in records]
    assert [one.score_id for one in again] == [one.score_id for one in records]


def test_baselines_have_none_so_that_everybody_repeats_their_numbers(tiny: dict[str, Any], tmp_path: Path) -> None:
    suite = tmp_path / "tiny.toml"
    few = {"hookpoints": ["layers.1"], "variants": ["trained"], "metrics": ["l0@1"]}
    suite.write_text(tomli_w.dumps(tiny | few))
    given = ["run", "topk_sae", "--suite", str(suite), "--runs", str(tmp_path / "runs"), "--isolation", "process"]
    assert runner.invoke(app, given).exit_code == 0
    assert {record.salt for record in Store(tmp_path / "runs").selected()[0]} == {""}
    assert runner.invoke(app, [*given, "--salt", "mine"]).exit_code == 0
    assert {record.salt for record in Store(tmp_path / "runs").selected()[0]} == {"mine"}


@pytest.mark.parametrize("salt", ["x" * 101, "a\nb"])
def test_a_salt_that_no_record_can_hold_is_refused(salt: str, tmp_path: Path) -> None:
    found = runner.invoke(
        app, ["run", "topk_sae", "--suite", "smoke", "--runs", str(tmp_path / "runs"), "--salt", salt]
    )
    assert found.exit_code == 2
    assert "a salt has at most 100 characters" in found.output


def test_a_folder_of_an_earlier_version_has_none(tmp_path: Path) -> None:
    (tmp_path / ".nullgap").touch()
    Store(tmp_path).check()
    assert Store(tmp_path).salt == ""
    (tmp_path / ".nullgap").write_text("[]")
    with pytest.raises(BadInput, match="does not say a salt"):
        _ = Store(tmp_path).salt
