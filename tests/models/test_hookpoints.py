"""Reading, replacing, and leaves that change nothing but themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.errors import BadInput
from benchmark.models import hookpoints, pythia
from benchmark.models.network import Network
from tests.conftest import REVISION


@pytest.fixture
def network(subjects: Path) -> Network:
    return Network(pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu")))


@pytest.fixture
def embeds(network: Network) -> torch.Tensor:
    tokens = torch.randint(300, (3, 20), generator=torch.Generator().manual_seed(0))
    return network.embed(tokens, [("test", row) for row in range(3)]).detach()


def test_read_equals_the_models_own_hidden_states(network: Network, embeds: torch.Tensor) -> None:
    with torch.no_grad():
        states = network.model(inputs_embeds=embeds, output_hidden_states=True).hidden_states
    second, first = hookpoints.read(network, embeds, [1, 0])
    torch.testing.assert_close(first, states[1])
    torch.testing.assert_close(network.model.gpt_neox.final_layer_norm(second), states[2])


def test_read_stops_after_the_last_layer_that_is_needed(network: Network, embeds: torch.Tensor) -> None:
    calls = []
    handle = network.model.gpt_neox.layers[1].register_forward_hook(lambda *_: calls.append(1))
    hookpoints.read(network, embeds, [0])
    assert not calls
    hookpoints.read(network, embeds, [0, 1])
    handle.remove()
    assert len(calls) == 1


def final(network: Network, embeds: torch.Tensor, layout: hookpoints.Layout | None = None) -> torch.Tensor:
    """Through all blocks: the first by reading, the rest by resuming."""
    return hookpoints.resume(network, hookpoints.read(network, embeds, [0], layout)[0], 0, layout)


@pytest.mark.parametrize("layer", [0, 1])
def test_resuming_equals_the_whole_forward(network: Network, embeds: torch.Tensor, layer: int) -> None:
    (hidden,) = hookpoints.read(network, embeds, [layer])
    with torch.no_grad():
        whole = network.model.gpt_neox(inputs_embeds=embeds).last_hidden_state
    torch.testing.assert_close(hookpoints.resume(network, hidden, layer), whole)
    assert len(network.model.gpt_neox.layers) == 2, "the network itself is not changed"
    assert not torch.allclose(hookpoints.resume(network, hidden * 0.5, layer), whole)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_leaves_repeat_their_positions(network: Network, embeds: torch.Tensor, attention: str) -> None:
    network.model.set_attn_implementation(attention)
    leaves = torch.tensor([[0, 5, 19], [7, 7, 1], [18, 3, 2]])
    layout = hookpoints.leaf_layout(20, leaves, torch.float32)
    own = embeds.gather(1, leaves[:, :, None].expand(-1, -1, embeds.shape[2]))
    clean = final(network, embeds)
    hidden = final(network, torch.cat([embeds, own], dim=1), layout=layout)
    torch.testing.assert_close(hidden[:, :20], clean, rtol=1e-4, atol=1e-5)
    expected = clean.gather(1, leaves[:, :, None].expand(-1, -1, clean.shape[2]))
    torch.testing.assert_close(hidden[:, 20:], expected, rtol=1e-4, atol=1e-5)


def test_unknown_hookpoint_names_the_nearest() -> None:
    with pytest.raises(BadInput, match=r"layers\.2.*allowed: layers\.0, layers\.1"):
        hookpoints.check(["layers.0", "layers.2"], 2)
