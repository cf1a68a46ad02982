"""Four cheats, run as anybody's method beside the reference: all end without a claim, for a reason that is said."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.run import pipeline
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from benchmark.tracks.features.track import FeaturesTrack
from leaderboard import board, screen
from leaderboard.gates import Gate
from leaderboard.headline import Entry
from leaderboard.rows import ResultRow
from tests.conftest import Silent
from tests.leaderboard import cheats

SUITE: dict[str, Any] = {
    "name": "cheats",
    "summary": "three seeds, one null",
    "subject": {"name": "pythia-mini", "replicates": {str(n): f"built-in:pythia-mini/seed{n}" for n in range(3)}},
    "corpus": {"source": "built-in:world:1"},
    "tokens": {"fit": 8_192, "explain": 8_192, "score": 8_192, "block": 256},
    "stream": {"shuffle_tokens": 8_192},
    "hookpoints": ["layers.2"],
    "latents": 60,
    "variants": ["trained", "step0"],
    "metrics": [FeaturesTrack.headline, "recovered_variance@1", "l0@1", "explained_variance@1"],
    "methods": {"topk_sae": [{"expansion_factor": 4, "k": 16}]},
}
HONEST = "\n".join(
    f"{name} = {value}".lower()
    for name, value in (methods.load("topk_sae").manifest.settings | {"expansion_factor": 4}).items()
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[ResultRow], list[Entry]]:
    """Rows and entries of the reference and the cheats, which ran together."""
    home = tmp_path_factory.mktemp("cheats")
    suite = Suite.model_validate(SUITE)
    said = [
        "topk_sae",
        str(cheats.write(home, "memo", cheats.MEMO, "Memo")),
        str(cheats.write(home, "halfspaces", cheats.HALFSPACES, "Halfspaces", f"tell = 0.15\n{HONEST}")),
        str(cheats.write(home, "noise", cheats.ELSEWHERE, "Elsewhere", f"tell = 0.15\nfires = 1\n{HONEST}")),
        str(cheats.write(home, "abstains", cheats.ELSEWHERE, "Elsewhere", f"tell = 0.15\nfires = 0\n{HONEST}")),
    ]
    runs = [MethodRun(method, methods.rows(method, suite)) for method in methods.chosen(said)]
    outcome = pipeline.run(suite, runs, Store(home / "runs"), "none", Silent(), jobs=1)
    assert outcome.failed == []
    return board.render_local(Store(home / "runs"))[:2]


@pytest.fixture(scope="module")
def found(run: tuple[list[ResultRow], list[Entry]]) -> dict[str, Entry]:
    return {entry.method: entry for entry in run[1]}


def voiding(entry: Entry) -> dict[str, Gate]:
    return {gate.name: gate for gate in entry.gates if gate.voids}


def test_the_reference_is_not_void(found: dict[str, Entry]) -> None:
    assert voiding(found["topk_sae"]) == {}


def test_a_memo_that_decodes_what_it_encoded_recovers_nothing(
    run: tuple[list[ResultRow], list[Entry]], found: dict[str, Entry]
) -> None:
    entry, row = found["memo"], next(row for row in run[0] if row.info.method == "memo")
    assert row.scores["explained_variance@1"].min() > 0.99
    stopped = voiding(entry)
    assert entry.void
    assert {"trained floor", "fidelity parity"} <= stopped.keys()
    assert float(stopped["trained floor"].why.split()[0]) < 0.1, "whatever its own decoder says"
    assert "void, gate trained floor" in screen.sentence(entry)


def test_dense_halfspaces_on_what_looks_like_a_null_are_codes_of_another_kind(found: dict[str, Entry]) -> None:
    entry, reference = found["halfspaces"], found["topk_sae"]
    assert entry.scores["trained"].mean == pytest.approx(reference.scores["trained"].mean or 0, abs=0.03)
    stopped = voiding(entry)
    assert entry.void
    assert "l0 parity" in stopped
    assert "l0@1 on trained 16, step0 2" in stopped["l0 parity"].why
    assert "void, gate l0 parity" in screen.sentence(entry)


@pytest.mark.parametrize("name", ["noise", "abstains"])
def test_nothing_said_on_what_looks_like_a_null_is_no_fidelity_there(name: str, found: dict[str, Entry]) -> None:
    """Its gap would be the largest there is: on a null it scores nothing, or has no score."""
    entry, reference = found[name], found["topk_sae"]
    assert entry.scores["trained"].mean == pytest.approx(reference.scores["trained"].mean or 0, abs=0.03)
    stopped = voiding(entry)
    assert entry.void
    assert "fidelity parity" in stopped
    assert "void, gate fidelity parity" in screen.sentence(entry)
