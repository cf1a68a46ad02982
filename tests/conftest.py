"""Shapes are checked at run time here, and a tiny subject is trained once for all tests."""

from __future__ import annotations

from jaxtyping import install_import_hook

ENGINE = [f"baselines.topk_sae.{module}" for module in ("engines", "gradients", "method", "training")]
CHECKED = ["benchmark.forward", "benchmark.metrics", "benchmark.models", "benchmark.tracks.features", *ENGINE]
hook = install_import_hook(CHECKED, "beartype.beartype")

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch
from filelock import FileLock

from benchmark import reporting
from benchmark.execution import jailed, local
from benchmark.execution.environments import Environment
from benchmark.execution.local import ForkServer
from benchmark.run.launch.processes import torch_threads
from benchmark.spec.suite import Corpus, Suite
from benchmark.studies.mini import text
from benchmark.studies.mini.train import Recipe, train

RECIPE = Recipe(layers=2, d_model=32, heads=2, vocab=384, context=64, batch=8, tokens=60_000, bf16=False)
REVISION = f"step{RECIPE.steps}"
VARIANTS = ["trained", "step0", "rerandomized", "rerandomized-keep-embeddings", "noise-embeddings"]
LANGUAGE = Corpus(source="built-in:world")


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> Iterator[None]:
    """Two, or one where test processes run side by side: threads that wait for a core cost more than they bring."""
    side_by_side = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1
    with torch_threads(1 if side_by_side else min(2, torch.get_num_threads())):
        yield


@pytest.fixture(scope="session")
def subjects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two training seeds of a two-layer GPT-NeoX, each with step0 and a trained revision, in the hub's layout: trained
    once, for all test processes. Nobody writes into them.
    """
    home = tmp_path_factory.getbasetemp()
    shared = home.parent if "PYTEST_XDIST_WORKER" in os.environ else home
    with FileLock(shared / "subjects.lock"), pytest.MonkeyPatch.context() as patch:
        # Merges of a small vocabulary are known from little text, and counting words of much takes most of the time.
        patch.setattr(text, "CHARACTERS", 2_000_000)
        train(LANGUAGE, shared / "subjects", [0, 1], RECIPE, [], lambda said: None)
    return shared / "subjects"


def tiny_settings(subjects: Path) -> dict[str, Any]:
    """A suite on the tiny subject, as the plain values of its TOML."""
    return {
        "name": "tiny",
        "summary": "for tests",
        "subject": {
            "name": "tiny-neox",
            "revision": REVISION,
            "replicates": {"0": str(subjects / "seed0"), "1": str(subjects / "seed1")},
        },
        "corpus": {"source": "built-in:world:1"},
        "tokens": {"fit": 20_000, "explain": 3_000, "score": 3_000, "block": 64},
        "stream": {"shuffle_tokens": 8_192},
        "hookpoints": ["layers.0", "layers.1"],
        "variants": VARIANTS,
        "latents": 20,
        "methods": {"topk_sae": [{"expansion_factor": 4, "k": 4, "batch_size": 512}]},
    }


@pytest.fixture
def tiny(subjects: Path) -> dict[str, Any]:
    return tiny_settings(subjects)


@pytest.fixture
def suite(tiny: dict[str, Any]) -> Suite:
    return Suite.model_validate(tiny)


@pytest.fixture(scope="session")
def needs_jail() -> None:
    """Skips where the system refuses a jail: `tests/red_team` says whether it should have one."""
    with closing(ForkServer()) as server:
        missing = jailed.trial(server).missing
    if missing is not None:
        pytest.skip(missing)


class Shared(ForkServer):
    """A fork server that more than one run uses: who closes it leaves it to the next."""

    def close(self) -> None:
        """Nothing: `_one_fork_server` ends it."""


@pytest.fixture(scope="session", autouse=True)
def _one_fork_server() -> Iterator[None]:
    """Runs of a test process share the server of the harness's own environment, which takes seconds to import what it
    forks with. One that would see other variables is made anew.
    """
    kept: dict[tuple[tuple[str, str], ...], Shared] = {}

    def server(environment: Environment | None = None) -> ForkServer:
        if environment is not None:
            return ForkServer(environment)
        seen = tuple(sorted((name, text) for name, text in os.environ.items() if name != "PYTEST_CURRENT_TEST"))
        if seen not in kept:
            kept[seen] = Shared()
        return kept[seen]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "ForkServer", server)
        yield
    for one in kept.values():
        ForkServer.close(one)


class Silent(reporting.Silent):
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture
def drawn_site() -> None:
    """Asks for the site that a run ends with."""


@pytest.fixture(autouse=True)
def _no_site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of a test draw no site where it is not asked for: that takes seconds each."""
    if "drawn_site" not in request.fixturenames:
        monkeypatch.setattr("leaderboard.site.build.local", lambda store: store.root / "site")


@pytest.fixture
def silent() -> Silent:
    return Silent()
