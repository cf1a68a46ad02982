"""What the probes track knows of a group and no method sees: activations of both splits, token ids, and tasks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from pydantic import Field, ValidationError, field_validator
from torch import Tensor

from benchmark import keyed
from benchmark.data.blocks import Blocks
from benchmark.errors import BadInput, unknown
from benchmark.forward import activations
from benchmark.metrics.probing import CONCEPTS, OF_TEXT, TASKS
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.spec.suite import Frozen, Suite, sentence
from benchmark.tracks.finite import not_finite
from benchmark.tracks.probes.tasks import Task, tasks
from benchmark.tracks.tokens import TokenTable

NAME = "probes"


class ProbeTable(Frozen):
    """`[tracks.probes]` of a suite."""

    tasks: tuple[str, ...] = Field(
        (), description="which questions; default: the language's concepts where the corpus has labels, else the text's"
    )
    fit_tokens: int = Field(4_096, ge=512, description="tokens that a probe is fitted on, of the explain split")
    score_tokens: int = Field(8_192, ge=512, description="tokens that it is asked about, of the score split")

    @field_validator("tasks")
    @classmethod
    def _known(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if value not in TASKS:
                raise ValueError(str(unknown("task", value, TASKS)))
        return tuple(dict.fromkeys(values))

    @classmethod
    def of(cls, suite: Suite) -> ProbeTable:
        """What a suite says.

        Raises:
            BadInput: a field or a task that is not known, or a task that needs labels of a corpus without any.
        """
        try:
            made = cls.model_validate(suite.tracks.get(NAME, {}))
        except ValidationError as error:
            raise BadInput(f"suite {suite.name}, tracks.{NAME}: {sentence(error, cls)}") from error
        asked = made.tasks or (CONCEPTS if suite.corpus.built_in else OF_TEXT)
        if (labelled := sorted(set(asked) & set(CONCEPTS))) and not suite.corpus.built_in:
            raise BadInput(f"suite {suite.name}: task {labelled[0]} needs labels, which its corpus does not have")
        return made.model_copy(update={"tasks": asked})


class ProbedSplit(NamedTuple):
    """Of one split: token ids [token], tasks, and activations by hookpoint [token, d_model]."""

    ids: np.ndarray[Any, np.dtype[np.int64]]
    tasks: Mapping[str, Task]
    x: Mapping[str, Float[Tensor, "token d_model"]]

    def seen(self, hookpoint: str, task: Task, *, tokens_alone: bool) -> Tensor:
        """What a probe sees of a task's tokens; a floor sees features of the token alone, the same on all variants."""
        if tokens_alone:
            features = _features(int(self.ids.max()) + 1, self.x[hookpoint].shape[1])
            return features[torch.from_numpy(self.ids[task.rows])]
        return self.x[hookpoint][torch.from_numpy(task.rows)]


class ProbesData(NamedTuple):
    """Both splits, the families that are asked for, and why nothing can be measured at some hookpoints."""

    fitted: ProbedSplit
    scored: ProbedSplit
    families: frozenset[str]
    undefined: dict[str, str]

    def chunk(self, stream: str, number: int) -> int:
        """Probes read no chunks: they are handed their tokens."""
        raise KeyError(stream)

    def cost(self) -> dict[str, float]:
        """Nothing beside seconds."""
        return {}

    def close(self) -> None:
        """There are no files."""


def prepare(
    network: Network,
    blocks: Mapping[str, Blocks],
    hookpoints: Sequence[str],
    table: ProbeTable,
    decode: Callable[[Sequence[int]], str],
    families: Collection[str],
) -> ProbesData:
    """Everything of a group that does not depend on a method."""
    layers = [layer_of(hookpoint) for hookpoint in hookpoints]
    splits, found = {}, {}
    for name in ("explain", "score"):
        known = TokenTable.of(blocks[name])
        found[name], _ = activations.collect(network, blocks[name], name, layers)
        asked = tasks(table.tasks, blocks[name], known, decode)
        splits[name] = ProbedSplit(known.ids, asked, dict(zip(hookpoints, found[name], strict=True)))
    return ProbesData(splits["explain"], splits["score"], frozenset(families), not_finite(hookpoints, found))


@functools.lru_cache(maxsize=2)
def _features(vocab: int, d_model: int) -> Tensor:
    """Drawn features of each token id [token id, d_model]: those of one id do not depend on how many there are."""
    drawn = keyed.rng("token features", d_model).standard_normal((vocab, d_model), dtype=np.float32)
    return torch.from_numpy(drawn)
