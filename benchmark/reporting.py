"""Progress: bars with an estimate of the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PLAIN_SECONDS = 15.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Text that may come from anybody, without characters that steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


class Reporter(Protocol):
    """Hears what is going on; the command line shows it."""

    def say(self, text: str) -> None: ...

    def cells(self, done: int, total: int) -> None: ...

    def step(self, text: str, done: int, total: int) -> None: ...


class Silent:
    """Says nothing: for a process whose parent reports."""

    def say(self, text: str) -> None:
        pass

    def cells(self, done: int, total: int) -> None:
        pass

    def step(self, text: str, done: int, total: int) -> None:
        pass


class Bars:
    """Two bars: cells of the run, and the step under way."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._cells = progress.add_task("cells", total=None)
        self._step = progress.add_task("starting", total=None)

    def say(self, text: str) -> None:
        self._progress.console.print(plain(text), highlight=False, markup=False)

    def cells(self, done: int, total: int) -> None:
        self._progress.update(self._cells, completed=done, total=total)

    def step(self, text: str, done: int, total: int) -> None:
        self._progress.update(self._step, description=plain(text), completed=done, total=total or None)


class Lines:
    """One line per cell and at most one per step and quarter of a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._first: tuple[float, int] | None = None
        self._said = 0.0

    def say(self, text: str) -> None:
        self._console.print(plain(text), highlight=False, markup=False, soft_wrap=True)

    def cells(self, done: int, total: int) -> None:
        now = time.monotonic()
        self._first = self._first or (now, done)
        started, before = self._first
        left = (now - started) / (done - before) * (total - done) if done > before else None
        self.say(f"cell {done}/{total}" + (f", about {left:.0f} s left" if left else ""))
        self._said = now

    def step(self, text: str, done: int, total: int) -> None:
        if time.monotonic() - self._said > PLAIN_SECONDS:
            self.say(f"{text}: {done / total:.0%}" if total else text)
            self._said = time.monotonic()


def quiet_libraries() -> None:
    """Keep the bars of libraries out of ours, and their reports: what we refuse is one sentence."""
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()


@contextmanager
def reporter(console: Console) -> Iterator[Bars | Lines]:
    """Bars on a terminal, lines elsewhere."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
