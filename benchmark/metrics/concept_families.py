"""What concept recovery and its probes are called, and how they are read; `concepts` has the mathematics."""

from __future__ import annotations

from collections.abc import Mapping

from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value

LIFT_DELTA = 0.04
LIFT = "lift (2 AUROC - 1) among tokens of the same id"
FAMILIES_TOLD = ("topic", "register", "sense", "agreement", "tense", "depth", "entity", "referent")
PROBES = ("1", "5", "all")


def lift_metric(says: str) -> Metric:
    """How a lift within tokens is read."""
    return Metric(says, LIFT, "higher", LIFT_DELTA, chance=0.0)


def chosen(values: Mapping[str, Value]) -> Mapping[str, Value]:
    """The values as the track makes them, which knows the labels."""
    return values


RECOVERY = MetricFamily(
    "concept_recovery",
    1,
    {
        "concept_recovery@1": lift_metric("how well the best latent of each bigram and latent-state concept tells it"),
        "concept_recovery.token_class@1": Metric(
            "how well the best latent of each token class tells it", "AUROC", "higher", chance=0.5
        ),
        "concept_recovery.bigram@1": lift_metric("the same for the class of the previous token"),
        "concept_recovery.latent_state@1": lift_metric("the same for what the text's state is"),
        **{f"concept_recovery.{name}@1": lift_metric(f"the same for {name}") for name in FAMILIES_TOLD},
        "concept_selectivity@1": Metric(
            "token-class recovery less that of random labels per token id", "AUROC", "higher", chance=0.0
        ),
    },
    ("concept_recovery",),
    chosen,
    labelled=True,
)
PROBE = MetricFamily(
    "concept_probes",
    1,
    {
        f"concept_probe_{size}@1": lift_metric(f"linear probe on the best {size} latents, latent state")
        if size != "all"
        else lift_metric("linear probe on all latents, latent state")
        for size in PROBES
    },
    ("concept_probes",),
    chosen,
    labelled=True,
)
FAMILIES = (RECOVERY, PROBE)
