"""Rendering a board of a hundred methods of 240 cells, of made-up rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from leaderboard import board, results
from leaderboard.rows import PLACE, SAMPLE, ResultRow

METHODS = 100


def copies(row: ResultRow) -> list[ResultRow]:
    """A published row under a hundred names, with other noise in each."""
    made = []
    for number in range(METHODS):
        rng = np.random.default_rng(number)
        scores = row.scores + rng.normal(0, 0.01, row.scores.shape)
        info = row.info.model_copy(update={"method": f"method{number:03}"})
        made.append(row._replace(info=info, scores=scores))
    return made


@pytest.mark.benchmark(group="board")
def test_rendering_a_hundred_methods(benchmark: Any, tmp_path: Path) -> None:
    """The whole board, and the page of the one method that a pull request adds."""
    for row in results.rows(board.RESULTS, ("standard",)):
        latents = results.content(row)[results.LATENTS]
        for copy in copies(row):
            bare = copy._replace(samples=lambda: pd.DataFrame(columns=[*PLACE, *SAMPLE]))
            folder = results.folder_of(tmp_path / "results", copy.info)
            results.write(folder, results.content(bare) | {results.LATENTS: latents})

    def render() -> None:
        listed = results.rows(tmp_path / "results")
        assert len({row.info.method for row in listed}) == METHODS
        assert sum(len(row.scores) for row in listed) == METHODS * 240
        board.write(tmp_path, listed, {(listed[0].suite, "method000")})
        (tmp_path / "pages" / "standard" / "method000.md").unlink()

    benchmark.pedantic(render, rounds=3)
    print(f"\n{METHODS} methods of 240 cells: {benchmark.stats.stats.median:.1f} s")
