"""Calls side by side share the cores, and end with whoever asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch

from benchmark import parallel

ROOT = Path(__file__).parents[1]
SCRIPT = """
import sys
from tests.test_parallel import linger, parallel

for _ in parallel.spread(2, linger, linger, [(sys.argv[1], str(number)) for number in range(4)]):
    pass
"""


def linger(folder: str, name: str) -> None:
    """Leave a sign of having begun, and go on for far too long."""
    (Path(folder) / name).touch()
    time.sleep(600)


def place(part: str) -> tuple[str, int, int]:
    """A part, the process that took it, and its threads."""
    if part == "bad":
        raise ValueError("bad part")
    time.sleep(0.02)
    return part, os.getpid(), torch.get_num_threads()


def wait_for_another(folder: str, part: str) -> tuple[str, int, int]:
    """Takes the first part only once somebody else has taken the second, and so never alone."""
    (Path(folder) / part).touch()
    deadline = time.monotonic() + 120
    while len(list(Path(folder).iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return place(part)


def test_this_process_takes_part_and_every_part_is_taken_once(tmp_path: Path) -> None:
    before, parts = torch.get_num_threads(), [str(number) for number in range(8)]
    torch.set_num_threads(6)
    try:
        arguments = [(str(tmp_path), part) for part in parts]
        found = list(parallel.spread(2, wait_for_another, wait_for_another, arguments))
        assert torch.get_num_threads() == 6
    finally:
        torch.set_num_threads(before)
    assert sorted(part for part, _, _ in found) == parts
    processes = {process for _, process, _ in found}
    assert len(processes) == 2
    assert os.getpid() in processes
    assert {threads for _, _, threads in found} == {3}


def test_an_exception_on_either_side_ends_it_and_nothing_else_begins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad part"):
        list(parallel.spread(2, place, place, [("bad",)]))
    with pytest.raises(ValueError, match="bad part"):
        list(parallel.spread(2, _refuse, _touch, [(str(tmp_path), str(number)) for number in range(4)]))
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def _refuse(folder: str, part: str) -> None:
    raise ValueError("bad part")


def _touch(folder: str, part: str) -> None:
    (Path(folder) / part).touch()


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
