"""The one exception that means "what you asked for cannot be done", raised before any compute."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BadInput(Exception):
    """Input that cannot be used; the message is one sentence naming the offender and the remedy."""


def unknown(what: str, name: object, allowed: Iterable[object]) -> BadInput:
    """A `BadInput` for a name outside a closed list, with the nearest valid name first."""
    names = [str(item) for item in allowed]
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.4)
    hint = f" did you mean {close[0]!r}?" if close else ""
    return BadInput(f"unknown {what} {str(name)!r}:{hint} allowed: {', '.join(names) or 'none'}")
