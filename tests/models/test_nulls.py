"""Each null is what it claims to be, and the gate notices when it is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import GPTNeoXForCausalLM

from benchmark import registry
from benchmark.errors import BadInput
from benchmark.models import contents, gates, initialise, nulls, parameters, pythia
from benchmark.models.network import Network
from benchmark.spec.variant import Variant
from tests.conftest import REVISION


@pytest.fixture
def model(subjects: Path) -> GPTNeoXForCausalLM:
    return pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu"))


def build(kind: str, model: GPTNeoXForCausalLM) -> Network:
    return nulls.build(kind, model, nulls.tensor_rng(kind, "tiny", 0))


EVERY = [f"{kind}:1" if kind in registry.OPTIONS else kind for kind in registry.VARIANTS]


@pytest.mark.parametrize("kind", EVERY)
def test_variants_pass_their_gate_repeat_and_leave_the_original_alone(kind: str, model: GPTNeoXForCausalLM) -> None:
    before = contents.weight_hash(model)
    network = build(kind, model)
    figures = nulls.gate(kind, model, network)
    assert contents.weight_hash(model) == before
    assert figures["weight_hash"] == contents.weight_hash(build(kind, model).model)
    assert (figures["weight_hash"] == before) == (kind in ("trained", registry.CONTROL))


def test_rerandomized_keeps_moments_norms_and_nothing_else(model: GPTNeoXForCausalLM) -> None:
    network = build("rerandomized", model)
    original = dict(parameters.named(model))
    for name, tensor in parameters.named(network.model):
        if parameters.is_norm(name):
            assert torch.equal(tensor, original[name])
        elif tensor.numel() > 1000:
            assert float(tensor.detach().std()) == pytest.approx(float(original[name].detach().std()), rel=0.1)
            assert not torch.equal(tensor, original[name])
    figures = nulls.gate("rerandomized", model, network)
    assert set(figures["kept"]) == {"layer norm"}  # type: ignore[call-overload]


def test_keep_embeddings_keeps_both_embeddings(model: GPTNeoXForCausalLM) -> None:
    network = build("rerandomized-keep-embeddings", model)
    assert [name for name, _ in parameters.named(model) if parameters.is_embedding(name)] == [
        "gpt_neox.embed_in.weight",
        "embed_out.weight",
    ]
    for mine, theirs in (
        (network.model.get_input_embeddings(), model.get_input_embeddings()),
        (network.model.get_output_embeddings(), model.get_output_embeddings()),
    ):
        assert torch.equal(mine.weight, theirs.weight)
    kept = nulls.gate("rerandomized-keep-embeddings", model, network)["kept"]
    assert len(kept["embedding"]) == 2  # type: ignore[index]


def test_zero_variance_tensors_are_kept_and_listed(model: GPTNeoXForCausalLM) -> None:
    with torch.no_grad():
        model.gpt_neox.layers[0].mlp.dense_4h_to_h.bias.fill_(0.25)
    network = build("rerandomized", model)
    assert (network.model.gpt_neox.layers[0].mlp.dense_4h_to_h.bias == 0.25).all()
    kept = nulls.gate("rerandomized", model, network)["kept"]
    assert kept["zero variance"] == ["gpt_neox.layers.0.mlp.dense_4h_to_h.bias"]  # type: ignore[index]


@pytest.mark.parametrize("fault", ["left trained", "wrong scale", "shifted", "norm redrawn", "correlated"])
def test_the_gate_catches_a_faulty_null(model: GPTNeoXForCausalLM, fault: str) -> None:
    network = build("rerandomized", model)
    original = model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight
    tensor = network.model.gpt_neox.layers[1].mlp.dense_h_to_4h.weight
    with torch.no_grad():
        if fault == "left trained":
            tensor.copy_(original)
        elif fault == "wrong scale":
            tensor.mul_(1.2)
        elif fault == "shifted":
            tensor.add_(tensor.std() * 0.2)
        elif fault == "norm redrawn":
            network.model.gpt_neox.final_layer_norm.weight.normal_()
        else:
            tensor.mul_(0.95).add_(0.3 * original)
    with pytest.raises(gates.GateError):
        nulls.gate("rerandomized", model, network)


def test_the_gate_catches_a_step0_that_is_not_an_initialisation(model: GPTNeoXForCausalLM) -> None:
    network = build("step0", model)
    nulls.gate("step0", model, network)
    with pytest.raises(gates.GateError, match="step-0"):
        nulls.gate("step0", model, Network(model))
    with torch.no_grad():
        network.model.get_output_embeddings().weight.mul_(1.5)
    with pytest.raises(gates.GateError, match="embed_out"):
        nulls.gate("step0", model, network)
    nulls.gate("step0", model, network, own_step0=True)


def test_the_control_never_maps_a_token_to_a_vector(model: GPTNeoXForCausalLM) -> None:
    network = build(registry.CONTROL, model)
    a, b = torch.full((2, 8), 3), torch.full((2, 8), 5)
    keys = [("score", 0), ("score", 1)]
    assert torch.equal(network.embed(a, keys), network.embed(b, keys))
    rows = network.embed(a, keys)
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows[0, 0], rows[0, 1])
    alone = network.embed(a[:1], keys[1:])
    assert torch.equal(alone[0], rows[1])
    assert float(network.embed(torch.zeros(4, 64).long(), [("x", n) for n in range(4)]).std()) == pytest.approx(
        1, abs=0.05
    )


def test_tied_embeddings_stay_tied(model: GPTNeoXForCausalLM) -> None:
    model.get_output_embeddings().weight = model.get_input_embeddings().weight
    network = build("rerandomized", model)
    assert network.model.get_output_embeddings().weight is network.model.get_input_embeddings().weight
    nulls.gate("rerandomized", model, network)


def test_step0_repeats_the_training_seed_on_every_platform(subjects: Path) -> None:
    """The subject's own step0 revision equals the initialisation drawn from its configuration and seed."""
    checkpoint = pythia.locate(str(subjects / "seed1"), "step0")
    stored = pythia.load(checkpoint, torch.float32, torch.device("cpu"))
    drawn = initialise.step0(pythia.config(checkpoint), 1)
    for (name, mine), (_, theirs) in zip(parameters.named(drawn), parameters.named(stored), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-7, msg=name)
    values = initialise.seeded(0)("gpt_neox.embed_in.weight").standard_normal(4, dtype="float32")
    np.testing.assert_allclose(values, GOLDEN, atol=1e-6)


