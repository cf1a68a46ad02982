"""The built-in subject `pythia-mini`: trained here at first use on generated sentences, then cached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from benchmark.models.mini.train import Recipe, train
from benchmark.suite import BUILT_IN, Corpus

NAME = "pythia-mini"
RECIPE = Recipe(layers=3, d_model=64, heads=4, vocab=512, context=128, batch=16, tokens=1_000_000)
CORPUS = Corpus(source=f"{BUILT_IN}sentences")


def folder(source: str, cache: Path) -> Path | None:
    """Where the replicate `built-in:pythia-mini/seed<S>` is cached; None for any other source."""
    prefix = f"{BUILT_IN}{NAME}/seed"
    seed = source.removeprefix(prefix)
    return cache / NAME / f"seed{seed}" if source.startswith(prefix) and seed.isdigit() else None


def revision() -> str:
    """The trained revision."""
    return f"step{RECIPE.steps}"


def ensure(sources: list[str], cache: Path, log: Callable[[str], None]) -> None:
    """Train the replicates that are not cached yet; takes about twenty seconds each on two cores."""
    missing = [
        int(source.rpartition("seed")[2])
        for source in sources
        if (place := folder(source, cache)) is not None and not (place / revision() / "config.json").is_file()
    ]
    if missing:
        log(f"making the built-in subject {NAME} for {len(missing)} training seed(s): once, then cached in {cache}")
        train(CORPUS, cache / NAME, missing, RECIPE, [], log)
