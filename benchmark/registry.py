"""Every name of the benchmark in one place, as literals: name -> "module:attribute", resolved on use."""

from __future__ import annotations

import importlib
from typing import Any

VARIANTS = {
    "trained": "benchmark.models.nulls:TRAINED",
    "step0": "benchmark.models.nulls:STEP0",
    "rerandomized": "benchmark.models.nulls:RERANDOMIZED",
    "rerandomized-keep-embeddings": "benchmark.models.nulls:KEEP_EMBEDDINGS",
    "shuffled": "benchmark.models.nulls:SHUFFLED",
    "cascade": "benchmark.models.nulls:CASCADE",
    "noise-embeddings": "benchmark.models.nulls:NOISE_EMBEDDINGS",
}
NULLS = ("step0", "rerandomized", "rerandomized-keep-embeddings", "shuffled", "cascade")
OPTIONS = {"cascade": "how many of the top blocks are redrawn"}
"""Variants that are written with an option, `cascade:2`, and what it says."""
CONTROL = "noise-embeddings"

TRACKS = {
    "features": "benchmark.tracks.features.track:FeaturesTrack",
    "probes": "benchmark.tracks.probes.track:ProbesTrack",
}

CONFORMANCE = {"features": "benchmark.checks.featurizers:questions", "probes": "benchmark.checks.probes:questions"}
LOADED = {"features": "benchmark.checks.loaded:questions"}
"""What `make check` asks of methods of a track, and of those that were trained elsewhere."""

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

FAMILIES = (
    "benchmark.metrics.reconstruction:FAMILY",
    "benchmark.metrics.recovered:FAMILY",
    "benchmark.metrics.sparsity:FAMILY",
    "benchmark.metrics.density:FAMILY",
    "benchmark.metrics.splice:FAMILY",
    "benchmark.metrics.token_distribution:FAMILY",
    "benchmark.metrics.token_regression:FAMILY",
    "benchmark.metrics.position:FAMILY",
    "benchmark.metrics.context:FAMILY",
    "benchmark.metrics.causal:FAMILY",
    "benchmark.metrics.layers:FAMILY",
    "benchmark.metrics.concept_families:FAMILIES",
    "benchmark.autointerp.families:FAMILIES",
    "benchmark.metrics.universality:FAMILY",
    "benchmark.metrics.stability:FAMILY",
    "benchmark.metrics.probing:FAMILIES",
)
"""Families of metrics, in the order of the board."""


def resolve(target: str) -> Any:
    """The attribute that a registry entry names."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)
