"""Results as tidy frames, for notebooks: one line per score, per claim, per latent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from benchmark.errors import BadInput, unknown
from benchmark.store import Store
from leaderboard import board, headline, results
from leaderboard.floors import Standing
from leaderboard.headline import Entry
from leaderboard.rows import PLACE, ResultRow, as_place

ROW = ("suite", "content", "method", "settings")
FORMS = ("csv", "json")


class Frames(NamedTuple):
    """`scores`: a line per cell and metric, with its value or the reason why there is none. `claims`: a line per row
    and metric that a verdict is of, the headline first. `latents`: a line per drawn latent, with its firing rate and
    scores. Floats in the metric's own unit, NaN where there is none; `content` tells suites of one name apart.
    """

    scores: pd.DataFrame
    claims: pd.DataFrame
    latents: pd.DataFrame


def load(suite: str, runs: str | Path | None = None) -> Frames:
    """Published results of a suite, and with `runs` your own, which take the place of published rows of their name.

    Raises:
        BadInput: no results of this suite.
    """
    if runs is None:
        rows = results.rows(board.RESULTS, (suite,))
    else:
        store = Store(Path(runs))
        if not (store.root / "records").is_dir():
            raise BadInput(f"{store.root} has no records: give a results folder of `make bench`, or none")
        rows = board.local(store, suite)[1]
    found = [row for row in rows if row.info.suite == suite]
    if not found:
        known = sorted({row.info.suite for row in rows} | {path.name for path in board.RESULTS.iterdir()})
        raise unknown("suite with results", suite, known)
    return of_rows(found)


def of_rows(rows: Sequence[ResultRow]) -> Frames:
    """The frames of rows, one at least."""
    return Frames(
        pd.concat([_scores(row) for row in rows], ignore_index=True),
        claims(rows),
        pd.concat([_named(row, row.samples()) for row in rows], ignore_index=True),
    )


def claims(rows: Sequence[ResultRow]) -> pd.DataFrame:
    """A line per row and metric that a verdict is of, the best first."""
    entries = headline.entries(rows, board.known_floors())
    return pd.DataFrame([line for entry in entries for line in _claims(entry)])


def export(frames: Frames, folder: Path, form: str) -> list[Path]:
    """One file per frame; those of the same name are replaced.

    Raises:
        BadInput: another form than csv or json, or a folder that cannot be written.
    """
    if form not in FORMS:
        raise unknown("format", form, FORMS)
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, frame in frames._asdict().items():
            path = folder / f"{name}.{form}"
            if form == "csv":
                frame.to_csv(path, index=False)
            else:
                frame.to_json(path, orient="records", indent=1)
            written.append(path)
    except OSError as error:
        raise BadInput(f"{folder} cannot be written: {error.strerror}") from error
    return written


def _scores(row: ResultRow) -> pd.DataFrame:
    long = row.scores.reset_index().melt(PLACE, var_name="metric", value_name="value")
    why = {(one.metric, cell): one.reason for one in row.info.undefined for cell in one.cells}
    cells = [as_place(place).path for place in zip(*(long[name] for name in PLACE), strict=True)]
    reasons = [why.get(key, "no reason given") for key in zip(long["metric"], cells, strict=True)]
    long["reason"] = pd.Series(reasons, dtype=object).where(long["value"].isna())
    return _named(row, long)


def _named(row: ResultRow, frame: pd.DataFrame) -> pd.DataFrame:
    said = dict(zip(ROW, (*_table(row.suite), *row.name), strict=True))
    return frame.reset_index(drop=True).assign(**said)[[*ROW, *frame.columns]]


def _table(suite: str) -> tuple[str, str]:
    """Name and content of a suite: rows of other contents share no claim."""
    name, _, content = suite.partition("@")
    return name, content


def _claims(entry: Entry) -> Iterator[dict[str, Any]]:
    against = [gate.name for gate in entry.gates if gate.voids]
    for standing in (entry.standing, *entry.beside):
        first = standing is entry.standing
        yield {
            **dict(zip(ROW, (*_table(entry.suite), *entry.name), strict=True)),
            "metric": standing.metric,
            "floor": entry.floor,
            "reported_by": entry.reported_by,
            "reference": entry.reference,
            "pretrained": entry.pretrained is not None,
            **_against_nulls(standing),
            "p_holm": entry.p_holm if first else None,
            **_over_floors(standing),
            "claim": entry.claimed if first else None,
            "gates_against": ", ".join(against),
            "best_rank": entry.rank.best if first and entry.rank else None,
            "worst_rank": entry.rank.worst if first and entry.rank else None,
            **entry.fidelity,
            "seconds_per_cell": entry.seconds,
            "peak_bytes": entry.peak_bytes,
        }


def _against_nulls(standing: Standing) -> dict[str, Any]:
    said, case = standing.claim, standing.case
    if case is not None:
        return {"worst_null": case.worst, "gap": case.gap, "at_least": None, "p": case.p, "verdict": str(case.verdict)}
    if said is None:
        return dict.fromkeys(("worst_null", "gap", "at_least", "p", "verdict"))
    worst, verdict = said.worst, said.verdict
    return {
        "worst_null": worst.null,
        "gap": worst.mean,
        "at_least": worst.lower,
        "p": worst.p,
        "verdict": str(verdict) if verdict else None,
    }


def _over_floors(standing: Standing) -> dict[str, Any]:
    lead, verdict = standing.lead, standing.lead_verdict
    return {
        "matched_floors": standing.matched,
        "worst_floor": lead.floor if lead else None,
        "lead": lead.mean if lead else None,
        "lead_at_least": lead.lower if lead else None,
        "lead_p": lead.p if lead else None,
        "lead_verdict": str(verdict) if verdict else None,
    }
