"""A pull request carries one method, its whole rows of that code, and nothing else; a comment runs nothing of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

import pandas as pd
import pytest

from benchmark.errors import BadInput
from benchmark.reporting import Finding
from benchmark.spec import method as methods
from leaderboard import review
from leaderboard.changes import Change
from leaderboard.review import Review, ToldClaim, ToldFinding
from leaderboard.rows import PLACE

ROOT = Path(__file__).parents[2]
KEPT = (("mini", "topk_sae"), ("mini", "pca"))
"""Published results that a branch is reviewed beside: a review reads all."""
REVIEWER = """
import os, sys
from benchmark.__main__ import app
import leaderboard.review
for base in sys.stdin:
    child = os.fork()
    if not child:
        status = 70
        try:
            app(["review", "--base", base.strip(), "--out", sys.argv[1]])
        except SystemExit as ended:
            status = ended.code
        finally:
            sys.stdout.flush()
            os._exit(status)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def plain(path: str, size: int = 10) -> Change:
    return Change(path, "100644", size)


OWN = [plain("submissions/mine/method.py"), plain("leaderboard/results/mini/mine/default/run.json")]
OTHERS = {
    "another method": "submissions/other/method.py",
    "the index of submissions": "submissions/README.md",
    "another's results": "leaderboard/results/mini/topk_sae/default/run.json",
    "code of the board": "leaderboard/review.py",
    "a workflow": ".github/workflows/verify.yml",
    "the makefile": "Makefile",
    "a stray file in the results": "leaderboard/results/mini/mine",
}


def first(changed: list[Change]) -> Finding:
    named = sorted({one.parts[1] for one in changed if one.parts[0] == "submissions" and len(one.parts) > 2})
    return next(review._findings(changed, named, ROOT))


@pytest.mark.parametrize("case", OTHERS)
def test_a_pull_request_touches_nothing_else(case: str) -> None:
    found = first([*OWN, plain(OTHERS[case])])
    assert found.refused
    assert "one method a pull request" in found.said or OTHERS[case] in found.said


def test_own_files_and_what_is_rendered_from_them_may_change() -> None:
    rendered = [plain("leaderboard/LEADERBOARD.md"), plain("leaderboard/pages/mini/mine.md")]
    assert first([*OWN, *rendered]) == Finding("one method, and nothing else", "mine")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change("submissions/mine/weights", "120000", 20), "is a link"),
        (Change("submissions/mine/library", "160000", 0), "a submodule"),
        (plain("submissions/mine/w.safetensors", 2 << 20), "1,048,576 are allowed"),
    ],
)
def test_files_are_plain_and_small(change: Change, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        review._files([*OWN, change], "mine")
    with pytest.raises(BadInput, match="3,145,728 are allowed"):
        review._files([plain(f"submissions/mine/{number}", 1 << 20) for number in range(4)], "mine")


def test_a_comment_is_of_the_commit_that_was_to_be_reviewed() -> None:
    assert review.comment(claimed(), head="a" * 40)
    with pytest.raises(BadInput, match="not of bbbbbbbbbbbb"):
        review.comment(claimed(), head="b" * 40)


def claimed(**changes: Any) -> Review:
    line = {
        "suite": "mini", "settings": "default", "metric": "fuzzing@1", "gap": 0.1, "at_least": 0.05, "verdict": "beats",
        "lead": None, "lead_at_least": None, "lead_verdict": None, "claim": False, "gates_against": "",
    }  # fmt: skip
    findings = (ToldFinding(asked="files", said=changes.pop("said", ""), refused=False),)
    return Review(head="a" * 40, method="mine", findings=findings, claims=(ToldClaim(**{**line, **changes}),))


def test_a_comment_shows_numbers_and_nothing_that_acts() -> None:
    nasty = "`</details> @org/team [click](http://x) ![](http://y) <script> | a\n\n# big"
    texts = ("said", "settings", "suite", "metric", "verdict", "lead_verdict", "gates_against")
    text = review.comment(claimed(**dict.fromkeys(texts, nasty)))
    assert "+0.1000 (+0.0500)" in text
    assert "\n# big" not in text
    outside = "".join(text.split("`")[::2])
    assert not any(word in outside for word in ("@org", "](http", "<script", "</details"))


def test_a_comment_says_when_the_checks_themselves_were_changed() -> None:
    assert "its own word" in review.comment(claimed(), ["submissions/mine/method.py", "leaderboard/review.py"])
    assert "its own word" not in review.comment(claimed(), [one.path for one in OWN])


@pytest.mark.parametrize(
    "data",
    [
        b"[]", b"{", b'{"head": "x", "method": null, "findings": []}', b"x" * (1 << 19),
        json.dumps({**claimed().model_dump(), "run": "rm"}).encode(),
        claimed().model_dump_json().replace("0.1", "NaN").encode(),
        claimed().model_dump_json().replace("mine", "../mine").encode(),
    ],
)  # fmt: skip
def test_what_is_no_review_is_refused(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "review.json").write_bytes(data)
    with pytest.raises(BadInput):
        review.read(tmp_path / "review.json")
    (tmp_path / "link.json").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="is no file"):
        review.read(tmp_path / "link.json")


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of this repository with few results, a method on a branch, and the reference's row in its name."""
    clone = tmp_path_factory.mktemp("clone") / "repository"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone)], check=True)
    for changed in git(ROOT, "ls-files", "--modified", "--others", "--exclude-standard").splitlines():
        source, target = ROOT / changed, clone / changed
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for folder in (clone / "leaderboard" / "results").glob("*/*"):
        if folder.parts[-2:] not in KEPT:
            shutil.rmtree(folder)
    committed(clone, "as it stands here, with fewer results")
    git(clone, "checkout", "--quiet", "-b", "mine")
    home = clone / "submissions" / "mine"
    shutil.copytree(clone / "submissions" / "_template" / "features", home)
    manifest = (home / "method.toml").read_text()
    summary = 'summary = "two latents a unit"'
    (home / "method.toml").write_text("\n".join(summary if "summary" in one else one for one in manifest.splitlines()))
    (home / "README.md").write_text("# Mine\n\nAsks nothing much.\n")
    published = clone / "leaderboard" / "results" / "mini"
    (row,) = (published / "topk_sae").iterdir()
    shutil.copytree(row, published / "mine" / "default")
    info = published / "mine" / "default" / "run.json"
    said = json.loads(info.read_text()) | {"method": "mine", "label": "default", "settings": {"k": 16}}
    said["hashes"]["code"] = methods.load(str(home)).code_hash
    said |= {"salt": "abc", "blind": True}
    said["machines"] = [machine | {"isolation": "jail"} for machine in said["machines"]]
    info.write_text(json.dumps(said))
    committed(clone, "mine")
    return clone


