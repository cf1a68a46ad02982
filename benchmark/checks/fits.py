"""Fits of one method for `make check`: fresh workers, on activations that lie in files as they do in a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmark import keyed
from benchmark.checks.workers import SUITE, Workers
from benchmark.data import blocks as token_blocks
from benchmark.execution.contract import Executor, Worker
from benchmark.forward import activations
from benchmark.models import subjects
from benchmark.models.hookpoints import layer_of
from benchmark.models.subjects import ResolvedSubject
from benchmark.reporting import Reporter
from benchmark.run.exchange import handed_over
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites
from benchmark.spec.suite import Suite, public_name
from benchmark.spec.variant import Variant
from benchmark.store import Store
from benchmark.tracks.features import remote
from benchmark.tracks.features.remote import Job, RemoteFeaturizer

TRAINED = Variant.parse("trained")
HOOKPOINTS = ("layers.2", "layers.1")
ASKED_TOKENS, CHUNK = 1_000, 8_192


class Shown(NamedTuple):
    """Activations by hookpoint: what a method is fitted on, what it is asked about, and what it is to decode that to,
    [token, d_model] each. A pair's inputs are at the other hookpoint.
    """

    fitted: Mapping[str, Tensor]
    asked: Tensor
    decoded: Tensor


class Fit(NamedTuple):
    """Featurizers in a worker, the first of which is asked unless it is said otherwise; what fitting took."""

    worker: Worker
    featurizers: Sequence[RemoteFeaturizer]
    reply: Mapping[str, Any]
    seconds: float

    @property
    def featurizer(self) -> RemoteFeaturizer:
        return self.featurizers[0]


class Bench(Workers):
    """Fits of one method in fresh workers, on activations that lie in files as they do in a run."""

    def __init__(self, run: MethodRun, folder: Path, subject: Shown, log: Path) -> None:
        super().__init__(run, log)
        self.folder, self.subject, self.saved = folder, subject, folder / "saved"
        self.settings = run.rows[0].settings
        self.fitted: Fit | None = None

    @property
    def first(self) -> Fit:
        """The fit on the built-in subject that most questions are about."""
        self.fitted = self.fitted or self.fit(self.subject)
        return self.fitted

    def open(self, material: Shown | None = None, executor: Executor | None = None) -> Worker:
        """A fresh worker that finds this material in files."""
        return self.start(self._files(material) if material else {}, executor)

    def fit(self, material: Shown, *hookpoints: str, executor: Executor | None = None) -> Fit:
        """Fitted on the first hookpoint, or on those that are named at once, each with a seed of its own; on all where
        the method's scope is the model.
        """
        scope = self.run.method.manifest.scope
        seen = list(material.fitted) if scope == "model" else hookpoints or list(material.fitted)[:1]
        worker, started = self.open(material, executor), time.monotonic()
        featurizers, reply = remote.fit(worker, [self._job(material, hookpoint) for hookpoint in seen], scope)
        return Fit(worker, featurizers, reply, time.monotonic() - started)

    def load(self) -> Fit:
        """What was saved, or put there."""
        worker, started = self.open(), time.monotonic()
        with handed_over([self.saved], worker.exchange()) as copies:
            featurizers, reply = remote.load(worker, copies, [self._job(self.subject, HOOKPOINTS[0])])
        return Fit(worker, featurizers, reply, time.monotonic() - started)

    def _job(self, material: Shown, hookpoint: str) -> Job:
        n_tokens, d_model = material.fitted[hookpoint].shape
        stream = {
            "id": f"{hookpoint}-{d_model}-{n_tokens}",
            "d_model": d_model,
            "n_tokens": n_tokens,
            "chunk_tokens": CHUNK,
            "shuffle_tokens": CHUNK,
            "seed": keyed.seed("conformance stream"),
            "dtype": "float32",
        }
        inputs = None
        if self.run.method.manifest.scope == "pair":
            (other,) = set(HOOKPOINTS) - {hookpoint}
            inputs = {**stream, "id": f"{other}-{d_model}-{n_tokens}"}
        return Job(hookpoint, stream, keyed.seed("conformance fit", hookpoint), dict(self.settings), inputs)

    def _files(self, material: Shown) -> dict[str, Path]:
        found = {}
        for hookpoint, x in material.fitted.items():
            home = self.folder / f"{hookpoint}-{x.shape[1]}-{len(x)}"
            home.mkdir(exist_ok=True)
            for number, chunk in enumerate(x.split(CHUNK)):
                (home / str(number)).write_bytes(chunk.contiguous().numpy().tobytes())
            found[home.name] = home
        return found


def subject(store: Store, reporter: Reporter, scope: str) -> Shown:
    """Activations of the built-in subject, trained."""
    suite = suites.load(SUITE)
    resolved = subjects.resolve(suite.subject, [TRAINED], store.root / "subjects", download=True)
    read = _reader(suite, resolved, store, reporter, [layer_of(hookpoint) for hookpoint in HOOKPOINTS])
    decoded, below = (x[:ASKED_TOKENS] for x in read("score"))
    return Shown(dict(zip(HOOKPOINTS, read("fit"), strict=True)), below if scope == "pair" else decoded, decoded)


def activations_of(store: Store, reporter: Reporter, network: str, revision: str) -> dict[str, Tensor] | None:
    """Activations [token, d_model] of a trained network on the built-in text, by hookpoint; None where the network is
    not on this machine.
    """
    suite = suites.load(SUITE)
    settings = suite.subject.model_copy(
        update={"name": public_name(network), "replicates": {0: network}, "revision": revision}
    )
    resolved = subjects.resolve(settings, [TRAINED], store.root / "subjects", download=False)
    if not resolved.complete:
        return None
    layers = range(int(resolved.known.num_hidden_layers))
    found = _reader(suite, resolved, store, reporter, list(layers))("score")
    return {f"layers.{layer}": x[:ASKED_TOKENS].clone() for layer, x in zip(layers, found, strict=True)}


def _reader(
    suite: Suite, resolved: ResolvedSubject, store: Store, reporter: Reporter, layers: Sequence[int]
) -> Callable[[str], list[Tensor]]:
    """What reads the activations of a split at some layers."""
    blocks = token_blocks.prepare(
        suite.corpus, suite.tokens, resolved.tokenizer(), resolved.tokenizer_hash, store.root / "blocks",
        lambda done, total: reporter.step("tokenising", done, total), reporter.say,
    )  # fmt: skip
    network, _ = resolved.network(0, TRAINED)

    def read(split: str) -> list[Tensor]:
        parts = [one.usable for one in activations.forward(network, blocks[split], split, layers)]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    return read


def made_up(width: int, tokens: int) -> Shown:
    """Sparse mixtures of drawn directions, off centre and with noise."""
    rng = keyed.rng("conformance", width)
    sources = 2 * width
    active = rng.random((tokens + ASKED_TOKENS, sources)) < 4 / sources
    codes = active * rng.exponential(1.0, active.shape)
    x = codes @ rng.standard_normal((sources, width)) + rng.standard_normal(width)
    noisy = torch.from_numpy((x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32))
    return Shown(dict.fromkeys(HOOKPOINTS, noisy[:tokens]), noisy[tokens:], noisy[tokens:])
