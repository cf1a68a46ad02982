"""The contract of the features track, asked of a method on activations of the built-in subject and on made-up ones."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from benchmark import keyed
from benchmark.api import Latents
from benchmark.checks.conformance import Asked, Refused
from benchmark.data import blocks as token_blocks
from benchmark.execution.contract import MethodError, Worker
from benchmark.execution.local import ForkServers
from benchmark.forward import activations
from benchmark.models import subjects
from benchmark.models.hookpoints import layer_of
from benchmark.reporting import Reporter, duration
from benchmark.run.group import opening
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites
from benchmark.spec.variant import Variant
from benchmark.store import Store
from benchmark.tracks.features import remote
from benchmark.tracks.features.featurizer import checked_directions, csr
from benchmark.tracks.features.remote import Job, RemoteFeaturizer

SUITE, MEASURED_BY = "smoke", "mini"
HOOKPOINTS = ("layers.2", "layers.1")
WIDTHS = (64, 512)
ASKED_TOKENS, FEW_TOKENS, CHUNK = 1_000, 96, 8_192
TOKENS = {64: 8_192, 512: 2_048}
BATCHINGS = (1_000, 333, 64, 1)
SAME, CLOSE, RECONSTRUCTED = 0.999, 1e-4, 1e-5
"""Least share of active latents that two answers have in common; how far their values and two reconstructions may lie
apart, relative to the largest.
"""


class Shown(NamedTuple):
    """Activations by hookpoint: what a method is fitted on, and what it is asked about, [token, d_model] each."""

    fitted: Mapping[str, Tensor]
    asked: Tensor


class Fit(NamedTuple):
    """Featurizers in a worker, the first of which is asked; what fitting took."""

    worker: Worker
    featurizer: RemoteFeaturizer
    reply: Mapping[str, Any]
    seconds: float


class Bench:
    """Fits of one method in fresh workers, on activations that lie in files as they do in a run."""

    def __init__(self, run: MethodRun, folder: Path, subject: Shown) -> None:
        self.run, self.folder, self.subject = run, folder, subject
        self.executor, self.saved = ForkServers(), folder / "saved"
        self.saved.mkdir()
        self.settings = run.rows[0].settings
        self._limits = suites.load(SUITE).limits
        self.fitted: Fit | None = None
        self.written: set[str] = set()

    def close(self) -> None:
        self.executor.close()

    @property
    def first(self) -> Fit:
        """The fit on the built-in subject that most questions are about."""
        self.fitted = self.fitted or self.fit(self.subject)
        return self.fitted

    def open(self, material: Shown | None = None) -> Worker:
        files = self._files(material) if material else {}
        worker = self.executor.start(
            lambda stream, number: files[stream] / str(number), self.folder / "log", self._limits, self.run.environment
        )
        worker.call(opening(self.run, torch.device("cpu"), 1))
        worker.call({"op": "watch", "allowed": [str(self.saved), str(self.folder / "log")]})
        return worker

    def fit(self, material: Shown, *, times: int = 1) -> Fit:
        """Fitted on the first hookpoint, or on all where the method's scope is the model; `times` jobs at once."""
        scope = self.run.method.manifest.scope
        seen = list(material.fitted) if scope == "model" else list(material.fitted)[:1] * times
        worker, started = self.open(material), time.monotonic()
        jobs = [self._job(material, hookpoint) for hookpoint in seen]
        featurizers, reply = remote.fit(worker, jobs, scope)
        fit = Fit(worker, featurizers[0], reply, time.monotonic() - started)
        return fit._replace(featurizer=featurizers[-1]) if times > 1 else fit

    def load(self) -> RemoteFeaturizer:
        worker = self.open()
        return remote.load(worker, [self.saved], [self._job(self.subject, HOOKPOINTS[0])])[0][0]

    def settle(self, worker: Worker) -> None:
        """Note what a worker wrote."""
        self.written |= set(worker.call({"op": "written"})[0]["written"])

    def _job(self, material: Shown, hookpoint: str) -> Job:
        n_tokens, d_model = material.fitted[hookpoint].shape
        stream = {
            "id": f"{hookpoint}-{d_model}-{n_tokens}",
            "d_model": d_model,
            "n_tokens": n_tokens,
            "chunk_tokens": CHUNK,
            "shuffle_tokens": CHUNK,
            "seed": keyed.seed("conformance stream"),
            "dtype": "float32",
        }
        return Job(hookpoint, stream, keyed.seed("conformance fit"), dict(self.settings))

    def _files(self, material: Shown) -> dict[str, Path]:
        found = {}
        for hookpoint, x in material.fitted.items():
            home = self.folder / f"{hookpoint}-{x.shape[1]}-{len(x)}"
            home.mkdir(exist_ok=True)
            for number, chunk in enumerate(x.split(CHUNK)):
                (home / str(number)).write_bytes(chunk.contiguous().numpy().tobytes())
            found[home.name] = home
        return found