def git(folder: Path, *command: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b"]
    done = subprocess.run(["git", "-C", str(folder), *who, *command], capture_output=True, text=True, check=True)
    return done.stdout


def committed(folder: Path, message: str) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)


@pytest.fixture(scope="module")
def reviewer(branch: Path) -> Iterator[Popen[str]]:
    """The clone's own code, loaded once: every line that it reads is the base of a review by a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(branch)}
    command = [sys.executable, "-c", REVIEWER, str(branch.parent / "review.json")]
    with Popen(command, cwd=branch, env=environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def reviewed(reviewer: Popen[str], clone: Path, base: str = "mine~1") -> tuple[int, Review]:
    assert reviewer.stdin is not None
    assert reviewer.stdout is not None
    (clone.parent / "review.json").unlink(missing_ok=True)
    print(base, file=reviewer.stdin, flush=True)
    status = next(int(line.removeprefix("status ")) for line in reviewer.stdout if line.startswith("status "))
    assert status in (0, 1)
    return status, review.read(clone.parent / "review.json")


def test_a_sound_branch_passes_and_its_claims_are_told(reviewer: Popen[str], branch: Path) -> None:
    status, found = reviewed(reviewer, branch)
    assert [one for one in found.findings if one.refused] == []
    assert (status, found.method, len(found.findings)) == (0, "mine", 4)
    assert {claim.metric for claim in found.claims} == {"fuzzing-token-matched@1", "concept_recovery@1"}
    assert found.claims[0].gap == pytest.approx(0.0742, abs=1e-4)
    assert "| `mini`" in review.comment(found)


def edited(**changes: Any) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        info = clone / "leaderboard" / "results" / "mini" / "mine" / "default" / "run.json"
        info.write_text(json.dumps(json.loads(info.read_text()) | changes))

    return change


def other_code(clone: Path) -> None:
    with (clone / "submissions" / "mine" / "method.py").open("a") as file:
        file.write("# a word more\n")


def fewer_cells(clone: Path) -> None:
    for name in ("scores.csv", "cells.csv"):
        path = clone / "leaderboard" / "results" / "mini" / "mine" / "default" / name
        path.write_text("\n".join(path.read_text().splitlines()[:-3]) + "\n")


def a_family_less(clone: Path) -> None:
    info = clone / "leaderboard" / "results" / "mini" / "mine" / "default" / "run.json"
    families = json.loads(info.read_text())["families"]
    edited(families={name: one for name, one in families.items() if name != "causal"})(clone)


def forged_board(clone: Path) -> None:
    with (clone / "leaderboard" / "LEADERBOARD.md").open("a") as file:
        file.write("mine is the best\n")


def of_another(clone: Path) -> None:
    path = clone / "leaderboard" / "results" / "mini" / "pca" / "default" / "scores.csv"
    path.write_text(path.read_text().replace("0.5", "0.9"))


def named_like_a_baseline(clone: Path) -> None:
    """Its folder would make the baseline's published results its own."""
    shutil.copytree(clone / "submissions" / "mine", clone / "submissions" / "pca")
    shutil.rmtree(clone / "submissions" / "mine")
    shutil.rmtree(clone / "leaderboard" / "results" / "mini" / "mine")


def no_utf8(clone: Path) -> None:
    (clone / "submissions" / "mine" / "README.md").write_bytes(b"\xff\xfe, what it asks")


