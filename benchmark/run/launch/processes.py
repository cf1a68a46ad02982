"""Calls side by side, in this process and others, each with the threads that it would have alone.

Small networks leave most of a second core idle: two processes of one thread get through more than one of two. This
process takes its turns, too: another one would first have to import everything.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import active_children, get_context, parent_process
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from benchmark.reporting import quiet_libraries

Result = TypeVar("Result")
GIB_PER_JOB = 4


def jobs_for(device: torch.device, threads: int) -> int:
    """As many as there are cores for their threads and 4 GiB of memory each; one on an accelerator."""
    if device.type != "cpu":
        return 1
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return max(1, min(torch.get_num_threads() // threads, memory // GIB_PER_JOB))


def possible() -> bool:
    """Whether processes side by side can be had: they need semaphores, which some containers have no place for."""
    try:
        get_context("spawn").Semaphore()
    except (OSError, ImportError):
        return False
    return True


def spread(
    jobs: int,
    here: Callable[..., Iterable[Result]],
    apart: Callable[..., Iterable[Result]],
    arguments: Sequence[tuple[Any, ...]],
    threads: int,
) -> Iterator[Result]:
    """Results of each tuple of arguments: of `here` in this process one by one, with those of `apart`, in `jobs - 1`
    others, between them once a call is through. Each has `threads` of torch's threads.

    Whoever is through takes the next tuple. After an exception of a call no other begins, and it is raised once those
    in progress are through; Ctrl-C ends them, too.
    """
    waiting, finished = deque(arguments), SimpleQueue[Future[Iterable[Result]]]()
    others = ProcessPoolExecutor(jobs - 1, get_context("spawn"), initializer=_begin, initargs=(threads,))
    with torch_threads(threads), others as pool:

        def begin() -> None:
            if (taken := _next(waiting)) is not None:
                pool.submit(apart, *taken).add_done_callback(end)

        def end(future: Future[Iterable[Result]]) -> None:
            """Called by a thread of the pool, which must not submit to a pool that is broken."""
            try:
                if future.exception() is None:
                    begin()
                else:
                    waiting.clear()
            finally:
                finished.put(future)

        try:
            for _ in range(jobs - 1):
                begin()
            # `left` counts calls whose results have not been handed on. Results of others come through `finished`, one
            # future per call; between two results of an own call those that came in meanwhile are handed on, too.
            left = len(arguments)
            while left:
                own = _next(waiting) if finished.empty() else None
                if own is None:
                    yield from finished.get().result()
                else:
                    for result in here(*own):
                        yield result
                        while not finished.empty():
                            yield from finished.get().result()
                            left -= 1
                left -= 1
        except (KeyboardInterrupt, GeneratorExit):
            for child in active_children():
                child.terminate()
            raise
        finally:
            waiting.clear()


def _next(waiting: deque[tuple[Any, ...]]) -> tuple[Any, ...] | None:
    """Taken from the left; None when there is none, as the other side may have been first."""
    try:
        return waiting.popleft()
    except IndexError:
        return None


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch on this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _begin(threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(threads)
    quiet_libraries()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent leaves nobody to report to: end at once, as the cells in flight are lost anyway."""
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
