"""Suites by their content: rows of different content never share a table, whatever the suites are called. Pure.

A key is `<name>@<hash of the content>`; what belongs to one suite on the board has one key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from benchmark.records import Join, Record
from benchmark.spec.suite import differences

Shipped = Callable[[str], Mapping[str, Any] | None]
ELSEWHERE = "the text or the weights differ, where both suites say the same"


class Heading(NamedTuple):
    """What stands above the tables of a suite: its title, and how it differs from the suite of that name."""

    title: str
    sentence: str | None


def key_of(entry: Record | Join) -> str:
    """The key of a record's suite."""
    return f"{entry.where.suite}@{entry.suite_hash}"


def name_of(key: str) -> str:
    """The name in a key."""
    return key.partition("@")[0]


def ordered(records: Iterable[Record], shipped: Shipped) -> list[str]:
    """Keys by name; of one name first what the repository has under it, then what most records are of."""
    counts: dict[str, int] = {}
    ours: dict[str, bool] = {}
    for record in records:
        key = key_of(record)
        counts[key] = counts.get(key, 0) + 1
        if key not in ours:
            ours[key] = record.suite == shipped(record.where.suite)
    return sorted(counts, key=lambda key: (name_of(key), not ours[key], -counts[key], key))


def headings(records: Sequence[Record], shipped: Shipped) -> dict[str, Heading]:
    """The heading of every key, in order."""
    contents = {key_of(record): record.suite for record in records}
    found: dict[str, Heading] = {}
    first: dict[str, str] = {}
    for key in ordered(records, shipped):
        name = name_of(key)
        known = first.setdefault(name, key)
        reference = shipped(name) or contents[known]
        if known == key and contents[key] == reference:
            found[key] = Heading(f"## Suite `{name}`", None)
        else:
            said = "; ".join(different(contents[key], reference))
            sentence = f"Of another content than the suite `{name}`, and compared with none of its rows: {said}."
            found[key] = Heading(f"## Suite `{name}`, content {key.partition('@')[2]}", sentence)
    return found


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """How two suites of one name differ."""
    return differences(one, other) or [ELSEWHERE]
