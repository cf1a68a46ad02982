"""A suite's subject, resolved once: checkpoints found and compared, configuration, tokenizer, fingerprints, device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from transformers import GPTNeoXConfig, PreTrainedTokenizerFast

from benchmark.errors import BadInput
from benchmark.models import compared, nulls, pythia
from benchmark.models.compared import Replicate
from benchmark.models.mini import builtin
from benchmark.models.network import Network
from benchmark.models.pythia import Checkpoint
from benchmark.spec.suite import SubjectSettings, public_name
from benchmark.spec.variant import Variant


class ResolvedSubject(NamedTuple):
    """What a run knows of its subject. `replicates` lacks those that are not on this machine; `weights` holds content
    ids of the weights of each replicate's checkpoints, trained first, and `files` those of their files.
    """

    settings: SubjectSettings
    device: torch.device
    replicates: dict[int, Replicate]
    config: GPTNeoXConfig | None
    tokenizer_hash: str
    weights: dict[int, list[str]]
    files: dict[int, list[str]]

    @property
    def complete(self) -> bool:
        """Whether every replicate is on this machine."""
        return len(self.replicates) == len(self.settings.replicates)

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def d_model(self) -> int:
        return int(self.known.hidden_size)

    @property
    def known(self) -> GPTNeoXConfig:
        """The configuration, of a subject that is here."""
        assert self.config is not None, "a run resolves its subject with download"
        return self.config

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """The tokenizer that all replicates share."""
        return pythia.tokenizer(next(iter(self.replicates.values())).trained)

    def source(self, replicate: int) -> str:
        """Hub id, built-in name or last part of a local path of a replicate, as it may be shown."""
        return public_name(self.settings.replicates[replicate])

    def stands_for_nothing(self, replicate: int, variant: Variant) -> bool:
        """In case mode plain step-0 is the checkpoint's own, beside the draws: left out where there is none."""
        own = self.settings.null_draws is not None and variant == Variant("step0")
        return own and replicate in self.replicates and self.replicates[replicate].step0 is None

    def made_of(self, replicate: int, variant: Variant) -> list[str]:
        """Content ids of the checkpoint files that a variant of a replicate is made of."""
        trained, *step0 = self.files[replicate]
        return [trained, *(step0 if variant.kind == "step0" else ())]

    def network(self, replicate: int, variant: Variant) -> tuple[Network, dict[str, object]]:
        """The network of a variant, and the figures of the gate that it passed. Step-0 is the replicate's own where it
        is known: as it is, or as what fresh draws are made like.

        Raises:
            GateError: the variant is not what it claims to be.
        """
        dtype: torch.dtype = getattr(torch, self.settings.dtype)
        trained, step0 = self.replicates[replicate]
        original = pythia.load(trained, dtype, self.device)
        own = step0 if variant.kind == "step0" else None
        rng = nulls.tensor_rng(variant.name, self.name, replicate, variant.draw)
        if own is None:
            network = nulls.build(variant.name, original, rng)
        elif variant.draw is None:
            network = Network(pythia.load(own, dtype, self.device))
        else:
            network = nulls.drawn_like(pythia.load(own, dtype, self.device), rng)
        return network, nulls.gate(variant.name, original, network, own_step0=own is not None)


def resolve(settings: SubjectSettings, variants: Sequence[Variant], cache: Path, *, download: bool) -> ResolvedSubject:
    """Find, load and compare all checkpoints of a subject; `cache` keeps step-0 weights of the built-in one.

    Raises:
        BadInput: anything about the subject that can be known to fail before compute.
    """
    device = device_of(settings)
    replicates = _replicates(settings, cache, download)
    config = None
    for replicate in replicates.values():
        config = config or pythia.config(replicate.trained)
        for variant in variants:
            nulls.check(variant, config.num_hidden_layers)
    compared.check(settings.name, replicates, with_step0=any(variant.kind == "step0" for variant in variants))
    first = next(iter(replicates.values()), None)
    own = {
        seed: [checkpoint for checkpoint in replicate if checkpoint is not None]
        for seed, replicate in sorted(replicates.items())
    }
    return ResolvedSubject(
        settings,
        device,
        replicates,
        config,
        pythia.tokenizer_fingerprint(first.trained) if first else "",
        {seed: [compared.weights_of(one) for one in checkpoints] for seed, checkpoints in own.items()},
        {seed: [pythia.fingerprint(one) for one in checkpoints] for seed, checkpoints in own.items()},
    )


def _replicates(settings: SubjectSettings, cache: Path, download: bool) -> dict[int, Replicate]:
    here = {}
    for seed, source in settings.replicates.items():
        try:
            here[seed] = _replicate(source, settings.revision, cache, download)
        except LocalEntryNotFoundError:
            continue
    return here


def _replicate(source: str, revision: str, cache: Path, download: bool) -> Replicate:
    if builtin.is_built_in(source):
        return Replicate(builtin.checkpoint(source, revision), builtin.step0(source, cache))
    trained: Checkpoint = pythia.locate(source, revision, download=download)
    return Replicate(trained, pythia.step0_of(trained, download=download))


def device_of(settings: SubjectSettings) -> torch.device:
    """The device a suite names; `auto` is CUDA where there is one."""
    name = settings.device
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise BadInput(f"device {name!r} is not there: torch sees {torch.cuda.device_count()} CUDA devices; use auto")
    return device
