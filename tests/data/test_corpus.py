"""Corpora of every kind, and the ones that cannot be read."""

from __future__ import annotations

import gzip
import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

from benchmark.data import corpus as corpora
from benchmark.errors import BadInput
from benchmark.spec.suite import Corpus

TEXTS = ["one bank by the river", "two\nlines in one document", "three"]
SHARED = Path(__file__).parents[3] / "shared" / "data" / "text"


def written(folder: Path, kind: str) -> str:
    if kind == "txt":
        for number, text in enumerate(TEXTS):
            (folder / f"{number}.txt").write_text(text)
        return str(folder)
    path = folder / f"corpus.{kind}"
    if kind == "parquet":
        pd.DataFrame({"text": TEXTS}).to_parquet(path)
    elif kind == "jsonl.gz":
        with gzip.open(path, "wt") as stream:
            stream.writelines(json.dumps({"id": "x", "text": text}) + "\n" for text in TEXTS)
    else:
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return str(folder / "corp*") if kind == "jsonl" else str(path)


@pytest.mark.parametrize("kind", ["txt", "jsonl", "jsonl.gz", "parquet"])
def test_documents_of_every_kind(tmp_path: Path, kind: str) -> None:
    corpus = Corpus(source=written(tmp_path, kind))
    assert list(corpora.documents(corpus)) == TEXTS
    corpora.check(corpus)


def test_fingerprint_follows_content(tmp_path: Path) -> None:
    source = written(tmp_path, "jsonl")
    before = corpora.fingerprint(Corpus(source=source))
    assert corpora.fingerprint(Corpus(source=source)) == before
    assert corpora.fingerprint(Corpus(source=source, text_field="id")) != before
    path = tmp_path / "corpus.jsonl"
    path.write_text(path.read_text().replace("bank", "bark"))
    assert corpora.fingerprint(Corpus(source=source)) != before


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.txt", b"", "is empty"),
        ("a.jsonl", b'{"text": "\xff\xfe broken"}\n', "UTF-8"),
        ("a.txt", b"caf\xe9 broken \xff", "UTF-8"),
        ("a.jsonl", b'{"body": "no text here"}\n', "no text field 'text'"),
        ("a.csv", b"text\nhello\n", "one kind"),
    ],
)
def test_unreadable_corpora_are_refused(tmp_path: Path, name: str, content: bytes, word: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput, match=word):
        corpora.check(Corpus(source=str(tmp_path / name)))


def test_a_missing_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        corpora.check(Corpus(source=str(tmp_path / "nothing.jsonl")))
    with pytest.raises(BadInput, match="built-in"):
        corpora.check(Corpus(source="built-in:poems"))


def test_built_in_language_is_endless_seeded_and_distinct() -> None:
    first, again, other = (
        list(itertools.islice(corpora.documents(Corpus(source=f"built-in:world:{seed}")), 50)) for seed in (0, 0, 1)
    )
    assert first == again
    assert not set(first) & set(other)
    assert len(set(first)) == 50
    assert all(15 < len(text.split()) < 400 for text in first)


def test_a_hub_data_set_is_streamed_at_a_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, object] = {}

    def load_dataset(path: str, /, **options: object) -> list[dict[str, str]]:
        asked.update(options, id=path)
        return [{"text": text} for text in TEXTS]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    corpus = Corpus(source="owner/words", config="en", split="test", revision="c" * 40)
    assert list(corpora.documents(corpus)) == TEXTS
    wanted = {"id": "owner/words", "name": "en", "split": "test", "revision": "c" * 40, "streaming": True}
    assert asked == wanted
    other = corpus.model_copy(update={"revision": "d" * 40})
    assert corpora.fingerprint(corpus) != corpora.fingerprint(other)


@pytest.mark.skipif(not SHARED.is_dir(), reason="real text is not on this machine")
def test_real_text() -> None:
    documents = corpora.documents(Corpus(source=str(SHARED / "wiki_0*.jsonl.gz")))
    lengths = [len(text) for text in itertools.islice(documents, 100)]
    assert min(lengths) > 500
