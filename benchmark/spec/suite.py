"""A suite: subjects, variants, seeds, hookpoints, budgets and metrics, as a frozen model read from TOML."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from benchmark import registry
from benchmark.errors import BadInput, unknown
from benchmark.metrics import family
from benchmark.spec.variant import Variant
from benchmark.stats.case import FEWEST_DRAWS

FOLDER = Path(__file__).parents[1] / "suites"
BUILT_IN = "built-in:"
MOST_SHOWN = 60

Listed = TypeVar("Listed")
Count = Annotated[int, Field(ge=1)]
Bound = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Frozen(BaseModel):
    """Immutable and closed: an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Corpus(Frozen):
    """Where documents come from."""

    source: str = Field(description="built-in:world[:seed], a file, folder or glob, or a hub data set id")
    text_field: str = Field("text", description="the column that holds a document")
    separator: str | None = Field(
        None, min_length=1, description="what ends a document within a .txt file; left out: a file is one document"
    )
    config: str | None = Field(None, description="configuration name of a hub data set")
    split: str = Field("train", description="split of a hub data set")
    revision: str | None = Field(None, description="revision of a hub data set; pin it for a published suite")

    @property
    def built_in(self) -> bool:
        """Whether the benchmark writes the text itself, and so knows the latent state of every token."""
        return self.source.startswith(BUILT_IN)


class SubjectSettings(Frozen):
    """A GPT-NeoX causal language model with its tokenizer, once per training seed."""

    name: str = Field(description="short name for tables, such as pythia-70m")
    replicates: dict[int, str] = Field(
        description="training seed -> hub id, local folder with one sub-folder per revision, or built-in:pythia-mini",
        min_length=1,
    )
    revision: str = Field("main", description="revision of the trained weights, such as step143000")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="dtype of the forward pass")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N", pattern=r"^(auto|cpu|cuda(:\d+)?)$")
    null_draws: int | None = Field(
        None,
        ge=FEWEST_DRAWS,
        description="case mode, for a subject with one training seed: draws of each null that it is held against",
    )

    @field_validator("replicates")
    @classmethod
    def _distinct_replicates(cls, values: dict[int, str]) -> dict[int, str]:
        _distinct("replicate", tuple(values.values()))
        return values

    @field_validator("revision")
    @classmethod
    def _named_revision(cls, value: str) -> str:
        if not value.strip() or value.startswith("/") or ".." in value.split("/"):
            raise ValueError(f"{value!r} names no revision: write one such as main or step143000")
        return value

    @model_validator(mode="after")
    def _one_case(self) -> SubjectSettings:
        if self.null_draws is not None and len(self.replicates) > 1:
            raise ValueError("null_draws is for a subject with one training seed: several are its replicates")
        return self


class TokenBudget(Frozen):
    """Token budgets; documents are split by hash, so the splits are disjoint."""

    fit: Count = Field(description="activations a method is fitted on, per hookpoint")
    explain: Count = Field(description="tokens that explanations and explainer windows are drawn from")
    score: Count = Field(description="tokens that every metric is evaluated on")
    block: int = Field(128, ge=32, description="tokens per block; a block holds tokens of one document")


class StreamSettings(Frozen):
    """How activations reach a method."""

    dtype: Literal["float32", "bfloat16"] = Field("float32", description="dtype of stored and streamed activations")
    spool_gib: float = Field(
        8.0,
        ge=0,
        description="disk a group's fit activations may take, those below for pairs once more; above it, streamed",
    )
    shuffle_tokens: Count = Field(65_536, description="tokens in the shuffle buffer of one stream")


class Limits(Frozen):
    """What a method may take; one that takes more is stopped, and its cells fail with a sentence."""

    fit_seconds: Bound = Field(86_400, description="seconds that one fit may take")
    answer_seconds: Bound = Field(
        3_600,
        description="seconds that a method may take to open, check, load, save, or encode or decode a batch",
    )
    memory_gib: Bound = Field(32.0, description="resident memory of a method's processes together")
    processes: Count = Field(256, description="processes of a method at once, its own among them")
    disk_gib: Bound = Field(16.0, description="size of a featurizer that a method saves, and of any file it writes")
    output_mib: Bound = Field(64.0, description="what a method may print")


def _all_metrics(fields: dict[str, Any]) -> tuple[str, ...]:
    known = "corpus" in fields and fields["corpus"].built_in
    every = (*family.families(), *family.joins())
    usual = (one for one in every if one.usual and (known or not one.labelled))
    return tuple(name for one in usual for name in one.metrics)


