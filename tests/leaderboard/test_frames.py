"""Results as frames say what the rows and the board say, and the documented example runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import leaderboard
from benchmark.__main__ import app
from benchmark.errors import BadInput
from leaderboard import board, frames, headline, results
from leaderboard.rows import PLACE
from tests.leaderboard.test_results import made

DOCS = Path(__file__).parents[2] / "docs" / "notebook.md"


@pytest.fixture(scope="module")
def example() -> dict[str, Any]:
    """What the documented example leaves behind."""
    found: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL):
        exec(block, found)
    return found


def test_every_score_of_every_published_row_is_there(example: dict[str, Any]) -> None:
    rows, scores = results.rows(board.RESULTS, ("mini",)), example["scores"]
    assert len(scores) == sum(row.scores.size for row in rows)
    (row,) = [row for row in rows if row.info.method == "topk_sae"]
    own = scores[(scores.method == "topk_sae") & (scores.metric == "fuzzing@1")]
    keyed = own.set_index(["variant", "replicate", "place", "method_seed"]).value
    pd.testing.assert_series_equal(keyed, row.scores["fuzzing@1"], check_names=False)


def test_claims_are_the_boards(example: dict[str, Any]) -> None:
    claims = example["claims"]
    entries = headline.entries(results.rows(board.RESULTS, ("mini",)), board.known_floors())
    (entry,) = [one for one in entries if one.method == "topk_sae"]
    said = claims[(claims.method == "topk_sae") & (claims.metric == entry.headline)].iloc[0]
    claim, lead = entry.claim, entry.standing.lead
    assert claim is not None
    assert lead is not None
    assert (said.gap, said.at_least, said.worst_null) == (claim.worst.mean, claim.worst.lower, claim.worst.null)
    assert (said.lead, said.lead_at_least, said.lead_verdict) == (lead.mean, lead.lower, str(lead.verdict))
    assert said.claim == entry.claimed
    assert said.reference
    assert set(claims.metric) == {"fuzzing-token-matched@1", "concept_recovery@1", "probe_lift@1"}


def test_a_value_that_is_missing_says_why() -> None:
    row = made()
    scores, claims, latents = frames.of_rows([row])
    lacking = scores[(scores.metric == "ce_score@1") & scores.value.isna()]
    said = row.info.undefined[0]
    names = ["/".join(map(str, place)) for place in lacking[list(PLACE)].itertuples(index=False)]
    assert dict(zip(names, lacking.reason, strict=True)) == {
        name: said.reason if name in said.cells else "no reason given" for name in names
    }
    assert said.reason in set(lacking.reason)
    assert scores[scores.value.notna()].reason.isna().all()
    assert len(latents) == len(row.samples())
    assert claims.method.nunique() == 1


@pytest.mark.parametrize("form", ["csv", "json"])
def test_exported_files_hold_the_frames(form: str, tmp_path: Path) -> None:
    said = frames.of_rows([made()])
    paths = frames.export(said, tmp_path / "new", form)
    assert [path.name for path in paths] == [f"{name}.{form}" for name in ("scores", "claims", "latents")]
    again = pd.read_csv(paths[0]) if form == "csv" else pd.DataFrame(json.loads(paths[0].read_text()))
    assert list(again) == list(said.scores)
    np.testing.assert_allclose(again["value"].to_numpy(float), said.scores["value"].to_numpy(), rtol=1e-9)


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="did you mean 'mini'"):
        leaderboard.load("minni")
    with pytest.raises(BadInput, match="has no records"):
        leaderboard.load("mini", runs=tmp_path)
    wrong = CliRunner().invoke(app, ["export", "--suite", "mini", "--format", "xls", "--out", str(tmp_path / "x")])
    assert (wrong.exit_code, (tmp_path / "x").exists()) == (2, False)
    assert "allowed: csv, json" in wrong.stderr
