"""Documents of a corpus, streamed: text, JSON lines or parquet on disk, a hub data set, or the built-in language."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from benchmark import keyed
from benchmark.data import files
from benchmark.data.world.documents import documents as world
from benchmark.data.world.labels import Document
from benchmark.errors import BadInput, unknown
from benchmark.spec.suite import BUILT_IN, Corpus

WORLD = Path(__file__).parent / "world"
Skipped = Callable[[], None]


def documents(corpus: Corpus) -> Iterator[str]:
    """Text of the non-empty documents in corpus order."""
    return (text for text, _ in labelled(corpus))


def labelled(corpus: Corpus, skipped: Skipped = lambda: None) -> Iterator[tuple[str, Document | None]]:
    """Non-empty documents in corpus order, with their labels where the corpus has any; `skipped` hears of each row
    whose text is null, absent or empty.

    Raises:
        BadInput: nothing to read, a file that cannot be read to its end, or the text field is absent.
    """
    if corpus.built_in:
        yield from ((document.text, document) for document in world(_built_in_seed(corpus)))
        return
    local, empty = _files(corpus), True
    rows = _texts_of_files(local, corpus) if local else _texts_on_hub(corpus)
    for text in rows:
        if text is None:
            skipped()
        else:
            empty = False
            yield text, None
    if empty:
        raise BadInput(f"corpus {corpus.source!r} is empty: it holds no document with text in {corpus.text_field!r}")


def fingerprint(corpus: Corpus) -> str:
    """Content id of the corpus: file contents for local files, id and resolved revision for a hub data set."""
    settings = corpus.model_dump(exclude={"source"})
    if corpus.built_in:
        return keyed.short("corpus", corpus.source, keyed.files_digest(WORLD.glob("*.py"), WORLD), settings)
    local = _files(corpus)
    if local:
        contents = [keyed.file_digest(file) for file in local]
        return keyed.short("corpus", contents, settings)
    return keyed.short("corpus", corpus.source, settings | {"revision": _commit(corpus.source, corpus.revision)})


def check(corpus: Corpus) -> None:
    """Read the first document, so that a corpus that cannot be used is refused before any compute."""
    next(documents(corpus))


def _files(corpus: Corpus) -> list[Path]:
    """The local files of a corpus, for reading and for its content id alike; none for a hub data set.

    Raises:
        BadInput: a source that is neither, or files of several kinds.
    """
    source = corpus.source.strip()
    if not source:
        raise BadInput("corpus source is empty: give a file, a folder, a pattern or a hub data set id")
    listed = files.local(corpus.source)
    if not listed and (
        source.startswith((".", "/", "~")) or source.count("/") != 1 or files.kind(Path(source)) in files.KINDS
    ):
        raise BadInput(f"corpus {source!r} does not exist: give a file, a folder, a pattern or a hub data set id")
    kinds = {files.kind(file) for file in listed}
    if listed and (len(kinds) > 1 or not kinds <= set(files.KINDS)):
        raise BadInput(
            f"corpus files must all be of one kind out of {', '.join(files.KINDS)} (compressed or not), "
            f"not {', '.join(sorted(kinds))}"
        )
    return listed


def _texts_of_files(local: list[Path], corpus: Corpus) -> Iterator[str | None]:
    for file in local:
        yield from files.texts(file, corpus.text_field, corpus.separator)


def _texts_on_hub(corpus: Corpus) -> Iterator[str | None]:
    try:
        revision = _commit(corpus.source, corpus.revision)
        options = {"name": corpus.config, "split": corpus.split, "revision": revision}
        for row in datasets.load_dataset(corpus.source, streaming=True, **options):
            text = row.get(corpus.text_field)
            if corpus.text_field not in row or not (text is None or isinstance(text, str)):
                raise BadInput(
                    f"corpus {corpus.source!r} has no text field {corpus.text_field!r}: it has {', '.join(row)}"
                )
            yield text if text and text.strip() else None
    except (OSError, ValueError, TypeError, datasets.exceptions.DatasetsError) as error:
        raise BadInput(f"corpus {corpus.source!r} cannot be read: {_first_line(error)}") from error


def _built_in_seed(corpus: Corpus) -> int:
    name, _, seed = corpus.source.removeprefix(BUILT_IN).partition(":")
    if name != "world" or not (seed or "0").isdigit():
        raise unknown("built-in corpus", corpus.source, [f"{BUILT_IN}world", f"{BUILT_IN}world:1"])
    return int(seed or 0)


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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
