"""Variants of a replicate by name: the trained network, its nulls and the control."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple

from benchmark import registry
from benchmark.errors import BadInput, unknown


class Variant(NamedTuple):
    """What is done to a replicate, written `kind[:option]`, with `:draw` behind where a null is drawn more than once
    (case mode).
    """

    kind: str
    option: int | None = None
    draw: int | None = None

    @classmethod
    @functools.cache
    def parse(cls, text: str) -> Variant:
        """Read `kind[:option][:draw]`.

        Raises:
            BadInput: a kind outside the registry, an option that is missing or means nothing, a draw of no null.
        """
        kind, *numbers = text.split(":")
        if kind not in registry.VARIANTS:
            raise unknown("variant", kind, registry.VARIANTS)
        if not all(number.isdecimal() and number == str(int(number)) for number in numbers):
            raise BadInput(f"variant {text!r}: what follows the colon is a whole number, such as cascade:2")
        values = [int(number) for number in numbers]
        option = None
        if kind in registry.OPTIONS:
            if not values or values[0] < 1:
                raise BadInput(f"variant {text!r}: write {kind}:N, N from 1: {registry.OPTIONS[kind]}")
            option = values.pop(0)
        if len(values) > 1 or (values and kind not in registry.NULLS):
            raise BadInput(f"variant {text!r}: only nulls have draws, counted from 0: write {registry.NULLS[0]}:0")
        return cls(kind, option, values[0] if values else None)

    @property
    def name(self) -> str:
        """Without the draw: what the draws of case mode have in common."""
        return self.kind if self.option is None else f"{self.kind}:{self.option}"

    @property
    def is_null(self) -> bool:
        """Whether training is destroyed in it."""
        return self.kind in registry.NULLS

    def __str__(self) -> str:
        return self.name if self.draw is None else f"{self.name}:{self.draw}"


def ordered(names: Iterable[str]) -> list[str]:
    """Names of variants, draws left off, each once, in the order of the registry."""
    kinds = list(registry.VARIANTS)
    variants = {parsed.name: parsed for parsed in map(Variant.parse, names)}
    return sorted(variants, key=lambda name: (kinds.index(variants[name].kind), variants[name].option or 0))


def nulls_among(names: Iterable[str]) -> list[str]:
    """The nulls among names of variants, draws left off, in the order of the registry."""
    return [name for name in ordered(names) if Variant.parse(name).is_null]
