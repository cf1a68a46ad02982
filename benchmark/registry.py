"""Every name of the benchmark in one place, as literals: name -> "module:attribute", resolved on use."""

from __future__ import annotations

import importlib
from typing import Any

VARIANTS = {
    "trained": "benchmark.models.nulls:trained",
    "step0": "benchmark.models.nulls:step0",
    "rerandomized": "benchmark.models.nulls:rerandomized",
    "rerandomized-keep-embeddings": "benchmark.models.nulls:rerandomized_keep_embeddings",
    "noise-embeddings": "benchmark.models.nulls:noise_embeddings",
}
NULLS = ("step0", "rerandomized", "rerandomized-keep-embeddings")
CONTROL = "noise-embeddings"

TRACKS = {"features": "benchmark.tracks.features.track:FeaturesTrack"}

CONCEPTS = (
    "concept_recovery@1",
    "concept_recovery.token_class@1",
    "concept_recovery.bigram@1",
    "concept_recovery.latent_state@1",
    "concept_recovery.topic@1",
    "concept_recovery.register@1",
    "concept_recovery.sense@1",
    "concept_recovery.agreement@1",
    "concept_recovery.tense@1",
    "concept_recovery.depth@1",
    "concept_recovery.entity@1",
    "concept_recovery.referent@1",
    "concept_selectivity@1",
    "concept_probe_1@1",
    "concept_probe_5@1",
    "concept_probe_all@1",
)
SCORERS = {
    "fuzzing@paper": "benchmark.autointerp.items:paper",
    "fuzzing@1": "benchmark.autointerp.items:fuzzing",
    "fuzzing-token-matched@1": "benchmark.autointerp.items:token_matched",
    "detection@1": "benchmark.autointerp.items:detection",
}
"""Under the name of a scorer stands what the suite's judge makes of it."""
POOLED = "fuzzing-pooled@paper"
JUDGES = {
    "lexical": "benchmark.judges.lexical:Lexical",
    "lexical:token": "benchmark.judges.lexical:Lexical",
    "lexical:previous": "benchmark.judges.lexical:Lexical",
}
BLIND = ("empty", "shuffled")
"""The suite's judge with no explanation, and with another latent's: run beside it, always."""


def beside(scorer: str, judge: str) -> str:
    """The metric that is a scorer under another judge than the suite's: `fuzzing.empty@1`."""
    name, _, version = scorer.partition("@")
    return f"{name}.{judge}@{version}"


LADDER = tuple(beside(scorer, judge) for scorer in SCORERS for judge in (*BLIND, *JUDGES))
AUTOINTERP = (*SCORERS, POOLED, *LADDER)
METRICS = {
    "fvu@1": "benchmark.metrics.reconstruction:Reconstruction",
    "explained_variance@1": "benchmark.metrics.reconstruction:Reconstruction",
    "explained_variance_paper@1": "benchmark.metrics.reconstruction:Reconstruction",
    "cosine@1": "benchmark.metrics.reconstruction:Reconstruction",
    "l0@1": "benchmark.metrics.sparsity:Sparsity",
    "l1@1": "benchmark.metrics.sparsity:Sparsity",
    "dead@1": "benchmark.metrics.sparsity:Sparsity",
    "alive@1": "benchmark.metrics.sparsity:Sparsity",
    "ce_clean@1": "benchmark.metrics.splice:Splice",
    "ce_spliced@1": "benchmark.metrics.splice:Splice",
    "ce_zero@1": "benchmark.metrics.splice:Splice",
    "ce_mean@1": "benchmark.metrics.splice:Splice",
    "ce_score@1": "benchmark.metrics.splice:Splice",
    "kl_spliced@1": "benchmark.metrics.splice:Splice",
    "kl_mean@1": "benchmark.metrics.splice:Splice",
    "kl_score@1": "benchmark.metrics.splice:Splice",
    "token_entropy@2": "benchmark.metrics.token_distribution:TokenDistribution",
    "token_entropy_mm@2": "benchmark.metrics.token_distribution:TokenDistribution",
    "top_token_share@2": "benchmark.metrics.token_distribution:TokenDistribution",
    "token_r2@1": "benchmark.metrics.token_regression:TokenRegression",
    "bigram_r2@1": "benchmark.metrics.token_regression:TokenRegression",
    "bigram_r2_increment@1": "benchmark.metrics.token_regression:TokenRegression",
    "position_information@1": "benchmark.metrics.position:PositionCounts",
    "context_sensitivity@1": "benchmark.metrics.context:ContextSensitivity",
    "causal_effect@1": "benchmark.metrics.causal:CausalEffect",
    **dict.fromkeys(CONCEPTS, "benchmark.metrics.concepts:Recovered"),
    **dict.fromkeys(AUTOINTERP, "benchmark.autointerp.scores:Judged"),
}
JOINS = {
    "universality@1": "benchmark.metrics.universality:universality",
    "stability@1": "benchmark.metrics.stability:stability",
}
HIGHER_IS_BETTER = {
    "fvu@1": False,
    "explained_variance@1": True,
    "explained_variance_paper@1": True,
    "cosine@1": True,
    "ce_spliced@1": False,
    "ce_score@1": True,
    "kl_spliced@1": False,
    "kl_score@1": True,
    "top_token_share@2": False,
    "token_r2@1": False,
    "bigram_r2_increment@1": True,
    "causal_effect@1": True,
    "universality@1": True,
    **dict.fromkeys(CONCEPTS, True),
    **{name: True for name in AUTOINTERP if not any(f".{judge}@" in name for judge in BLIND)},
}

HEADLINE = "fuzzing-token-matched@1"
"""What the board ranks by, under the suite's judge."""
DELTA = {
    "ce_spliced@1": 0.05,
    "kl_spliced@1": 0.05,
    "causal_effect@1": 0.05,
    **{name: 0.04 for name in CONCEPTS if name not in ("concept_recovery.token_class@1", "concept_selectivity@1")},
}
"""Smallest difference that matters where it is not `USUAL_DELTA`: for nats and for lifts (2 AUROC - 1)."""
USUAL_DELTA = 0.02


def delta(metric: str) -> float:
    """Smallest difference that matters, in the metric's units."""
    return DELTA.get(metric, USUAL_DELTA)


RATIO_FLOOR = dict.fromkeys((*CONCEPTS, *(name for name in AUTOINTERP if not name.endswith("@paper"))), 0.05)
"""Metrics whose chance is what the control scores -> smallest lead over the control that a ratio may rest on."""


def resolve(target: str) -> Any:
    """The attribute that a registry entry names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
