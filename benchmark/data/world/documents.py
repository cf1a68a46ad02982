"""Documents of the built-in language, without end."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.data.world import registers
from benchmark.data.world.labels import Document
from benchmark.data.world.writer import Writer

SHORTEST_UNITS, LONGEST_UNITS = 72, 215


def documents(seed: int) -> Iterator[Document]:
    """An endless sequence of labelled documents, the same for a seed on every platform."""
    number = 0
    while True:
        yield document(seed, number)
        number += 1


def document(seed: int, number: int) -> Document:
    """One document of the language, of about 60 to 400 tokens."""
    writer = Writer(seed, number)
    registers.write(writer, SHORTEST_UNITS + writer.below(LONGEST_UNITS - SHORTEST_UNITS))
    return writer.finish()
