"""The contract of the probes track, asked of a method on activations of the built-in subject and on made-up ones."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark import keyed
from benchmark.checks.conformance import Asked, Refused
from benchmark.checks.fits import HOOKPOINTS, made_up, subject
from benchmark.checks.workers import Workers, in_jail, says_no, takes_settings
from benchmark.execution.contract import Executor, Worker
from benchmark.reporting import Reporter, duration
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites
from benchmark.store import Store
from benchmark.tracks.probes.asked import SHARES
from benchmark.tracks.probes.remote import Fitter, RemoteProbe
from benchmark.tracks.probes.track import ProbesTrack
from benchmark.tracks.probes.trusted import ProbeTable

MEASURED_BY = "mini"
CLASSES, TOKENS, WIDTHS = 4, 2_048, (64, 512)
BATCHINGS, CLOSE = (333, 64, 1), 1e-4


class AskedProbe(NamedTuple):
    """A probe in its worker, and what fitting it took."""

    worker: Worker
    probe: RemoteProbe
    seconds: float


class ProbeBench(Workers):
    """Fits of one method, each in a fresh worker, to which quarter of the tokens a drawn direction puts one in."""

    def __init__(self, run: MethodRun, x: Tensor, store: Store) -> None:
        super().__init__(run, (store.root / "logs" / f"check-{run.method.name}.log").resolve())
        self.x = x
        self.fitted: AskedProbe | None = None

    @property
    def first(self) -> AskedProbe:
        """The fit on the built-in subject that most questions are about."""
        self.fitted = self.fitted or self.fit(self.x, quarters(self.x))
        return self.fitted

    def fit(self, x: Tensor, labels: NDArray[np.int64], executor: Executor | None = None) -> AskedProbe:
        """A probe for these labels."""
        worker = self.start({}, executor)
        return AskedProbe(worker, *_fitted(Fitter(worker, self.run.rows[0].settings, None), x, labels))


@contextmanager
def questions(run: MethodRun, store: Store, reporter: Reporter) -> Iterator[Iterator[Asked]]:
    """All questions to a method of the probes track, in the order in which they are asked."""
    x = subject(store, reporter, "hookpoint").fitted[HOOKPOINTS[0]][: 2 * TOKENS]
    bench = ProbeBench(run, x, store)
    try:
        yield _questions(bench)
    finally:
        bench.close()


def _fitted(fitter: Fitter, x: Tensor, labels: NDArray[np.int64]) -> tuple[RemoteProbe, float]:
    started = time.monotonic()
    probe = fitter.fit(x, labels, CLASSES, keyed.seed("conformance probe"))
    return probe, time.monotonic() - started


def quarters(x: Tensor) -> NDArray[np.int64]:
    """Which quarter of the tokens each belongs to, along a drawn direction."""
    direction = keyed.rng("conformance direction", x.shape[1]).standard_normal(x.shape[1])
    told = x.double().numpy() @ direction
    return np.searchsorted(np.quantile(told, np.arange(1, CLASSES) / CLASSES), told).astype(np.int64)


def _questions(bench: ProbeBench) -> Iterator[Asked]:
    yield "imports, and takes its settings and presets", partial(takes_settings, bench, bench.x.shape[1])
    yield "fits, and answers with a finite score for each class", partial(_answers, bench)
    if bench.fitted is None:
        return
    yield "gives a token the same scores in any batch", partial(_batching, bench)
    yield "gives the same fit for the same seed", partial(_same_seed, bench)
    yield "fits where a class has no token", partial(_absent, bench)
    for width in WIDTHS:
        yield f"fits activations of width {width}", partial(_width, bench, width)
    yield "writes nowhere but where it may", partial(_writing, bench)
    yield "gives the same fit in jail, where runs have it", partial(_jailed, bench)
    yield "time and memory", partial(_cost, bench)


def _answers(bench: ProbeBench) -> str:
    right = float((bench.first.probe.predict(bench.x).argmax(dim=1).numpy() == quarters(bench.x)).mean())
    return f"{right:.0%} right of {CLASSES} classes that a direction cuts the tokens into, on the tokens of the fit"


def _batching(bench: ProbeBench) -> None:
    whole = bench.first.probe.predict(bench.x)
    for size in BATCHINGS:
        part = bench.x[: 8 * size]
        found = torch.cat([bench.first.probe.predict(batch) for batch in part.split(size)])
        if offence := _unlike(whole[: len(part)], found):
            raise Refused(
                f"scores of the same tokens in batches of {size} and of {len(bench.x)} {offence}; predict must treat "
                "tokens alone"
            )
    order = torch.from_numpy(keyed.rng("conformance order").permutation(len(bench.x)))
    if offence := _unlike(whole[order], bench.first.probe.predict(bench.x[order])):
        raise Refused(f"scores of the same tokens in another order {offence}; predict must treat tokens alone")


def _same_seed(bench: ProbeBench) -> None:
    again = bench.fit(bench.x, quarters(bench.x))
    with closing(again.worker):
        bench.settle(again.worker)
        if offence := _unlike(bench.first.probe.predict(bench.x), again.probe.predict(bench.x)):
            raise Refused(
                f"two fits with the same seed {offence}; draw everything from the seed that fit gets "
                "(torch.Generator().manual_seed(seed), random_state=seed % 2**32), and from nothing else"
            )


def _absent(bench: ProbeBench) -> None:
    """Classes 1 and 3 alone, as some part of a question's tokens may have them."""
    labels = quarters(bench.x) // 2 * 2 + 1
    fit = bench.fit(bench.x, labels)
    with closing(fit.worker):
        told = fit.probe.predict(bench.x).argmax(dim=1).numpy()
        bench.settle(fit.worker)
    if not np.isin(told, labels).all():
        raise Refused("a class that had no token in the fit is told of some: no other score may be lower")


