"""The engine against a dense autograd reference, and what its settings promise."""

from __future__ import annotations

import math
import sys
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from baselines.topk_sae import engines, kernels
from baselines.topk_sae.engines import FusedEngine, TorchEngine, engine
from baselines.topk_sae.gradients import Parameters, objective, pre_activations, remove_parallel_, top_codes
from baselines.topk_sae.method import FittedSAE, TopKSAE
from baselines.topk_sae.training import Settings, Trainer, schedule
from benchmark.api import Decoder, Featurizer, FitJob, JointFeatureMethod, Latents, Persistent
from benchmark.run.launch.processes import torch_threads

MANIFEST = tomllib.loads((Path(__file__).parents[2] / "baselines/topk_sae/method.toml").read_text())
SMALL = MANIFEST["settings"] | {"expansion_factor": 4, "k": 4, "batch_size": 128}


class Recorded:
    """An activation stream over a fixed tensor, in order."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.d_model, self.n_tokens, self.device = x, x.shape[1], len(x), x.device

    def batches(self, size: int, *, epochs: int = 1) -> Iterator[Tensor]:
        for _ in range(epochs):
            yield from self.x.split(size)


def activations(tokens: int = 2048, d_model: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.randn(48, d_model, generator=generator)
    codes = torch.rand(tokens, 48, generator=generator) * (torch.rand(tokens, 48, generator=generator) < 0.08)
    return codes @ atoms + 0.3


def parameters(seed: int = 0, d_model: int = 16, n_latents: int = 64) -> Parameters:
    generator = torch.Generator().manual_seed(seed)
    decoder = torch.nn.functional.normalize(torch.randn(n_latents, d_model, generator=generator), dim=1)
    encoder = torch.randn(n_latents, d_model, generator=generator)
    return Parameters(
        encoder, torch.randn(n_latents, generator=generator), decoder, torch.randn(d_model, generator=generator)
    )


def mask(latents: Sequence[int], n_latents: int = 64) -> Tensor:
    """True at some latents, [latent]."""
    chosen = torch.zeros(n_latents, dtype=torch.bool)
    chosen[list(latents)] = True
    return chosen


def dense_loss(found: Parameters, x: Tensor, k: int, dead: Tensor, coefficient: float) -> tuple[Tensor, Tensor]:
    """The same loss written densely, for autograd."""
    pre = (x - found.bias) @ found.encoder.T + found.encoder_bias
    kept = torch.zeros_like(pre).scatter(1, pre.topk(k).indices, 1.0)
    xhat = (pre.relu() * kept) @ found.decoder + found.bias
    variance = (x - x.mean(dim=0)).square().sum()
    fvu = (xhat - x).square().sum() / variance
    aux_k = min(x.shape[1] // 2, len(dead))
    if not aux_k:
        return fvu, fvu
    only_dead = torch.full_like(pre, -math.inf)
    only_dead[:, dead] = pre[:, dead]
    chosen = torch.zeros_like(pre).scatter(1, only_dead.topk(aux_k).indices, 1.0)
    residual = (x - xhat).detach()
    aux = ((pre.relu() * chosen) @ found.decoder - residual).square().sum() / variance
    return fvu, fvu + coefficient * aux_k / (x.shape[1] // 2) * aux


@pytest.mark.parametrize("dead", [[], [3], list(range(20, 50))], ids=["none dead", "one dead", "many dead"])
def test_gradients_equal_dense_autograd(dead: list[int]) -> None:
    x, found = activations(256), parameters()
    leaves = Parameters(*(value.clone().requires_grad_() for value in found))
    fvu, loss = dense_loss(leaves, x, 4, torch.tensor(dead, dtype=torch.long), 0.5)
    loss.backward()
    mine, _, gradients = objective(found, x, 4, mask(dead), 0.5)
    assert float(mine) == pytest.approx(float(fvu.detach()), rel=1e-5)
    for name, leaf, gradient in zip(Parameters._fields, leaves, gradients, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(gradient, leaf.grad, rtol=1e-4, atol=1e-6, msg=name)


def test_auxk_trains_the_encoder_of_dead_latents() -> None:
    x, found = activations(256), parameters()
    dead = torch.arange(30, 60)
    found.encoder_bias[dead] = -50
    found.encoder_bias[dead[:5]] = 0.01
    found.encoder[dead[:5]] *= 0.001
    _, codes, without = objective(found, x, 4, mask(dead.tolist()), 0.0)
    assert not set(codes.indices[codes.values > 0].tolist()) & set(dead.tolist())
    _, _, gradients = objective(found, x, 4, mask(dead.tolist()), 1.0)
    assert not without.encoder[dead].any()
    assert gradients.encoder[dead[:5]].norm() > 0
    assert gradients.decoder[dead[:5]].norm() > 0


def test_training_matches_a_dense_reference_of_the_same_loss_order_and_steps() -> None:
    """FVU after training, equal within 1e-4."""
    x = activations(20_000)
    settings = SMALL | {"learning_rate": 2e-3, "unit_scale": False}
    fitted = TopKSAE(**settings).fit(Recorded(x), seed=5)
    mine = float((fitted.decode(fitted.encode(x)) - x).square().sum() / (x - x.mean(dim=0)).square().sum())
    theirs = dense_training(x, Settings(**settings), seed=5)
    assert mine == pytest.approx(theirs, abs=1e-4)
    assert mine < 0.5


def dense_training(x: Tensor, settings: Settings, seed: int) -> float:
    start = Trainer(settings, Recorded(x), seed).initial(x[: settings.batch_size])
    found = Parameters(*(value.clone().requires_grad_() for value in start))
    optimizer = torch.optim.Adam(list(found), betas=(0.9, 0.999))
    silent, steps = torch.zeros(len(found.encoder_bias)), -(-len(x) // settings.batch_size)
    for step, batch in enumerate(x.split(settings.batch_size)):
        dead = torch.nonzero(silent >= settings.dead_after_tokens).squeeze(1)
        _, loss = dense_loss(found, batch, settings.k, dead, settings.auxk_coefficient)
        optimizer.zero_grad()
        loss.backward()
        assert found.decoder.grad is not None
        with torch.no_grad():
            remove_parallel_(found.decoder.grad, found.decoder)
            rate = settings.learning_rate / math.sqrt(len(silent) / 2**14)
            optimizer.param_groups[0]["lr"] = rate * schedule((step + 1) / steps, settings)
            pre = (batch - found.bias) @ found.encoder.T + found.encoder_bias
            top = pre.topk(settings.k)
            optimizer.step()
            found.decoder.div_(found.decoder.norm(dim=1, keepdim=True))
            silent += len(batch)
            silent[top.indices[top.values > 0]] = 0
    with torch.no_grad():
        fvu, _ = dense_loss(found, x, settings.k, torch.zeros(0, dtype=torch.long), 0.0)
    return float(fvu)


def trained(made: type[FusedEngine] | type[TorchEngine], dtype: torch.dtype, seed: int, dead: Tensor | None) -> Any:
    """An engine after 60 steps, and the FVU before each."""
    found = made(parameters(seed), 4, 0.5, dtype)
    return found, [float(found.step(x, dead, 1e-3).fvu) for x in activations(7_680, seed=seed).split(128)]


@pytest.mark.parametrize("dead", [None, mask(range(20, 50)), mask([])], ids=["nothing known", "many dead", "none dead"])
def test_the_fused_step_is_the_same_step(dead: Tensor | None) -> None:
    """Sixty steps of both engines in float32, batches of other sizes too."""
    (fused, mine), (plain, theirs) = (trained(made, torch.float32, 0, dead) for made in (FusedEngine, TorchEngine))
    assert mine == pytest.approx(theirs, rel=1e-4)
    for name, one, other in zip(Parameters._fields, fused.parameters, plain.parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4, msg=name)
    for size in (7, 65, 300):
        steps = [each.step(activations(size, seed=size), dead, 1e-3) for each in (fused, plain)]
        assert torch.equal(steps[0].fired, steps[1].fired)
        torch.testing.assert_close(steps[0].fvu, steps[1].fvu, rtol=1e-3, atol=0)


def test_a_last_batch_of_one_token_does_no_harm() -> None:
    x = activations(129)
    whole = TopKSAE(**SMALL).fit(Recorded(x), seed=0)
    assert all(value.isfinite().all() for value in whole.parameters)
    trainer = Trainer(Settings(**SMALL), Recorded(x), seed=0)
    trainer.step(x[:128])
    assert trainer.engine is not None
    before = [value.clone() for value in trainer.engine.parameters]
    assert trainer.step(x[128:]).isnan()
    assert all(torch.equal(value, old) for value, old in zip(trainer.engine.parameters, before, strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_first_rows_have_the_length_that_reconstructs_the_first_batch_best(seed: int) -> None:
    x, settings = activations(2_048, seed=seed), Settings(**SMALL)
    trainer = Trainer(settings, Recorded(x), seed)
    start = trainer.initial(x[:128])
    lengths = start.encoder.norm(dim=1)
    torch.testing.assert_close(start.encoder, lengths[:, None] * start.decoder)
    torch.testing.assert_close(lengths, lengths[:1].expand(len(lengths)))

    def fvu(factor: float) -> float:
        changed = start._replace(encoder=start.encoder * factor)
        return float(objective(changed, x[:128] / trainer.scale, settings.k, None, 0.0).fvu)

    best = fvu(1.0)
    assert all(fvu(factor) > best for factor in (0.5, 0.9, 1.1, 2.0))


@pytest.mark.parametrize("seed", range(3))
def test_so_started_training_is_ahead_of_rows_of_length_one(seed: int) -> None:
    """FVU after 60 steps of 128 tokens, eight latents active in sixteen dimensions."""
    x, settings = activations(7_680, seed=seed), Settings(**(SMALL | {"k": 8}))

    def fvu(*, unit: bool) -> float:
        trainer = Trainer(settings, Recorded(x), seed)
        start = trainer.initial(x[:128])
        start = start._replace(encoder=start.decoder.clone()) if unit else start
        trainer.engine = engine(start, settings.k, settings.auxk_coefficient)
        for batch in x.split(128):
            trainer.step(batch)
        return float(objective(trainer.finish(), x, settings.k, None, 0.0).fvu)

    assert fvu(unit=False) < fvu(unit=True)


def test_a_first_batch_without_variance_has_rows_of_length_one() -> None:
    start = Trainer(Settings(**SMALL), Recorded(torch.ones(128, 16)), 0).initial(torch.ones(128, 16))
    torch.testing.assert_close(start.encoder, start.decoder)


def fvu_of(made: type[FusedEngine] | type[TorchEngine], dtype: torch.dtype, seed: int) -> float:
    """FVU after one pass over 40,000 tokens."""
    x, settings = activations(40_000, seed=seed), Settings(**SMALL)
    trainer = Trainer(settings, Recorded(x), seed)
    trainer.engine = made(trainer.initial(x[:128]), settings.k, settings.auxk_coefficient, dtype)
    for batch in x.split(128):
        trainer.step(batch)
    found = trainer.finish()
    return float(objective(found, x, settings.k, None, 0.0).fvu)


@pytest.mark.parametrize("seed", range(3))
def test_engines_and_precisions_reach_the_same_fvu(seed: int) -> None:
    """Within 1 % of plain torch in float32, which the dense reference above holds."""
    reference = fvu_of(TorchEngine, torch.float32, seed)
    assert reference < 0.5
    for made, dtype in ((FusedEngine, torch.float32), (FusedEngine, torch.bfloat16), (TorchEngine, torch.bfloat16)):
        assert fvu_of(made, dtype, seed) == pytest.approx(reference, rel=0.01)


def test_the_engine_is_the_device_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    monkeypatch.delitem(sys.modules, "baselines.topk_sae.cuda", raising=False)
    engines.engine_for.cache_clear()
    assert [engines.engine_for(torch.device(name)) for name in ("cpu", "cuda", "mps")] == [
        FusedEngine, TorchEngine, TorchEngine,
    ]  # fmt: skip


def test_threads_change_nothing() -> None:
    found = []
    for count in (1, 2):
        with torch_threads(count):
            fitted = TopKSAE(**SMALL).fit(Recorded(activations(4096)), seed=0)
            found.append((fitted.parameters, fitted.encode(activations(300))))
    for one, other in zip(*found, strict=True):
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(one, other, strict=True))


@pytest.mark.parametrize(("tokens", "d_model", "n_latents", "k"), [(0, 8, 16, 2), (300, 8, 16, 16), (700, 24, 4096, 8)])
def test_encode_is_the_k_largest(tokens: int, d_model: int, n_latents: int, k: int) -> None:
    found, x = parameters(1, d_model, n_latents), torch.randn(tokens, d_model)
    mine, theirs = engines.encode(found, x, k), top_codes(pre_activations(found, x), k)
    dense = [torch.zeros(tokens, n_latents).scatter_add(1, codes.indices, codes.values) for codes in (mine, theirs)]
    assert mine.values.shape == (tokens, k)
    torch.testing.assert_close(dense[0], dense[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("columns", [3, 100, 128, 1000, 4096])
def test_select_with_ties_and_too_few(columns: int) -> None:
    """Small integers, so that most keys are tied, in both widths."""
    rng = np.random.default_rng(columns)
    keys = rng.integers(-3, 4, size=(200, columns))
    keys[:50, 5:] = -1
    for dtype in (np.int16, np.int32):
        for wanted in (1, 3, 16):
            found = np.empty((200, wanted), np.int32)
            kernels.select(keys.astype(dtype), found)
            for row, chosen in zip(keys, found, strict=True):
                real = chosen[chosen != kernels.NONE]
                assert len(set(real.tolist())) == len(real)
                positive = np.sort(row[row > 0])[::-1]
                assert sorted(row[real], reverse=True) == positive[:wanted].tolist()


def test_auxk_revives_latents_that_lose_the_selection() -> None:
    """Half of the latents start with an encoder a thousand times too short."""
    x = activations(20_000)

    def mass_of_the_short(coefficient: float) -> float:
        change = {"dead_after_tokens": 1000, "learning_rate": 2e-4, "auxk_coefficient": coefficient}
        trainer = Trainer(Settings(**(SMALL | change)), Recorded(x), seed=0)
        initial = trainer.initial(x[:128])
        initial.encoder[32:] *= 0.001
        trainer.engine = engine(initial, SMALL["k"], coefficient)
        for batch in x.split(128):
            trainer.step(batch)
        latents = engines.encode(trainer.finish(), x, SMALL["k"])
        return float(latents.values[latents.indices >= 32].sum() / latents.values.sum())

    without, with_auxk = mass_of_the_short(0.0), mass_of_the_short(1 / 32)
    assert with_auxk > 2 * without + 0.02


def test_dead_latents_are_counted_in_tokens() -> None:
    trainer = Trainer(Settings(**SMALL), Recorded(activations(640)), seed=0)
    for size in (100, 28):
        trainer.step(activations(size))
    fired = trainer.silent_for == 0
    assert fired.any()
    assert set(trainer.silent_for.tolist()) <= {0, 28, 128}


def test_decoder_rows_stay_unit_norm_and_biases_carry_the_scale() -> None:
    x = activations(4096)
    small, large = (TopKSAE(**SMALL).fit(Recorded(x * scale), seed=0) for scale in (1.0, 1000.0))
    torch.testing.assert_close(small.parameters.decoder.norm(dim=1), torch.ones(small.n_latents))
    torch.testing.assert_close(large.parameters.decoder, small.parameters.decoder, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(
        large.decode(large.encode(x * 1000)), 1000 * small.decode(small.encode(x)), rtol=0.05, atol=20
    )


def test_same_seed_same_sae_and_fit_many_equals_fit() -> None:
    stream, other = Recorded(activations(4096)), Recorded(activations(4096, seed=1))
    narrow, wide = SMALL, SMALL | {"expansion_factor": 8}
    jobs = [FitJob(stream, 0, narrow), FitJob(stream, 1, wide), FitJob(other, 0, narrow | {"batch_size": 64})]
    together = TopKSAE(**narrow).fit_many(jobs)
    for job, fitted in zip(jobs, together, strict=True):
        alone = TopKSAE(**job.settings).fit(job.stream, seed=job.seed)
        for mine, theirs in zip(fitted.parameters, alone.parameters, strict=True):
            assert torch.equal(mine, theirs)
    assert not torch.equal(together[0].parameters.decoder, TopKSAE(**narrow).fit(stream, seed=9).parameters.decoder)


def test_saved_featurizer_is_the_same(tmp_path: Path) -> None:
    x = activations(1024)
    fitted = TopKSAE(**SMALL).fit(Recorded(x), seed=0)
    fitted.save(tmp_path)
    again = TopKSAE.load(tmp_path)
    assert isinstance(again, FittedSAE)
    for mine, theirs in zip(fitted.encode(x), again.encode(x), strict=True):
        assert torch.equal(mine, theirs)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_contracts() -> None:
    fitted = TopKSAE(**SMALL).fit(Recorded(activations(512)), seed=0)
    assert isinstance(fitted, Featurizer)
    assert isinstance(fitted, Decoder)
    assert isinstance(fitted, Persistent)
    assert issubclass(TopKSAE, JointFeatureMethod)
    nothing = Latents(torch.zeros(1, 1), torch.zeros(1, 1, dtype=torch.long))
    torch.testing.assert_close(fitted.decode(nothing)[0], fitted.parameters.bias)


def test_paper_preset_is_the_schedule_that_its_code_ran() -> None:
    settings = Settings(**(MANIFEST["settings"] | MANIFEST["presets"]["paper"]))
    steps = -(-100_000_000 // settings.batch_size)
    assert steps == 1526
    assert settings.auxk_coefficient == 0
    rates = [schedule((step + 1) / steps, settings) for step in range(steps)]
    assert max(rates) == pytest.approx(1, abs=2e-3)
    assert rates.index(max(rates)) == pytest.approx(0.65 * steps, abs=2)
    assert rates[-1] == pytest.approx(0.95)
    peak = settings.learning_rate / math.sqrt(64 * 512 / 2**14)
    assert peak == pytest.approx(2e-4 / math.sqrt(2))


@pytest.mark.parametrize(
    ("change", "word"),
    [({"k": 65}, "exceeds n_latents"), ({"batch_size": 0}, "positive"), ({"warmup": 0.9}, "decay_from")],
)
def test_settings_that_cannot_work_are_refused(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        TopKSAE(**(SMALL | change)).check(16)
    TopKSAE(**SMALL).check(16)
    assert asdict(Settings(**SMALL))["k"] == 4
