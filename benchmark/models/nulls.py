"""Variants of a replicate: pure functions (model, rng) -> network on a copy, and the gate each must pass.

The nulls are those of arXiv 2501.17727. Re-randomised: every tensor is redrawn as N(mean, std) with its own scalar
moments, biases included; layer norms keep their values, and so do tensors of zero variance. The control keeps the
trained weights and feeds fresh N(0, 1) input embeddings at every forward.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from benchmark import keyed, registry
from benchmark.models import initialise, parameters
from benchmark.models.contents import weight_hash
from benchmark.models.network import Network

TensorRng = Callable[[str], np.random.Generator]
FAMILY_ALPHA = 1e-4
VERSION = 2


class GateError(RuntimeError):
    """A variant is not what it claims to be; nothing may be measured on it."""


def tensor_rng(kind: str, subject: str, replicate: int, draw: int | None = None) -> TensorRng:
    """The generator of each tensor, by name, for a null of a replicate, or for one of many draws of it."""
    which = () if draw is None else (draw,)
    return lambda name: keyed.rng("null", kind, subject, replicate, *which, name)


def build(kind: str, model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """The variant `kind` of a trained model."""
    network: Network = registry.resolve(registry.VARIANTS[kind])(model, rng)
    return network


def trained(model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """The model itself."""
    return Network(model)


def step0(model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """A fresh initialisation from the model's configuration."""
    fresh = copy.deepcopy(model)
    initialise.draw(fresh, rng)
    return Network(fresh)


