"""Variants of a replicate by name: the trained network, its nulls and the control."""

from __future__ import annotations

from typing import NamedTuple

from benchmark import registry
from benchmark.errors import BadInput, unknown


class Variant(NamedTuple):
    """What is done to a replicate, written `kind`, or `kind:draw` where a null is drawn more than once (case mode)."""

    kind: str
    draw: int | None = None

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read `kind[:draw]`; a kind outside the registry, and a draw of what is not a null, is a `BadInput`."""
        kind, colon, draw = text.partition(":")
        if kind not in registry.VARIANTS:
            raise unknown("variant", kind, registry.VARIANTS)
        if not colon:
            return cls(kind)
        if kind not in registry.NULLS or not draw.isdecimal():
            raise BadInput(f"variant {text!r}: only nulls have draws, counted from 0: write {registry.NULLS[0]}:0")
        return cls(kind, int(draw))

    def __str__(self) -> str:
        return self.kind if self.draw is None else f"{self.kind}:{self.draw}"
