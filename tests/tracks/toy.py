"""A track of thirty lines: a method sees a few embeddings of the network and says a number, which is its score."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value
from benchmark.tracks.contract import FitAnswer, Scored

FAMILY = MetricFamily("toy", 1, {"spread@1": Metric("what the method says", "units", "higher", chance=0.0)}, ("said",),
                lambda said: {"spread@1": Value(said)}, track="toy")  # fmt: skip


class Data(NamedTuple):
    """Embeddings of a few tokens."""

    x: torch.Tensor
    undefined: dict[str, str]

    def chunk(self, stream: str, number: int) -> int:
        raise IndexError(number)

    def cost(self) -> dict[str, float]:
        return {}

    def close(self) -> None:
        pass


class Answer(NamedTuple):
    said: float

    def save(self, folder: Path) -> None:
        raise AssertionError("nothing is persistent here")


class ToyTrack:
    """The trusted half."""

    name, headline, first, gates = "toy", "spread@1", ("spread@1",), ("assay", "one_setting")
    plain, parts, beside, fidelity, reference = "spread@1", (), (), (), "say"
    session = "tests.tracks.toy_session:ToySession"

    def __init__(self, suite: Any, transcripts: Path, *, replay: bool) -> None:
        self._scale = float(suite.tracks["toy"]["scale"])

    places = classmethod(lambda cls, suite: suite.tracks["toy"]["places"])
    check = classmethod(lambda cls, suite, subject: None)
    refuses = classmethod(lambda cls, suite, scope: None)
    families = classmethod(lambda cls, suite: {"toy": FAMILY.id()})
    fitted_on = classmethod(lambda cls, suite, data, places: [suite.tracks["toy"]["scale"], list(places)])
    scored_on = classmethod(lambda cls, suite, data: list[object]())
    shared_tokens = classmethod(lambda cls, blocks: blocks["score"].tokens[:0, 0])
    costs = classmethod(lambda cls, suite, subject, cells, groups: [f"toy: {cells} numbers"])

    def ready(self, families: Any) -> None: ...

    def prepare(self, network: Any, blocks: Any, decode: Any, families: Any, spool: Any, progress: Any) -> Data:
        tokens = torch.from_numpy(blocks["score"].tokens[:8].copy()).long()
        keys = [("toy", row) for row in range(8)]
        return Data(network.embed(tokens, keys).float().detach().cpu().flatten(0, 1) * self._scale, {})

    def fit(self, worker: Any, trusted: Data, requests: Any, scope: str) -> FitAnswer:
        answers = [worker.call({"op": "fit", "settings": dict(one.settings)}, {"x": trusted.x})[0] for one in requests]
        return FitAnswer([Answer(float(reply["said"])) for reply in answers], {"peak_bytes": 1})

    def load(self, worker: Any, trusted: Any, folders: Any, requests: Any, scope: str) -> Any: ...

    def score(self, trusted: Any, answerer: Answer, keys: Any, families: Any, progress: Any) -> Scored:
        return Scored({"toy": dict(FAMILY.compute(answerer.said))}, {"tokens": 8}, pd.DataFrame(), {}, None)

    def close(self) -> None: ...
