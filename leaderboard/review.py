"""Whether a pull request with a method carries what it may: its own folder, whole rows of that code, nothing else.

What is found goes to another place as data (`Review`), where `comment` shows it: texts in it are anybody's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from benchmark.autointerp.windows import WINDOW_TOKENS
from benchmark.errors import BadInput
from benchmark.reporting import Finding
from benchmark.spec import method as methods
from benchmark.spec import suite as suites
from benchmark.spec import template
from benchmark.spec.method import Method
from leaderboard import board, changes, details, frames, markdown, publication, results
from leaderboard.changes import PLAIN, Change
from leaderboard.contents import otherwise
from leaderboard.rows import PLACE, ResultRow

MOST_FILE_BYTES, MOST_FOLDER_BYTES, MOST_REVIEW_BYTES = 1 << 20, 3 << 20, 1 << 18
OTHERS_SHOWN, MOST_TOLD, MOST_WORDS = 3, 100, 10_000
RESULTS, RENDERED = "leaderboard/results/", ("leaderboard/pages/", "leaderboard/LEADERBOARD.md")
SUBMITTED = ("submissions/", RESULTS, *RENDERED)
"""Where files lie that no check is made of."""
Text = Annotated[str, Field(max_length=600)]
Name = Annotated[str, Field(max_length=200)]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ToldFinding(_Closed):
    """`benchmark.reporting.Finding` as data."""

    asked: Text
    said: Text
    refused: bool


class ToldClaim(_Closed):
    """A line of `frames.Frames.claims` as data: numbers are finite or missing."""

    suite: Name
    settings: Name
    metric: Name
    gap: FiniteFloat | None
    at_least: FiniteFloat | None
    verdict: Name | None
    lead: FiniteFloat | None
    lead_at_least: FiniteFloat | None
    lead_verdict: Name | None
    claim: bool | None
    gates_against: Text


class Review(_Closed):
    """What was found of one commit."""

    head: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    method: Annotated[str, Field(pattern=f"^{methods.NAME.pattern}$")] | None
    findings: Annotated[tuple[ToldFinding, ...], Field(max_length=MOST_TOLD)]
    claims: Annotated[tuple[ToldClaim, ...], Field(max_length=MOST_TOLD)] = ()

    @property
    def refused(self) -> bool:
        return any(found.refused for found in self.findings)


def review(root: Path, base: str) -> Review:
    """Of what is checked out at `root`, the repository that this code is of.

    Raises:
        BadInput: no such base, or files that are not committed.
    """
    if loose := changes.uncommitted(root, [path.rstrip("/") for path in SUBMITTED]):
        raise BadInput(f"{loose[0]} is not committed: a review is of commits")
    changed = changes.since(base, root)
    named = {one.parts[1] for one in changed if one.parts[0] == "submissions" and len(one.parts) > 2}
    outside = [one for one in changed if not one.path.startswith(SUBMITTED)]
    if named or not outside:
        named |= {one.parts[3] for one in changed if one.path.startswith(RESULTS) and len(one.parts) > 4}
    method = min(named) if len(named) == 1 and methods.NAME.fullmatch(min(named)) else None
    if named:
        findings = list(_findings(changed, sorted(named), root))
    else:
        findings = [Finding("no method", "this pull request submits none: tests and people decide")]
        findings += _board(changed, root)
    refused = any(one.refused for one in findings)
    if method is not None and not refused and not (template.SUBMISSIONS / method).is_dir():
        method = None
    claims = list(itertools.islice(_claims(method), MOST_TOLD)) if method is not None and not refused else []
    told = [ToldFinding(asked=one.asked, said=one.said[:600], refused=one.refused) for one in findings]
    return Review(head=changes.head(root), method=method, findings=tuple(told), claims=tuple(claims))


def read(path: Path) -> Review:
    """A review that came from elsewhere.

    Raises:
        BadInput: it is none, or too large.
    """
    if not path.is_file() or path.is_symlink():
        raise BadInput(f"{path} is no file: make it with `make review`")
    if path.stat().st_size > MOST_REVIEW_BYTES:
        raise BadInput(f"a review of {path.stat().st_size:,} bytes, and {MOST_REVIEW_BYTES:,} are allowed")
    try:
        return Review.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise BadInput(f"no review: {error.errors()[0]['msg']}") from error


def comment(found: Review, changed: Sequence[str] = (), head: str | None = None) -> str:
    """A review as Markdown; its texts may be anybody's, and are shown as they are, without links or mentions. `changed`
    names all files of the pull request: one that changes more than submissions was reviewed by its own code. `head` is
    the commit that was to be reviewed.

    Raises:
        BadInput: it is of another commit.
    """
    if head is not None and found.head != head:
        raise BadInput(f"the review is of {found.head[:12]}, and not of {head[:12]}")
    name = f"`{found.method}`" if found.method else "no method"
    parts = [f"**Review of {name}** at {found.head[:12]}: {'refused' if found.refused else 'nothing to refuse'}."]
    parts.append("\n".join(f"- {'refused' if one.refused else 'passed'}: {_shown(one)}" for one in found.findings))
    if others := [path for path in changed if not path.startswith(SUBMITTED)]:
        parts.append(f"It changes the benchmark itself ({_code(others[0])} …): what stands here is its own word.")
    if found.claims:
        parts.append(markdown.table([_line(one) for one in found.claims]))
        parts.append("Self-reported, from the files of this pull request; floors and reference as published.")
    return "\n\n".join(parts) + "\n"


def _findings(changed: Sequence[Change], named: Sequence[str], root: Path) -> Iterator[Finding]:
    asked = "one method, and nothing else"
    if len(named) != 1:
        yield Finding(asked, f"it touches {', '.join(named)}: one method a pull request", refused=True)
        return
    name = named[0]
    others = [one.path for one in changed if not _own(one, name)]
    if others:
        some = ", ".join(others[:OTHERS_SHOWN]) + (", …" if len(others) > OTHERS_SHOWN else "")
        yield Finding(asked, f"it also touches {some}: take these out", refused=True)
    else:
        yield Finding(asked, name)
    (files,) = _asked("files are plain and small", lambda: _files(changed, name))
    yield files
    if files.refused:
        return
    if not (template.SUBMISSIONS / name).is_dir():
        yield from _asked("what is withdrawn is gone", lambda: _withdrawn(name))
    else:
        method: list[Method] = []
        yield from _asked("the method can be loaded and says what it is", lambda: method.append(_loaded(name)))
        if method:
            yield from _asked("results are whole and of this code", lambda: _results(method[0], changed))
    yield from _board(changed, root)


def _board(changed: Sequence[Change], root: Path) -> Iterator[Finding]:
    if any(one.path.startswith(RENDERED) for one in changed):
        yield from _asked("the board is what the results say", lambda: _rendered(changed, root))


def _asked(asked: str, ask: Callable[[], str | None]) -> Iterator[Finding]:
    try:
        said = ask()
    except BadInput as offence:
        yield Finding(asked, str(offence), refused=True)
    else:
        yield Finding(asked, said or "")


def _own(change: Change, name: str) -> bool:
    parts = change.parts
    if parts[0] == "submissions":
        return parts[1] == name and len(parts) > 2
    if parts[:2] == ("leaderboard", "results"):
        return len(parts) > 4 and parts[3] == name
    rendered = parts[:2] in (("leaderboard", board.BOARD), ("leaderboard", board.PAGES))
    return rendered and len(parts) in (2, 4)


def _files(changed: Sequence[Change], name: str) -> str:
    present = [one for one in changed if not one.gone]
    for one in present:
        if not one.path.isprintable() or "\N{REPLACEMENT CHARACTER}" in one.path:
            raise BadInput(f"the name of {one.path!r} is not UTF-8, or holds what cannot be seen: rename it")
        if one.mode not in PLAIN:
            raise BadInput(f"{one.path} is a link or a submodule: put the file itself there")
        if one.size > MOST_FILE_BYTES:
            raise BadInput(
                f"{one.path} has {one.size:,} bytes, and {MOST_FILE_BYTES:,} are allowed: weights and data belong on a "
                "hub, and what is fitted is fitted again"
            )
    own = sum(one.size for one in present if one.parts[:2] == ("submissions", name))
    if own > MOST_FOLDER_BYTES:
        raise BadInput(f"submissions/{name} has {own:,} bytes, and {MOST_FOLDER_BYTES:,} are allowed")
    return f"{len(present)} files, {sum(one.size for one in present):,} bytes"


def _loaded(name: str) -> Method:
    method = methods.load(str(template.SUBMISSIONS / name))
    for file in ("method.toml", "README.md"):
        text, made = method.folder / file, template.TEMPLATES / method.manifest.track / file
        said = text.read_text(encoding="utf-8", errors="replace") if text.is_file() else ""
        line = next((line for line in made.read_text(encoding="utf-8").splitlines() if "?" in line), None)
        if not said.strip() or (line and line in said):
            raise BadInput(f"{file} is as the template has it: say in a sentence what the method is and asks")
    return method


def _withdrawn(name: str) -> str:
    """A method whose folder is gone, of the submissions; a baseline's results are nobody's to submit."""
    if name in methods.names():
        raise BadInput(f"{name} is a baseline: its results are the maintainers' to publish")
    if left := sorted(board.RESULTS.glob(f"*/{name}")):
        raise BadInput(f"{left[0].relative_to(board.RESULTS)} is left without its method: take it out, too")
    return name


def _results(method: Method, changed: Sequence[Change]) -> str:
    """Rows that the pull request touches; those that it leaves alone were asked about when they came."""
    touched = {one.parts[2:5] for one in changed if one.path.startswith(RESULTS) and not one.gone}
    folders = sorted(board.RESULTS.joinpath(*place) for place in touched if len(place) == 3)
    held = {folder: {path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders}
    for folder, files in held.items():
        if extra := sorted(files.keys() - {*results.FILES, results.EXCERPT}):
            raise BadInput(f"{folder} holds {', '.join(extra)}: a row has four files, an excerpt, and no others")
    rows = [results.read(folder) for folder in folders]
    for row, folder in zip(rows, folders, strict=True):
        _sound(row, method)
        if (folder / results.EXCERPT).is_file():
            _excerpt(row, folder / results.EXCERPT)
    results.check_sizes(held)
    return f"{len(rows)} rows: {', '.join(f'{row.info.suite} ({row.info.label})' for row in rows)}" if rows else (
        "no results: they can follow"
    )  # fmt: skip


def _sound(row: ResultRow, method: Method) -> None:
    """A row of the repository's suite, of the method's code and settings as they are, that nobody has verified yet."""
    info, which = row.info, f"{row.info.suite} ({row.info.label})"
    shipped = board.shipped(info.suite, info.track)
    if shipped is None:
        raise BadInput(f"{which}: there is no suite {info.suite} in the repository")
    if said := otherwise(info.content, shipped):
        raise BadInput(f"{which} is of another suite than the repository's: {said}")
    families, another_judge = board.families(info.suite, info.track), info.content["judge"] != shipped["judge"]
    if missed := publication.lacking(info.families, families, another_judge=another_judge):
        raise BadInput(f"{which} lacks {', '.join(missed)} as this version defines them: run it again and publish")
    if info.hashes.get("code") != method.code_hash:
        raise BadInput(f"{which} was made by other code than submissions/{method.name}: run it again and publish")
    if info.settings not in settings_of(method, info.suite):
        raise BadInput(f"{which} was made with settings that neither the suite nor method.toml has: {info.settings}")
    if info.blind != method.is_blind:
        said = "blind" if method.is_blind else "not blind"
        raise BadInput(f"{which} was made otherwise than the method says, which is {said}: run it again and publish")
    publication.require_apart(which, [machine.isolation for machine in info.machines], [info.salt])
    if info.reported_by != "self-reported":
        raise BadInput(f"{which} calls itself {info.reported_by}: only maintainers do, after they computed it again")


def _excerpt(row: ResultRow, path: Path) -> None:
    """Words and contexts of latents that the row has, and nothing else."""
    table = details.load(path)
    known = {"table", *PLACE}.union(*results.EXCERPTED.values())
    if extra := ({*map(str, table)} - known) | ({*map(str, table["table"])} - results.EXCERPTED.keys()):
        raise BadInput(f"{path} holds {', '.join(sorted(extra))}: publish the row again")
    drawn = pd.MultiIndex.from_frame(row.samples()[[*PLACE, "latent"]])
    if "latent" not in table or not pd.MultiIndex.from_frame(table[[*PLACE, "latent"]]).isin(drawn).all():
        raise BadInput(f"{path} is of latents that the row does not have: publish the row again")
    if not all(map(_is_text, table.get("explanation", []))):
        raise BadInput(f"{path} has explanations that are no text of at most {MOST_WORDS:,} characters")
    shown = details.known(table)
    if not all(itertools.starmap(_is_context, zip(shown["tokens"], shown["activations"], strict=True))):
        raise BadInput(f"{path} has contexts that are not at most {WINDOW_TOKENS} tokens with an activation on each")


def _is_text(value: object) -> bool:
    absent = value is None or (isinstance(value, float) and math.isnan(value))
    return absent or (isinstance(value, str) and len(value) <= MOST_WORDS)


def _is_context(tokens: object, activations: object) -> bool:
    if not (isinstance(tokens, np.ndarray) and isinstance(activations, np.ndarray)):
        return False
    numbers = activations.dtype.kind == "f" and bool(np.isfinite(activations).all())
    texts = all(isinstance(token, str) and len(token) <= MOST_WORDS for token in tokens)
    return numbers and texts and len(tokens) == len(activations) <= WINDOW_TOKENS


def settings_of(method: Method, suite: str) -> list[dict[str, Any]]:
    """What a row on a suite may have been run with: what the suite says, the defaults, or a preset; of what was trained
    elsewhere its own table alone.
    """
    manifest, known = method.manifest, [one.settings for one in methods.rows(method, suites.load(suite))]
    if manifest.pretrained:
        return known
    return [*known, *(manifest.settings | preset for preset in ({}, *manifest.presets.values()))]


def _rendered(changed: Sequence[Change], root: Path) -> str:
    with TemporaryDirectory() as folder:
        made = Path(folder)
        board.write(made, results.rows(board.RESULTS))
        for one in changed:
            if one.path.startswith(RENDERED):
                theirs, ours = root / one.path, made / Path(one.path).relative_to("leaderboard")
                if theirs.is_file() != ours.is_file() or (ours.is_file() and theirs.read_bytes() != ours.read_bytes()):
                    raise BadInput(f"{one.path} is not what `make leaderboard` renders: run it, or take the file out")
    return "rendered again, byte by byte"


def _claims(method: str) -> Iterator[ToldClaim]:
    suites_of = sorted({path.parent.name for path in board.RESULTS.glob(f"*/{method}")})
    for suite in suites_of:
        lines = frames.claims(results.rows(board.RESULTS, (suite,)))
        for line in lines[lines["method"] == method].to_dict("records"):
            yield ToldClaim(**{name: _plain(line[name]) for name in ToldClaim.model_fields})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value[:200]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _code(text: str) -> str:
    """Text within a code span, which nothing in it ends: no link, no mention."""
    shown = markdown.one_line(text).replace("`", "'")
    return f"`{shown}`"


def _shown(found: ToldFinding) -> str:
    return _code(f"{found.asked}: {found.said}" if found.said else found.asked)


def _line(claim: ToldClaim) -> dict[str, str]:
    def number(value: float | None) -> str:
        return "n/a" if value is None else f"{value:+.4f}"

    return {
        "suite": _code(claim.suite),
        "settings": _code(claim.settings),
        "metric": _code(claim.metric),
        "gap (at least)": f"{number(claim.gap)} ({number(claim.at_least)})",
        "against nulls": _code(claim.verdict or "n/a"),
        "lead (at least)": f"{number(claim.lead)} ({number(claim.lead_at_least)})",
        "over floors": _code(claim.lead_verdict or "n/a"),
        "claim": {True: "yes", False: "no", None: ""}[claim.claim],
        "gates against": _code(claim.gates_against) if claim.gates_against else "",
    }
