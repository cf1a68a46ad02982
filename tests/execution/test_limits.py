"""What a method may take, what it sees of the machine, and what it may do to what it is given."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmark.api import Latents
from benchmark.execution import local
from benchmark.execution.contract import Executor, MethodError, Worker
from benchmark.execution.in_process import InProcess
from benchmark.execution.local import ForkedWorker, ForkServers
from benchmark.forward.activations import NotFinite
from benchmark.spec.suite import Limits
from benchmark.tracks.features import remote as featurizers
from benchmark.tracks.features.remote import Job, validated
from benchmark.tracks.features.track import FeaturesTrack
from benchmark.worker import session
from benchmark.worker.session import load_class

D_MODEL = 6
HEAD = """
import os, sys, time
import torch
from benchmark.api import Latents
from benchmark.forward.activations import NotFinite

class Method:
    def fit(self, activations, *, seed):
        self.n_latents = 12
        self.work()
        return self

    def work(self):
        pass

    def encode(self, x):
        return Latents(*torch.cat([x, -x], dim=1).clamp(min=0).topk(4, dim=1))

    def save(self, folder):
        pass

    @classmethod
    def load(cls, folder):
        return cls()
"""


SESSION = {"session": FeaturesTrack.session}


def written(folder: Path, body: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"    {line}\n" for line in body.strip("\n").splitlines())
    (folder / "method.py").write_text(f"{HEAD}\n{lines}")
    return folder


def opened(executor: Executor, folder: Path, **limits: float) -> Worker:
    worker = executor.start(lambda stream, number: os.open(os.devnull, os.O_RDONLY), folder / "log", Limits(**limits))
    worker.call({"op": "open", "folder": str(folder), "entry": "Method", "device": "cpu", "threads": 1} | SESSION)
    return worker


def fitted(worker: Worker) -> featurizers.RemoteFeaturizer:
    spec = {"id": "s", "d_model": D_MODEL, "n_tokens": 0, "chunk_tokens": 8, "shuffle_tokens": 8}
    job = Job("layers.0", spec | {"seed": 1, "dtype": "float32"}, 7, {})
    return featurizers.fit(worker, [job], "hookpoint")[0][0]


def while_true(body: str) -> str:
    return f"def work(self):\n    while True:\n        {body}"


OVER: dict[str, tuple[str, dict[str, float], str]] = {
    "time": (
        while_true("time.sleep(1)"), {"fit_seconds": 0.5}, r"fit took more than the suite's limits\.fit_seconds, 0\.5",
    ),
    "memory": (
        "def work(self):\n    self.kept = bytearray(1 << 29)\n    self.kept[::4096] = b'x' * len(self.kept[::4096])\n"
        "    time.sleep(60)",
        {"memory_gib": 0.6}, r"fit took more memory than the suite's limits\.memory_gib, 0\.6",
    ),
    "processes": (
        "def work(self):\n    own = [os.fork() for _ in range(5)]\n    time.sleep(60)",
        {"processes": 20}, r"fit had more processes than the suite's limits\.processes, 20",
    ),
    "output": (
        while_true("print('x' * 1000, flush=True); time.sleep(1e-4)"), {"output_mib": 0.5}, r"limits\.output_mib, 0\.5",
    ),
    "a file": (
        "def work(self):\n    open(os.path.join(os.path.dirname(__file__), 'large'), 'wb').write(bytes(1 << 21))",
        {"disk_gib": 0.001}, "File too large",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OVER)
def test_a_method_over_its_limits_is_stopped_and_named(tmp_path: Path, case: str) -> None:
    body, limits, word = OVER[case]
    with closing(ForkServers()) as server:
        worker = opened(server, written(tmp_path, body), **limits)
        assert isinstance(worker, ForkedWorker)
        started = time.monotonic()
        with pytest.raises(MethodError, match=word):
            fitted(worker)
        worker.close()
        assert time.monotonic() - started < 30
        assert not Path(f"/proc/{worker.pid}").exists()
        again = opened(server, written(tmp_path / "again"))
        fitted(again)
        again.close()


def test_what_earlier_runs_printed_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("x" * (1 << 20))
    with closing(ForkServers()) as server:
        worker = opened(server, written(tmp_path, "def work(self):\n    time.sleep(3)"), output_mib=0.5)
        fitted(worker)
        worker.close()


def test_without_isolation_the_harness_keeps_its_settings_and_its_faults(tmp_path: Path) -> None:
    body = """
