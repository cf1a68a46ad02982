"""In what methods run: the best that there is, what was asked for, and no less than a jail for strangers' in CI."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch

from benchmark.errors import BadInput
from benchmark.execution import isolation
from benchmark.execution.contract import Executor, Worker
from benchmark.execution.environments import ROOT
from benchmark.execution.isolation import needs_jail, open_executor, weaker

CPU = torch.device("cpu")
HOLDS, MISSING = "jail", "no jail on this machine: it is another system"


@pytest.fixture(params=[HOLDS, MISSING])
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With a jail or without, and with nobody's CI around it."""

    def jail() -> Executor:
        if request.param == MISSING:
            raise BadInput(MISSING)
        return Named("jail")

    monkeypatch.setitem(isolation.ISOLATION, "jail", jail)
    monkeypatch.setitem(isolation.ISOLATION, "process", lambda: Named("process"))
    monkeypatch.delenv("CI", raising=False)
    return str(request.param)


class Named:
    """An executor that starts nothing."""

    def __init__(self, isolation: str) -> None:
        self.isolation = isolation

    def start(self, *told: object) -> Worker:
        raise NotImplementedError

    def close(self) -> None:
        pass


def opened(name: str | None, *folders: str, said: list[str]) -> str:
    with closing(open_executor(name, [ROOT / folder for folder in folders], CPU, said.append)) as executor:
        return executor.isolation


def test_a_run_has_the_best_that_there_is_and_says_what_is_missing(machine: str) -> None:
    said: list[str] = []
    found = opened(None, "submissions/theirs", said=said)
    if machine == HOLDS:
        assert (found, said) == ("jail", [])
    else:
        assert (found, said) == ("process", [f"{MISSING}: methods run in processes of their own, and records say so"])


@pytest.mark.parametrize("name", ["process", "none"])
def test_what_is_asked_for_is_had(machine: str, name: str) -> None:
    assert opened(name, "submissions/theirs", said=[]) == name


def test_a_jail_that_is_asked_for_and_not_there_is_an_error(machine: str) -> None:
    if machine == MISSING:
        with pytest.raises(BadInput, match=MISSING):
            opened("jail", "baselines/topk_sae", said=[])


@pytest.mark.parametrize("name", [None, "process", "none", "jail"])
def test_in_ci_strangers_run_in_jail_or_not_at_all(
    machine: str, name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", "true")
    both = ("baselines/topk_sae", "submissions/theirs")
    if name in ("process", "none"):
        with pytest.raises(BadInput, match=f"run in jail, and not with --isolation {name}"):
            opened(name, *both, said=[])
    elif machine == MISSING:
        with pytest.raises(BadInput, match=MISSING):
            opened(name, *both, said=[])
    else:
        assert opened(name, *both, said=[]) == "jail"
    assert needs_jail([ROOT / "submissions" / "theirs"])
    assert not needs_jail([ROOT / "baselines" / "pca"])


def test_baselines_run_anywhere(machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    assert opened(None, "baselines/topk_sae", said=[]) == ("jail" if machine == HOLDS else "process")


def test_a_link_into_submissions_is_a_stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    (tmp_path / "mine").symlink_to(ROOT / "submissions" / "saelens_topk")
    assert needs_jail([tmp_path / "mine"])


@pytest.mark.parametrize(
    ("one", "other", "less"),
    [("jail", "jail", "jail"), ("jail", "process", "process"), ("none", "jail", "none"), ("process", "none", "none")],
)
def test_of_two_isolations_the_weaker_is_said(one: str, other: str, less: str) -> None:
    assert weaker(one, other) == less
