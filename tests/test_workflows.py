"""Workflows are sound, run strangers' code without secrets, and call targets that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
STRANGERS = ("pull-request", "verify")
ZIZMOR = shutil.which("zizmor", path=sysconfig.get_path("scripts")) or "zizmor"
SUBMITTED = re.compile(r"grep -cvE '(.*)' files.txt")


def linted(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [ZIZMOR, "--offline", "--no-progress", "--persona", "pedantic", "--no-config", str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def parsed(path: Path) -> dict[str, Any]:
    # YAML reads `on` as a truth value.
    return {("on" if name is True else name): value for name, value in yaml.safe_load(path.read_text()).items()}


def test_the_linter_finds_nothing() -> None:
    found = linted(ROOT / ".github" / "workflows")
    assert found.returncode == 0, found.stdout + found.stderr
    assert [path.stem for path in FILES] == ["comment", "pull-request", "verify"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("on: pull_request\n", "on: pull_request_target\n"),
        ("@11bd71901bbe5b1630ceea73d27597364c9af683", "@v4"),
        ("\n          persist-credentials: false", ""),
        ('BASE="$BASE_SHA"', 'BASE="${{ github.event.pull_request.title }}"'),
    ],
)
def test_the_linter_sees_what_goes_wrong_elsewhere(before: str, after: str, tmp_path: Path) -> None:
    text = (ROOT / ".github" / "workflows" / "pull-request.yml").read_text()
    assert before in text
    home = tmp_path / ".github" / "workflows"
    home.mkdir(parents=True)
    (home / "one.yml").write_text(text.replace(before, after))
    assert linted(home).returncode > 0


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_of_a_stranger_meets_a_secret(path: Path) -> None:
    text, said = path.read_text(), parsed(path)
    assert said["permissions"] == {}
    assert "secrets." not in text
    assert "pull_request_target" not in text
    rights = {right for job in said["jobs"].values() for right in job["permissions"].items()}
    if path.stem in STRANGERS:
        assert rights == {("contents", "read")}
        assert "github.token" not in text
    else:
        assert "head.sha" not in text.replace(".head.sha)", ""), "nothing of the pull request is checked out"
        assert {right for right in rights if right[1] == "write"} == {("pull-requests", "write"), ("statuses", "write")}


def test_what_was_found_is_uploaded_before_the_method_runs() -> None:
    """Code of a method could write another review, which a privileged workflow shows."""
    for name, job in (("pull-request", "review"), ("verify", "verify")):
        steps = parsed(ROOT / ".github" / "workflows" / f"{name}.yml")["jobs"][job]["steps"]
        order = [step.get("run", step.get("uses", "")).split("@")[0].split(" OUT")[0] for step in steps]
        found = order.index('make review BASE="$BASE_SHA"')
        assert order[found + 1] == "actions/upload-artifact"
        assert order[found + 2] == "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0", "no jail without it"
        assert len(order) == found + 4, order


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_steps_call_targets_that_there_are(path: Path) -> None:
    runs = [step["run"] for job in parsed(path)["jobs"].values() for step in job["steps"] if "run" in step]
    called = [line.split()[1] for run in runs for line in run.splitlines() if line.startswith("make ")]
    assert called or ".ci/run" in runs
    for target in called:
        planned = ["make", "-n", target, "PYTHON=/bin/true", "REVIEW=x"]
        clean = {"PATH": os.environ["PATH"]}
        assert subprocess.run(planned, cwd=ROOT, env=clean, capture_output=True, check=False).returncode == 0, target


def test_only_submissions_can_be_called_verified() -> None:
    """What the label rests on: files that no check is made of."""
    found = SUBMITTED.search((ROOT / ".github" / "workflows" / "comment.yml").read_text())
    assert found is not None
    allowed = re.compile(found.group(1))
    assert all(allowed.match(path) for path in ("submissions/x/method.py", "leaderboard/results/mini/x/d/run.json"))
    assert allowed.match("leaderboard/LEADERBOARD.md")
    for path in ("leaderboard/review.py", "Makefile", ".github/workflows/verify.yml", "benchmark/submissions/x"):
        assert not allowed.match(path)
