"""What stands between methods and the harness: a jail where this machine has one, and for strangers' methods nothing
less where nobody looks on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from benchmark.errors import BadInput
from benchmark.execution.contract import Executor
from benchmark.execution.environments import ROOT
from benchmark.execution.in_process import InProcess
from benchmark.execution.jailed import Jailed
from benchmark.execution.local import ForkServers

ISOLATION: dict[str, Callable[[], Executor]] = {"jail": Jailed, "process": ForkServers, "none": InProcess}
"""By strength."""
BEST, PLAIN, WEAKEST = ISOLATION
STRANGERS = (ROOT / "submissions").resolve()


def weaker(one: str, other: str) -> str:
    """Which of two isolations holds less."""
    return max(one, other, key=list(ISOLATION).index)


def is_strangers(folder: Path) -> bool:
    """Whether a method is one that was submitted."""
    return folder.resolve().is_relative_to(STRANGERS)


def needs_jail(folders: Iterable[Path]) -> bool:
    """Whether strangers' methods are among those in `folders`, on a machine on which nobody looks on."""
    return os.environ.get("CI") == "true" and any(map(is_strangers, folders))


def open_executor(
    isolation: str | None, folders: Iterable[Path], device: torch.device, say: Callable[[str], None]
) -> Executor:
    """What starts the workers of methods that lie in `folders`: as it is said, or None for the best that there is for
    methods that compute on a device.

    Raises:
        BadInput: the jail that was asked for, or that strangers' methods need where `CI=true`, is not to be had.
    """
    needed = needs_jail(folders)
    if needed and isolation not in (None, BEST):
        raise BadInput(f"with CI=true methods of submissions/ run in jail, and not with --isolation {isolation}")
    if isolation is None and not needed and device.type == "cuda":
        say("methods run in processes of their own: --isolation jail has not been seen to work with a CUDA device yet")
        isolation = PLAIN
    try:
        return ISOLATION[isolation or BEST]()
    except BadInput as reason:
        if isolation is not None or needed:
            raise
        say(f"{reason}: methods run in processes of their own, and records say so")
        return ISOLATION[PLAIN]()