@contextmanager
def questions(run: MethodRun, store: Store, reporter: Reporter) -> Iterator[Iterator[Asked]]:
    """All questions to a method of the features track, in the order in which they are asked."""
    with tempfile.TemporaryDirectory(prefix="nullgap-check-") as name:
        bench = Bench(run, Path(name).resolve(), subject(store, reporter))
        try:
            yield _questions(bench)
        finally:
            bench.close()


def _questions(bench: Bench) -> Iterator[Asked]:
    manifest = bench.run.method.manifest
    yield "imports, and takes its settings and presets", partial(_settings, bench)
    yield "fits, and answers with finite codes >= 0, ids in range and distinct", partial(_answers, bench)
    if bench.fitted is None:
        return
    yield "gives a token the same code in any batch", partial(_batching, bench)
    yield "gives the same fit for the same seed", partial(_same_seed, bench)
    if manifest.scope == "hookpoint":
        yield "fit_many gives what fit gives", partial(_joint, bench)
    if bench.fitted.featurizer.decodes:
        yield "decodes, linearly or as method.toml says", partial(_decoding, bench, linear=manifest.linear)
    if bench.fitted.reply.get("wrapped"):
        yield "encodes and decodes as the library that it wraps", partial(_wrapped, bench)
    yield "save and load give it back", partial(_persistent, bench)
    for width in WIDTHS:
        yield f"fits activations of width {width}", partial(_width, bench, width)
    yield "fits with more latents than tokens", partial(_few_tokens, bench)
    yield "writes nowhere but where it may", partial(_writing, bench)
    yield "time and memory", partial(_cost, bench)


def subject(store: Store, reporter: Reporter) -> Shown:
    """Activations of the built-in subject, trained."""
    suite = suites.load(SUITE)
    resolved = subjects.resolve(suite.subject, [Variant.parse("trained")], store.root / "subjects", download=True)
    blocks = token_blocks.prepare(
        suite.corpus, suite.tokens, resolved.tokenizer(), resolved.tokenizer_hash, store.root / "blocks",
        lambda done, total: reporter.step("tokenising", done, total), reporter.say,
    )  # fmt: skip
    network, _ = resolved.network(0, Variant.parse("trained"))
    layers = [layer_of(hookpoint) for hookpoint in HOOKPOINTS]

    def read(split: str) -> list[Tensor]:
        parts = [one.usable for one in activations.forward(network, blocks[split], split, layers)]
        return [torch.cat(layer) for layer in zip(*parts, strict=True)]

    return Shown(dict(zip(HOOKPOINTS, read("fit"), strict=True)), read("score")[0][:ASKED_TOKENS])


def made_up(width: int, tokens: int) -> Shown:
    """Sparse mixtures of drawn directions, off centre and with noise."""
    rng = keyed.rng("conformance", width)
    sources = 2 * width
    active = rng.random((tokens + ASKED_TOKENS, sources)) < 4 / sources
    codes = active * rng.exponential(1.0, active.shape)
    x = codes @ rng.standard_normal((sources, width)) + rng.standard_normal(width)
    noisy = torch.from_numpy((x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32))
    return Shown(dict.fromkeys(HOOKPOINTS, noisy[:tokens]), noisy[tokens:])


def _settings(bench: Bench) -> None:
    manifest = bench.run.method.manifest
    width = bench.subject.asked.shape[1]
    with closing(bench.open()) as worker:
        for changes in ({}, *manifest.presets.values()):
            worker.call({"op": "check", "settings": {**manifest.settings, **changes}, "d_model": width})
        bench.settle(worker)


def _answers(bench: Bench) -> str:
    codes = _codes(bench.first.featurizer, bench.subject.asked)
    alive = len(np.unique(codes.indices))
    if not alive:
        raise Refused(
            f"no latent is active on {ASKED_TOKENS:,} tokens after a fit on {_fitted_tokens(bench.subject):,}: "
            "nothing can be asked of such a fit; look at thresholds, biases and the scale of the activations"
        )
    l0 = codes.nnz / codes.shape[0]
    return f"{bench.first.featurizer.n_latents:,} latents, {alive:,} of them active here, {l0:.1f} per token"


