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
from benchmark.spec.suite import Corpus, TokenBudget
from tests.conftest import LANGUAGE, REVISION

TOKENS = TokenBudget(fit=5_000, explain=800, score=700, block=64)


def prepare(subjects: Path, folder: Path, tokens: TokenBudget = TOKENS, corpus: Corpus = LANGUAGE) -> dict[str, Blocks]:
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    return token_blocks.prepare(corpus, tokens, tokenizer, "tokenizer", folder)


def test_blocks_hold_the_splits_documents_in_order(subjects: Path, tmp_path: Path) -> None:
    made = prepare(subjects, tmp_path)
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    for split, found in made.items():
        mine = (text for text in corpora.documents(LANGUAGE) if token_blocks.split_of(text) == split)
        in_order = list(dict.fromkeys(found.documents.tolist()))
        assert sorted(in_order) == list(range(len(in_order)))
        for document in in_order[:3]:
            ids = tokenizer(next(mine))["input_ids"]
            rows = np.flatnonzero(found.documents == document)
            joined = np.concatenate([found.tokens[row][: found.lengths[row]] for row in rows])
            assert joined.tolist() == ids[: len(joined)]
            if document != in_order[-1]:
                half = split == token_blocks.HALVED and len(joined) >= getattr(TOKENS, split) / 2
                assert len(ids) - len(joined) < SHORTEST_TAIL or half, "no document takes more than its half"
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
    with pytest.raises(
        BadInput, match=r"holds [\d,]+ tokens in \d+ distinct documents for the fit split \(of 40 .* needs 50,000"
    ):
        prepare(subjects, tmp_path / "blocks", TOKENS.model_copy(update={"fit": 50_000}), Corpus(source=str(path)))
    assert not list((tmp_path / "blocks").glob("*/manifest.json"))


def corpus_of(folder: Path, texts: list[str]) -> Corpus:
    path = folder / "corpus.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return Corpus(source=str(path))


def test_a_repeated_document_stays_on_one_side(subjects: Path, tmp_path: Path) -> None:
    texts = list(itertools.islice(corpora.documents(LANGUAGE), 400))
    four_times = corpus_of(tmp_path, [text for text in texts for _ in range(4)])
    found = prepare(subjects, tmp_path, TOKENS.model_copy(update={"score": 3_000}), four_times)["score"]
    begins = {tuple(found.tokens[row]): set() for row in range(len(found.lengths))}  # type: dict[tuple[int, ...], set[int]]
    for row in range(len(found.lengths)):
        begins[tuple(found.tokens[row])].add(int(found.documents[row]))
    assert max(map(len, begins.values())) == 1
    numbers = np.unique(found.documents)
    assert numbers.tolist() == list(range(len(numbers)))
    assert len(numbers) < len(found.lengths) / 3


def test_halves_depend_on_content_and_not_on_order(subjects: Path, tmp_path: Path) -> None:
    texts = list(itertools.islice(corpora.documents(LANGUAGE), 300))
    sides = []
    for number, ordered in enumerate((texts, [*texts[9:], *texts[:9]])):
        folder = tmp_path / str(number)
        folder.mkdir()
        tokens = TokenBudget(fit=2_000, explain=700, score=1_500, block=64)
        score = prepare(subjects, folder, tokens, corpus_of(folder, ordered))["score"]
        sides.append({tuple(score.tokens[row]): int(score.documents[row]) for row in range(len(score.lengths))})
    shared = sides[0].keys() & sides[1].keys()
    order = [sorted(shared, key=side.__getitem__) for side in sides]
    assert len(shared) > 5
    assert order[0] == order[1]


def test_few_long_documents_fill_both_halves_or_are_counted(subjects: Path, tmp_path: Path) -> None:
    texts = list(itertools.islice(corpora.documents(LANGUAGE), 2_000))
    books = [" ".join(texts[start : start + 100]) for start in range(0, 2_000, 100)]
    made = prepare(subjects, tmp_path, corpus=corpus_of(tmp_path, books))
    assert set(made["score"].documents % 2) == {0, 1}
    one = next(book for book in books if token_blocks.split_of(book) == "score")
    others = [book for book in books if token_blocks.split_of(book) != "score"]
    said = (
        r"the score split is 1 distinct document \(of \d+ documents that were read\)|holds [\d,]+ tokens in 1 distinct"
    )
    with pytest.raises(BadInput, match=said):
        prepare(subjects, tmp_path / "one", corpus=corpus_of(tmp_path, [*others, one, one, one]))


def test_rows_without_text_are_said_and_a_failure_leaves_no_file_open(subjects: Path, tmp_path: Path) -> None:
    texts = list(itertools.islice(corpora.documents(LANGUAGE), 400))
    tokenizer, said = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION)), list[str]()
    corpus = corpus_of(tmp_path, [" ", *texts])
    token_blocks.prepare(corpus, TOKENS, tokenizer, "t", tmp_path / "blocks", say=said.append)
    assert said == [f"corpus {corpus.source!r}: 1 rows without text are skipped"]
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(BadInput):
        token_blocks.prepare(corpus_of(tmp_path, texts[:3]), TOKENS, tokenizer, "t", tmp_path / "short")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
