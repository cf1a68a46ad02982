"""Calls side by side end with whoever asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmark import parallel

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from tests.test_parallel import linger, parallel

for _ in parallel.spread(2, linger, [(sys.argv[1], str(number)) for number in range(4)]):
    pass
"""


def linger(folder: str, name: str) -> None:
    """Leave a sign of having begun, and go on for far too long."""
    (Path(folder) / name).touch()
    time.sleep(600)


def join(*parts: str) -> str:
    if "bad" in parts:
        raise ValueError("bad part")
    return " ".join(parts)


def test_results_come_and_an_exception_ends_it() -> None:
    assert sorted(parallel.spread(2, join, [("a", "b"), ("c",)])) == ["a b", "c"]
    with pytest.raises(ValueError, match="bad part"):
        list(parallel.spread(2, join, [("bad",)]))


def test_ctrl_c_ends_calls_in_progress_and_begins_no_other(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(list(tmp_path.iterdir())) < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=120) != 0
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert len(list(tmp_path.iterdir())) == 2
