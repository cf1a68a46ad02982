"""The features track: data hidden from the method, and its metrics from the method's latents and reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from benchmark import keyed, registry
from benchmark.autointerp.examples import EXPLAINED, SCORED
from benchmark.autointerp.windows import Windows, firing_windows
from benchmark.data.blocks import Blocks
from benchmark.data.world.concepts import Family, families
from benchmark.forward import activations, interventions
from benchmark.forward.interventions import Ablations, Residual
from benchmark.judges.contract import Judge, Language, Progress
from benchmark.judges.open import Judging, open_judge
from benchmark.metrics import causal
from benchmark.metrics.concepts import Recovered
from benchmark.metrics.context import ContextSensitivity
from benchmark.metrics.position import PositionCounts
from benchmark.metrics.reconstruction import Reconstruction
from benchmark.metrics.sparsity import Sparsity
from benchmark.metrics.splice import Splice
from benchmark.metrics.token_regression import TokenRegression
from benchmark.metrics.value import Value, undefined
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.tracks.features import autointerp, concepts
from benchmark.tracks.features.featurizer import NO_DECODER, ScoredFeaturizer, checked_directions, csr, directions_of
from benchmark.tracks.features.finite import finite, first_not_finite, not_finite

JOIN_TOKENS = 32_768
VERSION = 4


class TokenTable(NamedTuple):
    """What is known of each usable token of a split, all [token]; `places` is block and position, [token, 2]."""

    ids: NDArray[np.int64]
    previous: NDArray[np.int64]
    documents: NDArray[np.int64]
    places: NDArray[np.int64]

    @classmethod
    def of(cls, blocks: Blocks) -> TokenTable:
        block, position = np.nonzero(activations.usable(blocks, np.arange(len(blocks.lengths))).numpy())
        ids = blocks.tokens.astype(np.int64)
        places = np.stack([block, position], axis=1)
        return cls(ids[block, position], ids[block, position - 1], blocks.documents[block].astype(np.int64), places)


class TrustedData(NamedTuple):
    """What the trusted half keeps of one group: the network, the tokens, and activations per hookpoint. `not_finite`
    says of hookpoints why nothing can be measured there, `output` why the network's own predictions cannot be.
    """

    network: Network
    score_blocks: Blocks
    score: TokenTable
    explain: TokenTable
    families: list[Family]
    x: dict[str, Float[Tensor, "token d_model"]]
    first: dict[str, Float[Tensor, "block d_model"]]
    x_explain: dict[str, Float[Tensor, "token d_model"]]
    swapped_rows: NDArray[np.int64]
    x_swapped: dict[str, Float[Tensor, "event d_model"]]
    clean: Float[Tensor, "event d_model"]
    ablations: dict[str, Ablations]
    block: int
    text: autointerp.Text
    not_finite: dict[str, str]
    output: str | None

    def stream(self, hookpoint: str) -> Residual:
        """The residual stream at a hookpoint on the score split."""
        return Residual(layer_of(hookpoint), self.x[hookpoint], self.first[hookpoint])


class CellKeys(NamedTuple):
    """What the draws of a cell are keyed by: never the variant, so that variants are paired."""

    subject: str
    replicate: int
    method_seed: int
    hookpoint: str

    def rng(self, purpose: str, *more: object) -> np.random.Generator:
        return keyed.rng(purpose, *self, *more)


class Shared(NamedTuple):
    """What joins across cells need: codes on the first tokens, the drawn latents, directions of alive latents."""

    codes: sparse.csr_array
    drawn: NDArray[np.int64]
    directions: Tensor | None


class Scored(NamedTuple):
    """Metric values, one row per drawn latent, counts, what joins need, and further tables by name."""

    metrics: dict[str, Value]
    latents: pd.DataFrame
    counts: dict[str, float]
    shared: Shared
    tables: dict[str, pd.DataFrame]


class FeaturesTrack:
    """Trusted half of the features track."""

    def __init__(self, metrics: Sequence[str], latents: int, judging: Judging) -> None:
        self.metrics, self.latents, self.judging = metrics, latents, judging
        self._judges: dict[str, Judge] = {}

    def prepare(
        self,
        network: Network,
        blocks: dict[str, Blocks],
        hookpoints: Sequence[str],
        decode: Callable[[Sequence[int]], str],
        progress: Callable[[str], None],
    ) -> TrustedData:
        """Everything of a group that does not depend on a method, on the score and explain splits."""
        layers = [layer_of(hookpoint) for hookpoint in hookpoints]
        progress("score and explain activations")
        x, first = activations.collect(network, blocks["score"], "score", layers)
        explain, _ = activations.collect(network, blocks["explain"], "explain", layers)
        where, swapped = np.zeros((0, 2), np.int64), [torch.empty(0, network.d_model)] * len(layers)
        if self._wants(ContextSensitivity):
            progress("swapped contexts")
            where, swapped = interventions.swapped(network, blocks["score"], layers)
        ablated: dict[str, Ablations] = {}
        clean = torch.empty(0, network.d_model)
        if self._wants(Splice):
            progress("ablations")
            streams = [Residual(*parts) for parts in zip(layers, x, first, strict=True)]
            clean, sums = interventions.ablations(network, blocks["score"], streams)
            ablated = dict(zip(hookpoints, sums, strict=True))
        score = TokenTable.of(blocks["score"])
        return TrustedData(
            network,
            blocks["score"],
            score,
            TokenTable.of(blocks["explain"]),
            known_families(blocks["score"], score.places) if self._wants(Recovered) else [],
            dict(zip(hookpoints, x, strict=True)),
            dict(zip(hookpoints, first, strict=True)),
            dict(zip(hookpoints, explain, strict=True)),
            _rows_of(score.places, where),
            dict(zip(hookpoints, swapped, strict=True)),
            clean,
            ablated,
            blocks["score"].tokens.shape[1],
            _text(blocks, int(network.model.config.vocab_size), decode),
            not_finite(hookpoints, {"score": x, "explain": explain, "first-token": first, "swapped": swapped}),
            None if torch.isfinite(clean).all() else first_not_finite(network, blocks["score"]),
        )

    def score(
        self, hidden: TrustedData, hookpoint: str, featurizer: ScoredFeaturizer, keys: CellKeys, progress: Progress
    ) -> Scored:
        """All metrics of one cell."""
        x = hidden.x[hookpoint]
        latents = featurizer.encode(x)
        codes = csr(latents, featurizer.n_latents)
        xhat = featurizer.decode(latents) if featurizer.decodes else None
        sparsity = Sparsity.of(codes)
        order = keys.rng("latents").permutation(featurizer.n_latents)
        drawn = order[sparsity.alive[order]][: self.latents]
        z = codes[:, drawn].tocsr()
        vectors, why_not = checked_directions(featurizer, drawn, keys.rng("linearity"))
        values = {
            **sparsity.values(),
            **self._reconstruction(x, xhat),
            **self._splice(hidden, hookpoint, xhat),
            **self._causal(hidden, hookpoint, z, vectors, why_not, keys),
            **self._context(hidden, hookpoint, featurizer, drawn, z),
            **_token_regression(hidden, z),
            **PositionCounts.of(hidden.score.places[:, 1], z, hidden.block).values(),
        }
        explained = csr(featurizer.encode(hidden.x_explain[hookpoint]), featurizer.n_latents)
        firing = autointerp.draw(drawn, explained[:, drawn].tocsc(), z.tocsc(), hidden.text, keys.rng)
        values |= autointerp.token_distribution(firing, hidden.text).values()
        concept_values, per_concept = self._concepts(hidden, codes)
        values |= concept_values
        if not len(drawn):
            none = undefined("no latent is alive on the score split")
            values |= {name: none for name, value in values.items() if value.per_latent is not None}
        judged = self._judged(hidden, firing, keys, progress)
        values |= judged.values
        return Scored(
            {name: finite(values[name], hookpoint, hidden.output) for name in self.metrics if name in registry.METRICS},
            _table(drawn, sparsity, firing, values, judged.columns),
            judged.counts
            | {
                "score_tokens": len(x),
                "n_latents": featurizer.n_latents,
                "alive": int(sparsity.alive.sum()),
                "dead": int((sparsity.firings == 0).sum()),
                "drawn": len(drawn),
                "eligible": _eligible(hidden, explained, codes, sparsity.alive),
                "first_token_norm_ratio": float(hidden.first[hookpoint].norm(dim=1).mean() / x.norm(dim=1).mean()),
                **_first_token(hidden.first[hookpoint], featurizer),
            },
            _shared(codes, drawn, sparsity, featurizer),
            per_concept | judged.tables,
        )

    def undefined(self, reason: str) -> Scored:
        """A cell of which nothing is known, and why."""
        none = Shared(sparse.csr_array((0, 0)), np.zeros(0, np.int64), None)
        values = {name: undefined(reason) for name in self.metrics if name in registry.METRICS}
        return Scored(values, pd.DataFrame(), {}, none, {})

    def close(self) -> None:
        """Let go of the judges."""
        for judge in self._judges.values():
            judge.close()
        self._judges.clear()

    def _wants(self, family: type) -> bool:
        return any(
            registry.resolve(registry.METRICS[name]) is family for name in self.metrics if name in registry.METRICS
        )

    def _concepts(
        self, hidden: TrustedData, codes: sparse.csr_array
    ) -> tuple[dict[str, Value], dict[str, pd.DataFrame]]:
        if not hidden.families:
            return {}, {}
        known = concepts.Known(hidden.families, hidden.score.ids, hidden.score.documents)
        values, table = concepts.recovery(codes, known, probes=any("probe" in name for name in self.metrics))
        return values, {"concepts": table}

    def _judged(
        self, hidden: TrustedData, firing: autointerp.Drawn, keys: CellKeys, progress: Progress
    ) -> autointerp.Assessed:
        scorers = autointerp.wanted(self.metrics)
        if not scorers:
            return autointerp.Assessed({}, {}, {}, {})
        for spec in (self.judging.spec, *registry.JUDGES):
            if spec not in self._judges:
                self._judges[spec] = open_judge(self.judging._replace(spec=spec), hidden.text.language)
        asking = autointerp.Asking(scorers, self._judges, self.judging.spec)
        return autointerp.assess(firing, hidden.text, asking, keys.rng, progress)

    def _reconstruction(self, x: Tensor, xhat: Tensor | None) -> dict[str, Value]:
        if xhat is None:
            return _all_undefined(Reconstruction, NO_DECODER)
        mean, total = x.mean(dim=0, dtype=torch.float64), Reconstruction()
        for place in range(0, len(x), 8192):
            total += Reconstruction.of(x[place : place + 8192], xhat[place : place + 8192], mean)
        return total.values()

    def _splice(self, hidden: TrustedData, hookpoint: str, xhat: Tensor | None) -> dict[str, Value]:
        if not self._wants(Splice):
            return {}
        if xhat is None:
            return _all_undefined(Splice, NO_DECODER)
        unchanged, zero, mean = hidden.ablations[hookpoint]
        changed = interventions.spliced(
            hidden.network, hidden.score_blocks, hidden.stream(hookpoint), xhat, hidden.clean
        )
        return Splice(unchanged, changed, zero, mean).values()

    def _causal(
        self,
        hidden: TrustedData,
        hookpoint: str,
        z: sparse.csr_array,
        vectors: Tensor | None,
        why_not: str,
        keys: CellKeys,
    ) -> dict[str, Value]:
        if not self._wants(causal.CausalEffect):
            return {}
        if vectors is None or hidden.output:
            return _all_undefined(causal.CausalEffect, hidden.output or why_not)
        events = interventions.events(hidden.score_blocks, hidden.score.places, z, vectors, keys.rng)
        removed, random = interventions.removals(
            hidden.network, hidden.score_blocks, hidden.stream(hookpoint), hidden.score.places, events
        )
        return causal.CausalEffect.of(events.latents, removed, random, z.shape[1]).values()

    def _context(
        self,
        hidden: TrustedData,
        hookpoint: str,
        featurizer: ScoredFeaturizer,
        drawn: NDArray[np.int64],
        z: sparse.csr_array,
    ) -> dict[str, Value]:
        if not self._wants(ContextSensitivity):
            return {}
        if not len(hidden.swapped_rows):
            return _all_undefined(ContextSensitivity, "no two full blocks of different documents")
        swapped = csr(featurizer.encode(hidden.x_swapped[hookpoint]), featurizer.n_latents)[:, drawn]
        return ContextSensitivity.of(z[hidden.swapped_rows], swapped.tocsr()).values()


def _text(blocks: dict[str, Blocks], vocab: int, decode: Callable[[Sequence[int]], str]) -> autointerp.Text:
    explain, score = (
        Windows.of(np.asarray(part.tokens), np.asarray(part.lengths, np.int64))
        for part in (blocks["explain"], blocks["score"])
    )
    counts = np.bincount(TokenTable.of(blocks["explain"]).ids, minlength=vocab)
    return autointerp.Text(explain, score, Language(counts, decode))


def known_families(blocks: Blocks, places: NDArray[np.int64]) -> list[Family]:
    """What is asked about the usable tokens of labelled blocks."""
    if blocks.labels is None:
        return []
    block, position = places.T
    return families(blocks.labels[block, position], blocks.labels[block, position - 1], block)


def _shared(
    codes: sparse.csr_array, drawn: NDArray[np.int64], sparsity: Sparsity, featurizer: ScoredFeaturizer
) -> Shared:
    directions = directions_of(featurizer, np.flatnonzero(sparsity.alive)) if featurizer.decodes else None
    return Shared(codes[:JOIN_TOKENS], drawn, directions)


def _token_regression(hidden: TrustedData, z: sparse.csr_array) -> dict[str, Value]:
    tokens = hidden.score
    vocab = int(hidden.network.model.config.vocab_size)
    dense = np.asarray(z.todense(), dtype=np.float32)
    return TokenRegression.of(tokens.ids, tokens.previous, tokens.documents, dense, vocab).values()


def _eligible(
    hidden: TrustedData, explained: sparse.csr_array, codes: sparse.csr_array, alive: NDArray[np.bool_]
) -> int:
    """Alive latents that fire in enough windows of either split to be explained and scored."""
    enough = (firing_windows(explained, hidden.text.explain) >= EXPLAINED) & (
        firing_windows(codes, hidden.text.score) >= SCORED
    )
    return int((enough & alive).sum())


def _first_token(x: Tensor, featurizer: ScoredFeaturizer) -> dict[str, float]:
    if not featurizer.decodes:
        return {}
    error = (x - featurizer.decode(featurizer.encode(x))).square().sum()
    return {"first_token_relative_error": float(error / x.square().sum().clamp(min=1e-30))}


def _table(
    drawn: NDArray[np.int64],
    sparsity: Sparsity,
    firing: autointerp.Drawn,
    values: dict[str, Value],
    words: dict[str, list[object]],
) -> pd.DataFrame:
    mass = sparsity.mass[drawn]
    columns = {
        "latent": drawn,
        "rate": sparsity.rates[drawn],
        "mean_activation": mass / np.maximum(sparsity.firings[drawn], 1),
        "explainer_windows": [len(one.windows) for one in firing.explain],
        "scorer_windows": [len(one.windows) for one in firing.score],
    }
    per_latent = {
        name: value.per_latent.astype(np.float32) for name, value in values.items() if value.per_latent is not None
    }
    return pd.DataFrame(columns | per_latent | words)


def _rows_of(places: NDArray[np.int64], where: NDArray[np.int64]) -> NDArray[np.int64]:
    """Token rows of (block, position) pairs; every pair is present."""
    width = int(places[:, 1].max()) + 1
    return np.searchsorted(places[:, 0] * width + places[:, 1], where[:, 0] * width + where[:, 1])


def _all_undefined(family: type, reason: str) -> dict[str, Value]:
    return {name: undefined(reason) for name, target in registry.METRICS.items() if registry.resolve(target) is family}
