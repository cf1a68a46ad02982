"""Calls in processes of their own, side by side, each with its share of the cores.

Small networks leave most of a second core idle: two processes of one thread get through more than one of two.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any, TypeVar

import torch

from benchmark.reporting import quiet_libraries

Result = TypeVar("Result")
GIB_PER_JOB = 4


def jobs_for(device: torch.device, groups: int) -> int:
    """As many as there are cores, groups of cells and 4 GiB of memory each; one on an accelerator."""
    if device.type != "cpu":
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return max(1, min(torch.get_num_threads(), memory // GIB_PER_JOB, groups))


def spread(jobs: int, call: Callable[..., Result], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Result]:
    """Results of `call` on each tuple of arguments, as they come; an exception ends it."""
    threads = max(1, torch.get_num_threads() // jobs)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin, initargs=(threads, os.getpid()))
    with pool:
        futures = [pool.submit(call, *each) for each in arguments]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            for future in futures:
                future.cancel()


def _begin(threads: int, parent: int) -> None:
    torch.set_num_threads(threads)
    quiet_libraries()
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent leaves nobody to report to: end at once, as the cells in flight are lost anyway."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
