"""Training small subjects: the hub's layout, resume after a kill, and a loss that falls."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.spec.suite import Corpus
from benchmark.studies.mini import train as training
from benchmark.studies.mini.train import Recipe, train
from tests.conftest import LANGUAGE, RECIPE, REVISION

SHORT = dataclasses.replace(RECIPE, tokens=20 * 8 * 64, vocab=300)


class KilledError(Exception):
    pass


def test_layout_is_the_hubs_and_the_loss_falls(subjects: Path) -> None:
    folder = subjects / "seed0" / REVISION
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.config.model_type == "gpt_neox"
    assert tokenizer.decode(tokenizer("the boat, again")["input_ids"]) == "the boat, again"
    figures = json.loads((subjects / "seed0" / "training.json").read_text())
    assert figures["held_out_loss"] < math.log(len(tokenizer)) - 0.5
    assert figures["curve"][-1]["step"] == RECIPE.steps


def test_resume_after_a_kill_gives_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "STATE_EVERY", 8)
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    whole, cut, words = tmp_path / "whole", tmp_path / "cut", np.random.default_rng(0).integers(10_000, size=(400, 100))
    (tmp_path / "text.txt").write_text("\n\n".join(" ".join(map(str, document)) for document in words))
    corpus = Corpus(source=str(tmp_path / "text.txt"), separator="\n\n")
    train(corpus, whole, [0], SHORT, [10], lambda text: None)

    def kill(text: str) -> None:
        if "step 12/20" in text:
            raise KilledError

    with pytest.raises(KilledError):
        train(corpus, cut, [0], SHORT, [10], kill)
    said: list[str] = []
    train(corpus, cut, [0], SHORT, [10], said.append)
    assert not any("step 4/20" in line for line in said)
    for revision in ("step0", "step10", "step20"):
        mine, theirs = (pythia.fingerprint(pythia.locate(str(folder / "seed0"), revision)) for folder in (whole, cut))
        assert mine == theirs
    curves = [json.loads((folder / "seed0" / "training.json").read_text())["curve"] for folder in (whole, cut)]
    assert curves[0] == curves[1]
    assert not (cut / "seed0" / "state").exists()


def test_another_recipe_in_the_same_folder_is_refused(subjects: Path) -> None:
    with pytest.raises(BadInput, match="another corpus or recipe"):
        train(LANGUAGE, subjects, [0], Recipe(layers=3), [], lambda text: None)


def test_too_little_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("only this")
    with pytest.raises(BadInput, match="too small"):
        train(Corpus(source=str(tmp_path / "a.txt")), tmp_path / "out", [0], SHORT, [], lambda text: None)


def test_schedule_warms_up_and_ends_at_a_tenth() -> None:
    rates = [training._schedule(step, Recipe()) for step in range(Recipe().steps)]
    assert rates[0] < 0.2
    assert max(rates) == pytest.approx(1)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
    assert torch.tensor(rates).argmax() < 0.02 * len(rates)
