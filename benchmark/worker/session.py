"""One method, fitted and then asked: the same object serves a forked worker and, for debugging, the harness itself."""

from __future__ import annotations

import importlib
import importlib.util
import random
import resource
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from benchmark.api import Checked, JointFeatureMethod
from benchmark.worker import jail
from benchmark.worker.watch import Watch

Fetch = Callable[[str, int], int]
Reply = tuple[dict[str, Any], dict[str, Tensor]]


class Answers(Protocol):
    """What answers the requests of one track in a worker: `on_<op>(header, tensors)`."""

    def __init__(self, entry: Any, fetch: Fetch, device: torch.device) -> None: ...


class Session:
    """State of one worker; `handle` answers one request. `fetch(stream, number)` opens the file of a chunk."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self.folder: Path | None = None
        self._class: Any = None
        self._answers: Answers | None = None
        self._watch: Watch | None = None

    def handle(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Answer one request; what the method raises comes through."""
        answer = f"on_{header['op']}"
        reply: Reply = getattr(self if hasattr(self, answer) else self._answers, answer)(header, tensors)
        return reply

    def on_open(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Import the method; `session` names what answers for its track."""
        torch.set_num_threads(header["threads"])
        # As in the harness: sums of numpy and scipy depend on the number of threads.
        threadpool_limits(1, user_api="blas")
        seed_everything(0)
        self.folder = Path(header["folder"])
        self._class = load_class(self.folder, header["entry"])
        module, _, attribute = header["session"].partition(":")
        answers = getattr(importlib.import_module(module), attribute)
        self._answers = answers(self._class, self._fetch, torch.device(header["device"]))
        return {"joint": issubclass(self._class, JointFeatureMethod), "persistent": hasattr(self._class, "load")}, {}

    def on_check(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Let the method refuse its settings."""
        method = self._class(**header["settings"])
        if isinstance(method, Checked):
            method.check(header["d_model"])
        return {}, {}

    def on_attempts(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """Try what must not work in jail."""
        return {"worked": jail.attempts(**header["told"])}, {}

    def on_watch(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """From now on, note what is written outside these folders and the temporary one."""
        self._watch = Watch()
        self._watch.allowed += [Path(folder) for folder in header["allowed"]]
        return {}, {}

    def on_written(self, header: dict[str, Any], tensors: Mapping[str, Tensor]) -> Reply:
        """What was noted."""
        return {"written": list(self._watch.written) if self._watch else []}, {}


def load_class(folder: Path, entry: str) -> Any:
    """The class `entry` of `method.py` in a folder, which is a package of its own: siblings import as `.engine`, so
    that a copied folder runs its own code.

    A folder within a package that can be imported, as the baselines are, goes by that package's name: compiled kernels
    on disk remember the name of their module, and everybody must find them under the same one.
    """
    if not (folder / "method.py").is_file():
        raise ImportError(f"{folder} has no method.py")
    try:
        module = _in_package(folder) or _alone(folder)
    except ModuleNotFoundError as error:
        if error.name and (folder / f"{error.name}.py").is_file():
            raise ImportError(f"{error.name}.py lies beside method.py: write `from .{error.name} import …`") from error
        raise
    if not hasattr(module, entry):
        raise ImportError(f"{folder}/method.py has no class {entry!r}: it has {', '.join(_public(vars(module)))}")
    return getattr(module, entry)


def _in_package(folder: Path) -> ModuleType | None:
    package = f"{folder.parent.name}.{folder.name}"
    known = importlib.util.find_spec(folder.parent.name) if folder.parent.name.isidentifier() else None
    places = [Path(place).resolve() for place in (known.submodule_search_locations or ())] if known else []
    if folder.parent.resolve() not in places or not (folder / "__init__.py").is_file():
        return None
    return importlib.import_module(f"{package}.method")


def _alone(folder: Path) -> ModuleType:
    name = f"method_{folder.name}"
    for known in [module for module in sys.modules if module == name or module.startswith(f"{name}.")]:
        del sys.modules[known]
    spec = importlib.util.spec_from_file_location(name, folder / "method.py", submodule_search_locations=[str(folder)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def peak_bytes() -> int:
    """Largest resident size of this process so far; the system counts in kibibytes, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def seed_everything(seed: int) -> None:
    """Seed the global generators, for trainers of libraries that draw from them."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _public(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if name[0].isupper())
