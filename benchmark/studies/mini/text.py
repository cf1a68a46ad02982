"""Tokenizer and token ids that small subjects are trained on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.data import corpus as corpora
from benchmark.errors import BadInput
from benchmark.spec.suite import Corpus

END_OF_TEXT = "<|endoftext|>"
HELD_OUT_SHARE = 0.02
SMALLEST = 512
CHARACTERS = 30_000_000
Log = Callable[[str], None]
TokenIds = NDArray[np.uint16]


def tokenizer(corpus: Corpus, out: Path, vocab: int, log: Log) -> PreTrainedTokenizerFast:
    """The byte-level BPE tokenizer of `out`, trained on the first characters when it is not there."""
    folder = out / "tokenizer"
    if not folder.is_dir():
        log(f"training a byte-level BPE tokenizer with {vocab} tokens")
        bpe = Tokenizer(BPE())
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab,
            special_tokens=[END_OF_TEXT],
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        bpe.train_from_iterator(_up_to_characters(corpora.documents(corpus), CHARACTERS), trainer)
        temporary = out / "tokenizer.tmp"
        PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END_OF_TEXT).save_pretrained(temporary)
        temporary.rename(folder)
    return PreTrainedTokenizerFast.from_pretrained(folder)


def tokens(
    corpus: Corpus, out: Path, tokenizer: PreTrainedTokenizerFast, budget: int, log: Log
) -> tuple[TokenIds, TokenIds]:
    """Token ids of training and held-out documents, memory-mapped; a document's content decides its side.

    Raises:
        BadInput: the corpus is too small to train on.
    """
    files = out / "train.tokens", out / "held-out.tokens"
    if not all(file.exists() for file in files):
        log(f"tokenising {budget:,} tokens")
        parts = [file.with_suffix(".tmp").open("wb") for file in files]
        wanted, counts = (budget, int(budget * HELD_OUT_SHARE)), [0, 0]
        for text, ids in _tokenised(corpora.documents(corpus), tokenizer):
            held = keyed.seed("held-out", text) % 10_000 < HELD_OUT_SHARE * 10_000
            parts[held].write(np.array([*ids, 0], dtype=np.uint16).tobytes())
            counts[held] += len(ids) + 1
            if counts[0] >= wanted[0] and counts[1] >= max(wanted[1] // 2, SMALLEST):
                break
        for part in parts:
            part.close()
        if min(counts) < SMALLEST:
            raise BadInput(f"corpus {corpus.source!r} is too small to train on: {counts[0]} tokens")
        for file in files:
            file.with_suffix(".tmp").rename(file)
        log(f"{counts[0]:,} training tokens and {counts[1]:,} held-out tokens (documents repeat beyond that)")
    train_tokens, held_out = (np.memmap(file, dtype=np.uint16, mode="r") for file in files)
    return train_tokens, held_out


def _tokenised(documents: Iterator[str], tokenizer: PreTrainedTokenizerFast) -> Iterator[tuple[str, list[int]]]:
    while chunk := list(itertools.islice(documents, 256)):
        for text, encoding in zip(chunk, tokenizer.backend_tokenizer.encode_batch(chunk), strict=True):
            yield text, encoding.ids


def _up_to_characters(documents: Iterator[str], limit: int) -> Iterator[str]:
    total = 0
    for text in documents:
        yield text
        total += len(text)
        if total >= limit:
            return