def work(self):
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(7)
    torch.set_grad_enabled(False)
"""
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    with closing(InProcess()) as executor:
        fitted(opened(executor, written(tmp_path, body)))
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before

    def not_finite(stream: str, number: int) -> int:
        raise NotFinite("layers.3")

    reading = written(tmp_path / "reading", "def fit(self, activations, *, seed):\n    next(activations.batches(4))")
    for made in (ForkServers(), InProcess()):
        with closing(made):
            worker = made.start(not_finite, tmp_path / "log", Limits())
            worker.call(
                {"op": "open", "folder": str(reading), "entry": "Method", "device": "cpu", "threads": 1} | SESSION
            )
            spec = {"id": "s", "d_model": 6, "n_tokens": 9, "chunk_tokens": 8, "shuffle_tokens": 8, "seed": 1}
            job = Job("layers.3", spec | {"dtype": "float32"}, 7, {})
            with pytest.raises(NotFinite):
                featurizers.fit(worker, [job], "hookpoint")
            worker.close()


def test_a_worker_sees_a_fixed_list_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    monkeypatch.setenv("HF_TOKEN", "secret-token")
    body = "def encode(self, x):\n    raise RuntimeError(repr(dict(os.environ)))"
    with closing(ForkServers()) as server:
        worker = opened(server, written(tmp_path, body))
        with pytest.raises(MethodError) as caught:
            fitted(worker).encode(torch.ones(3, D_MODEL))
        worker.close()
    said = str(caught.value)
    assert "secret" not in said
    names = set(eval(said.partition(": ")[2].rpartition(" (")[0]))  # what the method said is a dictionary's repr
    own = {
        "HOME",
        "TMPDIR",
        "PYTHONUNBUFFERED",
        "KMP_DUPLICATE_LIB_OK",
        "TORCHINDUCTOR_CACHE_DIR",
    }  # ours, and what torch sets
    assert names <= {*local.PASSED_ON, *own}


@pytest.mark.parametrize(
    "body",
    [
        "def encode(self, x):\n    x -= 1\n    return Latents(*torch.cat([x, -x], 1).clamp(min=0).topk(4, dim=1))",
        """
def encode(self, x):
    if not hasattr(self, "out"):
        self.out = torch.zeros(8192, 4), torch.zeros(8192, 4, dtype=torch.long)
    for kept, new in zip(self.out, torch.cat([x, -x], 1).clamp(min=0).topk(4, dim=1)):
        kept[: len(x)] = new
    return Latents(*(kept[: len(x)] for kept in self.out))
""",
    ],
    ids=["writes into its input", "reuses its output"],
)
def test_without_isolation_a_method_gives_the_same_numbers(tmp_path: Path, body: str) -> None:
    x = torch.randn(20_000, D_MODEL, generator=torch.Generator().manual_seed(0))
    before, found = x.clone(), []
    for executor in (ForkServers(), InProcess()):
        with closing(executor):
            worker = opened(executor, written(tmp_path, body))
            found.append(fitted(worker).encode(x))
            worker.close()
            assert torch.equal(x, before)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


def test_k_may_differ_between_calls(tmp_path: Path) -> None:
    body = """
def encode(self, x):
    codes = torch.cat([x, -x], 1).clamp(min=0)
    return Latents(*codes.topk(int((codes > 0).sum(1).max()), dim=1))
