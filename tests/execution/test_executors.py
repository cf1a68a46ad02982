"""Both executors keep one contract; a side that dies is an error on the other, never a hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch

from benchmark.api import Latents
from benchmark.execution.contract import Executor, MethodError, Worker
from benchmark.execution.in_process import InProcess
from benchmark.execution.local import ForkedWorker, ForkServer, ForkServers
from benchmark.spec.suite import Limits
from benchmark.tracks.features import remote as featurizers
from benchmark.tracks.features.remote import Job, validated
from benchmark.tracks.features.track import FeaturesTrack

LIMITS = Limits()
D_MODEL, N_TOKENS, CHUNK = 8, 2_000, 512

METHOD = """
import os, signal
import torch
from benchmark.api import Latents

class Method:
    def __init__(self, mode="fine"):
        self.mode = mode

    def check(self, d_model):
        if self.mode == "refuse":
            raise ValueError("mode refuse cannot work")

    def fit(self, activations, *, seed):
        print("fitting in", os.getpid())
        if self.mode == "raise":
            raise RuntimeError("no luck")
        if self.mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.mode == "exit":
            os._exit(3)
        if self.mode == "orphan":
            import time
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
            os.kill(os.getpid(), signal.SIGKILL)
        self.mean = torch.zeros(activations.d_model)
        for batch in activations.batches(100):
            self.mean += batch.sum(dim=0) / activations.n_tokens
        self.noise = torch.rand(1)
        self.n_latents = 2 * activations.d_model
        if self.mode == "slow":
            import time
            time.sleep(60)
        return self

    def encode(self, x):
        signed = torch.cat([x - self.mean, self.mean - x], dim=1)
        values = signed if self.mode == "negative" else signed.clamp(min=0)
        return Latents(values, torch.arange(self.n_latents).expand(len(x), -1))

    def decode(self, latents):
        dense = torch.zeros(len(latents.values), self.n_latents).scatter_add(1, latents.indices, latents.values)
        half = self.n_latents // 2
        return dense[:, :half] - dense[:, half:] + self.mean
