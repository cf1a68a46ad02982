"""Progress: bars with an estimate of the time left on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import transformers
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_SECONDS = 15.0
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def plain(text: str) -> str:
    """Text that may come from anybody, without characters that steer a terminal."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def duration(seconds: float) -> str:
    """A length of time in words, as exact as an estimate is."""
    if seconds < 120:
        return f"about {seconds:.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


class Finding(NamedTuple):
    """What was asked, and what came out: passed, with what is worth knowing, or refused with offence and remedy."""

    asked: str
    said: str = ""
    refused: bool = False


class Reporter(Protocol):
    """Hears what is going on; the command line shows it."""

    def say(self, text: str) -> None: ...

    def cells(self, done: int, total: int, left: float | None = None) -> None: ...

    def step(self, text: str, done: int, total: int) -> None: ...


class Silent:
    """Says nothing: for a process whose parent reports."""

    def say(self, text: str) -> None:
        pass

    def cells(self, done: int, total: int, left: float | None = None) -> None:
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

    def cells(self, done: int, total: int, left: float | None = None) -> None:
        said = "cells" if left is None or done == total else f"cells, {duration(left)} left"
        self._progress.update(self._cells, description=said, completed=done, total=total)

    def step(self, text: str, done: int, total: int) -> None:
        self._progress.update(self._step, description=plain(text), completed=done, total=total or None)


class Lines:
    """One line per cell and at most one per step and quarter of a minute."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said = 0.0

    def say(self, text: str) -> None:
        self._console.print(plain(text), highlight=False, markup=False, soft_wrap=True)

    def cells(self, done: int, total: int, left: float | None = None) -> None:
        self.say(f"cell {done}/{total}" + (f", {duration(left)} left" if left and done < total else ""))
        self._said = time.monotonic()

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
    """Bars on a terminal, lines elsewhere; what is left is told by who knows of groups and jobs."""
    if not console.is_terminal:
        yield Lines(console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield Bars(progress)