"""
    x = torch.zeros(10_000, D_MODEL)
    x[:8192, 0], x[9_000] = 1.0, torch.arange(1.0, D_MODEL + 1)
    with closing(InProcess()) as executor:
        found = fitted(opened(executor, written(tmp_path, body))).encode(x)
    assert found.values.shape == found.indices.shape == (10_000, D_MODEL)
    assert found.values[0].tolist() == [1.0] + [0.0] * (D_MODEL - 1)
    assert sorted(found.values[9_000].tolist()) == list(range(1, D_MODEL + 1))


def test_a_method_that_never_fires_has_codes_of_width_one(tmp_path: Path) -> None:
    body = "def encode(self, x):\n    return Latents(torch.zeros(len(x), 0), torch.zeros(len(x), 0, dtype=torch.long))"
    with closing(InProcess()) as executor:
        found = fitted(opened(executor, written(tmp_path, body))).encode(torch.ones(9_000, D_MODEL))
    assert found.values.shape == (9_000, 1)
    assert not found.values.any()


def test_dense_codes_are_kept_as_wide_as_they_are_active() -> None:
    values = torch.zeros(3, 1000)
    values[0, [5, 900]], values[2, 7] = torch.tensor([2.0, 3.0]), 4.0
    kept = validated(Latents(values, torch.arange(1000).expand(3, -1)), 3, 1000)
    assert kept.values.tolist() == [[2.0, 3.0], [0.0, 0.0], [4.0, 0.0]]
    assert kept.indices.tolist() == [[5, 900], [0, 0], [7, 0]]


def test_wide_codes_are_asked_for_in_smaller_batches() -> None:
    assert featurizers._tokens_at_once(2048) == featurizers.BATCH_TOKENS
    assert featurizers._tokens_at_once(8192) == 2048
    assert featurizers._tokens_at_once(1 << 24) == featurizers.FEWEST_TOKENS


@pytest.mark.parametrize("value", ["torch.full((len(latents.values), 6), 1e300, dtype=torch.float64)", "x / 0"])
def test_reconstructions_are_validated_as_they_are_used(tmp_path: Path, value: str) -> None:
    body = f"def decode(self, latents):\n    x = torch.ones(len(latents.values), 6)\n    return {value}"
    with closing(InProcess()) as executor:
        featurizer = fitted(opened(executor, written(tmp_path, body)))
        with pytest.raises(MethodError, match="not finite in float32"):
            featurizer.decode(featurizer.encode(torch.ones(3, D_MODEL)))


def test_a_copied_folder_runs_its_own_siblings(tmp_path: Path) -> None:
    def with_sibling(folder: Path, number: int) -> Path:
        folder.mkdir()
        (folder / "method.py").write_text(
            "from . import engine\nfrom .engine import NUMBER\nclass Method:\n    n = NUMBER\n"
        )
        (folder / "engine.py").write_text(f"NUMBER = {number}\n")
        return folder

    original = with_sibling(tmp_path / "original", 1)
    copy = shutil.copytree(original, tmp_path / "elsewhere" / "original")
    (copy / "engine.py").write_text("NUMBER = 2\n")
    numbers = [load_class(folder, "Method").n for folder in (original, copy, original)]
    assert numbers == [1, 2, 1]
    (original / "engine.py").write_text("NUMBER = 33\n")
    os.utime(original / "engine.py", (0, 0))
    assert load_class(original, "Method").n == 33


def test_baselines_import_their_siblings_relatively() -> None:
    for file in (Path(__file__).parents[2] / "baselines").rglob("*.py"):
        assert f"from baselines.{file.parent.name}" not in file.read_text(), file


@pytest.mark.parametrize(("system", "unit"), [("linux", 1024), ("darwin", 1)])
def test_peaks_are_bytes_on_every_system(monkeypatch: pytest.MonkeyPatch, system: str, unit: int) -> None:
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("resource.getrusage", lambda who: SimpleNamespace(ru_maxrss=7))
    assert session.peak_bytes() == 7 * unit
