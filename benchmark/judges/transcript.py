"""Answers of one judge, kept as they come: a killed run loses none, and a second run asks nothing twice."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from benchmark import keyed

SCHEMA = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, question TEXT NOT NULL, answer TEXT NOT NULL)"


class Transcript:
    """Questions and answers in SQLite; the judge's identity is part of every key, and of the file's name."""

    def __init__(self, folder: Path, identity: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{keyed.short('transcript', identity)}.sqlite"
        self._identity = identity
        self._file = sqlite3.connect(self.path, timeout=60)
        with self._file:
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute(SCHEMA)

    def key(self, question: Any) -> str:
        """Where the answer to a question stands."""
        return keyed.digest("question", self._identity, question)

    def find(self, question: Any) -> Any | None:
        """The answer to a question, or None."""
        row = self._file.execute("SELECT answer FROM answers WHERE key = ?", (self.key(question),)).fetchone()
        return json.loads(row[0]) if row else None

    def put(self, question: Any, answer: Any) -> None:
        """Keep an answer, at once."""
        row = (self.key(question), json.dumps(question, ensure_ascii=False), json.dumps(answer, ensure_ascii=False))
        with self._file:
            self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", row)

    def close(self) -> None:
        """Close the database; a closed transcript answers nothing."""
        self._file.close()

    def __len__(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM answers").fetchone()[0])