def _width(bench: ProbeBench, width: int) -> str:
    return says_no(bench, width) or _asked_once(bench, made_up(width, TOKENS).fitted[HOOKPOINTS[0]])


def _asked_once(bench: ProbeBench, x: Tensor) -> str:
    fit = bench.fit(x, quarters(x))
    with closing(fit.worker):
        fit.probe.predict(x)
        bench.settle(fit.worker)
    return f"{len(x):,} tokens in {fit.seconds:.1f} s"


def _writing(bench: ProbeBench) -> None:
    bench.settle(bench.first.worker)
    if bench.written:
        some = ", ".join(sorted(bench.written)[:3])
        raise Refused(f"it wrote {some}: a method may write into the temporary folder alone (tempfile)")


def _jailed(bench: ProbeBench) -> str | None:
    def differs(jail: Executor) -> str | None:
        inside = bench.fit(bench.x, quarters(bench.x), jail)
        with closing(inside.worker):
            offence = _unlike(bench.first.probe.predict(bench.x), inside.probe.predict(bench.x))
        return f"scores {offence}" if offence else None

    return in_jail(bench, differs)


def _cost(bench: ProbeBench) -> str:
    suite, fit = suites.load(MEASURED_BY), bench.first
    # Once more in the same worker, for the first fit had libraries to import.
    seconds = _fitted(Fitter(fit.worker, bench.run.rows[0].settings, None), bench.x, quarters(bench.x))[1]
    table = ProbeTable.of(suite)
    # Of each task a probe, one of random labels, and those of the code's parts.
    tokens = table.fit_tokens * len(table.tasks) * (2 + sum(1 / share for share in SHARES))
    cells = len(suite.subject.replicates) * len(suite.variants) * len(ProbesTrack.places(suite))
    whole = seconds * tokens / len(bench.x) * cells
    return (
        f"{len(bench.x):,} tokens fitted in {seconds:.2g} s, peak {fit.probe.peak_bytes / 2**20:,.0f} MiB; fits of "
        f"suite {MEASURED_BY} may take {duration(whole)} on one core, with these settings"
    )


def _unlike(one: Tensor, other: Tensor) -> str:
    """How far scores lie apart; nothing where that is rounding."""
    off = float((one - other).abs().max() / one.abs().max().clamp(min=1e-30))
    return f"lie {off:.2g} of the largest apart, and at most {CLOSE:g} is rounding" if off > CLOSE else ""
