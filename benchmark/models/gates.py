"""Gates: whether a network is the variant that it claims to be. Nothing is measured on one that does not pass.

Bounds are normal quantiles, Bonferroni over all figures of a network, at a family-wise 1e-4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from torch import Tensor
from transformers import GPTNeoXForCausalLM

from benchmark.models import initialise, parameters
from benchmark.models.contents import weight_hash
from benchmark.models.network import Network

FAMILY_ALPHA = 1e-4


class GateError(RuntimeError):
    """A variant is not what it claims to be; nothing may be measured on it."""


class Gated(NamedTuple):
    """What a gate sees: the trained model, the variant's network and option, and whether a step-0 is the checkpoint's
    own.
    """

    original: GPTNeoXForCausalLM
    network: Network
    option: int | None
    own_step0: bool


def same_weights(gated: Gated) -> dict[str, object]:
    """Trained weights, to the bit."""
    same = weight_hash(gated.network.model) == weight_hash(gated.original)
    _require(same, "weights differ from the trained ones")
    return {}


def kept_because(name: str, tensor: Tensor, keep: Callable[[str], bool]) -> str | None:
    """Why a redrawn model keeps a tensor, None where it does not."""
    if parameters.is_norm(name):
        return "layer norm"
    if keep(name):
        return "embedding" if parameters.is_embedding(name) else "below or above the cascade"
    if tensor.numel() < 2 or moments(tensor)[1] == 0:
        return "zero variance"
    return None


def moments(tensor: Tensor) -> tuple[float, float]:
    """Mean and standard deviation, in float64."""
    values = tensor.detach().double()
    return float(values.mean()), float(values.std())


def redrawn(gated: Gated, *, keep: Callable[[str], bool]) -> dict[str, object]:
    """Every tensor but the kept ones has the moments of the original's, and does not correlate with it."""
    original, model = gated.original, gated.network.model
    tied = original.get_input_embeddings().weight is original.get_output_embeddings().weight
    still = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    _require(tied == still, "embeddings are tied in one of original and null only")
    pairs = dict(parameters.named(original))
    reasons = {name: kept_because(name, tensor, keep) for name, tensor in pairs.items()}
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
    (mean, std), (wanted_mean, wanted_std) = moments(drawn), moments(original)
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


def shuffled(gated: Gated) -> dict[str, object]:
    """Every tensor has the original's entries, to the bit, in places that do not correlate with the original's."""
    pairs = dict(parameters.named(gated.original))
    varied = [name for name, tensor in pairs.items() if tensor.numel() > 1 and moments(tensor)[1] > 0]
    bound, largest = _bound(len(varied)), 0.0
    for name, tensor in parameters.named(gated.network.model):
        entries, wanted = tensor.detach().flatten(), pairs[name].detach().flatten()
        _require(
            torch.equal(entries.sort().values, wanted.sort().values), f"{name} does not have the original's entries"
        )
        if name in varied:
            # Of ranks: one outlier that keeps its place would decide the correlation of the entries themselves. Under a
            # permutation it has variance 1 / (n - 1), whatever the entries are.
            ranks = [stats.rankdata(values.float().cpu().numpy()) for values in (entries, wanted)]
            z = float(np.corrcoef(ranks)[0, 1]) * math.sqrt(len(entries) - 1)
            _require(abs(z) <= bound, f"{name}: rank correlation is {z:.2f} standard errors from 0, beyond {bound:.2f}")
            largest = max(largest, abs(z))
    return {"bound_z": bound, "largest": {"rank_correlation_z": largest}, "shuffled": len(varied)}


def step0(gated: Gated) -> dict[str, object]:
    """Norms at 1 and 0, biases at 0, weights around 0 with the deviation that is stated, or their own."""
    model, own = gated.network.model, gated.own_step0
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
        (mean, std), size = moments(parameter), parameter.numel()
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


def noise(gated: Gated) -> dict[str, object]:
    """Trained weights, and input noise that repeats for a key and for no other."""
    same_weights(gated)
    network = gated.network
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