class Suite(Frozen):
    """Everything that defines a run apart from the method."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100, description="names the results folder")
    summary: str = Field(description="one sentence for tables and --help")
    subject: SubjectSettings
    corpus: Corpus
    tokens: TokenBudget
    stream: StreamSettings = StreamSettings()
    limits: Limits = Limits()
    variants: tuple[str, ...] = Field(
        min_length=1, description="always written out, so that a new null enters no suite by itself; cascade:2"
    )
    hookpoints: tuple[str, ...] = Field((), description="layers.N = residual stream after block N")
    method_seeds: tuple[int, ...] = Field((0,), min_length=1)
    metrics: tuple[str, ...] = Field(
        default_factory=_all_metrics,
        min_length=1,
        description="a metric brings its family; default: all but of layers, concepts only where the corpus has labels",
    )
    judge: str = Field(
        "lexical",
        description="lexical, lexical:token, lexical:previous, or a model of lm-eval's registry with its arguments: "
        "local-chat-completions:model=NAME,base_url=URL",
    )
    floors: tuple[str, ...] = Field(
        (), description="baselines that learn nothing, without which there is no claim (the repository's suites)"
    )
    latents: Count = Field(100, description="latents drawn per cell for per-latent metrics")
    threads: Count = Field(
        1, description="CPU threads of a group: sums in another number of threads train another dictionary"
    )
    keep_gib: float = Field(
        16.0,
        ge=0,
        description="disk that fitted featurizers and codes of a results folder may take; what comes after is not "
        "kept, so that a new metric needs a refit",
    )
    tracks: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what a track asks for beyond hookpoints and metrics, by its name"
    )
    methods: dict[str, tuple[dict[str, Any], ...]] = Field(
        default_factory=dict,
        description="method -> rows of settings (with `preset`), each row one column set of the board",
    )

    @field_validator("variants")
    @classmethod
    def _known_variants(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        try:
            for value in values:
                Variant.parse(value)
        except BadInput as error:
            raise ValueError(str(error)) from error
        return _distinct("variant", values)

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        return _known("metric", values, family.names())

    @field_validator("tracks")
    @classmethod
    def _known_tracks(cls, values: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        _known("track", tuple(values), registry.TRACKS)
        return values

    @field_validator("hookpoints")
    @classmethod
    def _well_formed_hookpoints(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if not re.fullmatch(r"layers\.(0|[1-9][0-9]*)", value):
                raise ValueError(f"unknown hookpoint {value!r}: write layers.N, N counted from 0")
        return _distinct("hookpoint", values)

    @field_validator("method_seeds")
    @classmethod
    def _distinct_seeds(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return _distinct("method seed", values)

    @model_validator(mode="after")
    def _draws_are_of_one_case(self) -> Suite:
        named = [name for name in self.variants if Variant.parse(name).draw is not None]
        if named and (self.subject.null_draws is not None or len(self.subject.replicates) > 1):
            raise ValueError(
                f"variant {named[0]!r}: write the null alone; null_draws makes its draws, for one replicate"
            )
        return self

    @model_validator(mode="after")
    def _concepts_are_known(self) -> Suite:
        asked = [name for name in self.metrics if (found := family.family_of(name)) and found.labelled]
        if asked and not self.corpus.built_in:
            raise ValueError(f"metric {asked[0]!r} needs labels: only corpus {BUILT_IN}world has them")
        return self

    @model_validator(mode="after")
    def _shuffle_fits(self) -> Suite:
        if self.stream.shuffle_tokens > self.tokens.fit:
            raise ValueError(
                f"stream.shuffle_tokens ({self.stream.shuffle_tokens}) exceeds tokens.fit ({self.tokens.fit})"
            )
        return self

    def content(self) -> dict[str, Any]:
        """What decides the numbers of a run apart from the method, as it can be shown to anybody: equal for a copy of
        the suite under another name. Of local paths it holds the last part. Metrics and floors are no part of it: each
        is what it is, whichever others stand beside it.
        """
        said: dict[str, Any] = self.model_dump(
            mode="json",
            exclude={
                "name": True, "summary": True, "methods": True, "limits": True, "keep_gib": True, "judge": True,
                "metrics": True, "floors": True, "subject": {"device"}, "stream": {"spool_gib"},
            },
        )  # fmt: skip
        replicates = {str(seed): public_name(source) for seed, source in self.subject.replicates.items()}
        said["subject"] |= {"replicates": replicates}
        said["corpus"] |= {"source": public_name(self.corpus.source)}
        return said | {name: sorted(said[name]) for name in ("variants", "hookpoints", "method_seeds")}


def differences(one: Mapping[str, Any], other: Mapping[str, Any], above: str = "") -> list[str]:
    """What two contents of suites say differently, a phrase for each field."""
    phrases = []
    for name in sorted(one.keys() | other.keys()):
        mine, theirs, where = one.get(name), other.get(name), f"{above}{name}"
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            phrases += differences(mine, theirs, f"{where}.")
        elif mine != theirs:
            phrases.append(f"{where} is {_short(mine)} and {_short(theirs)}")
    return phrases


def public_name(source: str) -> str:
    """A hub id or a built-in name as it is; of a local path only its last part."""
    return Path(source).name if source.startswith(("/", ".", "~")) else source


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}…"


def names() -> list[str]:
    """Names of the suites that ship with the benchmark."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def load(name: str) -> Suite:
    """Read a suite by name, or from a path that ends in .toml.

    Raises:
        BadInput: no such suite, not TOML, or a field that is unknown, missing or out of range.
    """
    path = Path(name).expanduser() if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        raise unknown("suite", name, names())
    try:
        with path.open("rb") as stream:
            return Suite.model_validate(tomllib.load(stream))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"suite {path} is not TOML: {error}") from error
    except ValidationError as error:
        raise BadInput(f"suite {path}: {sentence(error, Suite)}") from error


def sentence(error: ValidationError, model: type[BaseModel]) -> str:
    """The first validation error as one sentence that names the field and the remedy."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        owner = _model_at(model, first["loc"][:-1])
        return str(unknown("field", where, owner.model_fields if owner else ()))
    if first["type"] == "missing":
        return f"field {where!r} is missing"
    said: str = first["msg"].removeprefix("Value error, ")
    return f"field {where!r}: {said}" if where else said


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel] | None:
    for part in location:
        field = model.model_fields.get(str(part))
        annotation = field.annotation if field else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        model = annotation
    return model


def _known(what: str, values: tuple[str, ...], allowed: Any) -> tuple[str, ...]:
    for value in values:
        if value not in allowed:
            raise ValueError(str(unknown(what, value, allowed)))
    return _distinct(what, values)


def _distinct(what: str, values: tuple[Listed, ...]) -> tuple[Listed, ...]:
    repeated = {value for value in values if values.count(value) > 1}
    if repeated:
        raise ValueError(f"{what} {sorted(map(str, repeated))[0]!r} is listed twice")
    return values
