"""Checkpoints held against one another before compute: training seeds are different networks of one architecture."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import NamedTuple

import torch

from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.models.contents import Contents, contents
from benchmark.models.pythia import Checkpoint

ARCHITECTURE = (
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "hidden_act",
    "rope_parameters", "rotary_pct", "rotary_emb_base", "use_parallel_residual", "attention_bias", "layer_norm_eps",
    "tie_word_embeddings", "max_position_embeddings",
)  # fmt: skip


class Replicate(NamedTuple):
    """The trained checkpoint of a replicate, and its own step-0 where it has one."""

    trained: Checkpoint
    step0: Checkpoint | None


def check(subject: str, replicates: Mapping[int, Replicate], *, with_step0: bool = True) -> None:
    """Load every checkpoint once and compare them; step-0 with step-0 only where it is a null of the run.

    Raises:
        BadInput: weights that cannot be loaded whole, architectures or tokenizers that differ, a checkpoint that stands
            for two training seeds, or trained weights that are those of step-0.
    """
    seen: dict[int, Replicate] = {}
    for seed, replicate in replicates.items():
        trained, step0 = replicate
        first = next(iter(seen.values()), replicate).trained
        _require_alike(first, trained, f"replicates {next(iter(seen), seed)} and {seed} of {subject}")
        if step0 is not None:
            _require_alike(trained, step0, f"replicate {seed} of {subject} and its step0")
            if _contents(trained).same_as(_contents(step0)):
                raise BadInput(
                    f"replicate {seed} of {subject}: the weights at {trained.revision!r} are those of step0, so that "
                    "nothing is trained: give the revision of a trained network"
                )
        for other, known in seen.items():
            _require_apart(subject, (other, seed), (known, replicate), with_step0)
        seen[seed] = replicate
    if len({pythia.tokenizer_fingerprint(replicate.trained) for replicate in replicates.values()}) > 1:
        raise BadInput(f"the replicates of {subject} have different tokenizers: they must see the same tokens")


def _require_apart(subject: str, seeds: tuple[int, int], pair: tuple[Replicate, Replicate], with_step0: bool) -> None:
    """Two training seeds share no weights: neither trained ones, nor what one began from."""
    one, other = pair
    if _contents(one.trained).same_as(_contents(other.trained)):
        raise BadInput(
            f"replicates {seeds[0]} and {seeds[1]} of {subject} have the same weights: a copy is no training seed; "
            "leave one out"
        )
    for seed, mine, theirs in ((seeds[0], one, other), (seeds[1], other, one)):
        if theirs.step0 is not None and _contents(mine.trained).same_as(_contents(theirs.step0)):
            raise BadInput(f"replicate {seed} of {subject}: its trained weights are the step0 of another replicate")
    steps = one.step0, other.step0
    if with_step0 and steps[0] and steps[1] and _contents(steps[0]).same_as(_contents(steps[1])):
        raise BadInput(
            f"replicates {seeds[0]} and {seeds[1]} of {subject} have the same step0 weights: one initialisation is one "
            "null; leave a replicate, or the variant step0, out"
        )


def weights_of(checkpoint: Checkpoint) -> str:
    """Content id of a checkpoint's weights, whatever files they are in."""
    return _contents(checkpoint).hashes[0]


def _require_alike(one: Checkpoint, other: Checkpoint, which: str) -> None:
    first, second = (pythia.config(checkpoint) for checkpoint in (one, other))
    for field in ARCHITECTURE:
        values = getattr(first, field, None), getattr(second, field, None)
        if values[0] != values[1]:
            raise BadInput(
                f"{which} differ in {field} ({values[0]} and {values[1]}): they are not one network at different "
                "seeds or steps"
            )


@functools.cache
def _contents(checkpoint: Checkpoint) -> Contents:
    return contents(pythia.load(checkpoint, torch.float32, torch.device("cpu")))
