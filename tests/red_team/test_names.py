"""A method that reads every name in sight: none follows from its cell, so that none can be guessed and compared."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import tomli_w

from benchmark import keyed
from benchmark.records import Record
from benchmark.run import pipeline, plan
from benchmark.run.plan import MethodRun
from benchmark.spec import method as methods
from benchmark.spec.suite import Suite
from benchmark.store import Store
from tests.conftest import Silent

SPY = """
import json
import os
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmark.api import Latents

REPORT = Path(__file__).with_name("report.jsonl")


def note(what, seen):
    with REPORT.open("a") as file:
        file.write(json.dumps([what, seen]) + "\\n")


def links():
    return [os.readlink(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd") if name.isdigit()
            and os.path.islink(f"/proc/self/fd/{name}")]


class Spy:
    def fit(self, activations, *, seed):
        note("printed to", os.readlink("/proc/self/fd/1"))
        held = [cell.cell_contents for cell in activations._fetch.__closure__]
        note("stream", [str(one) for one in held])
        chunk = next(activations._chunks())
        note("open", links())
        note("mapped", sorted({line.split()[-1] for line in open("/proc/self/maps") if ".bin" in line}))
        self.n_latents = 2 * activations.d_model
        return self

    def encode(self, x):
        return Latents(torch.cat([x, -x], dim=1).clamp(min=0), torch.arange(2 * x.shape[1]).expand(len(x), -1))

    def save(self, folder):
        note("save", str(folder))
        save_file({"n": torch.tensor([self.n_latents])}, folder / "n.safetensors")

    @classmethod
    def load(cls, folder):
        note("load", str(folder))
        from safetensors.torch import load_file
        made = cls()
        made.n_latents = int(load_file(folder / "n.safetensors")["n"])
        return made
"""


def reported(folder: Path) -> list[tuple[str, Any]]:
    return [tuple(json.loads(line)) for line in (folder / "report.jsonl").read_text().splitlines()]


def name_in(seen: Any) -> str:
    """The last part of a path, or the name of a stream: above it the runs of a test have folders of their own."""
    if isinstance(seen, str):
        return Path(seen).name
    found = re.search(r"'id': '([^']+)'", " ".join(seen))
    assert found is not None
    return found[1]


def run(tiny: dict[str, Any], folder: Path, runs: Path, **changes: object) -> list[Record]:
    suite = Suite.model_validate(tiny | {"hookpoints": ["layers.1"], "variants": ["trained", "step0"], **changes})
    (folder / "report.jsonl").unlink(missing_ok=True)
    method = methods.load(str(folder))
    run_of = MethodRun(method, methods.rows(method, suite))
    outcome = pipeline.run(suite, [run_of], Store(runs), "process", Silent())
    assert not outcome.failed
    known = plan.make(suite, [run_of], Store(runs), download=False)
    guessed = {cell.opaque for cell in (item.cell for item in known.cells)}
    guessed |= {keyed.short("stream", *item.cell.keys) for item in known.cells}
    guessed |= {item.known_ids.fit for item in known.cells} | {item.known_ids.score for item in known.cells}
    records = list(Store(runs).records("tiny", method.name))
    guessed |= {value for record in records for value in record.hashes.values()}
    text = (folder / "report.jsonl").read_text()
    assert not [name for name in guessed if name in text]
    assert not re.search(r"trained|step0|rerandomized|seed0|seed1", text)
    assert not re.search(r"/[^/]{1,8}/\d+\.bin", text), "a chunk's folder says which layer it is of"
    return records


def test_no_name_in_sight_follows_from_the_cell(tiny: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "spy"
    folder.mkdir()
    (folder / "method.py").write_text(SPY)
    (folder / "method.toml").write_text(tomli_w.dumps({"track": "features", "entry": "Spy", "summary": "looks"}))
    one = {"metrics": ["l0@1"]}
    run(tiny, folder, tmp_path / "runs", **one)
    first = reported(folder)
    assert {what for what, _ in first} == {"printed to", "stream", "open", "mapped", "save"}
    assert all(seen for what, seen in first if what == "mapped"), "the path of a chunk is seen once it is open"
    run(tiny, folder, tmp_path / "again", **one)
    second = reported(folder)
    for what in ("printed to", "stream", "save"):
        names = [name_in(seen) for found in (first, second) for told, seen in found if told == what]
        assert len(set(names)) == len(names) == 8, f"{what}: drawn anew for each cell of each run"

    run(tiny, folder, tmp_path / "runs", metrics=["l0@1", "dense@1"])
    loaded = [seen for what, seen in reported(folder) if what == "load"]
    assert len(set(loaded)) == len(loaded) == 4
