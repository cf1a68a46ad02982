"""What families of metrics take, by name, for one cell: each is made when the first family asks for it, and once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, float64

from benchmark.autointerp.examples import EXPLAINED, SCORED
from benchmark.autointerp.windows import firing_windows
from benchmark.forward import interventions
from benchmark.metrics.causal import CausalEffect
from benchmark.metrics.context import ContextSensitivity
from benchmark.metrics.layers import LayerMass
from benchmark.metrics.position import PositionCounts
from benchmark.metrics.reconstruction import Reconstruction
from benchmark.metrics.recovered import CodedTokens
from benchmark.metrics.sparsity import Sparsity
from benchmark.metrics.splice import Splice
from benchmark.metrics.token_distribution import TokenDistribution
from benchmark.metrics.token_regression import TokenRegression
from benchmark.metrics.value import NotDefined, Value
from benchmark.models.hookpoints import layer_of
from benchmark.spec.cell import CellKeys
from benchmark.store import Arrays
from benchmark.tracks.features import autointerp, concepts
from benchmark.tracks.features.featurizer import (
    NO_DECODER,
    ScoredFeaturizer,
    bends,
    csr,
)
from benchmark.tracks.features.functions import Reconstructed, decoded, encoded, probed
from benchmark.tracks.features.trusted import FeaturesData
from benchmark.tracks.tokens import TokenTable

JOIN_TOKENS = 32_768
ROWS_AT_ONCE = 8192
BENDS = "decode is not linear: mixtures of two latents of a hundredth to a hundredfold are off by more than 0.001"
SILENT = "no latent is alive on the score split"
Judge = Callable[[autointerp.Drawn], autointerp.Assessed]


class Quantities:
    """Of one cell: what its featurizer answers on the score and explain splits, and what follows from it. The first
    `latents` alive ones in a keyed order of all are the drawn latents; `codes` and `explained` are [token, n_latents].
    """

    def __init__(
        self,
        trusted: FeaturesData,
        hookpoint: str,
        featurizer: ScoredFeaturizer,
        keys: CellKeys,
        *,
        latents: int,
        probes: bool,
        judge: Judge,
    ) -> None:
        self.trusted, self.hookpoint, self.featurizer, self.keys = trusted, hookpoint, featurizer, keys
        self._latents, self._probes, self._judge = latents, probes, judge
        self.x = trusted.x[hookpoint]
        self._inputs = trusted.inputs(hookpoint, below=featurizer.below)
        self._before = probed(featurizer, keys.rng("probed codes"))
        self._answer, first, explain, swapped = encoded(featurizer, self._inputs, keys.rng("order of requests"))
        self._first, self._swapped = first, csr(swapped, featurizer.n_latents)
        self.explained = csr(explain, featurizer.n_latents)
        self.codes = csr(self._answer, featurizer.n_latents)
        self.sparsity = Sparsity.of(self.codes)
        order = keys.rng("latents").permutation(featurizer.n_latents)
        self.drawn: NDArray[np.int64] = order[self.sparsity.alive[order]][:latents]
        self.z = self.codes[:, self.drawn].tocsr()

    @cached_property
    def reconstructed(self) -> Reconstructed:
        """Reconstructions, and what the latents write that are active anywhere on the score split."""
        if self._before is None:
            raise NotDefined(NO_DECODER)
        rng = self.keys.rng("reconstructions that are added up")
        return decoded(self.featurizer, self._before, self._answer, self.codes, rng)

    @cached_property
    def firing(self) -> autointerp.Drawn:
        """Windows in which the drawn latents fire."""
        return autointerp.draw(
            self.drawn, self.explained[:, self.drawn].tocsc(), self.z.tocsc(), self.trusted.text, self.keys.rng
        )

    @cached_property
    def reconstruction(self) -> Reconstruction:
        xhat = self.reconstructed.x
        mean, total = self.x.mean(dim=0, dtype=float64), Reconstruction()
        for place in range(0, len(self.x), ROWS_AT_ONCE):
            part = slice(place, place + ROWS_AT_ONCE)
            total += Reconstruction.of(self.x[part], xhat[part], mean)
        return total

    @cached_property
    def explain_coded(self) -> CodedTokens:
        """Codes beside what they are of, on the explain split."""
        return _coded(self.explained, self.trusted.x_explain[self.hookpoint], self.trusted.explain)

    @cached_property
    def score_coded(self) -> CodedTokens:
        """The same on the score split."""
        return _coded(self.codes, self.x, self.trusted.score)

    @cached_property
    def splice(self) -> Splice:
        trusted = self.trusted
        unchanged, zero, mean = trusted.ablations[self.hookpoint]
        changed = interventions.spliced(
            trusted.network, trusted.score_blocks, trusted.residual(self.hookpoint), self.reconstructed.x, trusted.clean
        )
        return Splice(unchanged, changed, zero, mean)

    @cached_property
    def causal(self) -> CausalEffect:
        trusted = self.trusted
        if trusted.output or self._before is None:
            raise NotDefined(trusted.output or NO_DECODER)
        self._require_alive()
        vectors = self.reconstructed.directions.some(self.drawn)
        if reason := bends(self.featurizer, self.drawn, vectors, self.keys.rng("linearity")):
            raise NotDefined(reason)
        if not self._before.linear:
            raise NotDefined(BENDS)
        events = interventions.events(trusted.score_blocks, trusted.score.places, self.z, vectors, self.keys.rng)
        removed, random = interventions.removals(
            trusted.network, trusted.score_blocks, trusted.residual(self.hookpoint), trusted.score.places, events
        )
        return CausalEffect.of(events.latents, removed, random, self.z.shape[1])

    @cached_property
    def context(self) -> ContextSensitivity:
        trusted = self.trusted
        if not len(trusted.swapped_rows):
            raise NotDefined("no two full blocks of different documents")
        self._require_alive()
        return ContextSensitivity.of(self.z[trusted.swapped_rows], self._swapped[:, self.drawn].tocsr())

    @cached_property
    def token_regression(self) -> TokenRegression:
        self._require_alive()
        tokens, vocab = self.trusted.score, int(self.trusted.network.model.config.vocab_size)
        dense = np.asarray(self.z.todense(), dtype=np.float32)
        return TokenRegression.of(tokens.ids, tokens.previous, tokens.documents, dense, vocab)

    @cached_property
    def position(self) -> PositionCounts:
        self._require_alive()
        return PositionCounts.of(self.trusted.score.places[:, 1], self.z, self.trusted.block)

    @cached_property
    def layers(self) -> LayerMass:
        """Where among all hookpoints the latents of one fit are active, on the score split."""
        siblings = self.featurizer.siblings
        sizes = {one.n_latents for one in siblings.values()}
        if len(siblings) < 2 or len(sizes) > 1:
            raise NotDefined("the latents are not one fit's of several hookpoints")
        if gone := [hookpoint for hookpoint, _ in siblings.items() if hookpoint in self.trusted.undefined]:
            raise NotDefined(f"activations at {', '.join(gone)} are not finite")
        if siblings.mass is None:
            total = LayerMass.none((len(self.x), self.featurizer.n_latents))
            for hookpoint, one in siblings.items():
                (answer,) = encoded(one, [self.trusted.x[hookpoint]], self.keys.rng("order of requests", hookpoint))
                total += LayerMass.of(csr(answer, one.n_latents), layer_of(hookpoint))
            siblings.mass = total
        return siblings.mass

    @cached_property
    def token_distribution(self) -> TokenDistribution:
        self._require_alive()
        return autointerp.token_distribution(self.firing, self.trusted.text)

    @cached_property
    def concepts(self) -> concepts.ConceptRecovery:
        """Recovery and, where they are asked for, probes."""
        tokens = self.trusted.score
        known = concepts.Known(self.trusted.families, tokens.ids, tokens.documents)
        return concepts.recovery(self.codes, self.drawn, known, probes=self._probes)

    @property
    def concept_recovery(self) -> Mapping[str, Value]:
        return {name: value for name, value in self.concepts.values.items() if not name.startswith("concept_probe")}

    @property
    def concept_probes(self) -> Mapping[str, Value]:
        return {name: value for name, value in self.concepts.values.items() if name.startswith("concept_probe")}

    @cached_property
    def assessed(self) -> autointerp.Assessed:
        return self._judge(self.firing)

    @property
    def judged(self) -> Mapping[str, Value]:
        """Values of all scorers that are asked for, under every judge."""
        return self.assessed.values

    def counts(self) -> dict[str, float]:
        """What stands beside the values, whichever they are."""
        alive, first = self.sparsity.alive, self.trusted.first[self.hookpoint]
        whole = {
            "score_tokens": len(self.x),
            "n_latents": self.featurizer.n_latents,
            "alive": int(alive.sum()),
            "dead": int((self.sparsity.firings == 0).sum()),
            "drawn": len(self.drawn),
            "eligible": self._eligible(),
        }
        ratio = float(first.norm(dim=1).mean() / self.x.norm(dim=1).mean())
        return {name: float(count) for name, count in whole.items()} | {
            "first_token_norm_ratio": ratio,
            **self._first_token(first),
        }

    def samples(self, values: Mapping[str, Value], told: Mapping[str, list[object]]) -> pd.DataFrame:
        """One row per drawn latent."""
        mass, firing = self.sparsity.mass[self.drawn], self.firing
        columns: dict[str, object] = {
            "latent": self.drawn,
            "rate": self.sparsity.rates[self.drawn],
            "mean_activation": mass / np.maximum(self.sparsity.firings[self.drawn], 1),
            "explainer_windows": [len(one.windows) for one in firing.explain],
            "scorer_windows": [len(one.windows) for one in firing.score],
        }
        per_latent = {
            name: value.per_latent.astype(np.float32) for name, value in values.items() if value.per_latent is not None
        }
        return pd.DataFrame({**columns, **per_latent, **told})

    def arrays(self) -> Arrays:
        """What joins need: codes on the first tokens, the drawn latents, directions of alive latents."""
        alive = np.flatnonzero(self.sparsity.alive)
        directions = self.reconstructed.directions.some(alive) if self.featurizer.decodes else None
        return Arrays(self.codes[:JOIN_TOKENS], self.drawn, directions)

    def _require_alive(self) -> None:
        if not len(self.drawn):
            raise NotDefined(SILENT)

    def _eligible(self) -> int:
        """Alive latents that fire in enough windows of either split to be explained and scored."""
        text = self.trusted.text
        enough = (firing_windows(self.explained, text.explain) >= EXPLAINED) & (
            firing_windows(self.codes, text.score) >= SCORED
        )
        return int((enough & self.sparsity.alive).sum())

    def _first_token(self, x: Tensor) -> dict[str, float]:
        if not self.featurizer.decodes:
            return {}
        error = (x - self.featurizer.decode(self._first)).square().sum()
        return {"first_token_relative_error": float(error / x.square().sum().clamp(min=1e-30))}


def _coded(codes: sparse.csr_array, x: Tensor, tokens: TokenTable) -> CodedTokens:
    return CodedTokens(codes, x.float().numpy(), tokens.ids, tokens.documents)
