"""Every metric on made-up activations, in float64: what `frozen.json` holds.

`python -m tests.metrics.frozen` writes the file anew: only when a metric gets a new id (docs/regression.md).
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from benchmark import keyed, registry
from benchmark.data.world.concepts import FAMILIES, Family
from benchmark.judges.lexical import Lexical
from benchmark.metrics import probing
from benchmark.metrics.causal import CausalEffect
from benchmark.metrics.context import ContextSensitivity
from benchmark.metrics.density import density
from benchmark.metrics.layers import LayerMass
from benchmark.metrics.position import PositionCounts
from benchmark.metrics.probing import Grades, Portion
from benchmark.metrics.reconstruction import Reconstruction
from benchmark.metrics.recovered import CodedTokens, recovered
from benchmark.metrics.sparsity import Sparsity
from benchmark.metrics.splice import Divergence, Splice
from benchmark.metrics.stability import stability
from benchmark.metrics.token_regression import TokenRegression
from benchmark.metrics.universality import universality
from benchmark.metrics.value import Value
from benchmark.tracks.features import autointerp
from benchmark.tracks.features.concepts import Known, recovery
from tests.autointerp.text import Made, as_text, made

FILE = Path(__file__).with_name("frozen.json")
TOKENS, LATENTS, WIDTH, VOCAB, BLOCK = 6_000, 12, 8, 30, 60


def values() -> dict[str, float | None]:
    """Value of every metric of the registry, by id."""
    found: dict[str, Value] = {}
    for part in (_reconstruction, _recovered, _intervened, _codes, _layers, _compared, _concepts, _judged, _probed):
        found |= part()
    return {name: found[name].value for name in sorted(found)}


def write() -> None:
    """Put the values into the file."""
    FILE.write_text(json.dumps(values(), indent=1) + "\n", encoding="utf-8")


def _probed() -> dict[str, Value]:
    rng = _draws("probes")
    graded: dict[str, dict[str, float]] = {"lift": {}, "accuracy": {}, "control": {}, "code_length": {}}
    for number, task in enumerate(probing.TASKS):
        classes = 2 + number % 3
        y, ids = rng.integers(classes, size=600), rng.integers(VOCAB, size=600)
        scores, control = (rng.normal(size=(600, classes)) for _ in range(2))
        scores[np.arange(600), y] += 0.2 * number
        graded["lift"][task] = probing.lift(scores, y, ids)
        graded["accuracy"][task] = probing.balanced_accuracy(scores, y)
        graded["control"][task] = probing.balanced_accuracy(control, y)
        portions = [Portion(None, y[:100]), Portion(scores[100:], y[100:])]
        graded["code_length"][task] = probing.code_length(portions, classes)
    told = {name: Grades(by_task) for name, by_task in graded.items()}
    every = (one.compute(*(told[need] for need in one.needs)) for one in probing.FAMILIES)
    return {name: value for values in every for name, value in values.items()}


def _draws(*purpose: object) -> np.random.Generator:
    return keyed.rng("frozen", *purpose)


def _activations(purpose: str) -> sparse.csr_array:
    """Activations [token, latent] of latents of every frequency from 0 to .1."""
    rng = _draws(purpose)
    fires = rng.random((TOKENS, LATENTS)) < 0.1 * np.linspace(0, 1, LATENTS)
    return sparse.csr_array(fires * rng.uniform(0.5, 3.0, fires.shape))


def _ids(purpose: str) -> NDArray[np.int64]:
    return (VOCAB * _draws(purpose).random(TOKENS) ** 2).astype(np.int64)


def _tied_to(ids: NDArray[np.int64], purpose: str) -> sparse.csr_array:
    """Activations [token, latent]: each latent prefers a third of the token ids, and some of the tokens after 0."""
    rng = _draws(purpose)
    likes = rng.random((LATENTS, VOCAB)) < 1 / 3
    rate = 0.02 + 0.2 * likes[:, ids].T + 0.3 * (np.roll(ids, 1) == 0)[:, None] * (np.arange(LATENTS) % 2)
    return sparse.csr_array((rng.random(rate.shape) < rate) * rng.uniform(0.5, 3.0, rate.shape))


def _reconstruction() -> dict[str, Value]:
    rng = _draws("reconstruction")
    x = torch.from_numpy(rng.standard_normal((500, WIDTH)) * np.linspace(0.2, 3, WIDTH) + 1)
    xhat = x + torch.from_numpy(0.4 * rng.standard_normal((500, WIDTH)))
    return Reconstruction.of(x, xhat, x.mean(dim=0)).values()


def _recovered() -> dict[str, Value]:
    """Activations that codes and token ids have a part in."""
    rng, ids = _draws("recovered"), _ids("recovered tokens")
    codes = _tied_to(ids, "recovered codes")
    x = codes @ rng.standard_normal((LATENTS, WIDTH)) + rng.standard_normal((VOCAB, WIDTH))[ids]
    x = (x + rng.standard_normal(x.shape)).astype(np.float32)
    documents, half = np.arange(TOKENS) // 100, TOKENS // 2
    parts = [slice(0, half), slice(half, TOKENS)]
    return recovered(*(CodedTokens(codes[part], x[part], ids[part], documents[part]) for part in parts))


def _intervened() -> dict[str, Value]:
    rng = _draws("interventions")
    logits = rng.standard_normal((200, VOCAB)) * 2
    targets = torch.from_numpy((logits + rng.gumbel(size=logits.shape)).argmax(axis=1))
    noise = rng.standard_normal((200, VOCAB))
    clean, *changed = (
        torch.from_numpy(logits * (1 - share) + share * noise).log_softmax(dim=1) for share in (0, 0.1, 0.9, 0.6)
    )
    splice = Splice(*(Divergence.of(clean, one, targets) for one in (clean, *changed)))
    latents = rng.integers(LATENTS, size=300)
    causal = CausalEffect.of(latents, rng.exponential(0.3, 300), rng.exponential(0.2, 300), LATENTS)
    return splice.values() | causal.values()


def _codes() -> dict[str, Value]:
    ids = _ids("tokens")
    codes = _tied_to(ids, "codes")
    documents, positions = np.arange(TOKENS) // (2 * BLOCK), np.arange(TOKENS) % BLOCK
    late = sparse.csr_array(codes.multiply(1 + (positions > BLOCK // 2)[:, None]))
    gone = sparse.csr_array(codes.multiply(_draws("swapped").random(TOKENS)[:, None]))
    early = sparse.csr_array(codes.multiply((positions < 40)[:, None] | (np.arange(LATENTS) % 3 > 0)))
    return (
        Sparsity.of(_activations("frequencies")).values()
        | dict(density(Sparsity.of(_activations("frequencies"))))
        | TokenRegression.of(ids, np.roll(ids, 1), documents, codes.toarray().astype(np.float32), VOCAB).values()
        | PositionCounts.of(positions, early, BLOCK).values()
        | ContextSensitivity.of(late, gone).values()
    )


def _layers() -> dict[str, Value]:
    """Latents that are the more of the first layer the lower their number is."""
    total, ids = LayerMass.none((TOKENS, LATENTS)), _ids("layers' tokens")
    for layer in (1, 2, 4):
        share = (1 + np.arange(LATENTS)) / LATENTS / 4 if layer > 1 else 1
        total += LayerMass.of(sparse.csr_array(_tied_to(ids, f"layer {layer}") * share), layer)
    return total.values()


def _compared() -> dict[str, Value]:
    ids = _ids("shared tokens")
    one, noise = _tied_to(ids, "one replicate"), _activations("another replicate")
    shared = sparse.csr_array(one + noise)
    rng = _draws("directions")
    a = rng.standard_normal((40, WIDTH))
    b = np.concatenate([a[:20] + 0.3 * rng.standard_normal((20, WIDTH)), rng.standard_normal((30, WIDTH))])
    seeds = stability(torch.from_numpy(a), torch.from_numpy(b), _draws("chance"))
    return universality(one, shared, ids) | seeds


def _concepts() -> dict[str, Value]:
    ids, rng = _ids("concept tokens"), _draws("concepts")
    families, told = [], []
    for number, name in enumerate(FAMILIES):
        y = rng.random((TOKENS, 2)) < 0.2 + 0.1 * (ids % 3 == number % 3)[:, None]
        families.append(Family(name, ("one", "other"), np.arange(TOKENS), y))
        told.append(y[:, 0] * (rng.random(TOKENS) < 0.3 + 0.05 * number))
    codes = _tied_to(ids, "concept codes")
    answers = sparse.csr_array(np.stack(told, axis=1) * rng.uniform(0.5, 2, (TOKENS, len(told))))
    z = sparse.csr_array(sparse.hstack([codes, answers], format="csr"))
    return recovery(z, np.arange(2), Known(families, ids, np.arange(TOKENS) // 100), probes=True).values


def _judged() -> dict[str, Value]:
    explain, score = made(1, blocks=250), made(2, blocks=250)
    text = as_text(explain, score)
    drawn = autointerp.draw(np.arange(8), _firing(explain, "explain"), _firing(score, "score"), text, _draws)
    judges = {name: Lexical(name, text.language) for name in registry.JUDGES}
    asking = autointerp.Asking(list(registry.SCORERS), dict(judges), "lexical")
    found = autointerp.assess(drawn, text, asking, _draws, lambda said, done, total: None).values
    return found | autointerp.token_distribution(drawn, text).values()


def _firing(text: Made, purpose: str) -> sparse.csc_array:
    """Pairs of latents that mostly fire on a token, on a token after another, near another, and anywhere."""
    block, position = text.rows
    here, before = text.tokens[block, position], text.tokens[block, position - 1]
    rng = _draws(purpose)
    rates = [
        rate
        for token in (1, 3)
        for rate in (
            0.7 * (here == token + 2) + 0.03,
            0.8 * (here == token) * (before == 0) + 0.02,
            0.5 * (here == token) * np.isin(before, (1, 2)) + 0.03,
            np.full(len(here), 0.02 * token),
        )
    ]
    fires = rng.random((len(here), len(rates))) < np.stack(rates, axis=1)
    return sparse.csc_array(fires * rng.uniform(0.5, 2, fires.shape))


if __name__ == "__main__":
    write()
