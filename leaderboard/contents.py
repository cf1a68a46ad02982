"""Suites by their content: rows of different content never share a table, whatever the suites are called. Pure.

A key is `<name>@<hash of the content>`; what belongs to one suite and track on the board has one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark import registry
from benchmark.spec.suite import differences
from leaderboard.rows import ResultRow

Shipped = Callable[[str, str], Mapping[str, Any] | None]
"""What the suite of this name in the repository says to a track."""
ELSEWHERE = "the text, the weights or the definition of the headline differ, where both suites say the same"


class Heading(NamedTuple):
    """What stands above the tables of a suite: its title, how it differs from the suite of that name, and the folder of
    its pages.
    """

    title: str
    sentence: str | None
    folder: str


def name_of(key: str) -> str:
    """The name in a key."""
    return key.partition("@")[0]


def ordered(rows: Iterable[ResultRow], shipped: Shipped) -> list[str]:
    """Keys by name; of one name first what the repository has under it, then what most cells are of."""
    counts: dict[str, int] = {}
    ours: dict[str, bool] = {}
    for row in rows:
        counts[row.suite] = counts.get(row.suite, 0) + len(row.scores)
        if row.suite not in ours:
            ours[row.suite] = row.info.content == shipped(row.info.suite, row.info.track)
    return sorted(counts, key=lambda key: (name_of(key), not ours[key], -counts[key], key))


def headings(rows: Sequence[ResultRow], shipped: Shipped) -> dict[str, Heading]:
    """The heading of every key, in order."""
    infos = {row.suite: row.info for row in rows}
    made: dict[str, Heading] = {}
    first: dict[tuple[str, str], str] = {}
    for key in ordered(rows, shipped):
        info = infos[key]
        known = first.setdefault((info.suite, info.track), key)
        reference = shipped(info.suite, info.track) or infos[known].content
        # Figures and pages of every track lie below a folder of its own, the first track's below the suite's name.
        name = info.suite if info.track == next(iter(registry.TRACKS)) else f"{info.suite}-{info.track}"
        if known == key and info.content == reference:
            made[key] = Heading(f"## Suite `{info.suite}`", None, name)
        else:
            said = "; ".join(different(info.content, reference))
            sentence = f"Of another content than the suite `{info.suite}`, and compared with none of its rows: {said}."
            content = key.partition("@")[2]
            made[key] = Heading(f"## Suite `{info.suite}`, content {content}", sentence, f"{name}-{content}")
    return made


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How two suites of one name differ."""
    return differences(one, other) or [ELSEWHERE]


def otherwise(content: Mapping[str, Any], shipped: Mapping[str, Any]) -> str:
    """What a suite says otherwise than the repository's of its name, empty for nothing; its judge may be another."""
    if {**content, "judge": ""} == {**shipped, "judge": ""}:
        return ""
    return "; ".join(different(content, shipped))
