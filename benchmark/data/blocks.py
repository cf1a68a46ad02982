"""Token blocks on disk: documents tokenised, cut and split by hash into disjoint fit, explain and score sets."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.data import corpus as corpora
from benchmark.data.world.labels import Document, Labels
from benchmark.errors import BadInput
from benchmark.spec.suite import Corpus, TokenBudget
from benchmark.store import finished

SPLITS = ("fit", "explain", "score")
SHARES = {"fit": 0.8, "explain": 0.1, "score": 0.1}
SHORTEST_TAIL = 16
HALVED, SIDES = "score", ("even", "odd")
"""The split that is cut into halves of distinct documents; there no document takes more than its half of the budget,
however often it is repeated.
"""
VERSION = 3


class Blocks(NamedTuple):
    """Blocks of one split, memory-mapped. A block holds tokens of one document, padded on the right with id 0;
    `documents` numbers the distinct documents of the split in an order that their content decides, so that even and
    odd are halves of equally many documents and a document that is repeated stays in one of them. `labels`
    [block, pos, label] is there for a labelled corpus.

    The first token of a block is context only, so a block of length n offers n - 1 activations.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    documents: NDArray[np.int64]
    data_hash: str
    labels: NDArray[np.int16] | None = None

    @property
    def n_activations(self) -> int:
        return int((self.lengths - 1).sum())


def split_of(text: str) -> str:
    """The split of a document by its content, so that a repeated document stays on one side."""
    place = keyed.seed("split", text) / 2**63
    for split in SPLITS:
        if place < SHARES[split]:
            return split
        place -= SHARES[split]
    return SPLITS[-1]


def identity(corpus: Corpus, tokens: TokenBudget, tokenizer_hash: str) -> dict[str, str]:
    """Content id of each split's blocks, known before anything is tokenised."""
    source = corpora.fingerprint(corpus)
    return {
        split: keyed.short("blocks", VERSION, source, tokenizer_hash, tokens.block, split, getattr(tokens, split))
        for split in SPLITS
    }


def home_of(ids: dict[str, str], folder: Path) -> Path:
    """Where the blocks with these ids are kept."""
    return folder / keyed.short(ids)


def prepare(  # noqa: PLR0917
    corpus: Corpus,
    tokens: TokenBudget,
    tokenizer: PreTrainedTokenizerFast,
    tokenizer_hash: str,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Blocks]:
    """Blocks of every split, from `folder` when they are there. `say` hears how many rows had no text.

    Raises:
        BadInput: the corpus ends before a split's budget is met, or a split is one document; says how much is there
            and how much is needed.
    """
    ids = identity(corpus, tokens, tokenizer_hash)
    home = home_of(ids, folder)
    if not home.is_dir():
        with finished(home) as made:
            written = _write(corpus, tokens, tokenizer, made, progress)
            if written.skipped:
                say(f"corpus {corpus.source!r}: {written.skipped} rows without text are skipped")
            distinct = {split: _number(made / f"{split}.documents") for split in SPLITS}
            for split in SPLITS:
                _require_enough(corpus, split, getattr(tokens, split), written, distinct[split])
            counts = {"activations": written.counts, "documents": distinct, "skipped": written.skipped}
            (made / "manifest.json").write_text(json.dumps({"ids": ids, **counts}))
    return {split: _open(home, split, tokens.block, ids[split]) for split in SPLITS}


class _Written(NamedTuple):
    """Activations per split, documents that were read, and rows without text."""

    counts: dict[str, int]
    documents: int
    skipped: int


def _require_enough(corpus: Corpus, split: str, budget: int, written: _Written, distinct: int) -> None:
    if written.counts[split] < budget:
        raise BadInput(
            f"corpus {corpus.source!r} holds {written.counts[split]:,} tokens in {distinct} distinct documents for the "
            f"{split} split (of {written.documents} documents in all) and the suite needs {budget:,}: give more "
            f"documents (corpus.separator tells where those of a .txt file end) or lower tokens.{split}"
        )
    if split == HALVED and distinct < len(SIDES):
        raise BadInput(
            f"corpus {corpus.source!r}: the {split} split is {distinct} distinct document (of {written.documents} "
            "documents that were read), and what is fitted on one half is scored on the other: give more documents "
            "(corpus.separator tells where those of a .txt file end)"
        )


