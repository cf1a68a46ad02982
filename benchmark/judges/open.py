"""A judge from its line in a suite, or from JUDGE on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from benchmark import registry
from benchmark.errors import unknown
from benchmark.judges import lexical
from benchmark.judges.contract import Judge, Language
from benchmark.judges.lexical import Lexical


class Judging(NamedTuple):
    """Which judge, where its transcripts are kept, and whether only they may answer."""

    spec: str
    transcripts: Path
    replay: bool = False


def check(spec: str) -> None:
    """Refuse a judge that does not exist, before any compute."""
    if spec not in registry.JUDGES:
        raise unknown("judge", spec, registry.JUDGES)


def identity(spec: str) -> str:
    """What the answers of a judge depend on."""
    return f"{spec}/{lexical.VERSION}"


def open_judge(judging: Judging, language: Language) -> Judge:
    """The judge itself."""
    return Lexical(judging.spec, language)
