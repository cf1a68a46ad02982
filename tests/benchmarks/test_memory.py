"""Peak memory: bounded by a stated buffer, whatever the token budget. Figures in docs/performance.md."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from baselines.topk_sae.training import Settings, Trainer
from benchmark.api import Latents
from benchmark.autointerp.windows import Windows, firing_windows
from benchmark.judges.contract import Language
from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.features.autointerp import Text, draw
from benchmark.tracks.features.featurizer import csr
from benchmark.worker import session
from tests.baselines.test_topk_sae import MANIFEST, Recorded
from tests.conftest import Silent

ROOT = Path(__file__).parents[2]


def peaks(settings: dict[str, object], runs: Path) -> dict[str, float]:
    """Peak resident bytes of harness and worker of one run in a fresh process."""
    script = textwrap.dedent(f"""
        import json
        from pathlib import Path
        from tests.benchmarks.test_memory import run_once
        run_once(json.loads({json.dumps(json.dumps(settings))}), Path({str(runs)!r}))
    """)
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    costs = [record.cost for record in Store(runs).records("tiny", "topk_sae")]
    return {side: max(cost[f"{side}_peak_bytes"] for cost in costs) for side in ("harness", "worker")}


def run_once(settings: dict[str, object], runs: Path) -> None:
    suite, method = Suite.model_validate(settings), methods.load("topk_sae")
    outcome = pipeline.run(suite, [MethodRun(method, methods.rows(method, suite))], Store(runs), "process", Silent())
    assert not outcome.failed


@pytest.mark.parametrize("spool_gib", [8.0, 0.0], ids=["spooled", "streamed"])
def test_four_times_the_tokens_in_the_same_memory(
    benchmark: BenchmarkFixture, tiny: dict[str, object], tmp_path: Path, spool_gib: float
) -> None:
    tokens = {"explain": 3_000, "score": 3_000, "block": 64}
    tiny |= {"variants": ["trained"], "stream": {"shuffle_tokens": 32_768, "spool_gib": spool_gib}}
    small = peaks(json.loads(json.dumps(tiny | {"tokens": tokens | {"fit": 150_000}})), tmp_path / "small")
    large = benchmark.pedantic(
        peaks, args=(json.loads(json.dumps(tiny | {"tokens": tokens | {"fit": 600_000}})), tmp_path / "large"), rounds=1
    )
    for side in ("harness", "worker"):
        benchmark.extra_info[side] = (small[side], large[side])
        print(f"\n{side}: {small[side] / 2**20:.0f} MiB, with 4x the tokens {large[side] / 2**20:.0f} MiB")
        assert large[side] == pytest.approx(small[side], rel=0.1)


def train_wide(steps: int) -> None:
    """Some steps at d 512, n 131,072, k 32, 4,096 tokens each; prints the peak of the process."""
    settings = MANIFEST["settings"] | {"expansion_factor": 256, "k": 32, "batch_size": 4_096}
    x = torch.randn(4_096, 512)
    trainer = Trainer(Settings(**settings), Recorded(x), 0)
    for _ in range(steps):
        trainer.step(x)
    print(session.peak_bytes())


def test_131072_latents_train_within_what_they_weigh(benchmark: BenchmarkFixture) -> None:
    """Weights, both moments and one batch, a third more and the interpreter: pre-activations never exist at once."""

    def peak(steps: int) -> float:
        command = [sys.executable, "-c", f"from tests.benchmarks.test_memory import *; train_wide({steps})"]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        return float(done.stdout.split()[-1])

    idle, few = peak(0), benchmark.pedantic(peak, args=(2,), rounds=1)
    more = peak(4)
    needed = 4 * (3 * (2 * 131_072 * 512 + 131_072) + 4_096 * 512)
    benchmark.extra_info.update({"idle": idle, "peak": few, "needed": needed})
    sizes = [f"{size / 2**30:.2f} GiB" for size in (few, needed, idle)]
    print("\npeak {}, weights, moments and batch {}, interpreter {}".format(*sizes))
    assert few - idle < 1.3 * needed
    assert more == pytest.approx(few, rel=0.05)


def examples_of_a_million_tokens() -> None:
    """Codes of 1,048,576 tokens on 16,384 latents, 32 each; which latents are eligible, and the windows of 100."""
    tokens, k, n_latents, block = 1 << 20, 32, 16_384, 256
    rng = np.random.default_rng(0)
    blocks = tokens // (block - 1) + 1
    lengths = np.full(blocks, block)
    windows = Windows.of(rng.integers(50_000, size=(blocks, block), dtype=np.int32), lengths)
    rows = blocks * (block - 1)
    values = torch.from_numpy(rng.random((rows, k), dtype=np.float32) + 0.1)
    indices = torch.from_numpy(rng.integers(n_latents, size=(rows, k)))
    codes = csr(Latents(values, indices), n_latents)
    del values, indices
    counts = firing_windows(codes, windows)
    drawn = np.flatnonzero(counts)[:100]
    language = Language(np.ones(50_000, np.int64), str)
    column = codes[:, drawn].tocsc()
    found = draw(drawn, column, column, Text(windows, windows, language), lambda *parts: np.random.default_rng(0))
    assert found.eligible.all()
    print(session.peak_bytes())


def test_examples_of_a_million_tokens_on_16k_latents_fit_in_2_gib(benchmark: BenchmarkFixture) -> None:
    command = [sys.executable, "-c", "from tests.benchmarks.test_memory import *; examples_of_a_million_tokens()"]
    result = benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"cwd": ROOT, "check": True, "capture_output": True}, rounds=1
    )
    peak = float(result.stdout.split()[-1])
    benchmark.extra_info["peak"] = peak
    print(f"\npeak {peak / 2**20:.0f} MiB, interpreter and libraries included")
    assert peak < 2 * 2**30
