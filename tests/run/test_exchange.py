"""What a method's `save` wrote is kept as copies of plain files, or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.execution.contract import MethodError
from benchmark.run.exchange import handed_over, take


@pytest.fixture
def written(tmp_path: Path) -> Path:
    folder = tmp_path / "exchange" / "drawn"
    folder.mkdir(parents=True)
    (folder / "sae.safetensors").write_bytes(b"12345678")
    (folder / "sae.json").write_text("{}")
    return folder


def test_plain_files_are_copied_and_no_longer_the_methods(written: Path, tmp_path: Path) -> None:
    with (written / "sae.json").open("r+") as held:
        assert take(written, tmp_path / "kept", 100) == 10
        held.write("[]")
    assert (tmp_path / "kept" / "sae.json").read_text() == "{}"
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["sae.json", "sae.safetensors"]


OFFENCES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link to a file": (lambda folder: (folder / "a.json").symlink_to("/etc/passwd"), "'a.json', which cannot be"),
    "a link to a folder": (lambda folder: (folder / "b.json").symlink_to("/etc"), "'b.json', which cannot be read"),
    "a folder": (lambda folder: (folder / "c.json").mkdir(), "'c.json': safetensors and JSON alone"),
    "a pipe": (lambda folder: os.mkfifo(folder / "d.json"), "'d.json': safetensors and JSON alone"),
    "a pickle": (lambda folder: (folder / "e.pt").write_bytes(b""), "'e.pt': safetensors and JSON alone"),
    "too much": (lambda folder: (folder / "f.json").write_bytes(b"0" * 200), "more than the suite's limits.disk_gib"),
}  # fmt: skip


@pytest.mark.parametrize("offence", OFFENCES)
def test_anything_else_is_refused_and_nothing_kept(offence: str, written: Path, tmp_path: Path) -> None:
    write, said = OFFENCES[offence]
    write(written)
    with pytest.raises(MethodError, match=said):
        take(written, tmp_path / "kept", 100)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["exchange"]


def test_a_method_gets_copies_to_load(written: Path, tmp_path: Path) -> None:
    with handed_over([written, written], tmp_path / "home") as copies:
        assert [(copy / "sae.json").read_text() for copy in copies] == ["{}", "{}"]
        (copies[0] / "sae.json").write_text("changed")
    assert not (tmp_path / "home").exists()
    assert (written / "sae.json").read_text() == "{}"
