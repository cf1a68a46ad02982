"""Submissions that cheat, break or are broken, each with the sentence that its author reads, and an honest one beside
them: all of one run, which none of them ends.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from benchmark.records import Record
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from tests.conftest import Silent, tiny_settings

SOURCE = """
import json
import os
import signal
import socket
import sys
import time

import torch
from safetensors.torch import save_file

from benchmark.api import Latents


class Submission:
    def fit(self, activations, *, seed):
        self.n_latents = 2 * activations.d_model
        self.weights = torch.cat([torch.eye(activations.d_model), -torch.eye(activations.d_model)])
        self.bias = torch.zeros(activations.d_model)
        self.count, self.known, self.begun = 0, {{}}, False
        self.setup(activations)
        return self

    def setup(self, activations):
        pass

    def codes(self, x):
        values, indices = ((x - self.bias) @ self.weights.T).clamp(min=0).topk(4, dim=1)
        return Latents(values, indices)

    def encode(self, x):
        return self.codes(x)

    def decode(self, latents):
        return self.bias + (latents.values[:, :, None] * self.weights[latents.indices]).sum(dim=1)

    @classmethod
    def load(cls, folder):
        return cls()


class Entry(Submission):
{body}
"""
CASES = {
    "not_finite": (
        "def encode(self, x): v, i = self.codes(x); v[0, 0] = float('nan'); return Latents(v, i)",
        "encode returned negative or non-finite values",
    ),
    "negative": (
        "def encode(self, x): v, i = self.codes(x); return Latents(-v, i)",
        "negative or non-finite values: signed codes become two latents",
    ),
    "out_of_range": (
        "def encode(self, x): v, i = self.codes(x); return Latents(v, i + self.n_latents)",
        r"encode returned latent ids outside \[0, 64\)",
    ),
    "twice": (
        "def encode(self, x): v, i = self.codes(x); return Latents(v, i * 0)",
        "encode returned a latent id twice for one token",
    ),
    "whole_numbers": (
        "def encode(self, x): v, i = self.codes(x); return Latents(v.long(), i)",
        "float and integer are needed",
    ),
    "fewer_tokens": (
        "def encode(self, x): v, i = self.codes(x); return Latents(v[:-1], i[:-1])",
        r"both must be \[token, k\]",
    ),
    "empty": (
        "def encode(self, x): return Latents(torch.zeros(0), torch.zeros(0))",
        r"both must be \[token, k\]",
    ),
    "a_tensor": (
        "def encode(self, x): return self.codes(x).values",
        r"encode must return Latents\(values, indices\), and returned a tensor of shape",
    ),
    "huge": (
        "def setup(self, activations): self.n_latents = 2**40",
        "n_latents is 1099511627776: a whole number from 1 to 16777216 is needed",
    ),
    "no_latents": ("def setup(self, activations): self.n_latents = 0", "n_latents is 0: a whole number from 1"),
    "of_its_batch": (
        "def encode(self, x): v, i = self.codes(x); return Latents(v * (v >= v.flatten().median()), i)",
        "encode gave 256 tokens other codes when it was asked again",
    ),
    "noisy": (
        "def encode(self, x): return self.codes(x + torch.rand_like(x))",
        "a token's code must follow from the token alone",
    ),
    "knows_the_order": (
        "def encode(self, x): n = torch.arange(len(x)) + self.count; self.count += len(x); "
        "return Latents(torch.ones(len(x), 1), n[:, None] // 16 % self.n_latents)",
        "other codes when it was asked again, among others and in another order",
    ),
    "memo": (
        "def encode(self, x): c = self.codes(x); self.known |= {v.numpy().tobytes(): r for v, r in zip(c.values, x)}; "
        "return c\n"
        "def decode(self, latents): return torch.stack([self.known.get(v.numpy().tobytes(), r) for v, r in "
        "zip(latents.values, super().decode(latents))])",
        "decode adds up what latents write for codes that encode never gave, and for those that it gave is off by",
    ),
    "turncoat": (
        "def encode(self, x): self.begun = True; return self.codes(x)\n"
        "def decode(self, latents): return super().decode(latents) * (2 if self.begun else 1)",
        "decode answers otherwise than before the first encode",
    ),
    "out_of_bounds": (
        "def decode(self, latents): return super().decode(latents).double() * 1e300",
        "decode returned values that are not finite in float32",
    ),
    "decodes_to_another_width": (
        "def decode(self, latents): return super().decode(latents)[:, 1:]",
        r"decode returned torch.float32 of shape \(\d+, 31\): float of shape \(\d+, 32\) is needed",
    ),
    "exits": ("def encode(self, x): os._exit(0)", "worker ended with 0 during encode: its output is in "),
    "kills_itself": (
        "def encode(self, x): os.kill(os.getpid(), signal.SIGKILL)",
        "worker was killed by SIGKILL during encode",
    ),
    "never_returns": (
        "def setup(self, activations): time.sleep(60)",
        r"fit took more than the suite's limits.fit_seconds, 4\.0; the method was stopped",
    ),
    "answers_never": (
        "def encode(self, x): time.sleep(60)",
        r"encode took more than the suite's limits.answer_seconds, 4\.0",
    ),
    "floods": (
        "def setup(self, activations):\n    while True: print('x' * 100_000); time.sleep(0.02)",
        "fit printed more than the suite's limits.output_mib, 4",
    ),
    "eats_memory": (
        "def setup(self, activations): self.eaten = torch.ones(2**28); time.sleep(4)",
        "fit took more memory than the suite's limits.memory_gib, 0.9",
    ),
    "fills_the_disk": (
        "def setup(self, activations):\n    import tempfile\n    with tempfile.TemporaryFile() as file:\n"
        "        for _ in range(64): file.write(bytes(2**20))",
        r"OSError: \[Errno 27\] File too large",
    ),
    "pickles": (
        "def save(self, folder): torch.save(self.weights, folder / 'w.pt')",
        "save wrote 'w.pt': safetensors and JSON",
    ),
    "saves_a_link": (
        "def save(self, folder): os.symlink('/etc/passwd', folder / 'w.json')",
        "save wrote 'w.json', which cannot be read as a file|PermissionError",
    ),
    "saves_folders": ("def save(self, folder): (folder / 'more').mkdir()", "save wrote 'more': safetensors and JSON"),
    "patches_torch": (
        "def setup(self, activations): torch.isfinite = lambda x: torch.ones_like(x).bool()\n"
        "def encode(self, x): v, i = self.codes(x); return Latents(v * float('inf'), i)",
        "negative or non-finite values",
    ),
    "patches_the_worker": (
        "def setup(self, activations):\n    from benchmark.worker import frames\n    send = frames.send\n"
        "    def other(channel, header, tensors=None, *more): send(channel, {**header, 'n_latents': 'many'}, tensors)\n"
        "    frames.send = other",
        "fit gave no list of a featurizer for each job",
    ),
    "talks_out_of_turn": (
        "def setup(self, activations):\n    for name in map(int, os.listdir('/proc/self/fd')):\n"
        '        try: socket.socket(fileno=os.dup(name)).send(b\'{"op": "done"}\' * 100)\n'
        "        except OSError: pass",
        r"worker ended .* during fit: .* \((frame of|broken frame)",
    ),
    "exits_by_itself": ("def setup(self, activations): sys.exit('enough')", "worker ended with 1 during fit"),
    "interrupts": ("def setup(self, activations): raise KeyboardInterrupt", "worker ended with 1 during fit"),
}


def submission(folder: Path, body: str) -> MethodRun:
    folder.mkdir()
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    (folder / "method.py").write_text(SOURCE.format(body=indented))
    said = {"track": "features", "entry": "Entry", "summary": "one of a red team"}
    (folder / "method.toml").write_text(tomli_w.dumps(said))
    method = methods.load(str(folder))
    return MethodRun(method, [methods.RunSettings("default", {})])


@pytest.fixture(scope="module")
def failed(subjects: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """Failed records by method; the honest one has a scored one."""
    home = tmp_path_factory.mktemp("submissions")
    settings: dict[str, Any] = tiny_settings(subjects) | {"hookpoints": ["layers.1"], "variants": ["trained"]}
    settings["subject"]["replicates"] = {"0": settings["subject"]["replicates"]["0"]}
    limits = {"fit_seconds": 4.0, "answer_seconds": 4.0, "memory_gib": 0.9, "output_mib": 4.0, "disk_gib": 1 / 64}
    suite = Suite.model_validate(settings | {"metrics": ["l0@1", "fvu@1"], "methods": {}, "limits": limits})
    runs = [submission(home / name, body) for name, (body, _) in CASES.items()]
    runs.append(submission(home / "honest", "pass"))
    outcome = pipeline.run(suite, runs, Store(home / "runs"), None, Silent())
    assert outcome.computed == len(CASES) + 1
    return {record.where.method: record for record in outcome.failed}


@pytest.mark.parametrize("case", CASES)
def test_a_submission_that_cheats_or_breaks_fails_with_its_sentence(case: str, failed: dict[str, Record]) -> None:
    assert case in failed, "its cell was scored"
    said = failed[case].error or ""
    assert re.search(CASES[case][1], said), said
    assert failed[case].metrics == {}


def test_an_honest_one_beside_them_is_scored(failed: dict[str, Record]) -> None:
    assert "honest" not in failed
