"""The features track: activations into sparse latents.

A method lives in `baselines/<name>/` or `submissions/<name>/`: `method.py` with a class, `method.toml` that names it.
The settings of `method.toml` are the constructor's keyword arguments. The smallest working method:

    class FirstUnits:
        def fit(self, activations, *, seed):
            self.n_latents = 2 * activations.d_model
            return self

        def encode(self, x):
            signed = torch.cat([x, -x], dim=1).clamp(min=0)
            return Latents(signed, torch.arange(self.n_latents).expand(len(x), -1))
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor


class Latents(NamedTuple):
    """Sparse codes of a batch of tokens; a dense method returns all latents, k = n_latents.

    `values` are activations, >= 0 and finite, padding is 0; signed codes become two latents, positive and negative
    part. `indices` are latent ids in [0, n_latents), distinct within a token where the value is not 0.
    """

    values: Float[Tensor, "token k"]
    indices: Int[Tensor, "token k"]


@runtime_checkable
class Featurizer(Protocol):
    """What a features method returns: activations of one hookpoint into sparse latents, token by token."""

    n_latents: int

    def encode(self, x: Float[Tensor, "token d_model"]) -> Latents:
        """Codes of each token, independent of the other tokens in the batch: they are asked for in any order, and some
        twice.
        """
        ...


@runtime_checkable
class Decoder(Protocol):
    """A capability of a featurizer: reconstruction, splice and causal metrics need it."""

    def decode(self, latents: Latents) -> Float[Tensor, "token d_model"]:
        """Activations in the model's units; an all-zero code decodes to the bias. The codes are active entries in any
        order, padded with value 0 at id 0, so that what latents write is to be added up. Codes alone decide: it is
        asked before the first encode, too, and for codes that encode never gave.
        """
        ...


@runtime_checkable
class ActivationStream(Protocol):
    """Activations of one hookpoint as the model makes them, re-iterable, shuffled token by token, on `device`."""

    d_model: int
    n_tokens: int
    device: torch.device

    def batches(self, size: int, *, epochs: int = 1) -> Iterator[Float[Tensor, "token d_model"]]:
        """Batches of `size` tokens (the last of an epoch may be smaller), in an order fixed by the cell's seeds."""
        ...


@runtime_checkable
class PairedStream(Protocol):
    """Activations one block below a hookpoint and at it, of the same tokens, re-iterable, in one shuffled order."""

    d_model: int
    n_tokens: int
    device: torch.device

    def batches(
        self, size: int, *, epochs: int = 1
    ) -> Iterator[tuple[Float[Tensor, "token d_model"], Float[Tensor, "token d_model"]]]:
        """Batches of `size` inputs and targets (the last of an epoch may be smaller)."""
        ...


@runtime_checkable
class FeatureMethod(Protocol):
    """Contract of the features track, `scope = "hookpoint"`."""

    def fit(self, activations: ActivationStream, *, seed: int) -> Featurizer:
        """Train on one hookpoint; the same stream and seed give the same featurizer."""
        ...


@runtime_checkable
class PairFeatureMethod(Protocol):
    """Contract of the features track, `scope = "pair"`, for transcoders: `encode` gets the stream one block below the
    hookpoint, and `decode` is held against the stream at it.
    """

    def fit(self, activations: PairedStream, *, seed: int) -> Featurizer:
        """Train on one pair; the same stream and seed give the same featurizer."""
        ...


@runtime_checkable
class ModelFeatureMethod(Protocol):
    """Contract of the features track, `scope = "model"`: one fit sees all hookpoints, and may share everything. Where
    the featurizers have equally many latents, an id means the same latent at all of them (`layers@1` asks this).
    """

    def fit(self, activations: Mapping[str, ActivationStream], *, seed: int) -> Mapping[str, Featurizer]:
        """Train on all hookpoints at once; returns one featurizer per key."""
        ...


class FitJob(NamedTuple):
    """One fit among several that are done together; `settings` are complete constructor arguments, and the stream of a
    method of scope `pair` is a `PairedStream`.
    """

    stream: ActivationStream
    seed: int
    settings: Mapping[str, Any]


@runtime_checkable
class JointFeatureMethod(Protocol):
    """Optional: one pass over the data trains several; jobs may share a stream, and then its batches."""

    def fit_many(self, jobs: Sequence[FitJob]) -> Sequence[Featurizer]:
        """One featurizer per job, the same as `fit` would give for it."""
        ...


@runtime_checkable
class Checked(Protocol):
    """Optional: refuse settings before any compute."""

    def check(self, d_model: int) -> None:
        """Raise ValueError, one sentence, when the settings cannot work for activations of this width."""
        ...


@runtime_checkable
class Persistent(Protocol):
    """Optional: a stored featurizer can be scored again without refitting. Safetensors and JSON only."""

    def save(self, folder: Path) -> None:
        """Write the featurizer into an existing, empty folder: plain files, no folders within."""
        ...

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote."""
        ...


@runtime_checkable
class Wrapped(Protocol):
    """Optional, for a library's own object inside a featurizer: what the library makes of activations, which
    `make check` holds `encode` and `decode` against.
    """

    def original(
        self, x: Float[Tensor, "token d_model"]
    ) -> tuple[Float[Tensor, "token n_latents"], Float[Tensor, "token d_model"]]:
        """Dense codes and the reconstruction, by the library's forward."""
        ...
