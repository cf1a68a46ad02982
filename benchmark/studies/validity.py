"""Is concept recovery valid? `python -m benchmark.studies.validity` scores codes whose right score is known.

oracle              one latent per concept, from the labels themselves: lift 1 on every variant, so no gap
token identity      one latent per token id: lift 0, whatever the variant
random codes        latents that fire at random: lift 0
random directions   the largest of random projections of the activations: what a code has without being fitted
oracle on trained, random codes or directions on the nulls: the full gap
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer
from scipy import sparse

from benchmark import keyed, registry
from benchmark.api import Latents
from benchmark.data import blocks
from benchmark.data.blocks import Blocks
from benchmark.forward import activations
from benchmark.models import pythia, subjects
from benchmark.models.hookpoints import layer_of
from benchmark.models.mini import builtin
from benchmark.reporting import quiet_libraries
from benchmark.spec.suite import Suite, load
from benchmark.spec.variant import Variant
from benchmark.studies.mini.readme import replace_section
from benchmark.tracks.features import concepts
from benchmark.tracks.features.featurizer import csr
from benchmark.tracks.tokens import TokenTable, known_families

SHOWN = ("token_class", "bigram", "latent_state", "topic", "sense", "agreement", "depth", "entity")
RANDOM = (2048, 16)
PUBLISHED = Path("leaderboard/results/standard/topk_sae")


class ValidityCell(NamedTuple):
    """What a code may be made from."""

    known: concepts.Known
    vocab: int
    x: torch.Tensor


def oracle(cell: ValidityCell) -> sparse.csr_array:
    """One latent per concept, 1 where the answer is yes."""
    columns = []
    for family in cell.known.families:
        answers = np.zeros((len(cell.known.ids), family.y.shape[1]))
        answers[family.rows] = family.y
        columns.append(sparse.csr_array(answers))
    return sparse.csr_array(sparse.hstack(columns, format="csr"))


def token_identity(cell: ValidityCell) -> sparse.csr_array:
    """One latent per token id."""
    n = len(cell.known.ids)
    return sparse.csr_array((np.ones(n), (np.arange(n), cell.known.ids)), shape=(n, cell.vocab))


def random_directions(cell: ValidityCell) -> sparse.csr_array:
    """The 16 largest of 2,048 projections on random unit vectors, of centred activations."""
    n_latents, k = RANDOM
    draw = keyed.rng("random directions").standard_normal((n_latents, cell.x.shape[1]), dtype=np.float32)
    directions = torch.nn.functional.normalize(torch.from_numpy(draw), dim=1)
    largest = torch.relu((cell.x - cell.x.mean(dim=0)) @ directions.T).topk(k, dim=1)
    return csr(Latents(largest.values, largest.indices), n_latents)


def random_codes(cell: ValidityCell) -> sparse.csr_array:
    """16 of 2,048 latents at random for each token: what knows nothing."""
    n_latents, k = RANDOM
    rng, n = keyed.rng("random codes"), len(cell.known.ids)
    where = np.repeat(np.arange(n), k), rng.integers(n_latents, size=n * k)
    return sparse.csr_array((rng.random(n * k) + 0.1, where), shape=(n, n_latents))


Code = Callable[[ValidityCell], sparse.csr_array]
FIXED: dict[str, Code] = {"oracle": oracle, "token identity": token_identity, "random codes": random_codes}
OF_ACTIVATIONS: dict[str, Code] = {"random directions": random_directions}
CODES = (*FIXED, *OF_ACTIVATIONS)


def measure(suite: Suite, cache: Path, variants: tuple[str, ...], say: Callable[[str], None]) -> pd.DataFrame:
    """Scores of every code on every variant, replicate and hookpoint of a suite on the built-in subject."""
    first = builtin.checkpoint(next(iter(suite.subject.replicates.values())))
    split = _score_split(suite, first, cache)
    tokens = TokenTable.of(split)
    known = concepts.Known(known_families(split, tokens.places), tokens.ids, tokens.documents)
    layers = [layer_of(hookpoint) for hookpoint in suite.hookpoints]
    vocab = int(pythia.config(first).vocab_size)
    fixed = {name: _scores(code(ValidityCell(known, vocab, torch.empty(0, 0))), known) for name, code in FIXED.items()}
    lines = []
    subject = subjects.resolve(
        suite.subject, [Variant.parse(variant) for variant in variants], cache / "subjects", download=False
    )
    for replicate in suite.subject.replicates:
        for variant in variants:
            say(f"replicate {replicate}, {variant}")
            network, _ = subject.network(replicate, Variant.parse(variant))
            found, _ = activations.collect(network, split, "score", layers)
            for hookpoint, x in zip(suite.hookpoints, found, strict=True):
                fitted = {
                    name: _scores(code(ValidityCell(known, vocab, x)), known) for name, code in OF_ACTIVATIONS.items()
                }
                where = {"variant": variant, "replicate": replicate, "at": hookpoint}
                lines += [{"code": name} | where | scores for name, scores in (fixed | fitted).items()]
    return pd.DataFrame(lines)


def of_published(folder: Path) -> str:
    """The same scores of a published method, from its rows: means over replicates and hookpoints, as Markdown."""
    parts = []
    for file in sorted(folder.glob("*/scores.csv")):
        label = json.loads((file.parent / "run.json").read_text(encoding="utf-8"))["label"]
        parts.append(pd.read_csv(file).assign(settings=label))
    scores = pd.concat(parts).rename(columns={f"concept_recovery.{part}@1": part for part in SHOWN})
    means = scores.groupby(["settings", "variant"])[list(SHOWN)].mean()
    labels = sorted(means.index.unique("settings"))
    order = [(label, variant) for label in labels for variant in registry.VARIANTS if (label, variant) in means.index]
    return means.loc[order].reset_index().to_markdown(index=False, floatfmt=".3f")


def worst_gap(means: pd.DataFrame, on_trained: str, on_nulls: str) -> pd.Series:
    """Score of a code on trained, less the best that a code gets on a null; `means` has rows (code, variant)."""
    present = [(on_nulls, null) for null in registry.NULLS if (on_nulls, null) in means.index]
    gap: pd.Series = means.loc[[(on_trained, "trained")]].iloc[0] - means.loc[present].max()
    return gap


def tables(scores: pd.DataFrame) -> str:
    """Means over replicates of each variant, and worst-null gaps, as Markdown."""
    wanted = list(SHOWN)
    per_replicate = scores.groupby(["code", "variant", "replicate"])[wanted].mean()
    means = per_replicate.groupby(["code", "variant"]).mean()
    order = [(code, variant) for code in CODES for variant in registry.VARIANTS if (code, variant) in means.index]
    shown = means.loc[order].reset_index()
    gaps = pd.DataFrame({f"{code} everywhere": worst_gap(means, code, code) for code in CODES}).T
    for code in ("random codes", "random directions"):
        gaps.loc[f"oracle on trained, {code} on nulls"] = worst_gap(means, "oracle", code)
    return "\n\n".join(
        [
            shown.to_markdown(index=False, floatfmt=".3f"),
            "Worst-null gap, trained minus the best null:",
            gaps.reset_index(names="code").to_markdown(index=False, floatfmt="+.3f"),
        ]
    )


def _scores(codes: sparse.csr_array, known: concepts.Known) -> dict[str, float | None]:
    values = concepts.recovery(codes, np.zeros(0, np.int64), known, probes=False).values
    return {part: values[f"concept_recovery.{part}@1"].value for part in SHOWN}


def _score_split(suite: Suite, first: pythia.Checkpoint, cache: Path) -> Blocks:
    tokenizer, name = pythia.tokenizer(first), pythia.tokenizer_fingerprint(first)
    return blocks.prepare(suite.corpus, suite.tokens, tokenizer, name, cache / "blocks")["score"]


def main(
    suite: Annotated[str, typer.Option(help="Suite on the built-in subject.")] = "mini",
    runs: Annotated[Path, typer.Option(help="Folder for what is cached.")] = Path("runs"),
    published: Annotated[Path, typer.Option(help="Published rows of a method to show beside.")] = PUBLISHED,
    write: Annotated[bool, typer.Option(help="Put the tables into the README of the subjects.")] = False,
) -> None:
    """Print what concept recovery gives codes whose right score is known."""
    quiet_libraries()
    chosen = load(suite)
    made = tables(measure(chosen, runs, chosen.variants, typer.echo))
    if published.is_dir():
        made = "\n\n".join([made, f"`{published.name}` on suite `{published.parent.name}`:", of_published(published)])
    typer.echo(made)
    if write:
        replace_section("validity", made)


if __name__ == "__main__":
    typer.run(main)
