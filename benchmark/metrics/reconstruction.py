"""How well activations are reconstructed: FVU, explained variance and cosine."""

from __future__ import annotations

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value, undefined


class Reconstruction(NamedTuple):
    """Sums over tokens, in float64."""

    tokens: int = 0
    squared_error: float = 0.0
    squared_deviation: float = 0.0
    token_ratio: float = 0.0
    cosine: float = 0.0

    @classmethod
    def of(
        cls, x: Float[Tensor, "token d_model"], xhat: Float[Tensor, "token d_model"], mean: Float[Tensor, " d_model"]
    ) -> Reconstruction:
        """Sums of a batch; `mean` is that of the whole evaluation set."""
        x, xhat, mean = x.double(), xhat.double(), mean.double()
        error = (x - xhat).square().sum(dim=1)
        deviation = (x - mean).square().sum(dim=1)
        norms = (x.norm(dim=1) * xhat.norm(dim=1)).clamp(min=1e-300)
        return cls(
            len(x),
            float(error.sum()),
            float(deviation.sum()),
            float((1 - error / deviation.clamp(min=1e-300)).sum()),
            float(((x * xhat).sum(dim=1) / norms).sum()),
        )

    def __add__(self, other: Reconstruction) -> Reconstruction:  # type: ignore[override]
        tokens, *sums = (a + b for a, b in zip(self, other, strict=True))
        return Reconstruction(int(tokens), *sums)

    def values(self) -> dict[str, Value]:
        """fvu: 0 perfect, 1 predicts the mean; explained_variance = 1 - fvu; the paper's form averages over tokens."""
        if self.tokens == 0 or self.squared_deviation == 0:
            gone = undefined("no variance to explain: activations are constant or absent")
            return dict.fromkeys(("fvu@1", "explained_variance@1", "explained_variance_paper@1", "cosine@1"), gone)
        fvu = self.squared_error / self.squared_deviation
        return {
            "fvu@1": Value(fvu),
            "explained_variance@1": Value(1 - fvu),
            "explained_variance_paper@1": Value(self.token_ratio / self.tokens),
            "cosine@1": Value(self.cosine / self.tokens),
        }


FAMILY = MetricFamily(
    "reconstruction",
    1,
    {
        "fvu@1": Metric("share of the activations' variance that the reconstruction misses", "share", "lower"),
        "explained_variance@1": Metric("1 - fvu", "share", "higher"),
        "explained_variance_paper@1": Metric("mean over tokens of each one's explained variance", "share", "higher"),
        "cosine@1": Metric("mean cosine of activation and reconstruction", "cosine", "higher"),
    },
    ("reconstruction",),
    Reconstruction.values,
    of_decoder=True,
)
