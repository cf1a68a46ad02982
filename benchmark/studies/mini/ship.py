"""Put trained subjects into the package: `python -m benchmark.studies.mini.ship FOLDER` after `mini.train`.

Weights become half precision; every seed ships its last revision, the first seed its intermediate ones too. Step-0 is
left out: its quantised hash goes into `training.json`, to be checked where it is drawn again.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmark.models import contents, initialise, pythia
from benchmark.models.mini import builtin
from benchmark.models.pythia import Checkpoint

MOST_BYTES = 32_000_000


def ship(trained: Path, home: Path) -> int:
    """Write every seed below `trained` to `home`; returns the bytes written."""
    shutil.rmtree(home, ignore_errors=True)
    for folder in sorted(trained.glob("seed*")):
        steps = builtin.steps(folder)
        for step in steps[1:] if folder.name == "seed0" else steps[-1:]:
            _halve(Checkpoint(folder.name, f"step{step}", folder / f"step{step}"), home / folder.name / f"step{step}")
        figures = json.loads((folder / "training.json").read_text())
        config = pythia.config(Checkpoint(folder.name, "step0", folder / "step0"))
        figures["step0_hash"] = contents.weight_hash(initialise.step0(config, figures["seed"]))
        (home / folder.name / "training.json").write_text(json.dumps(figures, indent=1) + "\n")
    return sum(file.stat().st_size for file in home.rglob("*") if file.is_file())


def _halve(checkpoint: Checkpoint, out: Path) -> None:
    pythia.load(checkpoint, torch.float16, torch.device("cpu")).save_pretrained(out)
    pythia.tokenizer(checkpoint).save_pretrained(out)
    for file in out.iterdir():
        file.chmod(0o644)


def main(trained: Annotated[Path, typer.Argument(help="Folder that mini.train wrote.")]) -> None:
    """Replace the shipped subjects by those trained in a folder."""
    size = ship(trained, builtin.HOME)
    typer.echo(f"{len(builtin.seeds())} training seeds, {size / 1e6:.1f} MB in {builtin.HOME}")
    if size > MOST_BYTES:
        typer.echo(f"error: more than {MOST_BYTES / 1e6:.0f} MB", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
