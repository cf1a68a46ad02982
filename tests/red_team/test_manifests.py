"""A `method.toml` or a suite that is written to look like something else, or to break what reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w

from benchmark.errors import BadInput
from benchmark.spec import method as methods
from benchmark.spec import suite as suites

SOUND: dict[str, Any] = {
    "track": "features",
    "entry": "Entry",
    "summary": "A TopK SAE, 30 % faster (arXiv 2406.04093)",
    "settings": {"k": 3, "name": "", "layers": ["layers.1"], "table": {"blocks.0": 0.1}, "text": "a|b"},
    "presets": {"paper-2": {"k": 4}},
}
CASES: dict[str, tuple[dict[str, Any], str]] = {
    "an attribute of a module": ({"entry": "os.system"}, "'os.system' is no name"),
    "a call": ({"entry": "__import__('os')"}, "is no name: letters, digits and _ are"),
    "a private class": ({"entry": "_Entry"}, "is no name"),
    "a page of summary": ({"summary": "x" * 201}, "it has 201 characters, and 200 are allowed"),
    "no summary": ({"summary": "  "}, "it is empty: say it in a few words"),
    "a terminal's escapes": ({"summary": "fast\x1b[31m"}, "characters that cannot be seen"),
    "two lines": ({"summary": "fast\n| verified |"}, "one line of plain words"),
    "text that runs backwards": ({"summary": "fast \u202egnihton"}, "characters that cannot be seen"),
    "markup": ({"summary": "<script>alert(1)</script>"}, "it holds < >, which tables and pages would read as markup"),
    "a link": ({"summary": "[best](http://x)"}, r"it holds \[ \]"),
    "a cell of a table": ({"summary": "best | verified"}, r"it holds \|"),
    "a setting that is no argument": ({"settings": {"k=3 |": 1}}, "'k=3 |' is no name"),
    "a text that a label shows": ({"settings": {"k": "3\n4"}}, "k: it holds line breaks"),
    "lines deep in settings": ({"settings": {"a": {"b": ["x\ny"]}}}, "a: it holds line breaks"),
    "no number deep in settings": ({"settings": {"a": {"b": float("nan")}}}, "is not a number that can be"),
    "a number that no record holds": ({"settings": {"k": 2**63}}, "k: it has more than 63 bits"),
    "data as settings": ({"settings": {"k": [1.5] * 9_000}}, "20,000 are allowed: put data into a file"),
    "a preset that is a path": ({"presets": {"../x": {}}}, r"preset '../x': letters, digits, _ and - make its name"),
    "a preset's text": ({"settings": {"k": ""}, "presets": {"p": {"k": "x" * 201}}}, "k: it has 201 characters"),
    "another track's home": ({"track": "../features"}, "unknown track '../features'"),
    "a command": ({"run": "rm -rf"}, "unknown field 'run'"),
    "a floor of its own": ({"floor": True}, "floor = true is for baselines/ alone"),
}  # fmt: skip


def load(folder: Path, changes: dict[str, Any]) -> methods.Method:
    home = folder / "mine"
    home.mkdir()
    (home / "method.py").write_text("class Entry: pass\n")
    (home / "method.toml").write_text(tomli_w.dumps(SOUND | {"presets": {}} | changes))
    return methods.load(str(home))


@pytest.mark.parametrize("case", CASES)
def test_what_is_no_plain_word_is_refused(case: str, tmp_path: Path) -> None:
    changes, said = CASES[case]
    with pytest.raises(BadInput, match=said) as refused:
        load(tmp_path, changes)
    assert len(str(refused.value)) < 600
    assert str(refused.value).isprintable()


def test_what_is_plain_is_taken(tmp_path: Path) -> None:
    assert load(tmp_path, SOUND).manifest.settings == SOUND["settings"]


@pytest.mark.parametrize("value", ["a\x1b[1m", "x" * 201, "a\nb"])
def test_a_suite_s_settings_are_plain_words_too(value: str, tmp_path: Path) -> None:
    method = load(tmp_path, {"settings": {"name": "usual"}})
    suite = suites.load("smoke").model_copy(update={"methods": {"mine": ({"name": value},)}})
    with pytest.raises(BadInput, match="method mine: name: it h"):
        methods.rows(method, suite)


def test_every_method_here_says_what_it_is_in_plain_words() -> None:
    assert all(methods.load(name).manifest.summary for name in methods.names())
