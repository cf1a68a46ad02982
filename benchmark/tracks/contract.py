"""What a track is: the trusted half of one family of methods. The pipeline knows tracks by this contract alone.

A track says where its cells stand (`places`), prepares what all methods of a group share and none of them sees
(`prepare`), asks a worker to fit (`fit`) and returns what answers for each cell, validated, and turns answers into the
values of families of metrics (`score`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmark import registry
from benchmark.data.blocks import Blocks
from benchmark.execution.contract import Worker
from benchmark.metrics.value import Value
from benchmark.models.network import Network
from benchmark.models.subjects import ResolvedSubject
from benchmark.spec.cell import CellKeys
from benchmark.spec.suite import Suite
from benchmark.store import Arrays

Progress = Callable[[str, int, int], None]
Values = dict[str, dict[str, Value]]
"""Values by family and metric."""


class FitRequest(NamedTuple):
    """One fit: where, with which draws, and the method's complete settings."""

    keys: CellKeys
    settings: dict[str, Any]


class Scored(NamedTuple):
    """Values of the families that were asked for; counts; one row per sub-sample (a drawn latent, a task); further
    tables by name; and what joins across cells need.
    """

    values: Values
    counts: dict[str, float]
    samples: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    arrays: Arrays | None


@runtime_checkable
class TrustedData(Protocol):
    """What the trusted half keeps of a group. `undefined` says of places why nothing can be measured there."""

    undefined: dict[str, str]

    def chunk(self, stream: str, number: int) -> int:
        """A chunk that a worker asks for, as an open file; a stream is named by an opaque id."""
        ...

    def cost(self) -> dict[str, float]:
        """What preparing cost beside seconds."""
        ...

    def close(self) -> None:
        """Let go of files."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """What a fit left in a worker, as the track asks it."""

    def save(self, folder: Path) -> None:
        """Write what was fitted into an existing, empty folder."""
        ...


class FitAnswer(NamedTuple):
    """One answerer per request, and the worker's own figures: `persistent`, `peak_bytes`."""

    answerers: Sequence[Answerer]
    figures: dict[str, Any]


class Track(Protocol):
    """One instance serves all groups of a process; `close` ends it."""

    name: ClassVar[str]
    headline: ClassVar[str]
    plain: ClassVar[str]
    """The metric as papers report it, which figures show beside the headline."""
    reference: ClassVar[str]
    """The baseline that others are held against."""
    session: ClassVar[str]
    """What answers in the worker, `module:attribute`; see `benchmark.worker.session`."""
    first: ClassVar[tuple[str, ...]]
    """The dozen metrics that a reader needs first."""
    parts: ClassVar[tuple[str, ...]]
    """Metrics that the headline is the mean of, which a method's page shows beside one another; none where its mean is
    over sub-samples that have no name.
    """
    beside: ClassVar[tuple[str, ...]]
    """Metrics that stand beside the headline with a gap and a lead of their own, where a suite has them."""
    fidelity: ClassVar[tuple[str, ...]]
    """How faithful a method is to the network, shown of every entry; a floor matches an entry by the first, on trained.
    None: every floor matches.
    """
    gates: ClassVar[tuple[str, ...]]
    """Gates that a claim in this track must pass; `leaderboard.gates` has them by name."""

    def __init__(self, suite: Suite, transcripts: Path, *, replay: bool) -> None: ...

    @classmethod
    def places(cls, suite: Suite) -> Sequence[str]:
        """Where the cells of a suite stand, in its order."""
        ...

    @classmethod
    def check(cls, suite: Suite, subject: ResolvedSubject) -> None:
        """Refuse, before any compute, what the suite asks of this track and cannot be had (`BadInput`)."""
        ...

    @classmethod
    def refuses(cls, suite: Suite, scope: str) -> str | None:
        """Why methods of this scope cannot be run on a suite; None where they can."""
        ...

    @classmethod
    def try_out(cls, worker: Worker, folder: Path, d_model: int) -> None:
        """Load what was trained elsewhere, and have it answer once for activations of this width (`MethodError` where
        it does not).
        """
        ...

    @classmethod
    def families(cls, suite: Suite) -> dict[str, str]:
        """Name and id of each family that the suite asks for; an id changes with whatever changes its values."""
        ...

    @classmethod
    def fitted_on(cls, suite: Suite, data: Mapping[str, str], places: Sequence[str]) -> list[object]:
        """What decides a fit beside method, settings, weights and cell; `places` are those that the fit sees."""
        ...

    @classmethod
    def scored_on(cls, suite: Suite, data: Mapping[str, str]) -> list[object]:
        """What decides the scores of a fit beside the definition of their families."""
        ...

    @classmethod
    def costs(cls, suite: Suite, subject: ResolvedSubject, cells: int, groups: int) -> list[str]:
        """What pending cells will take of disk and judge, `groups` groups side by side; a line each."""
        ...

    @classmethod
    def shared_tokens(cls, blocks: Mapping[str, Blocks]) -> NDArray[np.int64]:
        """Ids of the tokens that the codes in `Scored.arrays` are of, the same for all cells; families that compare
        cells are told them.
        """
        ...

    def ready(self, families: Sequence[str]) -> None:
        """Refuse to begin where something that scoring needs cannot be reached (`BadInput`)."""
        ...

    def prepare(
        self,
        network: Network,
        blocks: Mapping[str, Blocks],
        decode: Callable[[Sequence[int]], str],
        families: Sequence[str],
        spool: Path,
        progress: Progress,
    ) -> TrustedData:
        """Everything of a group that does not depend on a method, as far as these families need it; files go below
        `spool`, which is the track's alone and says nothing of the variant.
        """
        ...

    def fit(self, worker: Worker, trusted: TrustedData, requests: Sequence[FitRequest], scope: str) -> FitAnswer:
        """Fit all requests in one worker (`MethodError` where an answer is not what the contract allows)."""
        ...

    def load(
        self, worker: Worker, trusted: TrustedData, folders: Sequence[Path], requests: Sequence[FitRequest], scope: str
    ) -> Sequence[Answerer]:
        """What `Answerer.save` wrote, without fitting."""
        ...

    def score(
        self, trusted: TrustedData, answerer: Answerer, keys: CellKeys, families: Sequence[str], progress: Progress
    ) -> Scored:
        """Values of one cell."""
        ...

    def close(self) -> None:
        """Let go of judges and files."""
        ...


def track_class(name: str) -> type[Track]:
    """The track of this name."""
    track: type[Track] = registry.resolve(registry.TRACKS[name])
    return track
