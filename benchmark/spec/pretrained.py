"""Methods whose fits were made elsewhere, on trained networks: of which network and place each is, and where it lies.
Pure.

`method.toml` says it as a table per network, `[pretrained."EleutherAI/pythia-70m"]`, with a line per place,
`"layers.3" = "weights/layers.3"`; the settings of such a method are this table, so that records show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmark.spec.suite import public_name

SETTING, REVISION, RECIPE = "pretrained", "revision", "recipe"
LABEL = "pretrained"
TRAINED = "trained"
HUB = "hub:"
ON_HUB = re.compile(r"hub:([\w.-]+/[\w.-]+)@([0-9a-f]{40})(?:/([\w.-]+(?:/[\w.-]+)*))?")


class HubFolder(NamedTuple):
    """A folder of a repository of the hub, at one commit; an empty folder is the repository's root."""

    repository: str
    commit: str
    folder: str


def settings_of(pretrained: Mapping[str, Mapping[str, str]], revision: str, recipe: str | None) -> dict[str, Any]:
    """The settings of a method that is not fitted; of local networks they hold the last part of the path."""
    named = {public_name(network): dict(places) for network, places in pretrained.items()}
    return {SETTING: named, REVISION: revision} | ({RECIPE: recipe} if recipe else {})


def require_apart(networks: Iterable[str]) -> None:
    """Networks are known by what may be shown of them: two of one name would be taken for one another.

    Raises:
        ValueError: names them.
    """
    known: dict[str, str] = {}
    for network in networks:
        other = known.setdefault(public_name(network), network)
        if other != network:
            raise ValueError(f"{other} and {network} are shown by one name, {public_name(network)}: rename a folder")


def is_pretrained(settings: Mapping[str, Any]) -> bool:
    """Whether these are the settings of a method that is not fitted."""
    return SETTING in settings


def source_of(settings: Mapping[str, Any], network: str, variant: str, place: str) -> str | None:
    """Where the fit of a cell lies; None where there is none, as on every null."""
    if variant != TRAINED:
        return None
    source: str | None = settings[SETTING].get(public_name(network), {}).get(place)
    return source


def has_fit(
    settings: Mapping[str, Any], network: str, variant: str, place: str, seed: int, seeds: Iterable[int]
) -> bool:
    """Whether a cell is one of the method's. Weights are the same under any method seed: the first stands for all."""
    return seed == min(seeds) and source_of(settings, network, variant, place) is not None


def on_hub(source: str) -> HubFolder | None:
    """What `hub:OWNER/NAME@COMMIT/FOLDER` names; None for a folder beside `method.toml`.

    Raises:
        ValueError: it names the hub, and no commit.
    """
    if not source.startswith(HUB):
        return None
    found = ON_HUB.fullmatch(source)
    if found is None or ".." in source:
        raise ValueError(
            f"{source!r} must be hub:OWNER/NAME@COMMIT/FOLDER with the 40 digits of a commit: a branch moves, and "
            "numbers with it"
        )
    return HubFolder(found[1], found[2], found[3] or "")
