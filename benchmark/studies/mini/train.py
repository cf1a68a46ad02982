"""Train a small GPT-NeoX with its own tokenizer on any corpus, in the hub's folder layout.

`python -m benchmark.studies.mini.train --out subjects/mine` trains the shipped subjects again, and `--corpus` takes any
other text. `<out>/seed<S>/<revision>/` gets config, weights and tokenizer for `step0`, `--save-steps` and the last
step. The recipe is Pythia's scaled down: Adam (0.9, 0.95), weight decay 0.1, cosine to a tenth, gradient norm clipped
at 1, sequences cut from a stream of documents joined by the end-of-text token. The same command resumes after a kill.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, PreTrainedTokenizerFast

from benchmark import keyed
from benchmark.data import corpus as corpora
from benchmark.errors import BadInput
from benchmark.models.initialise import step0
from benchmark.models.mini.checkpoints import read_curve, resume, save_revision, save_state
from benchmark.reporting import quiet_libraries
from benchmark.spec.suite import BUILT_IN, Corpus
from benchmark.studies.mini import text

Log = Callable[[str], None]
LOG_EVERY, STATE_EVERY = 100, 500


@dataclass(frozen=True)
class Recipe:
    """What defines the trained weights, beside the corpus and the seed."""

    layers: int = 4
    d_model: int = 128
    heads: int = 4
    vocab: int = 1536
    context: int = 256
    batch: int = 16
    tokens: int = 10_240_000
    learning_rate: float = 2e-3
    warmup: float = 0.01
    weight_decay: float = 0.1
    initializer_range: float = 0.02
    bf16: bool = True
    device: str = "cpu"

    @property
    def steps(self) -> int:
        return max(1, self.tokens // (self.batch * self.context))


class Material(NamedTuple):
    """What a subject is trained on."""

    tokenizer: PreTrainedTokenizerFast
    train: text.TokenIds
    held_out: text.TokenIds


def train(corpus: Corpus, out: Path, seeds: list[int], recipe: Recipe, save_steps: list[int], log: Log) -> None:
    """Train every seed that is not complete; each prints its loss curve and held-out loss in nats per token."""
    out.mkdir(parents=True, exist_ok=True)
    _refuse_other_recipe(out, corpus, recipe)
    tokenizer = text.tokenizer(corpus, out, recipe.vocab, log)
    material = Material(tokenizer, *text.tokens(corpus, out, tokenizer, recipe.tokens, log))
    for seed in seeds:
        _train_seed(out / f"seed{seed}", seed, recipe, material, save_steps, log)


def _train_seed(folder: Path, seed: int, recipe: Recipe, material: Material, save_steps: list[int], log: Log) -> None:
    tokenizer, tokens, held_out = material
    if (folder / f"step{recipe.steps}").is_dir():
        log(f"seed {seed}: complete")
        return
    model = step0(_config(recipe, tokenizer), seed).to(recipe.device)
    optimizer = _optimizer(model, recipe)
    first = resume(folder, model, optimizer)
    if first == 0:
        save_revision(folder, 0, model, tokenizer)
    curve = read_curve(folder, first)
    started, loss = time.monotonic(), math.nan
    for step in range(first, recipe.steps):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * _schedule(step, recipe)
        loss = _step(model, optimizer, _batch(tokens, seed, step, recipe), recipe)
        done = step + 1
        if done % LOG_EVERY == 0 or done == recipe.steps:
            rate = (done - first) * recipe.batch * recipe.context / (time.monotonic() - started)
            left = (recipe.steps - done) * recipe.batch * recipe.context / rate
            curve.append({"step": done, "tokens": done * recipe.batch * recipe.context, "loss": round(loss, 4)})
            log(f"seed {seed}: step {done}/{recipe.steps} loss {loss:.3f} {rate:,.0f} tokens/s, {left:,.0f} s left")
        if done in save_steps:
            save_revision(folder, done, model, tokenizer)
        if done % STATE_EVERY == 0 and done < recipe.steps:
            save_state(folder, done, model, optimizer, curve)
    figures = {
        "seed": seed,
        "recipe": asdict(recipe),
        "held_out_loss": round(held_out_loss(model, held_out, recipe), 4),
        "held_out_tokens": int(held_out.size),
        "curve": curve,
    }
    save_revision(folder, recipe.steps, model, tokenizer)
    (folder / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    shutil.rmtree(folder / "state", ignore_errors=True)
    log(f"seed {seed}: held-out loss {figures['held_out_loss']} nats per token, last training loss {loss:.4f}")


def _step(model: GPTNeoXForCausalLM, optimizer: torch.optim.Optimizer, batch: torch.Tensor, recipe: Recipe) -> float:
    batch = batch.to(recipe.device)
    with torch.autocast(torch.device(recipe.device).type, torch.bfloat16, enabled=recipe.bf16):
        logits = model(batch[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def held_out_loss(model: GPTNeoXForCausalLM, tokens: text.TokenIds, recipe: Recipe) -> float:
    """Mean next-token cross-entropy in nats over consecutive sequences of held-out documents."""
    width = recipe.context + 1
    rows = torch.from_numpy(tokens[: tokens.size // width * width].astype(np.int64)).view(-1, width)
    total = 0.0
    for part in rows.split(recipe.batch):
        batch = part.to(recipe.device)
        logits = model(batch[:, :-1]).logits.float()
        total += float(torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum"))
    return total / (rows.shape[0] * recipe.context)


def _config(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.d_model,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        intermediate_size=4 * recipe.d_model,
        max_position_embeddings=4 * recipe.context,
        initializer_range=recipe.initializer_range,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )


def _optimizer(model: GPTNeoXForCausalLM, recipe: Recipe) -> torch.optim.AdamW:
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), eps=1e-8)


def _schedule(step: int, recipe: Recipe) -> float:
    warm = max(1, round(recipe.warmup * recipe.steps))
    if step < warm:
        return (step + 1) / warm
    progress = (step - warm) / max(1, recipe.steps - warm)
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def _batch(tokens: text.TokenIds, seed: int, step: int, recipe: Recipe) -> torch.Tensor:
    starts = keyed.rng("batch", seed, step).integers(0, tokens.size - recipe.context - 1, size=recipe.batch)
    rows = [tokens[start : start + recipe.context + 1] for start in starts]
    return torch.from_numpy(np.stack(rows).astype(np.int64))


def _refuse_other_recipe(out: Path, corpus: Corpus, recipe: Recipe) -> None:
    stated = {"corpus": corpora.fingerprint(corpus), **asdict(recipe)}
    file = out / "recipe.json"
    if file.exists() and json.loads(file.read_text()) != stated:
        raise BadInput(f"{out} holds subjects of another corpus or recipe: choose another --out")
    file.write_text(json.dumps(stated, indent=1) + "\n")


def main(  # noqa: PLR0913, PLR0917  one option each
    out: Annotated[Path, typer.Option(help="Folder for the subjects.")],
    corpus: Annotated[
        str,
        typer.Option(
            help="The built-in language; or a file, folder or glob of text, JSON lines or parquet; or a hub id."
        ),
    ] = f"{BUILT_IN}world",
    seeds: Annotated[list[int], typer.Option(help="Training seeds; repeat the option.")] = list(range(8)),  # noqa: B006
    save_steps: Annotated[list[int], typer.Option(help="Intermediate revisions to keep; repeat the option.")] = [  # noqa: B006
        100,
        400,
        1000,
    ],
    text_field: str = "text",
    tokens: int = Recipe.tokens,
    layers: int = Recipe.layers,
    d_model: int = Recipe.d_model,
    heads: int = Recipe.heads,
    vocab: int = Recipe.vocab,
    context: int = Recipe.context,
    batch: int = Recipe.batch,
    learning_rate: float = Recipe.learning_rate,
    bf16: Annotated[bool, typer.Option(help="Autocast to bfloat16: faster where the processor has it.")] = False,
    device: str = Recipe.device,
) -> None:
    """Train small GPT-NeoX subjects from any corpus; running it again resumes."""
    recipe = Recipe(
        layers=layers,
        d_model=d_model,
        heads=heads,
        vocab=vocab,
        context=context,
        batch=batch,
        tokens=tokens,
        learning_rate=learning_rate,
        bf16=bf16,
        device=device,
    )
    quiet_libraries()
    try:
        train(Corpus(source=corpus, text_field=text_field), out, seeds, recipe, save_steps, typer.echo)
    except BadInput as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error


if __name__ == "__main__":
    typer.run(main)
