"""Where records lie: the folder of a user's own results, with tables, arrays and what was fitted beside them."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from scipy import sparse

from benchmark.errors import BadInput
from benchmark.records import Join, Record

MARKER = ".nullgap"
"""Says that a folder is ours to write into; nothing is written into a folder with other things and without it. In it
stands the folder's salt, drawn when it was made.
"""
TEMPORARY = ("", "records/*/*", "featurizers", "pretrained", "arrays", "blocks")
"""Folders of a store that hold files and folders which are not finished yet: `.<name>.tmp`."""
SPOOLED = re.compile("[0-9a-f]{32}")
SELECTION = "selection.json"
LEAN: dict[str, Any] = {"use_dictionary": False, "write_statistics": False}
TABLES = ("concepts", "contexts", "roc")
"""Beside a record stand its latents, `<record>.parquet`, and these as `<record>.<name>.parquet`."""
log = logging.getLogger("nullgap")


class Arrays(NamedTuple):
    """What joins need of a cell."""

    codes: sparse.csr_array
    drawn: NDArray[np.int64]
    directions: torch.Tensor | None


class Store:
    """The folder of a user's own results; files are written under a temporary name and renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def check(self) -> None:
        """Make the folder and mark it as ours, or refuse it: it cannot be written, or holds what is not ours."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            # What a kill left of a marker that was not yet put there is ours.
            others = sorted(path.name for path in self.root.iterdir() if not path.name.startswith(f"{MARKER}."))
            if others and MARKER not in others:
                some = ", ".join(others[:3]) + (", …" if len(others) > 3 else "")
                raise BadInput(
                    f"results folder {self.root} holds other things ({some}) "
                    f"and no {MARKER} file, which marks a folder of results: choose an empty or a new one"
                )
            with tempfile.TemporaryFile(dir=self.root):
                pass
            if MARKER not in others:
                self._mark()
        except OSError as error:
            raise BadInput(f"results folder {self.root} cannot be written: {error.strerror}") from error

    def _mark(self) -> None:
        """Put the marker there, whole or not at all; the first of several stays."""
        made = self.root / f"{MARKER}.{secrets.token_hex(8)}"
        made.write_text(json.dumps({"salt": secrets.token_hex(8)}) + "\n", encoding="utf-8")
        try:
            os.link(made, self.root / MARKER)
        except FileExistsError:
            pass
        except OSError:  # a file system without links
            made.replace(self.root / MARKER)
        made.unlink(missing_ok=True)

    @property
    def salt(self) -> str:
        """What keys the seeds and draws of methods that are not the repository's; none in folders of earlier versions.

        Raises:
            BadInput: the marker says no salt, and yet is not empty.
        """
        try:
            text = (self.root / MARKER).read_text(encoding="utf-8").strip()
            return str(json.loads(text)["salt"]) if text else ""
        except (ValueError, KeyError, TypeError) as error:
            raise BadInput(f"{self.root / MARKER} does not say a salt: {error!r}") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Refuse a second run on the same folder, and clear what a killed one left half-written."""
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise BadInput(
                f"another run is using {self.root}: wait for it, or choose another results folder"
            ) from error
        try:
            self._clear_abandoned()
            yield
        finally:
            lock.release()

    def select(self, suite: str, method: str, rows: dict[str, list[str]]) -> None:
        """Say which cells make up each row, by score id; rows of other labels stay as they are."""
        path = self._folder(suite, method) / SELECTION
        write_text(path, json.dumps(self._selection(suite, method) | rows, indent=1) + "\n")

    def selected(self) -> tuple[list[Record], list[Join]]:
        """Scored records and joins of the rows as they were last run; those of other settings are left out."""
        records, joins = [], []
        for path in sorted((self.root / "records").glob(f"*/*/{SELECTION}")):
            suite, method = path.parts[-3:-1]
            ids = {name for row in self._selection(suite, method).values() for name in row}
            records += readable(self._path(suite, method, name) for name in sorted(ids))
            joins += [join for join in self.joins(suite, method) if ids.issuperset(join.score_ids)]
        return records, joins

    def latents(self, record: Record) -> pd.DataFrame | None:
        """The table beside a record, None where there is none."""
        path = self._path(record.where.suite, record.where.method, record.score_id).with_suffix(".parquet")
        return pd.read_parquet(path) if path.is_file() else None

    def table(self, record: Record, name: str) -> pd.DataFrame | None:
        """A further table beside a record."""
        path = self._path(record.where.suite, record.where.method, record.score_id).with_suffix(f".{name}.parquet")
        return pd.read_parquet(path) if path.is_file() else None

    def find(self, suite: str, method: str, score_id: str) -> Record | None:
        """A scored record, or None; failed cells, and those whose record cannot be read, are tried again."""
        return next(iter(readable([self._path(suite, method, score_id)])), None)

    def put(
        self,
        record: Record,
        latents: pd.DataFrame | None = None,
        arrays: Arrays | None = None,
        tables: Mapping[str, pd.DataFrame] | None = None,
    ) -> None:
        """Keep a record, its tables and its arrays; a success replaces the cell's earlier failure."""
        path = self._path(record.where.suite, record.where.method, record.score_id)
        failed = path.with_suffix(".failed.json")
        path.parent.mkdir(parents=True, exist_ok=True)
        if record.status == "failed":
            write_text(failed, record.model_dump_json(indent=1) + "\n")
            return
        named = {f".{name}.parquet": table for name, table in (tables or {}).items()}
        for suffix, table in (named if latents is None else {".parquet": latents, **named}).items():
            temporary = temporary_of(path.with_suffix(suffix))
            table.to_parquet(temporary, index=False, compression="zstd", compression_level=12, **LEAN)
            temporary.rename(path.with_suffix(suffix))
        if arrays is not None:
            self._put_arrays(record.score_id, arrays)
        write_text(path, record.model_dump_json(indent=1) + "\n")
        failed.unlink(missing_ok=True)

    def extend(self, record: Record, samples: pd.DataFrame, tables: Mapping[str, pd.DataFrame]) -> None:
        """Replace a record by one with more metrics, and put their columns and lines beside those that are there."""
        before = self.latents(record)
        if before is not None and list(before.get("latent", ())) == list(samples.get("latent", ())):
            samples = before.assign(**{str(name): samples[name] for name in samples})
        wider = {name: _joined(self.table(record, name), table) for name, table in tables.items()}
        self.put(record, samples, tables=wider)

    def arrays(self, score_id: str) -> Arrays | None:
        """What `put` kept for joins, or None."""
        path = self.root / "arrays" / f"{score_id}.safetensors"
        if not path.is_file():
            return None
        tensors = load_file(path)
        parts = tuple(tensors[name].numpy() for name in ("data", "indices", "indptr"))
        codes = sparse.csr_array(parts, shape=tuple(tensors["shape"].tolist()))
        return Arrays(codes, tensors["drawn"].numpy(), tensors.get("directions"))

    def featurizer(self, fit_id: str) -> Path:
        """Where a featurizer is kept; what its fit cost stands beside what was fitted here, `<fit_id>.json`."""
        elsewhere = self.pretrained(fit_id)
        return elsewhere if elsewhere.is_dir() else self.root / "featurizers" / fit_id

    def pretrained(self, fit_id: str) -> Path:
        """Where a featurizer is put that was trained elsewhere: it takes no room of what is fitted here."""
        return self.root / "pretrained" / fit_id

    def kept_bytes(self) -> int:
        """What is fitted here and arrays take."""
        total = 0
        for name in ("featurizers", "arrays"):
            for folder, _, files in os.walk(self.root / name):
                for file in files:
                    with suppress(FileNotFoundError):  # another process renames what it has finished
                        total += (Path(folder) / file).lstat().st_size
        return total

    def records(self, suite: str, method: str) -> list[Record]:
        """All scored and failed records of a method under a suite."""
        return read_all(self._folder(suite, method))

    def joins(self, suite: str, method: str) -> list[Join]:
        """All joins of a method under a suite."""
        return read_joins(self._folder(suite, method) / "joins.json")

    def put_joins(self, suite: str, method: str, joins: list[Join]) -> None:
        """Add joins of a method under a suite."""
        known = {(join.metric, join.score_ids): join for join in [*self.joins(suite, method), *joins]}
        write_joins(self._folder(suite, method) / "joins.json", list(known.values()))

    def _put_arrays(self, score_id: str, arrays: Arrays) -> None:
        codes = arrays.codes
        tensors = {
            "data": torch.from_numpy(codes.data.astype(np.float32)),
            "indices": torch.from_numpy(codes.indices.astype(np.int32)),
            "indptr": torch.from_numpy(codes.indptr.astype(np.int64)),
            "shape": torch.tensor(codes.shape),
            "drawn": torch.from_numpy(arrays.drawn),
        }
        if arrays.directions is not None:
            tensors["directions"] = arrays.directions.half()
        path = self.root / "arrays" / f"{score_id}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, temporary_of(path))
        temporary_of(path).rename(path)

    def _selection(self, suite: str, method: str) -> dict[str, list[str]]:
        """Score ids by label; of a file that is not such a list nothing."""
        path = self._folder(suite, method) / SELECTION
        if not path.is_file():
            return {}
        try:
            selected = json.loads(path.read_text(encoding="utf-8"))
            return {
                str(label): [name for name in ids if re.fullmatch("[0-9a-f]{16}", name)]
                for label, ids in selected.items()
            }
        except (OSError, ValueError, TypeError, AttributeError) as error:
            log.warning("%s cannot be read and is left out: %s", path, error)
            return {}

    def _clear_abandoned(self) -> None:
        """Remove what a killed run left half-written: names that only this store gives, and nothing behind a link."""
        spooled = (path for path in (self.root / "spool").glob("*") if SPOOLED.fullmatch(path.name))
        written = (path for folder in TEMPORARY for path in self.root.glob(f"{folder}/.*.tmp".lstrip("/")))
        for path in (*spooled, *written):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _folder(self, suite: str, method: str) -> Path:
        return self.root / "records" / suite / method

    def _path(self, suite: str, method: str, score_id: str) -> Path:
        return self._folder(suite, method) / f"{score_id}.json"


