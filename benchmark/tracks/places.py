"""Where the cells of tracks stand that read hookpoints."""

from __future__ import annotations

from benchmark.errors import BadInput
from benchmark.models import hookpoints
from benchmark.models.subjects import ResolvedSubject
from benchmark.spec.suite import Suite


def check_hookpoints(suite: Suite, subject: ResolvedSubject, track: str) -> None:
    """Refuse a suite without hookpoints, or with some that the subject does not have."""
    if not suite.hookpoints:
        raise BadInput(f"suite {suite.name} has no hookpoints, and methods of the {track} track need some")
    if subject.config is not None:
        hookpoints.check(suite.hookpoints, int(subject.config.num_hidden_layers))