def _batching(bench: Bench) -> None:
    x, featurizer = bench.subject.asked, bench.first.featurizer
    whole = _codes(featurizer, x)
    for size in BATCHINGS:
        parts = x[: 32 if size == 1 else None].split(size)
        found = sparse.vstack([_codes(featurizer, part) for part in parts], format="csr")
        if offence := _unlike(whole[: found.shape[0]], found):
            raise Refused(
                f"codes of the same tokens in batches of {size} and of {len(x)} differ: {offence}; a token's code "
                "must not depend on the others (a BatchTopK encoder uses its stored threshold)"
            )
    order = torch.from_numpy(keyed.rng("conformance order").permutation(len(x)))
    if offence := _unlike(whole[order.numpy()], _codes(featurizer, x[order])):
        raise Refused(f"codes of the same tokens in another order differ: {offence}; encode must treat tokens alone")


def _same_seed(bench: Bench) -> None:
    again = bench.fit(bench.subject)
    with closing(again.worker):
        bench.settle(again.worker)
        codes = [_codes(fit.featurizer, bench.subject.asked) for fit in (bench.first, again)]
    if offence := _unlike(*codes):
        raise Refused(
            f"two fits with the same seed differ: {offence}; draw everything from the seed that fit gets "
            "(torch.Generator().manual_seed(seed)), and from nothing else"
        )


def _joint(bench: Bench) -> str | None:
    with closing(bench.open()) as worker:
        if not worker.call(opening(bench.run, torch.device("cpu"), 1))[0]["joint"]:
            return "no fit_many: every cell is fitted alone"
    together = bench.fit(bench.subject, times=2)
    with closing(together.worker):
        found = _codes(together.featurizer, bench.subject.asked)
    if offence := _unlike(_codes(bench.first.featurizer, bench.subject.asked), found):
        raise Refused(f"fit_many gives another featurizer than fit: {offence}; one job must not see another")
    return None


def _decoding(bench: Bench, *, linear: bool) -> str:
    featurizer, x = bench.first.featurizer, bench.subject.asked
    answer = featurizer.encode(x)
    fvu = _fvu(x, featurizer.decode(answer))
    alive = np.unique(csr(answer, featurizer.n_latents).indices)[:64].astype(np.int64)
    _, reason = checked_directions(featurizer, alive, keyed.rng("conformance directions"))
    if reason and linear:
        raise Refused(
            f"{reason}; mend decode, or write linear = false into method.toml: metrics of directions are undefined then"
        )
    worse = "" if fvu < 1 else ": worse than the mean alone, look at scale, bias and orientation of the weights"
    return f"fraction of variance unexplained {fvu:.3f} after this short fit{worse}"


def _wrapped(bench: Bench) -> str:
    featurizer, x = bench.first.featurizer, bench.subject.asked
    worker = bench.first.worker
    _, original = worker.call({"op": "original", "index": 0}, {"x": x})
    answer = featurizer.encode(x)
    codes = csr(answer, featurizer.n_latents)
    theirs = _sparse(original["codes"])
    if codes.shape != theirs.shape:
        raise Refused(f"codes have shape {codes.shape}, and the library's {theirs.shape}")
    if offence := _unlike(codes, theirs):
        raise Refused(
            f"encode is not the library's: {offence}; look for decoder norms that are not folded in, a bias "
            "subtracted twice, or an input that only one side normalises"
        )
    if not featurizer.decodes:
        return f"{SAME:.1%} of active latents and their values"
    found = featurizer.decode(answer)
    off = float((found - original["x"]).abs().max() / original["x"].abs().max().clamp(min=1e-30))
    if not off <= RECONSTRUCTED:
        raise Refused(
            f"decode is not the library's: reconstructions are {off:.2g} of the largest apart, and at most "
            f"{RECONSTRUCTED:g} is rounding; look at bias, decoder norms and the scale of the output"
        )
    fvu = _fvu(x, original["x"])
    if not fvu < 1:
        raise Refused(
            f"the library itself leaves {fvu:.3f} of the variance of {HOOKPOINTS[0]} unexplained: these weights are of "
            "another hookpoint or scale, or lie the other way round"
        )
    return f"active latents, values and reconstructions are the library's, FVU {fvu:.3f}"