"""


@pytest.fixture
def method(tmp_path: Path) -> Path:
    (tmp_path / "method.py").write_text(METHOD)
    return tmp_path


@pytest.fixture
def chunks(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    for number, start in enumerate(range(0, N_TOKENS, CHUNK)):
        size = min(CHUNK, N_TOKENS - start)
        (tmp_path / f"{number}.bin").write_bytes(torch.randn(size, D_MODEL, generator=generator).numpy().tobytes())
    return tmp_path


@pytest.fixture(params=[ForkServers, InProcess])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor]:
    made = request.param()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[ForkServer]:
    made = ForkServer()
    yield made
    made.close()


SESSION = {"session": FeaturesTrack.session}


def start(executor: Executor | ForkServer, method: Path, limits: Limits = LIMITS) -> Worker:
    worker = executor.start(
        lambda stream, number: os.open(method / f"{number}.bin", os.O_RDONLY), method / "worker.log", limits
    )
    worker.call({"op": "open", "folder": str(method), "entry": "Method", "device": "cpu", "threads": 1} | SESSION)
    return worker


def fit(worker: Worker, mode: str = "fine") -> featurizers.RemoteFeaturizer:
    spec = {"id": "s", "d_model": D_MODEL, "n_tokens": N_TOKENS, "chunk_tokens": CHUNK, "shuffle_tokens": 512}
    job = Job("layers.0", spec | {"seed": 1, "dtype": "float32"}, 7, {"mode": mode})
    return featurizers.fit(worker, [job], "hookpoint")[0][0]


def test_fit_encode_decode(executor: Executor, method: Path, chunks: Path) -> None:
    worker = start(executor, method)
    featurizer = fit(worker)
    x = torch.randn(20_000, D_MODEL, generator=torch.Generator().manual_seed(1))
    assert featurizer.n_latents == 2 * D_MODEL
    torch.testing.assert_close(featurizer.decode(featurizer.encode(x)), x)
    worker.close()


def test_both_give_the_same_numbers(method: Path, chunks: Path) -> None:
    x = torch.randn(50, D_MODEL)
    found = []
    for made in (ForkServer(), InProcess()):
        worker = start(made, method)
        found.append(fit(worker).encode(x).values)
        worker.close()
        made.close()
    assert torch.equal(*found)


@pytest.mark.parametrize(("mode", "word"), [("raise", "no luck"), ("refuse", "cannot work"), ("negative", "negative")])
def test_what_a_method_raises_is_named(executor: Executor, method: Path, chunks: Path, mode: str, word: str) -> None:
    def ask(worker: Worker) -> None:
        worker.call({"op": "check", "settings": {"mode": mode}, "d_model": 8})
        fit(worker, mode).encode(torch.randn(5, D_MODEL))

    worker = start(executor, method)
    with pytest.raises(MethodError, match=word):
        ask(worker)
    worker.close()


@pytest.mark.parametrize(
    ("mode", "word"), [("die", "killed by SIGKILL"), ("exit", "ended with 3"), ("orphan", "killed by SIGKILL")]
)
def test_a_dying_method_is_an_error_and_the_next_worker_is_fine(
    server: ForkServer, method: Path, chunks: Path, mode: str, word: str
) -> None:
    worker = start(server, method)
    with pytest.raises(MethodError, match=word):
        fit(worker, mode)
    worker.close()
    again = start(server, method)
    fit(again)
    again.close()


def test_a_server_that_is_gone_costs_one_worker(server: ForkServer, method: Path, chunks: Path) -> None:
    worker = start(server, method)
    os.kill(server._process.pid, signal.SIGKILL)
    server._process.wait()
    with pytest.raises(MethodError):
        fit(worker)
    worker.close()
    again = start(server, method)
    fit(again)
    again.close()


def test_prints_go_to_the_log_and_quiet_logs_are_removed(server: ForkServer, method: Path, chunks: Path) -> None:
    worker = start(server, method)
    worker.close()
    assert not (method / "worker.log").exists()
    worker = start(server, method)
    fit(worker)
    worker.close()
    assert "fitting in" in (method / "worker.log").read_text()


def test_a_worker_is_a_fresh_process_that_ends(server: ForkServer, method: Path, chunks: Path) -> None:
    first, second = (start(server, method) for _ in range(2))
    assert isinstance(first, ForkedWorker)
    assert isinstance(second, ForkedWorker)
    assert len({first.pid, second.pid, os.getpid()}) == 3
    first.close()
    assert not psutil.pid_exists(first.pid)
    assert psutil.pid_exists(second.pid)
    second.close()


def test_a_worker_may_use_matmul_after_the_harness_did(server: ForkServer, method: Path, chunks: Path) -> None:
    _ = torch.randn(300, 300) @ torch.randn(300, 300)
    worker = start(server, method)
    fit(worker).encode(torch.randn(5, D_MODEL))
    worker.close()


def test_no_process_outlives_a_killed_harness(method: Path, chunks: Path) -> None:
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from tests.execution.test_executors import ForkServer, fit, start
        server = ForkServer()
        worker = start(server, Path({str(method)!r}))
        print(server._process.pid, worker.pid, flush=True)
        fit(worker, "slow")
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert all(psutil.pid_exists(pid) for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("values", "indices", "word"),
    [
        (torch.ones(2, 3), torch.zeros(2, 2).long(), "shapes"),
        (torch.ones(3, 2), torch.zeros(3, 2).long(), "for 2 tokens"),
        (torch.ones(2, 2).long(), torch.zeros(2, 2).long(), "dtypes"),
        (torch.ones(2, 2), torch.zeros(2, 2), "dtypes"),
        (torch.tensor([[1.0, float("nan")], [0, 0]]), torch.zeros(2, 2).long(), "non-finite"),
        (torch.tensor([[1.0, -1], [0, 0]]), torch.zeros(2, 2).long(), "negative"),
        (torch.ones(2, 2), torch.full((2, 2), 9), r"outside \[0, 9\)"),
        (torch.ones(2, 2), torch.full((2, 2), -1), "outside"),
        (torch.tensor([[1e300, 1.0], [0, 0]], dtype=torch.float64), torch.tensor([[0, 1], [0, 1]]), "non-finite"),
        (torch.ones(2, 2), torch.tensor([[0, 1], [3, 3]]), "twice for one token"),
    ],
)
def test_latents_outside_the_contract_are_refused(values: torch.Tensor, indices: torch.Tensor, word: str) -> None:
    with pytest.raises(MethodError, match=word):
        validated(Latents(values, indices), 2, 9)