def _write(
    corpus: Corpus,
    tokens: TokenBudget,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    progress: Callable[[int, int], None],
) -> _Written:
    counts, documents, skipped = dict.fromkeys(SPLITS, 0), itertools.count(), itertools.count()

    def skip() -> None:
        next(skipped)

    total = sum(getattr(tokens, split) for split in SPLITS)
    taken: Counter[tuple[str, int]] = Counter()
    parts = (*Blocks._fields[:3], *(("labels",) if corpus.built_in else ()))
    with ExitStack() as opened:
        files = {
            split: [opened.enter_context((folder / f"{split}.{part}").open("wb")) for part in parts] for split in SPLITS
        }
        rows = corpora.labelled(corpus, skip)
        for split, ids, name, labels in _tokenised(rows, tokenizer, counts, tokens, documents):
            budget = getattr(tokens, split)
            share = -(-budget // len(SIDES)) if split == HALVED else budget
            for start in range(0, len(ids), tokens.block):
                piece = ids[start : start + tokens.block]
                if len(piece) < SHORTEST_TAIL or counts[split] >= budget or taken[split, name] >= share:
                    break
                values: list[NDArray[Any]] = [
                    _padded(np.array(piece, np.int32), tokens.block),
                    np.array([len(piece)], np.int32),
                    np.array([name], np.int64),
                ]
                if labels is not None:
                    values.append(_padded(labels[start : start + tokens.block], tokens.block))
                for file, value in zip(files[split], values, strict=True):
                    file.write(value.tobytes())
                counts[split] += len(piece) - 1
                taken[split, name] += len(piece) - 1
            progress(min(total, sum(min(counts[name], getattr(tokens, name)) for name in SPLITS)), total)
            if all(counts[name] >= getattr(tokens, name) for name in SPLITS):
                break
    return _Written(counts, next(documents), next(skipped))


def _number(file: Path) -> int:
    """Replace the content ids of documents by their rank; returns how many there are."""
    distinct, numbers = np.unique(np.fromfile(file, np.int64), return_inverse=True)
    numbers.astype(np.int64).tofile(file)
    return len(distinct)


def _padded(values: NDArray[Any], length: int) -> NDArray[Any]:
    return np.concatenate([values, np.zeros((length - len(values), *values.shape[1:]), values.dtype)])


def _tokenised(
    documents: Iterator[tuple[str, Document | None]],
    tokenizer: PreTrainedTokenizerFast,
    counts: dict[str, int],
    tokens: TokenBudget,
    read: Iterator[int],
) -> Iterator[tuple[str, list[int], int, NDArray[np.int16] | None]]:
    """Documents of splits that are not full yet, tokenised in batches without special tokens: split, ids, content id
    and labels per token. `read` counts all documents.
    """
    while chunk := list(itertools.islice(documents, 64)):
        wanted = [(split_of(text), text, document) for (text, document), _ in zip(chunk, read, strict=False)]
        wanted = [entry for entry in wanted if counts[entry[0]] < getattr(tokens, entry[0])]
        encoded = tokenizer.backend_tokenizer.encode_batch([text for _, text, _ in wanted], add_special_tokens=False)
        for (split, text, document), encoding in zip(wanted, encoded, strict=True):
            labels = document.of_tokens(encoding.offsets) if document else None
            yield split, encoding.ids, keyed.seed("halves", text), labels


def _open(folder: Path, split: str, block: int, data_hash: str) -> Blocks:
    lengths = np.memmap(folder / f"{split}.lengths", np.int32, "r")
    labels = folder / f"{split}.labels"
    shape = (len(lengths), block, len(Labels._fields))
    return Blocks(
        np.memmap(folder / f"{split}.tokens", np.int32, "r", shape=(len(lengths), block)),
        lengths,
        np.memmap(folder / f"{split}.documents", np.int64, "r"),
        data_hash,
        np.memmap(labels, np.int16, "r", shape=shape) if labels.is_file() else None,
    )
