"""The figures that stand above a suite's table on the board."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from benchmark.tracks.contract import track_class
from leaderboard.figures import overview, style
from leaderboard.headline import Entry
from leaderboard.rows import ResultRow


class Picture(NamedTuple):
    """A drawn figure: the name of its file, what it shows in a sentence, and the SVG."""

    file: str
    alt: str
    svg: str


def pictures(rows: Sequence[ResultRow], entries: Sequence[Entry]) -> list[Picture]:
    """Of one suite: gaps, and trained against the worst null; none where no entry has replicates to go by."""
    known = [entry for entry in entries if entry.claim is not None]
    if not known:
        return []
    track = track_class(known[0].track)
    metrics = [name for name in dict.fromkeys((track.plain, track.headline)) if any(name in row.scores for row in rows)]
    gaps = f"The gap of {track.headline} to the worst null for each method and floor, with its lower bound and verdict."
    sides = f"Each method's score on trained against its score on the worst null, in {' and in '.join(metrics)}."
    return [
        Picture("gaps.svg", gaps, style.svg(overview.forest(known))),
        Picture("trained-null.svg", sides, style.svg(overview.against_null(rows, known, metrics))),
    ]