GOLDEN = [0.293743, -0.460013, -0.166653, 0.474101]


def test_shuffled_keeps_every_entry_and_no_place(model: GPTNeoXForCausalLM) -> None:
    network, original = build("shuffled", model), dict(parameters.named(model))
    for name, tensor in parameters.named(network.model):
        assert torch.equal(tensor.flatten().sort().values, original[name].flatten().sort().values)
        if tensor.numel() > 1000:
            assert not torch.equal(tensor, original[name])
    assert nulls.gate("shuffled", model, network)["shuffled"] > 10  # type: ignore[operator]


def test_a_cascade_redraws_the_top_blocks_and_shares_them_with_a_deeper_one(model: GPTNeoXForCausalLM) -> None:
    one, two = (dict(parameters.named(build(f"cascade:{k}", model).model)) for k in (1, 2))
    for name, tensor in parameters.named(model):
        if ".layers.1." in name:
            assert torch.equal(one[name], two[name]), "a deeper cascade redraws the same tensors, and more"
        else:
            assert torch.equal(one[name], tensor)
        if "dense" in name and name.endswith("weight"):
            assert torch.equal(two[name], tensor) == (".layers." not in name)
    kept = nulls.gate("cascade:1", model, build("cascade:1", model))["kept"]
    assert len(kept["below or above the cascade"]) > 4  # type: ignore[index]


@pytest.mark.parametrize(("kind", "other"), [("shuffled", "rerandomized"), ("shuffled", "trained"),
                                             ("cascade:1", "cascade:2"), ("cascade:2", "cascade:1"),
                                             ("cascade:1", "trained"), ("cascade:2", "shuffled")])  # fmt: skip
def test_the_gate_tells_one_null_from_another(model: GPTNeoXForCausalLM, kind: str, other: str) -> None:
    with pytest.raises(gates.GateError):
        nulls.gate(kind, model, build(other, model))


def test_a_cascade_of_more_blocks_than_there_are_is_refused() -> None:
    nulls.check(Variant.parse("cascade:2"), 2)
    with pytest.raises(BadInput, match="the subject has 2 blocks: write cascade:1 to :2"):
        nulls.check(Variant.parse("cascade:3"), 2)
