"""Documents of a corpus, streamed: text, JSON lines or parquet on disk, a hub data set, or the built-in language."""

from __future__ import annotations

import functools
import glob
import re
from collections.abc import Iterator
from pathlib import Path

import datasets
import pyarrow as pa
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from benchmark import keyed
from benchmark.data.world.documents import documents as world
from benchmark.data.world.labels import Document
from benchmark.errors import BadInput, unknown
from benchmark.suite import BUILT_IN, Corpus

_LOADERS = {".txt": "text", ".jsonl": "json", ".json": "json", ".parquet": "parquet"}
WORLD = Path(__file__).parent / "world"
_COMPRESSED = {".gz", ".zst", ".bz2", ".xz"}


def documents(corpus: Corpus) -> Iterator[str]:
    """Text of the non-empty documents in corpus order."""
    return (text for text, _ in labelled(corpus))


def labelled(corpus: Corpus) -> Iterator[tuple[str, Document | None]]:
    """Non-empty documents in corpus order, with their labels where the corpus has any.

    Raises:
        BadInput: nothing to read, not UTF-8, or the text field is absent.
    """
    if corpus.built_in:
        yield from ((document.text, document) for document in world(_built_in_seed(corpus)))
        return
    empty = True
    try:
        for row in _rows(corpus):
            text = row.get(corpus.text_field)
            if not isinstance(text, str):
                raise BadInput(
                    f"corpus {corpus.source!r} has no text field {corpus.text_field!r}: it has {', '.join(row)}"
                )
            if text.strip():
                empty = False
                yield text, None
    except (UnicodeDecodeError, pa.ArrowInvalid, datasets.exceptions.DatasetGenerationError) as error:
        raise BadInput(f"corpus {corpus.source!r} is not readable UTF-8 text: {_first_line(error)}") from error
    if empty:
        raise BadInput(f"corpus {corpus.source!r} is empty: it holds no document with text")


def fingerprint(corpus: Corpus) -> str:
    """Content id of the corpus: file contents for local files, id and resolved revision for a hub data set."""
    settings = corpus.model_dump(exclude={"source"})
    if corpus.built_in:
        return keyed.short("corpus", corpus.source, keyed.files_digest(WORLD.glob("*.py"), WORLD), settings)
    files = _local_files(corpus.source)
    if files:
        contents = [_file_digest(file, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        return keyed.short("corpus", contents, settings)
    return keyed.short("corpus", corpus.source, settings | {"revision": _commit(corpus.source, corpus.revision)})


def check(corpus: Corpus) -> None:
    """Read the first document, so that a corpus that cannot be used is refused before any compute."""
    next(documents(corpus))


def _built_in_seed(corpus: Corpus) -> int:
    name, _, seed = corpus.source.removeprefix(BUILT_IN).partition(":")
    if name != "world" or not (seed or "0").isdigit():
        raise unknown("built-in corpus", corpus.source, [f"{BUILT_IN}world", f"{BUILT_IN}world:1"])
    return int(seed or 0)


def _rows(corpus: Corpus) -> Iterator[dict[str, object]]:
    files = _local_files(corpus.source)
    if files and not any(file.stat().st_size for file in files):
        return
    if files:
        options: dict[str, object] = {"data_files": [str(file) for file in files], "split": "train"}
        loader = _loader(files)
        if loader == "text":
            options |= {"sample_by": "document"}
    elif corpus.source.startswith((".", "/", "~")) or corpus.source.count("/") != 1:
        raise BadInput(f"corpus {corpus.source!r} does not exist: give a file, a folder, a glob or a hub data set id")
    else:
        loader = corpus.source
        revision = _commit(corpus.source, corpus.revision)
        options = {"name": corpus.config, "split": corpus.split, "revision": revision}
    try:
        stream = datasets.load_dataset(loader, streaming=True, **options)
    except (OSError, ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise BadInput(f"corpus {corpus.source!r} cannot be opened: {_first_line(error)}") from error
    yield from stream


def _local_files(source: str) -> list[Path]:
    path = Path(source).expanduser()
    if path.is_dir():
        return sorted(file for file in path.iterdir() if _suffix(file) in _LOADERS)
    return sorted(Path(match) for match in glob.glob(str(path)))


@functools.cache
def _file_digest(file: Path, size: int, modified: int) -> str:
    """Content id of a file, read again only when its size or time of change says so."""
    return keyed.files_digest([file], file.parent)


@functools.cache
def _commit(source: str, revision: str | None) -> str:
    """The commit that a revision of a hub data set stands for."""
    if revision and re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    try:
        return str(HfApi().dataset_info(source, revision=revision).sha)
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise BadInput(
            f"corpus {source!r} cannot be resolved on the hub ({_first_line(error)}): connect, or pin `revision` to a "
            "commit"
        ) from error


def _suffix(file: Path) -> str:
    return Path(file.stem).suffix if file.suffix in _COMPRESSED else file.suffix


def _loader(files: list[Path]) -> str:
    kinds = {_suffix(file) for file in files}
    if len(kinds) != 1 or not kinds <= _LOADERS.keys():
        raise BadInput(
            f"corpus files must all be of one kind out of {', '.join(_LOADERS)} (compressed or not), "
            f"not {', '.join(sorted(kinds))}"
        )
    return _LOADERS[kinds.pop()]


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