def with_excerpt(**columns: Any) -> Callable[[Path], None]:
    def change(clone: Path) -> None:
        folder = clone / "leaderboard" / "results" / "mini" / "mine" / "default"
        lines = pd.read_parquet(folder / "latents.parquet")[[*PLACE, "latent"]][:4]
        words = lines.assign(table="explanations", explanation="<b>a word</b>").assign(**columns)
        words.to_parquet(folder / "excerpt.parquet")

    return change


def spoiled_excerpt(clone: Path) -> None:
    (clone / "leaderboard" / "results" / "mini" / "mine" / "default" / "excerpt.parquet").write_bytes(b"no parquet")


def no_name(clone: Path) -> None:
    Path(os.fsdecode(bytes(clone) + b"/submissions/mine/\xff.py")).write_text("")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (of_another, "one method a pull request"),
        (no_name, "is not UTF-8"),
        (named_like_a_baseline, "pca is a baseline"),
        (other_code, "made by other code"),
        (a_family_less, "lacks causal as this version defines them"),
        (fewer_cells, "its cells are not those of the suite"),
        (edited(reported_by="verified"), "only maintainers"),
        (edited(settings={"k": 3}), "settings that neither"),
        (edited(blind=False), "made otherwise than the method says, which is blind"),
        (edited(salt=""), "without a salt, so that their seeds and draws are known"),
        (edited(machines=[{"versions": {}, "hardware": {}, "isolation": "process"}]), "made with isolation process"),
        (with_excerpt(latent=10**6), "latents that the row does not have"),
        (with_excerpt(secret=1.0), "holds secret"),
        (with_excerpt(table="labels"), "holds labels"),
        (with_excerpt(explanation="x" * 10_001), "explanations that are no text"),
        (with_excerpt(table="contexts", tokens=[["a", "b"]] * 4, activations=[[1.0]] * 4), "contexts that are not"),
        (with_excerpt(table="contexts", tokens="text", activations=1.0), "contexts that are not"),
        (spoiled_excerpt, "holds no details"),
        (forged_board, "is not what `make leaderboard` renders"),
    ],
)
def test_what_is_not_sound_is_refused(
    reviewer: Popen[str], branch: Path, change: Callable[[Path], None], said: str
) -> None:
    change(branch)
    committed(branch, "changed")
    try:
        status, found = reviewed(reviewer, branch, "mine~2")
    finally:
        git(branch, "reset", "--quiet", "--hard", "HEAD~1")
    (refused,) = [one for one in found.findings if one.refused]
    assert status == 1
    assert said in refused.said
    assert found.claims == ()


def test_a_branch_without_a_method_is_for_tests_and_people(reviewer: Popen[str], branch: Path) -> None:
    status, found = reviewed(reviewer, branch, "mine")
    assert (status, found.method) == (0, None)
    assert "tests and people decide" in found.findings[0].said


def only_results(clone: Path) -> None:
    path = clone / "leaderboard" / "results" / "mini" / "mine" / "default" / "run.json"
    path.write_text(path.read_text() + "\n")


def only_the_readme(clone: Path) -> None:
    """Rows that somebody verified meanwhile are not asked about again."""
    edited(reported_by="verified")(clone)
    committed(clone, "verified by a maintainer")
    with (clone / "submissions" / "mine" / "README.md").open("a") as file:
        file.write("A typo less.\n")


def withdrawn(clone: Path) -> None:
    shutil.rmtree(clone / "submissions" / "mine")
    shutil.rmtree(clone / "leaderboard" / "results" / "mini" / "mine")


@pytest.mark.parametrize("change", [only_results, only_the_readme, with_excerpt(), withdrawn, no_utf8])
def test_honest_changes_pass(reviewer: Popen[str], branch: Path, change: Callable[[Path], None]) -> None:
    before = git(branch, "rev-parse", "HEAD").strip()
    change(branch)
    committed(branch, "changed")
    try:
        status, found = reviewed(reviewer, branch, "mine~1")
    finally:
        git(branch, "reset", "--quiet", "--hard", before)
    assert [one for one in found.findings if one.refused] == []
    assert (status, found.method) == (0, None if change is withdrawn else "mine")


def test_what_is_not_committed_is_not_reviewed(branch: Path) -> None:
    (branch / "submissions" / "mine" / "more.py").write_text("")
    try:
        with pytest.raises(BadInput, match=r"more.py is not committed"):
            review.review(branch, "mine~1")
    finally:
        (branch / "submissions" / "mine" / "more.py").unlink()


def test_what_was_trained_elsewhere_has_no_settings_but_its_own_table(tmp_path: Path) -> None:
    """Without that a method that says it is never fitted could publish fits with no settings."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "method.py").write_text("class Elsewhere:\n    pass\n")
    (folder / "method.toml").write_text(
        'track = "features"\nentry = "Elsewhere"\nsummary = "loaded"\n'
        '[pretrained."built-in:pythia-mini/seed0"]\n"layers.2" = "weights"\n'
    )
    (settings,) = review.settings_of(methods.load(str(folder)), "mini")
    assert set(settings) == {"pretrained", "revision"}
    assert methods.load("pca").manifest.settings in review.settings_of(methods.load("pca"), "layers")