def _joined(before: pd.DataFrame | None, after: pd.DataFrame) -> pd.DataFrame:
    """Lines of scorers that the new table does not have, and the new table; a table without scorers is replaced."""
    if before is None or "scorer" not in after:
        return after
    return pd.concat([before[~before["scorer"].isin(after["scorer"].unique())], after], ignore_index=True)


def read(path: Path) -> Record:
    """A record from its file; a file that is not one is a `BadInput`."""
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not a record: {str(error).splitlines()[0]}") from error


def read_all(folder: Path) -> list[Record]:
    """All records below a folder, in path order; those that cannot be read are left out and named."""
    return readable(path for path in sorted(folder.rglob("*.json")) if path.name not in ("joins.json", SELECTION))


def readable(paths: Iterable[Path]) -> list[Record]:
    """The records in files that are there; one that cannot be read, or does not lie where its content says, is left out
    and named, whatever it holds: nobody's file ends another one's run.
    """
    found, wrong = [], []
    for path in paths:
        try:
            if path.is_file():
                found.append(_in_place(read(path), path))
        except BadInput as error:
            wrong.append(str(error))
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        log.warning("left out: %s%s", wrong[0], more)
    return found


def read_joins(path: Path) -> list[Join]:
    """Joins from their file; none where there is none, or where it cannot be read, which is said."""
    if not path.is_file():
        return []
    try:
        return [Join.model_validate(entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError) as error:
        log.warning("left out: %s does not hold joins: %s", path, str(error).splitlines()[0])
        return []


def _in_place(record: Record, path: Path) -> Record:
    """A record whose place below the results is the one that its content names."""
    where, stem = record.where, path.name.partition(".")[0]
    if path.parts[-3:-1] != (where.suite, where.method) or stem != record.score_id:
        raise BadInput(
            f"{path} is the record {where.suite}/{where.method}/{record.score_id}, and does not lie where it says"
        )
    return record


def write_joins(path: Path, joins: list[Join]) -> None:
    """Replace a file of joins."""
    write_text(path, json.dumps([join.model_dump(mode="json") for join in joins], indent=1) + "\n")


def path_of(root: Path, entry: Record) -> Path:
    """Where a scored record stands below a folder of records."""
    return root / entry.where.suite / entry.where.method / f"{entry.score_id}.json"


def write_text(path: Path, text: str) -> None:
    """Write a file, and the folders above it, in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary_of(path).write_text(text, encoding="utf-8")
    temporary_of(path).rename(path)


@contextmanager
def finished(folder: Path) -> Iterator[Path]:
    """A folder to write into that takes its place when all went well; nothing is left of one that did not."""
    temporary = temporary_of(folder)
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
    except BaseException:
        shutil.rmtree(temporary)
        raise
    temporary.rename(folder)


def temporary_of(path: Path) -> Path:
    """What a file or folder is called until it is finished."""
    return path.with_name(f".{path.name}.tmp")
