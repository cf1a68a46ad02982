"""What is asked of featurizers that were trained elsewhere: that they are there, of the network and hookpoint that
`method.toml` says, and answer as their library does.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from torch import Tensor

from benchmark.checks.conformance import Asked, Refused
from benchmark.checks.featurizers import answers, batching, decoding, fvu, like_the_library
from benchmark.checks.fits import HOOKPOINTS, Bench, Shown, activations_of
from benchmark.models.mini import builtin
from benchmark.reporting import Reporter
from benchmark.run import pretrained
from benchmark.run.plan import MethodRun
from benchmark.spec.suite import public_name
from benchmark.store import Store


@contextmanager
def questions(run: MethodRun, store: Store, reporter: Reporter) -> Iterator[Iterator[Asked]]:
    """All questions, network by network and hookpoint by hookpoint."""
    with tempfile.TemporaryDirectory(prefix="nullgap-check-") as name:
        yield _questions(_Asking(run, store, reporter, Path(name).resolve()))


class _Asking:
    def __init__(self, run: MethodRun, store: Store, reporter: Reporter, folder: Path) -> None:
        self.run, self.store, self.reporter, self.folder = run, store, reporter, folder
        self.log = (store.root / "logs" / f"check-{run.method.name}.log").resolve()
        self._streams: dict[str, dict[str, Tensor] | None] = {}

    def streams(self, network: str) -> dict[str, Tensor] | None:
        """Activations of a network by hookpoint; networks are asked about one after the other."""
        if network not in self._streams:
            revision = self.run.method.manifest.revision
            self._streams = {network: activations_of(self.store, self.reporter, network, revision)}
        return self._streams[network]


def _questions(asking: _Asking) -> Iterator[Asked]:
    for network, places in asking.run.method.manifest.pretrained.items():
        for place, source in places.items():
            yield f"{public_name(network)} at {place}", partial(_one, asking, network, place, source)


def _one(asking: _Asking, network: str, place: str, source: str) -> str:
    method = asking.run.method
    folder = pretrained.located(method, source, download=True)
    assert folder is not None, "a source is downloaded, or refused"
    streams = asking.streams(network)
    d_model = next(iter(streams.values())).shape[1] if streams else None
    pretrained.require(source, pretrained.told(folder), public_name(network), place, d_model)
    if streams is None:
        return f"{source} is there and says nothing against it; {public_name(network)} is not, so that no more is asked"
    if place not in streams:
        raise Refused(f"{public_name(network)} has no {place}: it has {', '.join(streams)}")
    home = asking.folder / f"{public_name(network)}-{place}".replace("/", "-")
    home.mkdir()
    x = streams[place]
    bench = Bench(asking.run, home, Shown({HOOKPOINTS[0]: x}, x, x), asking.log)
    try:
        bench.saved.mkdir()
        pretrained.copy(folder, bench.saved)
        bench.fitted = bench.load()
        with closing(bench.fitted.worker):
            said = _answered(bench, streams, place, built_in=builtin.is_built_in(network))
    finally:
        bench.close()
        shutil.rmtree(home)
    return f"{source}: {said}"


def _answered(bench: Bench, streams: Mapping[str, Tensor], place: str, *, built_in: bool) -> str:
    said = [answers(bench)]
    batching(bench)
    featurizer = bench.first.featurizer
    if bench.first.reply.get("wrapped"):
        said.append(like_the_library(bench)[0])
    if featurizer.decodes:
        decoding(bench, linear=bench.run.method.manifest.linear)
        left = {other: fvu(x, featurizer.decode(featurizer.encode(x))) for other, x in streams.items()}
        told = ", ".join(f"{other} {value:.3f}" for other, value in left.items())
        said.append(f"FVU {left[place]:.3f} ({told})")
        best = min(left, key=lambda other: left[other])
        # A network of another text leaves what it leaves on the built-in one: there, the least decides nothing.
        if not left[place] < 1 or (built_in and best != place):
            raise Refused(
                f"it leaves {left[place]:.3f} of the variance of {place} unexplained, and least of {best} ({told}): "
                "the weights are of another hookpoint, network or scale than method.toml says"
            )
    return ", ".join(said)
