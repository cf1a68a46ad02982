"""Shared forwards against one forward per question."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmark import registry
from benchmark.data import blocks as token_blocks
from benchmark.data.blocks import Blocks
from benchmark.forward import activations, interventions
from benchmark.forward.interventions import Events, Residual
from benchmark.metrics.splice import kl_per_token
from benchmark.models import hookpoints, nulls, pythia
from benchmark.models.network import Network
from benchmark.spec.suite import TokenBudget
from benchmark.tracks.tokens import TokenTable
from tests.conftest import LANGUAGE, REVISION

LAYER = 0


@pytest.fixture
def blocks(subjects: Path, tmp_path: Path) -> Blocks:
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    tokens = TokenBudget(fit=100, explain=100, score=900, block=64)
    return token_blocks.prepare(LANGUAGE, tokens, tokenizer, "t", tmp_path / "blocks")["score"]


@pytest.fixture(params=["trained", registry.CONTROL])
def network(request: pytest.FixtureRequest, subjects: Path) -> Network:
    model = pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu"))
    return nulls.build(request.param, model, nulls.tensor_rng(request.param, "t", 0))


def embeds_of(network: Network, blocks: Blocks, row: int, purpose: str = "score") -> torch.Tensor:
    tokens = torch.from_numpy(blocks.tokens[row].astype(np.int64))[None]
    return network.embed(tokens, [(purpose, row)]).detach()


def stream_of(network: Network, blocks: Blocks) -> Residual:
    (x,), (first,) = activations.collect(network, blocks, "score", [LAYER])
    return Residual(LAYER, x, first)


def whole_forward(
    network: Network, embeds: torch.Tensor, change: Callable[[torch.Tensor], torch.Tensor] | None
) -> torch.Tensor:
    """Final hidden states through every block, with the stream after `LAYER` replaced by a hook."""

    def hook(module: torch.nn.Module, inputs: Any, output: Any) -> Any:
        assert change is not None
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    with contextlib.ExitStack() as hooks, torch.no_grad():
        if change is not None:
            hooks.callback(network.model.gpt_neox.layers[LAYER].register_forward_hook(hook).remove)
        hidden: torch.Tensor = network.model.gpt_neox(inputs_embeds=embeds).last_hidden_state
    return hidden


def test_splicing_the_activations_themselves_changes_nothing(network: Network, blocks: Blocks) -> None:
    stream = stream_of(network, blocks)
    x = stream.x
    hidden, ((clean, zero, mean),) = interventions.ablations(network, blocks, [stream])
    same = interventions.spliced(network, blocks, stream, x, hidden)
    assert same.tokens == clean.tokens == int((blocks.lengths - 2).sum())
    assert same.cross_entropy == pytest.approx(clean.cross_entropy, rel=1e-5)
    assert same.kl == pytest.approx(0, abs=1e-3)
    by_hand = interventions.spliced(network, blocks, stream, torch.zeros_like(x), hidden)
    assert by_hand == pytest.approx(zero, rel=1e-5)
    average = interventions.spliced(network, blocks, stream, x.mean(dim=0).expand_as(x), hidden)
    assert average == pytest.approx(mean, rel=1e-5)


def test_clean_cross_entropy_is_the_models_loss(subjects: Path, blocks: Blocks) -> None:
    model = pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu"))
    clean = interventions.ablations(Network(model), blocks, [stream_of(Network(model), blocks)])[1][0].clean
    total = 0.0
    for row, length in zip(blocks.tokens, blocks.lengths, strict=True):
        tokens = torch.from_numpy(row[:length].astype(np.int64))[None]
        with torch.no_grad():
            logits = model(tokens).logits[0, 1:-1]
        total += float(torch.nn.functional.cross_entropy(logits, tokens[0, 2:], reduction="sum"))
    assert clean.cross_entropy == pytest.approx(total, rel=1e-5)


def test_removals_equal_one_forward_per_event(network: Network, blocks: Blocks) -> None:
    places = TokenTable.of(blocks).places
    rng = np.random.default_rng(0)
    predicts = np.flatnonzero(places[:, 1] < blocks.lengths[places[:, 0]] - 1)
    rows = rng.choice(predicts, size=25, replace=False)
    removed, random = (torch.from_numpy(rng.standard_normal((25, 32), dtype=np.float32)) for _ in range(2))
    found = interventions.removals(
        network, blocks, stream_of(network, blocks), places, Events(rows, np.zeros(25, int), removed, random)
    )
    for event, row in enumerate(rows):
        block, position = places[row]
        embeds = embeds_of(network, blocks, int(block))
        for half, vector in enumerate((removed[event], random[event])):

            def edit(hidden: torch.Tensor, position: int = position, vector: torch.Tensor = vector) -> torch.Tensor:
                hidden = hidden.clone()
                hidden[0, position] -= vector
                return hidden

            clean, changed = (
                hookpoints.log_probabilities(network, whole_forward(network, embeds, how)[0, position][None])
                for how in (None, edit)
            )
            assert found[half][event] == pytest.approx(float(kl_per_token(clean, changed)), rel=1e-3, abs=1e-6)


def test_swapped_contexts_equal_one_forward_per_position(network: Network, blocks: Blocks) -> None:
    where, (found,) = interventions.swapped(network, blocks, [1])
    pairs = interventions._pairs(blocks)
    assert len(where) == len(found) == len(pairs) * (64 - 24)
    assert all(blocks.documents[first] != blocks.documents[second] for first, second in pairs)
    for event in (0, 17, len(where) - 1):
        block, position = where[event]
        partner = dict(pairs.tolist())[block]
        tokens = torch.from_numpy(np.stack([blocks.tokens[partner], blocks.tokens[block]]).astype(np.int64))
        prefix = network.embed(tokens[:1], [("swap prefix", int(block))])[:, :position]
        own = network.embed(tokens[1:], [("swap token", int(block))])[:, position : position + 1]
        expected = hookpoints.read(network, torch.cat([prefix, own], dim=1), [1])[0][0, -1]
        torch.testing.assert_close(found[event], expected, rtol=1e-3, atol=1e-5)
