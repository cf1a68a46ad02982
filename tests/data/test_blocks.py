"""Splits are disjoint by document, blocks hold one document, budgets are met or refused."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from benchmark.data import blocks as token_blocks
from benchmark.data import corpus as corpora
from benchmark.data.blocks import SHORTEST_TAIL, Blocks
from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.suite import Corpus, Tokens
from tests.conftest import LANGUAGE, REVISION

TOKENS = Tokens(fit=5_000, explain=800, score=700, block=64)


def prepare(subjects: Path, folder: Path, tokens: Tokens = TOKENS, corpus: Corpus = LANGUAGE) -> dict[str, Blocks]:
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    return token_blocks.prepare(corpus, tokens, tokenizer, "tokenizer", folder)


def test_blocks_hold_the_splits_documents_in_order(subjects: Path, tmp_path: Path) -> None:
    made = prepare(subjects, tmp_path)
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    for split, found in made.items():
        mine = (text for text in corpora.documents(LANGUAGE) if token_blocks.split_of(text) == split)
        for document in range(1, min(4, int(found.documents.max()) + 1)):
            ids = tokenizer(next(mine))["input_ids"]
            rows = np.flatnonzero(found.documents == document)
            joined = np.concatenate([found.tokens[row][: found.lengths[row]] for row in rows])
            assert joined.tolist() == ids[: len(joined)]
            if document < found.documents.max():
                assert len(ids) - len(joined) < SHORTEST_TAIL
        assert found.n_activations >= getattr(TOKENS, split)
        assert found.lengths.min() >= SHORTEST_TAIL
        assert all((row[length:] == 0).all() for row, length in zip(found.tokens, found.lengths, strict=True))


def test_splits_are_shares_of_documents_by_content() -> None:
    texts = list(itertools.islice(corpora.documents(LANGUAGE), 2000))
    shares = {split: np.mean([token_blocks.split_of(text) == split for text in texts]) for split in ("fit", "score")}
    assert shares["fit"] == pytest.approx(0.8, abs=0.03)
    assert shares["score"] == pytest.approx(0.1, abs=0.03)


def test_a_larger_fit_budget_leaves_the_other_splits_alone(subjects: Path, tmp_path: Path) -> None:
    small, large = prepare(subjects, tmp_path), prepare(subjects, tmp_path, TOKENS.model_copy(update={"fit": 9_000}))
    assert len(large["fit"].lengths) > len(small["fit"].lengths)
    for split in ("explain", "score"):
        assert small[split].data_hash == large[split].data_hash
        for mine, theirs in zip(small[split][:3], large[split][:3], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_too_little_text_says_how_much_there_is(subjects: Path, tmp_path: Path) -> None:
    path = tmp_path / "short.jsonl"
    texts = itertools.islice(corpora.documents(LANGUAGE), 40)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with pytest.raises(BadInput, match=r"holds [\d,]+ tokens for the fit split and the suite needs 50,000"):
        prepare(subjects, tmp_path / "blocks", TOKENS.model_copy(update={"fit": 50_000}), Corpus(source=str(path)))
    assert not list((tmp_path / "blocks").glob("*/manifest.json"))
