"""CPU and CUDA agree: activations, nulls, the step of the TopK SAE. Run by run.sh; skipped where there is no CUDA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from baselines.topk_sae.engines import FusedEngine, TorchEngine, engine
from baselines.topk_sae.gradients import Parameters
from benchmark.data import blocks
from benchmark.forward import activations
from benchmark.models import nulls, pythia
from benchmark.models.contents import weight_hash
from benchmark.models.mini import builtin
from benchmark.models.network import Network
from benchmark.spec.suite import Corpus, TokenBudget
from tests.baselines.test_topk_sae import activations as drawn
from tests.baselines.test_topk_sae import parameters

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
SUBJECT = "built-in:pythia-mini/seed0"
NULLS = ("step0", "rerandomized", "rerandomized-keep-embeddings", "shuffled", "noise-embeddings")


def network(name: str, device: str) -> Network:
    """A variant of the built-in subject, as a group of a run makes it."""
    trained = pythia.load(builtin.checkpoint(SUBJECT), torch.float32, torch.device(device))
    return nulls.build(name, trained, nulls.tensor_rng(name, SUBJECT, 0))


@pytest.mark.parametrize("name", NULLS)
def test_nulls_are_the_same_to_the_bit(name: str) -> None:
    assert weight_hash(network(name, "cuda").model) == weight_hash(network(name, "cpu").model)


@pytest.mark.parametrize("name", ["trained", *NULLS])
def test_activations_agree(name: str, tmp_path: Path) -> None:
    """Within 1e-4 of the stream's root mean square, at all layers."""
    checkpoint = builtin.checkpoint(SUBJECT)
    found = blocks.prepare(
        Corpus(source="built-in:world:1"),
        TokenBudget(fit=20_000, explain=1_000, score=1_000, block=256),
        pythia.tokenizer(checkpoint),
        pythia.tokenizer_fingerprint(checkpoint),
        tmp_path,
    )
    layers = range(pythia.config(checkpoint).num_hidden_layers)
    (mine, _), (theirs, _) = (
        activations.collect(network(name, device), found["fit"], "fit", layers) for device in ("cuda", "cpu")
    )
    for one, other in zip(mine, theirs, strict=True):
        assert float((one - other).abs().max()) < 1e-4 * float(other.square().mean().sqrt())


def on_cuda(found: Parameters) -> Parameters:
    return Parameters(*(parameter.cuda() for parameter in found))


def steps(
    made: object, start: Parameters, x: Tensor, dead: Tensor | None, dtype: torch.dtype
) -> tuple[Parameters, list[float]]:
    """Parameters after a step on each batch of 512 tokens, and the FVU before each. Which latents are dead is known a
    step late to the fused engine on CUDA, and told so to the others.
    """
    found = made(start, 8, 0.5, dtype)  # type: ignore[operator]
    told = [dead if number or "Triton" in type(found).__name__ else None for number in range(len(x) // 512)]
    fvu = [float(found.step(batch, each, 1e-3).fvu) for batch, each in zip(x.split(512), told, strict=True)]
    return found.parameters, fvu


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("dead", [None, range(100, 300)], ids=["nothing known", "many dead"])
@pytest.mark.parametrize(("d_model", "n_latents"), [(48, 384), (128, 8_192)])
def test_the_step_is_the_same(dtype: torch.dtype, dead: range | None, d_model: int, n_latents: int) -> None:
    """Twenty steps of the fused engines of both devices, and of torch on CUDA."""
    start, x = parameters(0, d_model, n_latents), drawn(20 * 512, d_model)
    mask = None
    if dead is not None:
        mask = torch.zeros(n_latents, dtype=torch.bool)
        mask[list(dead)] = True
    on_device = None if mask is None else mask.cuda()
    made = type(engine(on_cuda(start), 8, 0.5))
    assert made.__name__ == "TritonEngine"
    mine, fvu = steps(made, on_cuda(start), x.cuda(), on_device, dtype)
    plain, plain_fvu = steps(TorchEngine, on_cuda(start), x.cuda(), on_device, dtype)
    begun = on_cuda(start)
    _, cpu_fvu = steps(FusedEngine, start, x, mask, dtype)
    assert fvu == pytest.approx(plain_fvu, rel=1e-3)
    assert fvu == pytest.approx(cpu_fvu, rel=1e-3)
    if dtype == torch.float32:
        rows = slice(None) if mask is None else mask.cuda()
        for name, one, other, old in zip(Parameters._fields, mine, plain, begun, strict=True):
            kept = slice(None) if name == "bias" else rows
            moved = (other - old)[kept]
            assert float(moved.norm()) > 0, name
            assert float(((one - old)[kept] - moved).norm() / moved.norm()) < 1e-2, name


def test_a_step_gives_the_same_bits_each_time() -> None:
    start, x = parameters(0, 128, 8_192), drawn(20 * 512, 128).cuda()
    once, again = (
        steps(type(engine(on_cuda(start), 8, 0.0)), on_cuda(start), x, None, torch.bfloat16) for _ in range(2)
    )
    assert once[1] == again[1]
    assert all(torch.equal(one, other) for one, other in zip(once[0], again[0], strict=True))


@pytest.mark.parametrize(
    ("latents", "count"),
    [(131_072, 44), (131_072, 1_284), (32_768, 44), (49_152, 20), (4_096, 16), (384, 12), (300, 44)],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_strongest_are_torch_s(latents: int, count: int, dtype: torch.dtype) -> None:
    """The same values as `topk`; ties may fall otherwise, and a row without enough positive entries has what it has."""
    from baselines.topk_sae.triton_kernels import strongest  # noqa: PLC0415

    pre = torch.randn(64, latents, device="cuda", generator=torch.Generator("cuda").manual_seed(0)).to(dtype)
    pre[3], pre[4, 5:], pre[5] = -1, -2, 0.25
    found = strongest(pre, count).long()
    expected = pre.clamp(min=0).topk(count, dim=1).values.float()
    values = torch.where(found >= 0, pre.gather(1, found.clamp(min=0)), 0).float().sort(dim=1, descending=True).values
    assert torch.equal(values, expected)
    taken = torch.where(found >= 0, found, latents + torch.arange(count, device="cuda"))
    assert all(len(row.unique()) == count for row in taken)
