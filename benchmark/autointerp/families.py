"""The scorers as families: each under the judge of the suite, and beside it under blind ones and the ladder."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmark import registry
from benchmark.metrics.family import Metric, MetricFamily
from benchmark.metrics.value import Value

AUROC = "AUROC by intention to score"
SAYS = {
    "fuzzing@paper": "does the explanation tell marked active tokens, by the protocol of arXiv 2501.17727",
    "fuzzing@1": "does the explanation tell the tokens on which the latent fires from others",
    "fuzzing-token-matched@1": "does it tell where the latent fires from the same token where it is silent",
    "detection@1": "does it tell windows in which the latent fires from windows in which it does not",
}
VIEWS = {
    "empty": "with no explanation",
    "shuffled": "with another latent's explanation",
    "lexical": "lexical judge",
    "lexical:token": "lexical judge that sees the token alone",
    "lexical:previous": "lexical judge that sees the token and the one before",
}


def _metric(says: str, scorer: str, *, blind: bool = False) -> Metric:
    chance = None if scorer.endswith("@paper") else 0.5
    return Metric(says, AUROC, None if blind else "higher", chance=chance)


def metrics_of(scorer: str) -> dict[str, Metric]:
    """All metrics that one scorer gives."""
    beside = {
        registry.beside(scorer, view): _metric(f"{scorer}, {says}", scorer, blind=view in registry.BLIND)
        for view, says in VIEWS.items()
    }
    pooled = {
        registry.POOLED: _metric("the same pooled over all items of all latents, for the paper's figures", scorer)
    }
    return {scorer: _metric(SAYS[scorer], scorer), **(pooled if scorer == "fuzzing@paper" else {}), **beside}


def _among(names: frozenset[str], judged: Mapping[str, Value]) -> Mapping[str, Value]:
    return {name: value for name, value in judged.items() if name in names}


FAMILIES = tuple(
    MetricFamily(scorer.partition("@")[0] + (".paper" if scorer.endswith("@paper") else ""), 1, told, ("judged",),
           partial(_among, frozenset(told)))
    for scorer, told in ((scorer, metrics_of(scorer)) for scorer in registry.SCORERS)
)  # fmt: skip