def drawn_like(own: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """A fresh initialisation around 0 with the deviations of a checkpoint's own step-0, which its configuration may not
    tell: GPT-NeoX initialises what writes to the residual stream more narrowly.
    """
    return Network(_redrawn(own, rng, lambda name: False, around_zero=True))


def rerandomized(model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """Every tensor redrawn with its own moments, embeddings included."""
    return Network(_redrawn(model, rng, lambda name: False))


def rerandomized_keep_embeddings(model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """As `rerandomized`, with embed_in and embed_out kept."""
    return Network(_redrawn(model, rng, parameters.is_embedding))


def noise_embeddings(model: GPTNeoXForCausalLM, rng: TensorRng) -> Network:
    """Control: trained weights, input embeddings that carry no token."""
    return Network(model, noise=int(rng("noise").integers(1 << 62)))


def gate(kind: str, original: GPTNeoXForCausalLM, network: Network, *, own_step0: bool = False) -> dict[str, object]:
    """Check that a network is the variant it claims to be, and return the figures for the record.

    `own_step0`: a checkpoint's own step-0 weights, whose standard deviations are theirs and not the configuration's.

    Raises:
        GateError: naming the tensor and the figure.
    """
    figures: dict[str, object] = {"weight_hash": weight_hash(network.model)}
    if kind in ("trained", registry.CONTROL):
        _require(figures["weight_hash"] == weight_hash(original), "weights differ from the trained ones")
    if kind == registry.CONTROL:
        figures |= _gate_noise(network)
    if kind.startswith("rerandomized"):
        figures |= _gate_redrawn(
            original, network.model, keep=parameters.is_embedding if "keep" in kind else lambda name: False
        )
    if kind == "step0":
        figures |= _gate_step0(network.model, own_step0)
    return figures


def _redrawn(
    model: GPTNeoXForCausalLM, rng: TensorRng, keep: Callable[[str], bool], *, around_zero: bool = False
) -> GPTNeoXForCausalLM:
    fresh = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in parameters.named(fresh):
            if _kept_because(name, parameter, keep) is None:
                mean, std = _moments(parameter)
                draw = rng(name).standard_normal(tuple(parameter.shape), dtype="float32")
                shift = np.float32(0 if around_zero else mean)
                parameter.copy_(torch.from_numpy(draw * np.float32(std) + shift))
    return fresh


def _kept_because(name: str, tensor: Tensor, keep: Callable[[str], bool]) -> str | None:
    if parameters.is_norm(name):
        return "layer norm"
    if keep(name):
        return "embedding"
    if tensor.numel() < 2 or _moments(tensor)[1] == 0:
        return "zero variance"
    return None


def _moments(tensor: Tensor) -> tuple[float, float]:
    values = tensor.detach().double()
    return float(values.mean()), float(values.std())


def _gate_redrawn(
    original: GPTNeoXForCausalLM, model: GPTNeoXForCausalLM, keep: Callable[[str], bool]
) -> dict[str, object]:
    tied = original.get_input_embeddings().weight is original.get_output_embeddings().weight
    still = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    _require(tied == still, "embeddings are tied in one of original and null only")
    pairs = dict(parameters.named(original))
    reasons = {name: _kept_because(name, tensor, keep) for name, tensor in pairs.items()}
    redrawn = [name for name, reason in reasons.items() if reason is None]
    bound = _bound(len(redrawn))
    worst = {"mean_z": 0.0, "std_z": 0.0, "correlation_z": 0.0}
    for name, tensor in parameters.named(model):
        if reasons[name] is not None:
            _require(torch.equal(tensor, pairs[name]), f"{name} should be kept ({reasons[name]}) and is not")
            continue
        for figure, value in _distances(tensor, pairs[name]).items():
            _require(abs(value) <= bound, f"{name}: {figure} is {value:.2f}, beyond {bound:.2f}")
            worst[figure] = max(worst[figure], abs(value))
    kept: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        if reason is not None:
            kept.setdefault(reason, []).append(name)
    return {"bound_z": bound, "largest": worst, "redrawn": len(redrawn), "kept": kept}


def _distances(drawn: Tensor, original: Tensor) -> dict[str, float]:
    """Distances of a redrawn tensor from its recipe in standard errors: moments, and correlation with the original."""
    size = drawn.numel()
    (mean, std), (wanted_mean, wanted_std) = _moments(drawn), _moments(original)
    chi2 = (size - 1) * (std / wanted_std) ** 2
    tail = stats.chi2.sf(chi2, size - 1), stats.chi2.cdf(chi2, size - 1)
    std_z = math.copysign(float(stats.norm.isf(max(min(tail), 1e-300))), tail[1] - tail[0])
    a, b = drawn.detach().double().flatten(), original.detach().double().flatten()
    correlation = float(torch.corrcoef(torch.stack([a, b]))[0, 1])
    return {
        "mean_z": (mean - wanted_mean) / (wanted_std / math.sqrt(size)),
        "std_z": std_z,
        "correlation_z": math.atanh(min(max(correlation, -1 + 1e-12), 1 - 1e-12)) * math.sqrt(max(size - 3, 1)),
    }


def _gate_step0(model: GPTNeoXForCausalLM, own: bool) -> dict[str, object]:
    weights = {}
    for name, parameter in parameters.named(model):
        if parameters.is_norm(name):
            expected = 1.0 if name.endswith("weight") else 0.0
            _require(bool((parameter == expected).all()), f"{name} of step-0 is not {expected:.0f} everywhere")
        elif name.endswith("bias"):
            _require(not bool(parameter.any()), f"{name} of step-0 is not 0")
        else:
            weights[name] = parameter
    bound, largest = _bound(2 * len(weights)), 0.0
    for name, parameter in weights.items():
        (mean, std), size = _moments(parameter), parameter.numel()
        wanted = std if own else model.config.initializer_range
        figures = {
            "mean": mean / (wanted / math.sqrt(size)),
            "standard deviation": (std / wanted - 1) * math.sqrt(2 * size),
        }
        for figure, value in figures.items():
            _require(abs(value) <= bound, f"{name} of step-0: {figure} is {value:.2f} standard errors off")
            largest = max(largest, abs(value))
    stated = "the checkpoint's own step-0 revision" if own else initialise.STATED
    return {"bound_z": bound, "largest": {"moment_z": largest}, "initialisation": stated}


def _gate_noise(network: Network) -> dict[str, object]:
    tokens = torch.zeros(1, 32, dtype=torch.long)
    first, again, other = (network.embed(tokens, [("gate", key)]) for key in (0, 0, 1))
    _require(torch.equal(first, again), "input noise of one key does not repeat")
    correlation = float(torch.corrcoef(torch.stack([first.float().flatten(), other.float().flatten()]))[0, 1])
    bound = _bound(1) / math.sqrt(first.numel())
    _require(abs(correlation) <= bound, f"input noise of two keys correlates by {correlation:.3f}")
    return {"noise_correlation": correlation, "bound": bound}


def _bound(tests: int) -> float:
    """Two-sided normal bound, Bonferroni over `tests` with family-wise alpha 1e-4."""
    return float(stats.norm.isf(FAMILY_ALPHA / (2 * max(tests, 1))))


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise GateError(f"variant gate: {message}")