def _persistent(bench: Bench) -> str | None:
    fit = bench.first
    if not fit.reply.get("persistent"):
        return "no save and load: a new metric needs a new fit"
    fit.featurizer.save(bench.saved)
    written = sorted(path.relative_to(bench.saved) for path in bench.saved.rglob("*") if path.is_file())
    if others := [str(path) for path in written if path.suffix not in (".safetensors", ".json")]:
        raise Refused(f"save wrote {', '.join(others)}: safetensors and JSON alone are read back")
    loaded = bench.load()
    if loaded.n_latents != fit.featurizer.n_latents or loaded.decodes != fit.featurizer.decodes:
        raise Refused(f"n_latents was {fit.featurizer.n_latents} and is {loaded.n_latents} when loaded")
    if offence := _unlike(*(_codes(one, bench.subject.asked) for one in (fit.featurizer, loaded))):
        raise Refused(f"a loaded featurizer answers otherwise: {offence}; save everything that encode uses")
    answer = fit.featurizer.encode(bench.subject.asked)
    if fit.featurizer.decodes and not torch.allclose(fit.featurizer.decode(answer), loaded.decode(answer)):
        raise Refused("a loaded featurizer decodes otherwise: save everything that decode uses")
    return f"{sum((bench.saved / path).stat().st_size for path in written) / 2**20:.1f} MiB"


def _width(bench: Bench, width: int) -> str | None:
    with closing(bench.open()) as worker:
        try:
            worker.call({"op": "check", "settings": bench.settings, "d_model": width})
        except MethodError as refusal:
            return f"its own check says no: {refusal}"
    return _asked_once(bench, made_up(width, TOKENS[width]))


def _few_tokens(bench: Bench) -> str | None:
    return _asked_once(bench, made_up(WIDTHS[0], FEW_TOKENS))


def _asked_once(bench: Bench, material: Shown) -> str | None:
    fit = bench.fit(material)
    with closing(fit.worker):
        codes = fit.featurizer.encode(material.asked)
        if fit.featurizer.decodes:
            fit.featurizer.decode(codes)
        bench.settle(fit.worker)
    return f"{fit.featurizer.n_latents:,} latents from {_fitted_tokens(material):,} tokens in {fit.seconds:.1f} s"


def _writing(bench: Bench) -> None:
    bench.settle(bench.first.worker)
    if bench.written:
        some = ", ".join(sorted(bench.written)[:3])
        raise Refused(
            f"it wrote {some}: a method may write into the folder that save gets and into the temporary one "
            "(tempfile), as nothing else is there when others run it"
        )


def _cost(bench: Bench) -> str:
    fit, suite = bench.first, suites.load(MEASURED_BY)
    tokens = _fitted_tokens(bench.subject)
    cells = len(suite.subject.replicates) * len(suite.variants) * len(suite.hookpoints)
    whole = fit.seconds * suite.tokens.fit / tokens * cells
    return (
        f"{tokens:,} tokens fitted in {fit.seconds:.1f} s, peak {int(fit.reply['peak_bytes']) / 2**20:,.0f} MiB; fits "
        f"of suite {MEASURED_BY} may take {duration(whole)} on one core, with these settings"
    )


def _codes(featurizer: RemoteFeaturizer, x: Tensor) -> Any:
    return csr(featurizer.encode(x), featurizer.n_latents)


def _sparse(codes: Tensor) -> Any:
    most = max(1, int((codes > 0).sum(dim=1).max()))
    return csr(Latents(*codes.float().topk(most, dim=1)), codes.shape[1])


def _unlike(first: Any, second: Any) -> str | None:
    """How two codes of the same tokens differ; None where it is rounding."""
    both = (first > 0).multiply(second > 0).nnz
    either = first.nnz + second.nnz - both
    if either and both / either < SAME:
        return f"{both / either:.1%} of active latents are the same"
    off = abs(first - second).max() if either else 0.0
    largest = max(first.max(), second.max()) if either else 1.0
    return f"values differ by {off / largest:.2g} of the largest" if off > CLOSE * largest else None


def _fvu(x: Tensor, xhat: Tensor) -> float:
    return float((xhat - x).square().sum() / (x - x.mean(dim=0)).square().sum())


def _fitted_tokens(material: Shown) -> int:
    return len(next(iter(material.fitted.values())))
