"""What the network loses when its activations are replaced: cross-entropy and KL of the next-token distribution."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, undefined

CE_FLOOR = 0.05
KL_FLOOR = 1e-3
LogProbabilities = Float[Tensor, "token vocab"]


class Divergence(NamedTuple):
    """Sums over tokens of one intervention against the clean network, in nats."""

    tokens: int = 0
    cross_entropy: float = 0.0
    kl: float = 0.0

    @classmethod
    def of(cls, clean: LogProbabilities, changed: LogProbabilities, targets: Int[Tensor, " token"]) -> Divergence:
        """Sums of a batch: -log changed[target] and KL(clean || changed)."""
        cross_entropy = -changed.gather(1, targets[:, None]).double().sum()
        return cls(len(targets), float(cross_entropy), float(kl_per_token(clean, changed).double().sum()))

    def __add__(self, other: Divergence) -> Divergence:  # type: ignore[override]
        return Divergence(self.tokens + other.tokens, self.cross_entropy + other.cross_entropy, self.kl + other.kl)


class Splice(NamedTuple):
    """Sums of the clean network and of the stream replaced by its reconstruction, by 0 and by its mean."""

    clean: Divergence
    spliced: Divergence
    zero: Divergence
    mean: Divergence

    def values(self) -> dict[str, Value]:
        """ce_score and kl_score: 1 perfect; 0 as bad as zero-ablation, or mean-ablation for kl."""
        tokens = self.clean.tokens
        if tokens == 0:
            names = ("ce_clean", "ce_spliced", "ce_zero", "ce_mean", "ce_score", "kl_spliced", "kl_mean", "kl_score")
            return dict.fromkeys((f"{name}@1" for name in names), undefined("no tokens with a next token"))
        clean, spliced, zero, mean = (part.cross_entropy / tokens for part in self)
        kl_spliced, kl_mean = self.spliced.kl / tokens, self.mean.kl / tokens
        return {
            "ce_clean@1": Value(clean),
            "ce_spliced@1": Value(spliced),
            "ce_zero@1": Value(zero),
            "ce_mean@1": Value(mean),
            "ce_score@1": Value((zero - spliced) / (zero - clean))
            if zero - clean >= CE_FLOOR
            else undefined(f"zero-ablation costs {zero - clean:.4f} nats, under {CE_FLOOR}"),
            "kl_spliced@1": Value(kl_spliced),
            "kl_mean@1": Value(kl_mean),
            "kl_score@1": Value(1 - kl_spliced / kl_mean)
            if kl_mean >= KL_FLOOR
            else undefined(f"mean-ablation moves the output by {kl_mean:.2e} nats, under {KL_FLOOR}"),
        }


def kl_per_token(clean: LogProbabilities, changed: LogProbabilities) -> Float[Tensor, " token"]:
    """KL(clean || changed) in nats of each token, from log-probabilities."""
    kl: Tensor = (clean.exp() * (clean - changed)).sum(dim=-1, dtype=torch.float64)
    return kl.clamp(min=0)


NATS = 0.05

FAMILY = MetricFamily(
    "splice",
    1,
    {
        "ce_clean@1": Metric("cross-entropy of the network as it is", "nats"),
        "ce_spliced@1": Metric("cross-entropy with the reconstruction in place", "nats", "lower", NATS),
        "ce_zero@1": Metric("cross-entropy with the residual stream at 0", "nats"),
        "ce_mean@1": Metric("cross-entropy with the residual stream at its mean", "nats"),
        "ce_score@1": Metric("what the reconstruction keeps of what zero-ablation costs", "share", "higher"),
        "kl_spliced@1": Metric("KL of clean and spliced predictions", "nats", "lower", NATS),
        "kl_mean@1": Metric("KL of clean and mean-ablated predictions", "nats"),
        "kl_score@1": Metric("what the reconstruction keeps of what mean-ablation moves", "share", "higher"),
    },
    ("splice",),
    Splice.values,
    of_decoder=True,
)
