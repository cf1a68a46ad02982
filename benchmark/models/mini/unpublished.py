"""Training seeds of the built-in subject that do not ship: nobody can know their networks by heart.

`python -m benchmark.studies.mini.train --out FOLDER --seeds N` makes one, N being a number that nobody can guess.
"""

from __future__ import annotations

from pathlib import Path

from benchmark import keyed
from benchmark.errors import BadInput
from benchmark.models import pythia
from benchmark.models.mini import builtin
from benchmark.models.pythia import Checkpoint

INCIDENTAL = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Of a configuration: what is no property of the network."""


def draw(source: str, revision: str, folder: Path, key: str) -> Checkpoint:
    """One of the training seeds below a folder, drawn by a key; raises as `seeds` does."""
    found = seeds(source, revision, folder)
    return found[keyed.seed("training seed", key) % len(found)]


def seeds(source: str, revision: str, folder: Path) -> list[Checkpoint]:
    """All training seeds below a folder, at a revision of the built-in replicate `source`.

    Raises:
        BadInput: another subject than the built-in one, no training seed, one that ships, or one of another recipe.
    """
    if not builtin.is_built_in(source):
        raise BadInput(f"{source} is not the built-in subject, and of that alone can a like one be trained here")
    homes = sorted(path for path in folder.glob("seed*") if path.name.removeprefix("seed").isdigit() and path.is_dir())
    if not homes:
        raise BadInput(
            f"{folder} holds no training seeds: make one with `python -m benchmark.studies.mini.train --out {folder} "
            "--seeds N`, N a number that nobody can guess"
        )
    if ship := [path.name for path in homes if int(path.name.removeprefix("seed")) in builtin.seeds()]:
        raise BadInput(f"{folder} holds {ship[0]}, which is published: take it out")
    own = builtin.checkpoint(source, revision)
    asked = f"step{builtin.steps(own.folder.parent)[-1]}" if revision == "main" else revision
    found, described = [pythia.locate(str(home), asked) for home in homes], _described(own)
    for other in found:
        if _described(other) != described:
            raise BadInput(
                f"{other.source} was made by another recipe than the built-in subject, or with another tokenizer"
            )
    return found


def _described(checkpoint: Checkpoint) -> tuple[dict[str, object], str]:
    told = pythia.config(checkpoint).to_dict()
    kept = {name: told[name] for name in sorted(told.keys() - set(INCIDENTAL))}
    return kept, pythia.tokenizer_fingerprint(checkpoint)
