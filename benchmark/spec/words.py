"""What authors write into `method.toml` stands in tables, pages and terminals: plain words of limited length."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

LONGEST, LONGEST_SETTINGS, LARGEST = 200, 20_000, 2**63
IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,99}")
MARKS = "<>[]`|"
"""What begins markup or ends a cell of a table."""


def sentence(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: it is empty, long, or holds what cannot be seen or may be read as markup.
    """
    if not text.strip():
        raise ValueError("it is empty: say it in a few words")
    seen(text)
    if marks := sorted(set(text) & set(MARKS)):
        raise ValueError(f"it holds {' '.join(marks)}, which tables and pages would read as markup: use plain words")
    return text


def seen(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: it is long, or holds what cannot be seen.
    """
    if len(text) > LONGEST:
        raise ValueError(f"it has {len(text):,} characters, and {LONGEST} are allowed")
    if not text.isprintable():
        raise ValueError("it holds line breaks or characters that cannot be seen: one line of plain words is needed")
    return text


def identifier(text: str) -> str:
    """The text itself.

    Raises:
        ValueError: it is no public name of Python's, or longer than a hundred characters.
    """
    if not IDENTIFIER.fullmatch(text):
        raise ValueError(f"{text[:40]!r} is no name: letters, digits and _ are, of which the first is a letter")
    return text


def settings(values: Mapping[str, Any]) -> None:
    """Settings, however deep, that a label can show and a record hold.

    Raises:
        ValueError: a name or a text that is none, a number of over 63 bits, or too much in all.
    """
    if (size := len(json.dumps(values, default=str))) > LONGEST_SETTINGS:
        raise ValueError(f"settings of {size:,} characters, and {LONGEST_SETTINGS:,} are allowed: put data into a file")
    for name, value in values.items():
        identifier(name)
        try:
            _value(value)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error


def _value(value: Any) -> None:
    if isinstance(value, str):
        seen(value)
    elif isinstance(value, int) and not -LARGEST <= value < LARGEST:
        raise ValueError("it has more than 63 bits")
    elif isinstance(value, list):
        for one in value:
            _value(one)
    elif isinstance(value, dict):
        for name, one in value.items():
            seen(name)
            _value(one)
