"""The shipped subject: what is in the box, step-0 drawn again, and a language that was learned."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.data.world.documents import documents
from benchmark.errors import BadInput
from benchmark.models import contents, nulls, pythia
from benchmark.models.initialise import step0
from benchmark.models.mini import builtin
from benchmark.models.network import Network
from benchmark.studies.mini import figures, pairs, ship
from benchmark.studies.mini.train import Recipe

SEEDS = range(8)
CPU = torch.device("cpu")


def source(seed: int) -> str:
    return f"built-in:pythia-mini/seed{seed}"


def test_eight_seeds_and_three_intermediate_checkpoints_under_32_megabytes() -> None:
    assert builtin.seeds() == list(SEEDS)
    assert len(builtin.steps(builtin.HOME / "seed0")) == 4
    files = [file for file in builtin.HOME.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < ship.MOST_BYTES
    for seed in SEEDS:
        found = builtin.checkpoint(source(seed))
        config, tokenizer = pythia.config(found), pythia.tokenizer(found)
        assert (config.num_hidden_layers, config.hidden_size) == (4, 128)
        assert len(tokenizer) <= 1536
        trained = json.loads((found.folder.parent / "training.json").read_text())
        assert trained["curve"][-1]["tokens"] >= 10_000_000
        assert trained["recipe"] == trained["recipe"] | {"tokens": Recipe.tokens, "vocab": Recipe.vocab}
        model = pythia.load(found, torch.float16, CPU)
        assert all(parameter.dtype == torch.float16 for parameter in model.parameters())


def test_all_seeds_have_one_tokenizer_and_weights_of_their_own() -> None:
    found = [builtin.checkpoint(source(seed)) for seed in SEEDS]
    assert len({pythia.tokenizer_fingerprint(place) for place in found}) == 1
    assert len({pythia.fingerprint(place) for place in found}) == 8


@pytest.mark.parametrize("seed", [0, 5])
def test_step0_follows_from_config_and_seed(seed: int, tmp_path: Path) -> None:
    place = builtin.step0(source(seed), tmp_path)
    model = pythia.load(place, torch.float32, CPU)
    trained = json.loads((builtin.HOME / f"seed{seed}" / "training.json").read_text())
    assert contents.weight_hash(model) == trained["step0_hash"]
    original = pythia.load(builtin.checkpoint(source(seed)), torch.float32, CPU)
    nulls.gate("step0", original, Network(model), own_step0=True)
    again = builtin.step0(source(seed), tmp_path)
    assert pythia.fingerprint(again) == pythia.fingerprint(place)


def test_step0_resembles_where_training_began() -> None:
    """After 100 of 2,500 steps the weights still lie near the initialisation of their own seed, not of another."""
    early = pythia.load(builtin.checkpoint(source(0), "step100"), torch.float32, CPU)

    def distance(seed: int) -> float:
        fresh = step0(early.config, seed)
        weights = zip(early.parameters(), fresh.parameters(), strict=True)
        return sum(float((mine - theirs).detach().square().sum()) for mine, theirs in weights)

    assert distance(0) < 0.7 * distance(1)


def test_unknown_seed_and_revision_are_refused() -> None:
    with pytest.raises(BadInput, match="seed7"):
        builtin.checkpoint("built-in:pythia-mini/seed8")
    with pytest.raises(BadInput, match="step400"):
        builtin.checkpoint(source(0), "step401")


@pytest.mark.parametrize("seed", [0, 7])
def test_trained_beats_counting_on_every_kind_of_minimal_pair(seed: int) -> None:
    place = builtin.checkpoint(source(seed))
    tokenizer = pythia.tokenizer(place)
    held = figures.held_out(list(itertools.islice(documents(figures.HELD_OUT_SEED), 150)), tokenizer, 256)
    model = pythia.load(place, torch.float32, CPU)
    own = pairs.accuracy(held.asked, pairs.model_prefers(model, held.asked))
    stream = figures.held_out(list(itertools.islice(documents(0), 1_500)), tokenizer, 1).tokens
    for name, grades in pairs.Counts.of(stream, len(tokenizer)).prefer(held.asked).items():
        counted = pairs.accuracy(held.asked, grades)
        for kind in pairs.KINDS:
            assert own[kind] > counted[kind] + 0.1, f"{kind} against {name}"


def test_pairs_differ_where_they_say() -> None:
    seen = set()
    for document in itertools.islice(documents(5), 60):
        for pair in pairs.of_document(document):
            seen.add(pair.kind)
            assert document.text[pair.start :].startswith(pair.right)
            assert pair.right != pair.wrong
            if pair.kind == "entity":
                assert pair.right.strip() in document.text[: pair.start]
                assert pair.wrong.strip() not in document.text
    assert seen == set(pairs.KINDS)


def test_counts_prefer_what_is_more_frequent() -> None:
    counts = pairs.Counts.of(np.array([1, 2, 1, 2, 1, 3, 3, 3, 3], np.uint16), 4)
    asked = [pairs.Question("sense", [1], 2, 3), pairs.Question("sense", [0], 3, 3)]
    found = counts.prefer(asked)
    assert found["bigram"].tolist() == [1.0, 0.5]
    assert found["unigram"].tolist() == [0.0, 0.5]
