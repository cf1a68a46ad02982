"""Rows of real corpora: whatever stands beside the text is not read, what is not text is counted, damage is said."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from benchmark.data import corpus as corpora
from benchmark.errors import BadInput
from benchmark.spec.suite import Corpus

TEXTS = [f"document {number}: the quick brown fox" for number in range(30)]


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (json.dumps(row if isinstance(row, dict) else {"text": row}) for row in rows)
    path.write_text("".join(line + "\n" for line in lines))
    return path


def read(source: Path | str, **more: Any) -> tuple[list[str], int]:
    """Documents, and how many rows were skipped."""
    skipped: list[None] = []
    found = corpora.labelled(Corpus(source=str(source), **more), lambda: skipped.append(None))
    return [text for text, _ in found], len(skipped)


def test_null_empty_and_absent_texts_are_skipped_and_counted(tmp_path: Path) -> None:
    rows = [*TEXTS[:9], {"text": None}, {"text": "  "}, {"url": "no text at all"}, *TEXTS[9:]]
    assert read(jsonl(tmp_path / "a.jsonl", rows)) == (TEXTS, 3)
    pq.write_table(pa.table({"text": [*TEXTS[:9], None, "", *TEXTS[9:]]}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == (TEXTS, 2)


def test_other_columns_may_differ_come_late_and_look_like_dates(tmp_path: Path) -> None:
    jsonl(tmp_path / "two" / "a.jsonl", [{"text": text, "id": 1} for text in TEXTS[:9]])
    jsonl(tmp_path / "two" / "b.jsonl", [{"text": text, "id": {"late": "2024-01-01"}} for text in TEXTS[9:]])
    assert read(tmp_path / "two") == (TEXTS, 0)
    dates = [*TEXTS[:3], "2024-01-01", "2024-01-02T10:00:00"]
    assert read(jsonl(tmp_path / "dates.jsonl", dates)) == (dates, 0)


def test_parquet_with_empty_row_groups_and_every_kind_of_string(tmp_path: Path) -> None:
    with pq.ParquetWriter(tmp_path / "groups.parquet", pa.schema({"text": pa.string(), "n": pa.int64()})) as writer:
        for texts in ([], TEXTS[:9], [], TEXTS[9:]):
            writer.write_table(
                pa.table({"text": pa.array(texts, pa.string()), "n": pa.array([1] * len(texts), pa.int64())})
            )
    assert read(tmp_path / "groups.parquet") == (TEXTS, 0)
    (tmp_path / "nulls").mkdir()
    for number, kind in enumerate((pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string()))):
        path = tmp_path / f"{number}.parquet"
        pq.write_table(pa.table({"text": pa.array(TEXTS).cast(kind)}), path)
        assert read(path) == (TEXTS, 0)
    pq.write_table(pa.table({"text": pa.nulls(3), "n": [1, 2, 3]}), tmp_path / "nulls" / "a.parquet")
    pq.write_table(pa.table({"text": TEXTS}), tmp_path / "nulls" / "b.parquet")
    (tmp_path / "nulls" / "._b.parquet").write_bytes(b"not a table")
    assert read(tmp_path / "nulls") == (TEXTS, 3)
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    with pytest.raises(BadInput, match="column 'text' holds int64, not text"):
        read(tmp_path / "numbers.parquet")


def test_json_arrays_byte_order_marks_and_half_surrogates(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps([{"text": text} for text in TEXTS], indent=1))
    assert read(tmp_path / "a.json") == (TEXTS, 0)
    (tmp_path / "b.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\r\n{"text": "two\\ud83d"}\r\n')
    assert read(tmp_path / "b.jsonl") == (["one", "two�"], 0)


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ([{"body": "x"}] * 3, "no text field 'text': it has body"),
        ([{"text": "x"}, {"text": 7}], "line 2 has a int in 'text', not text"),
        (["x"], ""),
    ],
)
def test_what_is_no_text_is_named(tmp_path: Path, rows: list[Any], word: str) -> None:
    path = jsonl(tmp_path / "a.jsonl", rows)
    if word:
        with pytest.raises(BadInput, match=word):
            read(path)
    path.write_text('{"text": "x"}\n{"text": "y"')
    with pytest.raises(BadInput, match="line 2 is not JSON that can be read"):
        read(path)
    path.write_text('{"text": "x", "deep": ' + "[" * 100_000 + "\n")
    with pytest.raises(BadInput, match="line 1 is not JSON that can be read"):
        read(path)
    path.write_text('["x", "y"]\n')
    with pytest.raises(BadInput, match="line 1 is not an object"):
        read(path)


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstandard.compress,
}  # fmt: skip


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_compressed_text_is_read_whole_or_not_at_all(tmp_path: Path, suffix: str) -> None:
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS).encode()
    whole = COMPRESSED[suffix](rows)
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(whole)
    assert read(path) == (TEXTS, 0)
    path.write_bytes(COMPRESSED[suffix](rows[:300]) + COMPRESSED[suffix](rows[300:]))
    assert read(path) == (TEXTS, 0), "two parts, one after the other"
    for spoiled in (whole[:-9], whole[:40] + bytes(byte ^ 255 for byte in whole[40:60]) + whole[60:]):
        path.write_bytes(spoiled)
        with pytest.raises(BadInput, match="cannot be read to its end"):
            read(path)


def test_a_text_file_is_one_document_unless_a_separator_ends_them(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text("one\ntwo\n\nthree\n\n\n\nfour")
    assert read(tmp_path / "book.txt") == (["one\ntwo\n\nthree\n\n\n\nfour"], 0)
    assert read(tmp_path / "book.txt", separator="\n\n") == (["one\ntwo", "three", "four"], 1)


def test_paths_are_literal_unless_they_are_patterns(tmp_path: Path) -> None:
    for name, text in (("data[1]/a", "one"), ("data1/a", "two"), ("star/a*", "three"), ("star/ab", "four")):
        jsonl(tmp_path / f"{name}.jsonl", [text])
    jsonl(tmp_path / "deep" / "x" / "y" / "a.jsonl", ["far down"])
    jsonl(tmp_path / "deep" / "b.jsonl", ["at the top"])
    assert read(tmp_path / "data[1]") == (["one"], 0)
    assert read(tmp_path / "data[1]" / "a.jsonl") == (["one"], 0)
    assert read(tmp_path / "star" / "a*.jsonl") == (["three"], 0)
    assert read(f"{tmp_path}/dat*/a.jsonl") == (["two", "one"], 0)
    assert read(f"{tmp_path}/data[1]/*.jsonl") == (["one"], 0), "what exists is literal, also before a pattern"
    assert read(tmp_path / "deep" / "**" / "*.jsonl") == (["at the top", "far down"], 0)


def test_what_is_read_is_what_is_fingerprinted(tmp_path: Path) -> None:
    jsonl(tmp_path / "data[1]" / "a.jsonl", ["one"])
    other = jsonl(tmp_path / "data1" / "a.jsonl", ["two"])
    corpus = Corpus(source=str(tmp_path / "data[1]"))
    before = corpora.fingerprint(corpus)
    jsonl(other, ["another"])
    (tmp_path / "data[1]" / "notes.md").write_text("not read")
    assert corpora.fingerprint(corpus) == before
    jsonl(tmp_path / "data[1]" / "a.jsonl", ["changed"])
    assert corpora.fingerprint(corpus) != before


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("", "source is empty"), ("  ", "source is empty"), ("~nobody-here/x.jsonl", "does not exist"),
        ("/nowhere/text.jsonl", "does not exist"), ("data/typo.jsonl", "does not exist"),
    ],
)  # fmt: skip
def test_sources_that_are_none_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, word: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("whatever lies about")
    with pytest.raises(BadInput, match=word):
        read(source)
    with pytest.raises(BadInput, match=word):
        corpora.fingerprint(Corpus(source=source))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="a folder without"):
        read(tmp_path / "empty")
