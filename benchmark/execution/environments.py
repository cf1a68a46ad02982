"""A method's own requirements: an environment beside the harness's, made once with pip and known by its content.

It sees the packages of the harness, and what it installs itself goes before them; torch is the harness's, whatever the
others want, unless the method pins its own. Of the harness's own code it sees the api and the worker, and what methods
may build on: adapters and baselines.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from benchmark import keyed
from benchmark.errors import BadInput
from benchmark.spec.method import Method

ROOT = Path(__file__).parents[2]
PINNED = "pinned.json"
SEEN = ("benchmark/__init__.py", "benchmark/adapters", "benchmark/api", "benchmark/worker", "baselines")
"""All that a worker with an environment of its own finds of ours."""
TOLD = re.compile(r"PATH|HOME|LANG|LC_.*|TMPDIR|SSL_CERT_.*|REQUESTS_CA_BUNDLE|(?i:https?|no|all)_proxy|PIP_.*")
"""All that an installation sees of the environment: packages may run their own set-up."""
LISTING = """
import importlib.metadata, json, sysconfig
own = importlib.metadata.distributions(path=[sysconfig.get_paths()["purelib"]])
print(json.dumps({found.metadata["Name"]: found.version for found in own}))
"""


class Environment(NamedTuple):
    """Where a worker runs: its interpreter, the folder that holds what it sees of ours, and what was installed."""

    python: str
    path: str
    pinned: dict[str, str]


def prepare(method: Method, folder: Path, say: Callable[[str], None] = lambda text: None) -> Environment | None:
    """The environment of what a method requires (`name==version`, each), made in `folder` unless it is there; None for
    nothing.

    What is installed is trusted as much as the registry is: a package without a wheel runs its own set-up, which sees
    no key or token of the user's variables.

    Raises:
        BadInput: the installation failed.
    """
    if not method.requirements:
        return None
    made_with = (
        method.manifest.complete,
        platform.python_version(),
        platform.machine(),
        sys.prefix,
        str(ROOT),
        _shared(),
    )
    folder = folder.resolve() / keyed.short("environment", sorted(method.requirements), made_with)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / PINNED).is_file():
            say(f"installing what {method.name} requires ({', '.join(method.requirements)}): once, minutes")
            _make(method, folder)
    pinned = json.loads((folder / PINNED).read_text(encoding="utf-8"))
    return Environment(str(folder / "bin" / "python"), str(folder / "ours"), pinned)


def _make(method: Method, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _told(method, folder, [sys.executable, "-m", "venv", "--without-pip", str(folder)])
    python = str(folder / "bin" / "python")
    home = _told(method, folder, [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]).strip()
    # Packages that are found this way stay where they are: pip takes them as installed, and does not touch them.
    (Path(home) / "harness.pth").write_text("".join(f"{place}\n" for place in _places()), encoding="utf-8")
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--prefer-binary", *method.requirements]
    if method.manifest.complete:
        install.append("--no-deps")
    if not any(re.match(r"torch\b(?!-)", line) for line in method.requirements):
        (folder / "constraints.txt").write_text(f"torch=={importlib.metadata.version('torch').partition('+')[0]}\n")
        install += ["-c", str(folder / "constraints.txt")]
    _told(method, folder, install)
    for seen in SEEN:
        link = folder / "ours" / seen
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(ROOT / seen)
    pinned = json.loads(_told(method, folder, [python, "-c", LISTING]))
    half = folder / f".{PINNED}.tmp"
    half.write_text(json.dumps(dict(sorted(pinned.items())), indent=1) + "\n", encoding="utf-8")
    half.rename(folder / PINNED)


def _told(method: Method, folder: Path, command: list[str]) -> str:
    """What a step of the installation prints; one that fails says so in a sentence and leaves nothing behind."""
    told = {name: value for name, value in os.environ.items() if TOLD.fullmatch(name)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=told)
    if done.returncode:
        shutil.rmtree(folder, ignore_errors=True)
        said = (done.stdout + done.stderr).splitlines()
        telling = [line for line in said if any(word in line for word in ("ERROR", "depends on", "requested (c"))]
        why = "; ".join(line.replace("ERROR:", "").strip() for line in (telling or said)[-4:])
        raise BadInput(
            f"what {method.name} requires could not be installed (pip and a registry within reach are needed): {why}"
        )
    return done.stdout


def _places() -> list[str]:
    """Where the harness's packages lie."""
    return [place for place in sys.path if Path(place).name in ("site-packages", "dist-packages")]


def _shared() -> list[tuple[str, str]]:
    """What the harness's packages are: another set makes another environment."""
    found = importlib.metadata.distributions(path=_places())
    return sorted({(one.metadata["Name"].lower(), one.version) for one in found})
