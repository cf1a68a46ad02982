"""Calls side by side share the cores, and end with whoever asked for them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import psutil
import pytest
import torch

from benchmark.run.launch import processes as parallel

ROOT = Path(__file__).parents[2]
SCRIPT = """
import signal
import sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs begin with it ignored

from tests.run.test_processes import linger, parallel

for _ in parallel.spread(2, linger, linger, [(sys.argv[1], str(number)) for number in range(4)], 1):
    pass
"""


def linger(folder: str, part: str) -> list[str]:
    """Leave a sign of having begun, and go on for far too long."""
    touched(folder, part)
    time.sleep(600)
    return [part]


def taken_beside_another(folder: str, part: str) -> list[tuple[str, int, int]]:
    """A part, the process that took it, and its threads; the first parts are taken only once both sides have one."""
    touched(folder, part)
    wait_for(lambda: len(names(Path(folder))) >= 2)
    return [(part, os.getpid(), torch.get_num_threads())]


def refused(folder: str, part: str) -> list[str]:
    raise ValueError("bad part")


def touched(folder: str, part: str) -> list[str]:
    (Path(folder) / part).touch()
    return [part]


def refused_at_first(folder: str, part: str) -> list[str]:
    """The first part fails; the others go on for a while after that."""
    touched(folder, part)
    if part == "0":
        raise ValueError("bad part")
    wait_for((Path(folder) / "0").exists)
    time.sleep(0.3)
    return [part]


def killed_at_first(folder: str, part: str) -> list[str]:
    touched(folder, part)
    if part == "0":
        os.kill(os.getpid(), signal.SIGKILL)
    return [part]


def long_after_the_first(folder: str, part: str) -> list[str]:
    touched(folder, part)
    wait_for((Path(folder) / "0").exists)
    time.sleep(1)
    return [part]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def parts(folder: Path, count: int) -> list[tuple[str, str]]:
    return [(str(folder), str(number)) for number in range(count)]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_this_process_takes_part_and_every_part_is_taken_once(tmp_path: Path) -> None:
    with parallel.torch_threads(6):
        found = list(parallel.spread(2, taken_beside_another, taken_beside_another, parts(tmp_path, 8), 3))
        assert torch.get_num_threads() == 6
    assert sorted(part for part, _, _ in found) == [str(number) for number in range(8)]
    processes = {process for _, process, _ in found}
    assert len(processes) == 2
    assert os.getpid() in processes
    assert {threads for _, _, threads in found} == {3}


def test_after_an_exception_in_this_process_no_call_begins(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bad part"):
        list(parallel.spread(2, refused, touched, parts(tmp_path, 4), 1))
    assert names(tmp_path) == ["0"]


@pytest.mark.parametrize(
    ("jobs", "apart", "error"), [(3, refused_at_first, ValueError), (2, killed_at_first, BrokenProcessPool)]
)
def test_after_the_end_of_another_process_no_call_begins(
    tmp_path: Path, jobs: int, apart: Callable[..., list[str]], error: type[Exception]
) -> None:
    with pytest.raises(error):
        list(parallel.spread(jobs, long_after_the_first, apart, parts(tmp_path, 40), 1))
    assert names(tmp_path) == [str(number) for number in range(jobs)]


def test_results_of_others_come_between_those_of_a_long_call(tmp_path: Path) -> None:
    def until_seen(folder: str, part: str) -> Iterator[str]:
        for number in range(2_400):
            yield f"here {number}"
            if (Path(folder) / "seen").exists():
                return
            time.sleep(0.05)
        raise AssertionError("the other process was not heard")

    found = []
    for result in parallel.spread(2, until_seen, touched, parts(tmp_path, 2), 1):
        found.append(result)
        if result == "0":
            (tmp_path / "seen").touch()
    assert "0" in found[1:]


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
