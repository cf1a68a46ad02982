"""Documents in local files, row by row: text, JSON lines, JSON arrays or parquet, compressed or not.

Only the text field is read, so that other columns may differ between rows and files or hold anything.
"""

from __future__ import annotations

import bz2
import glob
import gzip
import io
import json
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

from benchmark.errors import BadInput

KINDS = (".txt", ".jsonl", ".json", ".parquet")
ROWS_AT_ONCE = 1024
WITHOUT_FIELD = 1000
"""Rows that may lack the text field at the start of a file before it is taken to have none."""
UNREADABLE = (EOFError, OSError, UnicodeDecodeError, zlib.error, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException)


def local(source: str) -> list[Path]:
    """Files that a source names, in order; none where there is no such path. A path that exists is taken as it is
    written, and so is what exists of the path before a pattern of `*`, `?`, `[...]` and the recursive `**`. Of a folder
    its own files are read.

    Raises:
        BadInput: a home folder that is not there, or a folder without a file that can be read.
    """
    try:
        path = Path(source).expanduser()
    except RuntimeError as error:
        raise BadInput(f"corpus {source!r} does not exist: {error}") from error
    if path.is_dir():
        visible = (file for file in path.iterdir() if not file.name.startswith("."))
        readable = sorted(file for file in visible if file.is_file() and kind(file) in KINDS)
        if not readable:
            raise BadInput(f"corpus {source!r} is a folder without a {', '.join(KINDS)} file in it")
        return readable
    if path.is_file():
        return [path]
    there = next((parent for parent in path.parents if parent.exists()), Path())
    rest = str(path.relative_to(there))
    pattern = str(Path(glob.escape(str(there))) / rest)
    matches = sorted(map(Path, glob.glob(pattern, recursive=True))) if glob.has_magic(rest) else []
    return [match for match in matches if match.is_file()]


def kind(file: Path) -> str:
    """The ending that tells how a file is read, without that of its compression."""
    return Path(file.stem).suffix if file.suffix in _OPENERS else file.suffix


def texts(file: Path, field: str, separator: str | None) -> Iterator[str | None]:
    """The text of each row, None where it is null, absent or empty.

    Raises:
        BadInput: a kind that is not read, a file that cannot be read to its end, or no row with the field.
    """
    try:
        read = _READERS[kind(file)]
    except KeyError:
        raise BadInput(f"corpus file {file} is none of {', '.join(KINDS)}, compressed or not") from None
    try:
        for text in read(file, field, separator):
            yield _clean(text) if text and text.strip() else None
    except UNREADABLE as error:
        said = (str(error).splitlines() or [""])[0] or type(error).__name__
        what = " as UTF-8 text" if isinstance(error, UnicodeDecodeError) else ""
        raise BadInput(f"corpus file {file} cannot be read to its end{what}: {said}") from error


def _clean(text: str) -> str:
    """Half a surrogate pair, which JSON can spell and UTF-8 cannot, becomes the replacement character."""
    return text if text.isprintable() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _text(file: Path, field: str, separator: str | None) -> Iterator[str | None]:
    with _open(file) as stream:
        whole = stream.read().decode("utf-8-sig")
    yield from whole.split(separator) if separator else [whole]


def _lines(file: Path, field: str, separator: str | None) -> Iterator[str | None]:
    with _open(file) as stream:
        lines = enumerate(io.TextIOWrapper(stream, "utf-8-sig", newline="\n"), 1)
        yield from _fields(file, field, ((f"line {number}", line) for number, line in lines if line.strip()))


def _json(file: Path, field: str, separator: str | None) -> Iterator[str | None]:
    with _open(file) as stream:
        begins = next((line for line in io.TextIOWrapper(stream, "utf-8-sig", newline="\n") if line.strip()), "")
    if not begins.lstrip().startswith("["):
        yield from _lines(file, field, separator)
        return
    with _open(file) as stream:
        whole = _parsed(file, "the array", stream.read().decode("utf-8-sig"))
    yield from _fields(file, field, ((f"row {number}", row) for number, row in enumerate(whole, 1)))


def _fields(file: Path, field: str, rows: Iterator[tuple[str, Any]]) -> Iterator[str | None]:
    """The field of each row, given as JSON or parsed, under the name by which an error calls it."""
    lacking: list[str] | None = []
    for name, raw in rows:
        row = _parsed(file, name, raw) if isinstance(raw, str) else raw
        if not isinstance(row, dict):
            raise BadInput(f"corpus file {file}: {name} is not an object with a text field {field!r}")
        value = row.get(field)
        if value is not None and not isinstance(value, str):
            raise BadInput(f"corpus file {file}: {name} has a {type(value).__name__} in {field!r}, not text")
        if field in row:
            lacking = None
        elif lacking is not None:
            lacking.append(", ".join(row))
            if len(lacking) == WITHOUT_FIELD:
                break
        yield value
    if lacking:
        raise BadInput(f"corpus file {file} has no text field {field!r}: it has {lacking[0]}")


def _parsed(file: Path, name: str, raw: str) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"corpus file {file}: {name} is not JSON that can be read: {error}") from error


def _parquet(file: Path, field: str, separator: str | None) -> Iterator[str | None]:
    with pq.ParquetFile(file) as table:
        schema = table.schema_arrow
        if field not in schema.names:
            raise BadInput(f"corpus file {file} has no text field {field!r}: it has {', '.join(schema.names)}")
        stored = schema.field(field).type
        value = stored.value_type if pa.types.is_dictionary(stored) else stored
        if not (
            pa.types.is_null(value)
            or pa.types.is_string(value)
            or pa.types.is_large_string(value)
            or pa.types.is_string_view(value)
        ):
            raise BadInput(f"corpus file {file}: column {field!r} holds {stored}, not text")
        filled = [group for group in range(table.num_row_groups) if table.metadata.row_group(group).num_rows]
        for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=filled, columns=[field]) if filled else ():
            yield from batch.column(0).to_pylist()


class _Zstandard(io.RawIOBase):
    """Decompressed zstandard frames; unlike the library's own reader it knows a file that ends within a frame."""

    def __init__(self, file: Path) -> None:
        self._file, self._left, self._ready = file.open("rb"), b"", b""
        self._frame: Any = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            compressed = self._left or self._file.read(1 << 16)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the file ends within a compressed frame")
                return 0
            self._frame = self._frame or zstandard.ZstdDecompressor().decompressobj()
            self._ready, self._left = self._frame.decompress(compressed), b""
            if self._frame.eof:
                self._left, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(file: Path) -> IO[bytes]:
    opened: IO[bytes] = _OPENERS.get(file.suffix, Path.open)(file, "rb")
    return opened


_OPENERS: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda file, mode: io.BufferedReader(_Zstandard(file)),
}
_READERS = {".txt": _text, ".jsonl": _lines, ".json": _json, ".parquet": _parquet}
