"""What the shipped subjects can do: `python -m benchmark.studies.mini.figures` recomputes their README's tables.

Held-out text is seed 2 of the language, which nothing is trained or scored on; baselines are counts of the training
text.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import pandas as pd
import torch
import typer
from transformers import PreTrainedTokenizerFast

from benchmark.data.world.documents import documents
from benchmark.data.world.labels import Document
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.models.pythia import Checkpoint
from benchmark.reporting import quiet_libraries
from benchmark.spec.suite import BUILT_IN, Corpus
from benchmark.studies.mini import pairs, text
from benchmark.studies.mini.readme import replace_section
from benchmark.studies.mini.train import Recipe, held_out_loss

HELD_OUT_SEED, HELD_OUT_DOCUMENTS = 2, 400
SHOWN_STEPS = (100, 200, 500, 1000, 1500, 2000, 2500)


class Held(NamedTuple):
    """Held-out documents as a stream of tokens and as questions."""

    tokens: text.TokenIds
    asked: list[pairs.Question]


def tables() -> str:
    """All tables as Markdown."""
    first = builtin.checkpoint(f"{builtin.PREFIX}0")
    tokenizer = pythia.tokenizer(first)
    recipe = Recipe(**json.loads((first.folder.parent / "training.json").read_text())["recipe"])
    held = held_out(list(itertools.islice(documents(HELD_OUT_SEED), HELD_OUT_DOCUMENTS)), tokenizer, recipe.context)
    kinds = Counter(question.kind for question in held.asked)
    lines: list[dict[str, Any]] = [
        _line(name, pairs.accuracy(held.asked, grades)) for name, grades in _baselines(held, tokenizer, recipe)
    ]
    seeds = []
    for seed in builtin.seeds():
        seeds.append(_measured(builtin.checkpoint(f"{builtin.PREFIX}{seed}"), held, recipe))
    frame = pd.DataFrame(seeds)
    lines += [_line(f"seed {seed}", found) for seed, found in zip(builtin.seeds(), seeds, strict=True)]
    lines.append(
        {"model": "**mean ± sd**"}
        | {name: f"{frame[name].mean():.3f} ± {frame[name].std():.3f}" for name in map(str, frame)}
    )
    lines += [_line(f"seed 0, {place.revision}", _measured(place, held, recipe)) for place in _intermediate()]
    count = {"model": "pairs"} | {kind: f"{kinds[kind]:,}" for kind in pairs.KINDS}
    accuracies = pd.DataFrame([count, *lines]).rename(columns={"loss": "loss (nats)"}).fillna("")
    columns = ["model", "loss (nats)", *pairs.KINDS]
    return "\n\n".join([accuracies[columns].to_markdown(index=False, disable_numparse=True), _curves()])


def held_out(found: list[Document], tokenizer: PreTrainedTokenizerFast, context: int) -> Held:
    """Tokens, joined by the end-of-text token, and minimal pairs of documents."""
    encoded = tokenizer.backend_tokenizer.encode_batch([document.text for document in found], add_special_tokens=False)
    ids = [number for encoding in encoded for number in (*encoding.ids, 0)]
    return Held(np.array(ids, dtype=np.uint16), list(pairs.questions(found, tokenizer, context)))


def _baselines(
    held: Held, tokenizer: PreTrainedTokenizerFast, recipe: Recipe
) -> list[tuple[str, np.ndarray[tuple[int], np.dtype[np.float64]]]]:
    with tempfile.TemporaryDirectory() as folder:
        corpus = Corpus(source=f"{BUILT_IN}world")
        stream, _ = text.tokens(corpus, Path(folder), tokenizer, recipe.tokens, lambda said: None)
        counts = pairs.Counts.of(np.asarray(stream), len(tokenizer))
    return list(counts.prefer(held.asked).items())


def _measured(place: Checkpoint, held: Held, recipe: Recipe) -> dict[str, float]:
    """Held-out loss in nats, and the share of pairs of each kind that come out right."""
    model = pythia.load(place, torch.float32, torch.device("cpu"))
    right = pairs.accuracy(held.asked, pairs.model_prefers(model, held.asked))
    return {"loss": held_out_loss(model, held.tokens, recipe)} | right


def _intermediate() -> list[Checkpoint]:
    source = f"{builtin.PREFIX}0"
    return [builtin.checkpoint(source, f"step{step}") for step in builtin.steps(builtin.HOME / "seed0")[:-1]]


def _curves() -> str:
    lines = {}
    for seed in builtin.seeds():
        curve = json.loads((builtin.HOME / f"seed{seed}" / "training.json").read_text())["curve"]
        lines[f"seed {seed}"] = {point["step"]: point["loss"] for point in curve if point["step"] in SHOWN_STEPS}
    frame = pd.DataFrame(lines).T
    frame.loc["**mean**"] = frame.mean()
    frame.columns = pd.Index([f"step {step}" for step in frame.columns])
    return "Training loss in nats per token, one batch each:\n\n" + frame.to_markdown(floatfmt=".3f")


def _line(name: str, found: dict[str, float]) -> dict[str, Any]:
    return {"model": name, **{kind: f"{value:.3f}" for kind, value in found.items()}}


def main(
    write: Annotated[bool, typer.Option(help="Put the tables into the README of the subjects.")] = False,
) -> None:
    """Print what the shipped subjects can do, recomputed from their weights."""
    quiet_libraries()
    made = tables()
    typer.echo(made)
    if write:
        replace_section("figures", made)


if __name__ == "__main__":
    typer.run(main)
