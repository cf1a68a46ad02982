"""The built-in subject `pythia-mini`: eight training seeds that ship with the benchmark, half precision.

`step0` is not shipped: it follows from configuration and seed, and is written to the cache when it is asked for.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from benchmark.errors import unknown
from benchmark.models import pythia
from benchmark.models.initialise import step0 as initial
from benchmark.models.mini.checkpoints import save_revision
from benchmark.models.pythia import Checkpoint
from benchmark.spec.suite import BUILT_IN

NAME = "pythia-mini"
HOME = Path(__file__).parent / NAME
PREFIX = f"{BUILT_IN}{NAME}/seed"


def is_built_in(source: str) -> bool:
    """Whether a replicate's source names the built-in subject."""
    return source.startswith(BUILT_IN)


def checkpoint(source: str, revision: str = "main") -> Checkpoint:
    """A shipped revision of `built-in:pythia-mini/seed<S>`; `main` is the last one.

    Raises:
        BadInput: no such seed or revision.
    """
    home = HOME / f"seed{seed_of(source)}"
    if revision == "main":
        revision = f"step{max(steps(home))}"
    return pythia.locate(str(home), revision)._replace(source=source)


def step0(source: str, cache: Path) -> Checkpoint:
    """The initialisation of a training seed, written to `cache` unless it is there."""
    folder = cache / NAME / f"seed{seed_of(source)}"
    if not (folder / "step0").is_dir():
        trained = checkpoint(source)
        tokenizer: PreTrainedTokenizerFast = pythia.tokenizer(trained)
        save_revision(folder, 0, initial(pythia.config(trained), seed_of(source)), tokenizer)
    return Checkpoint(source, "step0", folder / "step0")


def seed_of(source: str) -> int:
    """The training seed that a source names."""
    seed = source.removeprefix(PREFIX)
    if not (source.startswith(PREFIX) and seed.isdigit() and (HOME / f"seed{seed}").is_dir()):
        raise unknown("built-in subject", source, [f"{PREFIX}{number}" for number in seeds()])
    return int(seed)


def seeds() -> list[int]:
    """Training seeds that ship."""
    return sorted(int(folder.name.removeprefix("seed")) for folder in HOME.glob("seed*"))


def steps(home: Path) -> list[int]:
    """Steps of the revisions below a seed's folder."""
    return sorted(int(folder.name.removeprefix("step")) for folder in home.glob("step*"))
