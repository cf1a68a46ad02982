"""Token blocks on disk: documents tokenised, cut and split by hash into disjoint fit, explain and score sets."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.data import corpus as corpora
from benchmark.errors import BadInput
from benchmark.suite import Corpus, Tokens

SPLITS = ("fit", "explain", "score")
SHARES = {"fit": 0.8, "explain": 0.1, "score": 0.1}
SHORTEST_TAIL = 16
VERSION = 1


class Blocks(NamedTuple):
    """Blocks of one split, memory-mapped. A block holds tokens of one document, padded on the right with id 0;
    `documents` numbers the documents of the split.

    The first token of a block is context only, so a block of length n offers n - 1 activations.
    """

    tokens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    documents: NDArray[np.int64]
    data_hash: str

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


def identity(corpus: Corpus, tokens: Tokens, tokenizer_hash: str) -> dict[str, str]:
    """Content id of each split's blocks, known before anything is tokenised."""
    source = corpora.fingerprint(corpus)
    return {
        split: keyed.short("blocks", VERSION, source, tokenizer_hash, tokens.block, split, getattr(tokens, split))
        for split in SPLITS
    }


def home_of(ids: dict[str, str], folder: Path) -> Path:
    """Where the blocks with these ids are kept."""
    return folder / keyed.short(ids)


def prepare(
    corpus: Corpus,
    tokens: Tokens,
    tokenizer: PreTrainedTokenizerFast,
    tokenizer_hash: str,
    folder: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Blocks]:
    """Blocks of every split, from `folder` when they are there.

    Raises:
        BadInput: the corpus ends before a split's budget is met; says how much is there and how much is needed.
    """
    ids = identity(corpus, tokens, tokenizer_hash)
    home = home_of(ids, folder)
    if not home.is_dir():
        temporary = home.with_name(f"{home.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        counts = _write(corpus, tokens, tokenizer, temporary, progress)
        for split in SPLITS:
            if counts[split] < getattr(tokens, split):
                raise BadInput(
                    f"corpus {corpus.source!r} holds {counts[split]:,} tokens for the {split} split and the suite "
                    f"needs {getattr(tokens, split):,}: give more text or lower tokens.{split}"
                )
        (temporary / "manifest.json").write_text(json.dumps({"ids": ids, "activations": counts}))
        temporary.rename(home)
    return {split: _open(home, split, tokens.block, ids[split]) for split in SPLITS}


def _write(
    corpus: Corpus,
    tokens: Tokens,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    progress: Callable[[int, int], None],
) -> dict[str, int]:
    counts = dict.fromkeys(SPLITS, 0)
    total = sum(getattr(tokens, split) for split in SPLITS)
    files = {split: [(folder / f"{split}.{part}").open("wb") for part in Blocks._fields[:3]] for split in SPLITS}
    pad = np.zeros(tokens.block, dtype=np.int32)
    documents = dict.fromkeys(SPLITS, 0)
    for split, ids in _tokenised(corpora.documents(corpus), tokenizer, counts, tokens):
        documents[split] += 1
        for start in range(0, len(ids), tokens.block):
            piece = ids[start : start + tokens.block]
            if len(piece) < SHORTEST_TAIL or counts[split] >= getattr(tokens, split):
                break
            row = pad.copy()
            row[: len(piece)] = piece
            values: tuple[NDArray[np.int32] | NDArray[np.int64], ...] = (
                row,
                np.array([len(piece)], np.int32),
                np.array([documents[split]], np.int64),
            )
            for file, value in zip(files[split], values, strict=True):
                file.write(value.tobytes())
            counts[split] += len(piece) - 1
        progress(min(total, sum(min(counts[name], getattr(tokens, name)) for name in SPLITS)), total)
        if all(counts[name] >= getattr(tokens, name) for name in SPLITS):
            break
    for file in itertools.chain.from_iterable(files.values()):
        file.close()
    return counts


def _tokenised(
    documents: Iterator[str], tokenizer: PreTrainedTokenizerFast, counts: dict[str, int], tokens: Tokens
) -> Iterator[tuple[str, list[int]]]:
    """Documents of splits that are not full yet, tokenised in batches without special tokens."""
    while chunk := list(itertools.islice(documents, 64)):
        wanted = [(split_of(text), text) for text in chunk]
        wanted = [(split, text) for split, text in wanted if counts[split] < getattr(tokens, split)]
        encoded = tokenizer.backend_tokenizer.encode_batch([text for _, text in wanted], add_special_tokens=False)
        yield from ((split, encoding.ids) for (split, _), encoding in zip(wanted, encoded, strict=True))


def _open(folder: Path, split: str, block: int, data_hash: str) -> Blocks:
    lengths = np.memmap(folder / f"{split}.lengths", np.int32, "r")
    return Blocks(
        np.memmap(folder / f"{split}.tokens", np.int32, "r", shape=(len(lengths), block)),
        lengths,
        np.memmap(folder / f"{split}.documents", np.int64, "r"),
        data_hash,
    )
