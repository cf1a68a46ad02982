"""Everything that a method's process is told, by what is asked: a list that `docs/trust.md` explains. What is not on it
(the variant, the replicate, tokens, labels, where a stream stands) no method can ask about.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.worker import frames
from tests.conftest import Silent

ROOT = Path(__file__).parents[2]
STREAM = {"id", "d_model", "n_tokens", "chunk_tokens", "shuffle_tokens", "seed", "dtype"}
TOLD = {
    "open": {"folder", "entry", "session", "device", "threads"},
    "check": {"settings", "d_model"},
    "fit": {"scope", "streams", "jobs"},
    "chunk": set[str](),
    "save": {"index", "folder"},
    "load": {"folders", "seed"},
    "encode": {"index", "x"},
    "decode": {"index", "values", "indices"},
}
JOB = {"stream", "inputs", "seed", "settings"}
ALONE = {"topk_sae": "hookpoint", "transcoder": "pair", "mlsae": "model"}


class Wire:
    """Hears what the harness sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.heard: list[dict[str, Any]] = []

        def send(
            channel: socket.socket,
            header: Mapping[str, Any],
            tensors: Mapping[str, Tensor] | None = None,
            *more: Any,
        ) -> None:
            self.heard.append(json.loads(json.dumps(header)) | dict.fromkeys(tensors or {}))
            frames_send(channel, header, tensors, *more)

        frames_send = frames.send
        monkeypatch.setattr(frames, "send", send)


@pytest.mark.parametrize("name", ALONE)
def test_nothing_else_is_told(name: str, tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wire, scope, method = Wire(monkeypatch), ALONE[name], methods.load(name)
    places = ["layers.0", "layers.1"] if scope == "model" else ["layers.1"]
    said = {"hookpoints": places, "variants": ["trained", "step0"], "methods": {name: [{"k": 4, "batch_size": 512}]}}
    for metrics in (["l0@1", "fvu@1"], ["l0@1", "fvu@1", "dense@1"]):
        suite = Suite.model_validate(tiny | said | {"metrics": metrics})
        run = MethodRun(method, methods.rows(method, suite))
        assert not pipeline.run(suite, [run], Store(tmp_path), "process", Silent()).failed
    heard = {one["op"] for one in wire.heard}
    assert heard == set(TOLD)
    model = {"hookpoints"} if scope == "model" else set()
    for one in wire.heard:
        op = one.pop("op")
        assert set(one) == TOLD[op] | (model if op == "fit" else set()), op
        for stream in one.get("streams", ()):
            assert set(stream) == STREAM | ({"hookpoint"} if scope == "model" else set())
        for job in one.get("jobs", ()):
            assert set(job) == JOB
    text = json.dumps(wire.heard)
    assert not [word for word in ("trained", "step0", "seed0", "seed1", "tiny") if f'"{word}"' in text]
    assert ("layers." in text) == (scope == "model")


def test_the_list_is_explained() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    told = {*STREAM, *JOB, *TOLD, *(name for names in TOLD.values() for name in names), "hookpoints"}
    assert not [name for name in sorted(told) if f"`{name}`" not in text]


PROBED = {"open": TOLD["open"], "fit": {"settings", "seed", "n_classes", "x", "labels"}, "predict": {"index", "x"}}


def test_a_probe_is_told_tokens_and_classes_and_no_question(
    tiny: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wire, method = Wire(monkeypatch), methods.load("mean_difference_probe")
    table = {"tasks": ["topic", "seen_before"], "fit_tokens": 512, "score_tokens": 512}
    said = {"hookpoints": ["layers.1"], "variants": ["trained", "step0"], "tracks": {"probes": table}}
    suite = Suite.model_validate(tiny | said)
    run = MethodRun(method, methods.rows(method, suite))
    assert not pipeline.run(suite, [run], Store(tmp_path), "process", Silent()).failed
    # A plan asks what settings a method takes.
    assert {one["op"] for one in wire.heard} == {*PROBED, "check"}
    for one in wire.heard:
        op = one.pop("op")
        assert set(one) == (TOLD | PROBED)[op], op
    text = json.dumps(wire.heard)
    told = ("trained", "step0", "seed0", "seed1", "tiny", "topic", "seen_before", "layers.1")
    assert not [word for word in told if f'"{word}"' in text]
