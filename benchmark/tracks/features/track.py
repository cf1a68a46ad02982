"""The features track: activations into sparse latents, scored on what they are, reconstruct, cause and can be told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from benchmark import registry
from benchmark.autointerp import items, scores
from benchmark.data.blocks import Blocks
from benchmark.errors import BadInput
from benchmark.execution.contract import Worker
from benchmark.forward import activations
from benchmark.forward.activations import ChunkStore
from benchmark.judges import open as judges
from benchmark.judges.contract import Judge
from benchmark.judges.open import Judging
from benchmark.metrics import family
from benchmark.metrics.family import MetricFamily
from benchmark.metrics.value import NotDefined, Value, undefined
from benchmark.models.hookpoints import layer_of
from benchmark.models.network import Network
from benchmark.models.subjects import ResolvedSubject
from benchmark.spec.cell import CellKeys
from benchmark.spec.suite import Suite
from benchmark.tracks.blind import frame_of
from benchmark.tracks.contract import FitAnswer, FitRequest, Progress, Scored
from benchmark.tracks.features import autointerp, remote
from benchmark.tracks.features.featurizer import ScoredFeaturizer, Siblings
from benchmark.tracks.features.quantities import JOIN_TOKENS, Quantities
from benchmark.tracks.features.remote import Job, RemoteFeaturizer
from benchmark.tracks.features.trusted import FeaturesData, prepare
from benchmark.tracks.finite import finite
from benchmark.tracks.places import check_hookpoints
from benchmark.tracks.tokens import TokenTable

NAME = "features"
VERSION = 4


class FeaturesTrack:
    """Trusted half of the features track."""

    name: ClassVar[str] = NAME
    headline: ClassVar[str] = "fuzzing-token-matched@1"
    plain: ClassVar[str] = "fuzzing@1"
    reference: ClassVar[str] = "topk_sae"
    session: ClassVar[str] = "benchmark.worker.features:FeaturesSession"
    first: ClassVar[tuple[str, ...]] = (
        "fuzzing-token-matched@1", "fuzzing@1", "concept_recovery@1", "concept_recovery.latent_state@1",
        "bigram_r2_increment@1", "causal_effect@1", "universality@1", "recovered_variance@1", "recovered_context@1",
        "explained_variance@1", "kl_score@1", "l0@1",
    )  # fmt: skip
    parts: ClassVar[tuple[str, ...]] = ()
    beside: ClassVar[tuple[str, ...]] = ("concept_recovery@1",)
    fidelity: ClassVar[tuple[str, ...]] = ("recovered_variance@1", "recovered_context@1")
    gates: ClassVar[tuple[str, ...]] = (
        "complete", "assay", "leak", "parity", "coverage", "floor", "sparsity", "floors", "one_setting"
    )  # fmt: skip

    def __init__(self, suite: Suite, transcripts: Path, *, replay: bool) -> None:
        self._suite, self._judging = suite, Judging(suite.judge, transcripts, replay)
        self._judges: dict[str, Judge] = {}

    @classmethod
    def places(cls, suite: Suite) -> Sequence[str]:
        """The hookpoints."""
        return suite.hookpoints

    @classmethod
    def check(cls, suite: Suite, subject: ResolvedSubject) -> None:
        """Refuse no hookpoints, those that the subject does not have, and a judge that is none."""
        check_hookpoints(suite, subject, NAME)
        if suite.tracks.get(NAME):
            raise BadInput(f"suite {suite.name}: the features track takes no table of its own")
        judges.identity(suite.judge)

    @classmethod
    def refuses(cls, suite: Suite, scope: str) -> str | None:
        """A pair needs a block below, and there are no codes of tokens."""
        if scope == "token":
            return "a features method reads activations, and scope token is of the probes track"
        if scope == "pair" and "layers.0" in suite.hookpoints:
            return f"suite {suite.name} asks at layers.0, and a method of pairs reads the block below: there is none"
        return None

    @classmethod
    def try_out(cls, worker: Worker, folder: Path, d_model: int) -> None:
        """A featurizer encodes some activations, and decodes them if it can."""
        job = Job("", {"d_model": d_model}, 0, {})
        ((featurizer,), _) = remote.load(worker, [folder], [job])
        codes = featurizer.encode(torch.ones(1, d_model))
        if featurizer.decodes:
            featurizer.decode(codes)

    @classmethod
    def families(cls, suite: Suite) -> dict[str, str]:
        """Families that the suite's metrics belong to; those that ask judges depend on the judges, too."""
        return {
            name: one.id(*(_judged_by(suite) if "judged" in one.needs else ()))
            for name, one in family.asked(suite.metrics, NAME).items()
        }

    @classmethod
    def fitted_on(cls, suite: Suite, data: Mapping[str, str], places: Sequence[str]) -> list[object]:
        """The fit split, the hookpoints that the fit sees, and how activations reach it."""
        stream = suite.stream.model_dump(exclude={"spool_gib"})
        return [activations.VERSION, data["fit"], list(places), stream]

    @classmethod
    def scored_on(cls, suite: Suite, data: Mapping[str, str]) -> list[object]:
        """What scoring shares (drawn latents, counts, codes that are kept), the other splits, and the judge."""
        return [VERSION, data["explain"], data["score"], suite.latents, judges.public(suite.judge)]

    @classmethod
    def costs(cls, suite: Suite, subject: ResolvedSubject, cells: int, groups: int) -> list[str]:
        """Text, disk for activations, and requests to a language model as judge."""
        tokens, said = suite.tokens, []
        said.append(
            f"features: per group and hookpoint {tokens.fit:,} tokens to fit on, {tokens.explain:,} to explain and "
            f"{tokens.score:,} to score"
        )
        if subject.config is not None:
            spooled = groups * activations.spool_bytes(tokens.fit, subject.d_model, len(suite.hookpoints), suite.stream)
            said.append(f"disk: up to {spooled / 2**30:.2f} GiB of activations at a time")
        scorers = _scorers(cls.families(suite))
        if scorers and suite.judge not in registry.JUDGES:
            said.append(judges.cost(suite.judge, cells * suite.latents, len(scorers), autointerp.PAPER in scorers))
        return said

    @classmethod
    def shared_tokens(cls, blocks: Mapping[str, Blocks]) -> NDArray[np.int64]:
        """The first tokens of the score split."""
        return TokenTable.of(blocks["score"]).ids[:JOIN_TOKENS]

    def ready(self, families: Sequence[str]) -> None:
        """A judge that will be asked must answer."""
        if _scorers(families):
            self._judging.check()

    def prepare(
        self,
        network: Network,
        blocks: Mapping[str, Blocks],
        decode: Callable[[Sequence[int]], str],
        families: Sequence[str],
        spool: Path,
        progress: Progress,
    ) -> FeaturesData:
        """Everything of a group that does not depend on a method."""
        needs = {need for one in _named(families) for need in one.needs}
        return prepare(network, blocks, self._suite, decode, needs, spool, progress)

    def fit(self, worker: Worker, trusted: FeaturesData, requests: Sequence[FitRequest], scope: str) -> FitAnswer:
        """A featurizer per request; a method of scope `model` is fitted on all hookpoints at once, one of scope `pair`
        on a hookpoint and what is one block below it.
        """
        seen = self._suite.hookpoints if scope == "model" else None
        wanted = [keys._replace(place=place) for keys, _ in requests for place in seen or (keys.place,)]
        settings = requests[0].settings if seen else None
        jobs = [
            self._job(trusted, keys, settings if settings is not None else requests[number].settings, scope)
            for number, keys in enumerate(dict.fromkeys(wanted) if seen else wanted)
        ]
        featurizers, figures = remote.fit(worker, jobs, scope)
        if seen:
            _know_each_other(jobs, featurizers)
            places = [job.hookpoint for job in jobs]
            featurizers = [featurizers[places.index(request.keys.place)] for request in requests]
        return FitAnswer(featurizers, figures)

    def load(
        self, worker: Worker, trusted: FeaturesData, folders: Sequence[Path], requests: Sequence[FitRequest], scope: str
    ) -> Sequence[RemoteFeaturizer]:
        """Stored featurizers."""
        jobs = [self._job(trusted, *request, scope) for request in requests]
        featurizers = remote.load(worker, folders, jobs)[0]
        if scope == "model":
            _know_each_other(jobs, featurizers)
        return featurizers

    def score(
        self,
        trusted: FeaturesData,
        answerer: ScoredFeaturizer,
        keys: CellKeys,
        families: Sequence[str],
        progress: Progress,
    ) -> Scored:
        """Values of these families for one cell; what is not finite is undefined."""
        cell = Quantities(
            trusted,
            keys.place,
            answerer,
            keys,
            latents=self._suite.latents,
            probes="concept_probes" in self.families(self._suite),
            judge=partial(self._assess, trusted, keys, _scorers(families), progress),
        )
        values = {
            one.name: {name: finite(value, keys.place, trusted.output) for name, value in _computed(one, cell).items()}
            for one in _named(families)
        }
        asked = bool(_scorers(families))
        told = cell.assessed if asked else autointerp.Assessed({}, {}, {}, {})
        concepts = cell.concepts if any(name.startswith("concept") for name in families) else None
        every = {name: value for told_by in values.values() for name, value in told_by.items()}
        return Scored(
            values,
            {**told.counts, **cell.counts()},
            cell.samples(every, {**(concepts.matches if concepts else {}), **told.columns}),
            {**({"concepts": concepts.table} if concepts else {}), **told.tables},
            cell.arrays(),
        )

    def close(self) -> None:
        """Let go of the judges."""
        for judge in self._judges.values():
            judge.close()
        self._judges.clear()

    def _job(self, trusted: FeaturesData, keys: CellKeys, settings: Mapping[str, object], scope: str) -> Job:
        layer = layer_of(keys.place)
        stream = self._stream(trusted, trusted.chunks, layer, keys)
        inputs = self._stream(trusted, trusted.below.chunks, layer - 1, keys) if scope == "pair" else None
        frame = frame_of(keys, trusted.chunks.d_model)
        return Job(keys.place, stream, keys.seed("fit"), dict(settings), inputs, frame)

    def _stream(self, trusted: FeaturesData, chunks: ChunkStore, layer: int, keys: CellKeys) -> dict[str, object]:
        return {
            "id": trusted.named(chunks, layer, keys),
            "d_model": chunks.d_model,
            "n_tokens": chunks.n_tokens,
            "chunk_tokens": activations.CHUNK_TOKENS,
            "shuffle_tokens": self._suite.stream.shuffle_tokens,
            "seed": keys.seed("stream"),
            "dtype": self._suite.stream.dtype,
        }

    def _assess(
        self,
        trusted: FeaturesData,
        keys: CellKeys,
        scorers: Sequence[str],
        progress: Progress,
        firing: autointerp.Drawn,
    ) -> autointerp.Assessed:
        for spec in (self._judging.spec, *registry.JUDGES):
            if spec not in self._judges:
                self._judges[spec] = judges.open_judge(self._judging._replace(spec=spec), trusted.text.language)
        asking = autointerp.Asking(scorers, self._judges, self._judging.spec)
        return autointerp.assess(firing, trusted.text, asking, keys.rng, progress)


def _know_each_other(jobs: Sequence[Job], featurizers: Sequence[RemoteFeaturizer]) -> None:
    """Tell the featurizers of one fit of all hookpoints of one another."""
    siblings = Siblings(zip((job.hookpoint for job in jobs), featurizers, strict=True))
    for featurizer in featurizers:
        featurizer.siblings = siblings


def _computed(one: MetricFamily, cell: Quantities) -> Mapping[str, Value]:
    """Values of a family; where a quantity that it needs does not exist, all are undefined for that reason."""
    try:
        return one.compute(*(getattr(cell, need) for need in one.needs))
    except NotDefined as reason:
        return dict.fromkeys(one.metrics, undefined(str(reason)))


def _named(names: Collection[str]) -> list[MetricFamily]:
    return [one for one in family.families(NAME) if one.name in names]


def _scorers(families: Collection[str]) -> list[str]:
    """Scorers among families, in the order of the registry."""
    return [scorer for scorer in registry.SCORERS if (one := family.family_of(scorer)) and one.name in families]


def _judged_by(suite: Suite) -> list[object]:
    asked = [judges.identity(judge) for judge in (suite.judge, *registry.JUDGES)]
    return [items.VERSION, scores.VERSION, *asked]
