"""Files and texts from anybody: nothing that is not ours is touched, and nobody's file ends another one's run."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from pydantic import ValidationError
from rich.console import Console

from benchmark import keyed, reporting
from benchmark.errors import BadInput
from benchmark.records import Join, MetricValue, Record
from benchmark.spec import method as methods
from benchmark.store import Store, path_of, read, read_all, read_joins
from tests.leaderboard.test_board import record, where

GOOD = record("trained", 0, "layers.2", 0.5)


def put(folder: Path, text: str, name: str = "") -> Path:
    path = folder / "s" / "m" / f"{name or keyed.short(text)}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def changed(**fields: object) -> str:
    return json.dumps(json.loads(GOOD.model_dump_json()) | fields)


def test_a_folder_with_other_things_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    for name in ("notes.tmp", "spool/thesis.txt", "featurizers/x.tmp/y"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(BadInput, match=r"holds other things \(featurizers, notes.tmp, spool\) and no .nullgap file"):
        Store(tmp_path).check()
    assert sorted(tmp_path.rglob("*")) == before


def test_a_new_folder_is_marked_and_stays_ours(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    store.check()
    (tmp_path / "runs" / "my-notes.txt").write_text("mine")
    store.check()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(BadInput, match="cannot be written"):
        Store(tmp_path / "file").check()


def test_a_marker_that_a_kill_kept_from_its_place_is_no_other_thing(tmp_path: Path) -> None:
    (tmp_path / ".nullgap.0123456789abcdef").write_text("{")
    Store(tmp_path).check()
    assert len(Store(tmp_path).salt) == 16


def test_only_our_own_temporary_names_are_removed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("mine")
    root = tmp_path / "runs"
    for name in (
        "records/s/m/.a.json.tmp",
        "featurizers/.ab.tmp/sae.safetensors",
        f"spool/{'0' * 32}/1/0.bin",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("half")
    kept = ["featurizers/ab/state.tmp", "featurizers/ab/.x.tmp", "notes.tmp", "spool/mine", "records/s/deep/m/.b.tmp"]
    for name in kept:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("mine")
    for link in ("featurizers/x.tmp", "featurizers/.y.tmp", f"spool/{'1' * 32}"):
        (root / link).symlink_to(outside)
    with Store(root).locked():
        pass
    with Store(root).locked():
        pass
    assert {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()} >= set(kept)
    assert not list(root.rglob(".a.json.tmp")) + list(root.glob("featurizers/.*")) + list(root.glob("spool/[01]*"))
    assert (outside / "thesis.txt").read_text() == "mine"


BROKEN = {
    "not JSON": "{",
    "a null count": changed(counts={"drawn": None}),
    "a count that is not finite": changed(counts={"drawn": 0}).replace('"drawn": 0', '"drawn": 1e999'),
    "an id that is a path": changed(score_id="../../../../victim"),
    "a suite that is a path": changed(where=json.loads(GOOD.where.model_dump_json()) | {"suite": "../other"}),
    "a method that is a path": changed(where=json.loads(GOOD.where.model_dump_json()) | {"method": ".."}),
    "an unknown variant": changed(where=json.loads(GOOD.where.model_dump_json()) | {"variant": "a/b"}),
    "a metric that is a tag": changed(metrics={"<img src=x onerror=alert(1)>": {"value": 1}}),
    "a list": "[]",
    "an earlier form": '{"schema_version": 1}',
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_record_that_cannot_be_read_is_left_out_and_named(
    tmp_path: Path, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = put(tmp_path, BROKEN[case])
    put(tmp_path, GOOD.model_dump_json(), GOOD.score_id)
    with caplog.at_level(logging.WARNING):
        assert read_all(tmp_path) == [GOOD]
    assert bad.name in caplog.text
    with pytest.raises(BadInput, match="is not a record"):
        read(bad)


def test_a_record_lies_where_its_content_says(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, GOOD.model_dump_json(), keyed.short("another name"))
    elsewhere = tmp_path / "s" / "other" / f"{GOOD.score_id}.json"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text(GOOD.model_dump_json())
    with caplog.at_level(logging.WARNING):
        assert read_all(tmp_path) == []
    assert "does not lie where it says" in caplog.text
    assert path_of(tmp_path, GOOD) == tmp_path / "s" / "m" / f"{GOOD.score_id}.json"


def test_a_record_of_ours_that_was_damaged_is_computed_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(GOOD)
    store.select("s", "m", {"default": [GOOD.score_id]})
    assert store.selected()[0] == [GOOD]
    path_of(tmp_path / "records", GOOD).write_text("{")
    assert store.find("s", "m", GOOD.score_id) is None
    assert store.selected()[0] == []
    (tmp_path / "records" / "s" / "m" / "selection.json").write_text('{"default": ["../../../x", 3]}')
    assert store.selected() == ([], [])


def test_joins_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    for text in ("{", '[{"metric": "x"}]', "[1]"):
        (tmp_path / "joins.json").write_text(text)
        assert read_joins(tmp_path / "joins.json") == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_no_record_holds_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValidationError):
        MetricValue(value=value)
    with pytest.raises(ValidationError):
        Record.model_validate(GOOD.model_dump() | {"cost": {"fit_seconds": value}})
    fields = {"metric": "x", "where": where("trained", 0, "layers.2"), "other": 1, "value": value}
    ids = {"score_ids": (keyed.short("a"), keyed.short("b"))} | dict.fromkeys(("suite_hash", "settings_hash"), "0" * 16)
    with pytest.raises(ValidationError):
        Join.model_validate(fields | ids)


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "", ".hidden", "a b", "$(id)", "`id`", "/tmp/x"])
def test_a_name_reaches_no_method_outside_its_home(tmp_path: Path, name: str) -> None:
    home = tmp_path / "home"
    for folder in (home, tmp_path / "x", home / "a"):
        folder.mkdir(exist_ok=True)
        (folder / "method.toml").write_text('track = "features"\nentry = "M"\nsummary = "x"\n')
    with pytest.raises(BadInput, match=r"unknown method|is no method: a folder with"):
        methods.load(name, (home / "y" / "..",))


HOSTILE = "an error with [/x] and [red]colour[/red]\x1b[2J\x07 and \u202e\udcff"


def test_what_is_kept_is_counted_while_others_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "arrays").mkdir()
    (tmp_path / "arrays" / "a").write_bytes(b"12345")
    known = list(os.walk(tmp_path / "arrays"))
    monkeypatch.setattr(os, "walk", lambda root: [(str(root), [], ["gone"]), *known] if "arrays" in str(root) else [])
    assert Store(tmp_path).kept_bytes() == 5


def test_what_is_said_is_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    for terminal in (False, True):
        console = Console(force_terminal=terminal, width=200)
        with reporting.reporter(console) as reporter:
            reporter.say(HOSTILE)
            reporter.step(HOSTILE, 1, 2)
        shown = capsys.readouterr().out
        assert "[/x] and [red]colour[/red]" in shown
        assert "\x1b[2J" not in shown
        assert "\x07" not in shown
        assert "\u202e" not in shown
