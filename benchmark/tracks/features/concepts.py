"""Concept recovery of one cell: every family of the built-in language, its tiers, and the control of random labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.metrics import average_precision_score

from benchmark import keyed
from benchmark.data.world.concepts import FAMILIES, TIERS, Family
from benchmark.metrics import concepts
from benchmark.metrics.concepts import TOO_FEW
from benchmark.metrics.control import control_classes
from benchmark.metrics.value import Value, undefined

TOKEN_CLASS, BIGRAM, LATENT_STATE = TIERS
COLUMNS = (
    "family", "concept", "prevalence", "recovery", "latent", "random_labels", "average_precision", "probe_1", "probe_5",
    "probe_all",
)  # fmt: skip


class Known(NamedTuple):
    """What the harness knows of the score split: families, and token ids and documents, both [token]."""

    families: Sequence[Family]
    ids: NDArray[np.int64]
    documents: NDArray[np.int64]


class ConceptRecovery(NamedTuple):
    """All concept metrics, one line per concept, and of each drawn latent the token class and the other concept that it
    tells best.
    """

    values: dict[str, Value]
    table: pd.DataFrame
    matches: dict[str, list[object]]


class _Asked(NamedTuple):
    """Of some concepts their lines, and what either half says of each drawn latent, [half, concept, latent]."""

    table: pd.DataFrame
    every: NDArray[np.float64]


def recovery(codes: sparse.csr_array, drawn: NDArray[np.int64], known: Known, *, probes: bool) -> ConceptRecovery:
    """Of codes [token, n_latents] and the drawn latents [latent]."""
    asked = [_asked(codes, drawn, members, known, probes=probes) for members in _asked_together(known.families)]
    table = pd.concat([one.table for one in asked], ignore_index=True)
    every = np.concatenate([one.every for one in asked], axis=1)
    return ConceptRecovery(_values(table, probes=probes), table, _matches(table, every))


def _matches(table: pd.DataFrame, every: NDArray[np.float64]) -> dict[str, list[object]]:
    """Columns for the table of latents; a token class nearly always tells more than what the token does not say, so
    that the two stand apart.
    """
    names = (table["family"] + "." + table["concept"]).to_numpy(object)
    of_token = (table["family"].map(FAMILIES) == TOKEN_CLASS).to_numpy()
    columns: dict[str, list[object]] = {}
    for name, unit, asked, scale in (
        ("token_class", "auroc", of_token, np.asarray), ("concept", "lift", ~of_token, _lift),
    ):  # fmt: skip
        found = concepts.matches(every[:, asked])
        columns[name] = [names[asked][label] if label >= 0 else None for label in found.labels]
        columns[f"{name}_{unit}"] = list(scale(found.aurocs).astype(np.float32))
    return columns


def _asked_together(families: Sequence[Family]) -> list[list[Family]]:
    """Families about the same tokens, compared within the same groups: they share ranks and Gram matrices."""
    together: dict[tuple[bool, bytes], list[Family]] = {}
    for family in families:
        together.setdefault((family.tier == TOKEN_CLASS, family.rows.tobytes()), []).append(family)
    return list(together.values())


def _asked(
    codes: sparse.csr_array, drawn: NDArray[np.int64], members: list[Family], known: Known, *, probes: bool
) -> _Asked:
    rows, y = members[0].rows, np.concatenate([family.y for family in members], axis=1)
    ids, documents, z = known.ids[rows], known.documents[rows], codes[rows]
    by_token = members[0].tier != TOKEN_CLASS
    groups = ids if by_token else np.zeros_like(ids)
    first, second = concepts.halves(z, y, groups, documents)
    recovered = concepts.recover(first, second, probes=probes)
    scale = _lift if by_token else np.asarray
    names = [(family.name, concept) for family in members for concept in family.concepts]
    table = pd.DataFrame(names, columns=COLUMNS[:2]).reindex(columns=list(COLUMNS))
    table["prevalence"] = y.mean(axis=0)
    table["recovery"] = scale(recovered.single)
    table["latent"] = recovered.latents
    for size, grades in recovered.probes.items():
        table[f"probe_{size}"] = scale(grades)
    if not by_token:
        random = concepts.halves(z, random_labels(y, ids), groups, documents)
        table["random_labels"] = concepts.recover(*random, probes=False).single
        table["average_precision"] = [
            np.nan if latent < 0 else average_precision_score(second.y[:, row], second.z[:, [latent]].toarray()[:, 0])
            for row, latent in enumerate(recovered.latents)
        ]
    return _Asked(table, recovered.every[:, :, drawn])


def random_labels(y: NDArray[np.bool_], ids: NDArray[np.int64]) -> NDArray[np.bool_]:
    """The control task, as concepts that exclude one another."""
    drawn = control_classes(y.mean(axis=0), ids, keyed.rng("random labels", y.shape[1]))
    labels: NDArray[np.bool_] = drawn[:, None] == np.arange(y.shape[1])
    return labels


def _values(table: pd.DataFrame, *, probes: bool) -> dict[str, Value]:
    """Means over the concepts of a family, over the families of a tier, and over the two tiers with a lift."""
    by_family = table.groupby("family")[list(COLUMNS[3:])].mean()
    tier = pd.Series(FAMILIES)[by_family.index]
    by_tier = by_family.groupby(tier.to_numpy()).mean()
    lifts = by_tier.loc[[BIGRAM, LATENT_STATE], "recovery"]
    words = by_tier.loc[TOKEN_CLASS]
    means: dict[str, Any] = {
        "concept_recovery@1": lifts.mean(skipna=False),
        **{f"concept_recovery.{name}@1": by_tier.loc[name, "recovery"] for name in TIERS},
        **{
            f"concept_recovery.{name}@1": by_family.loc[name, "recovery"]
            for name, tier in FAMILIES.items()
            if tier not in (TOKEN_CLASS, BIGRAM)
        },
        "concept_selectivity@1": words["recovery"] - words["random_labels"],
    }
    if probes:
        means |= {f"concept_probe_{size}@1": by_tier.loc[LATENT_STATE, f"probe_{size}"] for size in ("1", "5", "all")}
    values = {name: _value(float(value)) for name, value in means.items()}
    missing = int(table["recovery"].isna().sum())
    return values | {"concept_recovery@1": values["concept_recovery@1"]._replace(undefined=missing)}


def _value(value: float) -> Value:
    return undefined(TOO_FEW) if np.isnan(value) else Value(value)


def _lift(auroc: NDArray[np.float64]) -> NDArray[np.float64]:
    return 2 * auroc - 1
