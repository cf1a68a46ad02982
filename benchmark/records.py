"""What a record is: a scored cell with everything needed to recompute it. `store` says where records lie."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

SCHEMA = 3
LONGEST_SALT = 100

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
MetricName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.:@-]*$", max_length=100)]
FamilyName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=100)]
Salt = Annotated[str, Field(max_length=LONGEST_SALT, description="what seeds and draws are keyed by beside the cell")]
Id = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MetricValue(_Closed):
    """A value, or None and why; `undefined` counts latents without one."""

    value: FiniteFloat | None
    reason: str | None = None
    undefined: int = 0


class Where(_Closed):
    """The cell."""

    suite: Name
    track: Name
    method: Name
    label: str = Field(description="how the settings differ from the method's defaults")
    subject: str
    source: str = Field(description="hub id or folder name of the replicate")
    revision: str
    replicate: int
    variant: str = Field(pattern=r"^[a-z0-9-]+(:\d+){0,2}$", max_length=100)
    method_seed: int
    place: Name = Field(description="hookpoint, or what else the track measures at")


class Record(_Closed):
    """One scored or failed cell."""

    schema_version: int = SCHEMA
    where: Where
    status: Literal["scored", "failed"]
    error: str | None = None
    fit_id: Id
    score_id: Id
    suite_hash: Id = Field(description="content of the suite: its text, weights, budgets, variants, places")
    settings_hash: Id = Field(description="what must be equal for cells to share a row")
    settings: dict[str, Any]
    salt: Salt = ""
    blind: bool = Field(False, description="whether the method saw activations in a drawn frame")
    suite: dict[str, Any] = Field(description="what the suite says, without metrics and local paths")
    families: dict[FamilyName, Id] = Field(
        default_factory=dict, description="which families of metrics were computed, and by which definition"
    )
    metrics: dict[MetricName, MetricValue] = Field(default_factory=dict)
    counts: dict[str, FiniteFloat] = Field(default_factory=dict)
    gate: dict[str, Any] = Field(default_factory=dict, description="figures of the variant gate")
    seeds: dict[str, int] = Field(default_factory=dict)
    hashes: dict[str, str] = Field(default_factory=dict, description="weights, tokenizer, data and method code")
    versions: dict[str, str] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict, description="what was installed for the method alone")
    hardware: dict[str, Any] = Field(default_factory=dict)
    cost: dict[str, FiniteFloat] = Field(default_factory=dict, description="seconds and bytes")
    isolation: str = "process"
    reported_by: Literal["self-reported", "verified"] = "self-reported"


class Join(_Closed):
    """A metric that compares two cells, from the point of view of the first."""

    metric: MetricName
    family: Id = Field(description="by which definition it was computed")
    where: Where
    other: int = Field(description="the other replicate, or the other method seed")
    score_ids: tuple[Id, Id]
    suite_hash: Id
    settings_hash: Id
    value: FiniteFloat | None
    reason: str | None = None
