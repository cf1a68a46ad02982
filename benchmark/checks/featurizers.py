"""The contract of the features track, asked of a method on activations of the built-in subject and on made-up ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from benchmark import keyed
from benchmark.api import Latents
from benchmark.checks.conformance import Asked, Refused
from benchmark.checks.fits import ASKED_TOKENS, HOOKPOINTS, Bench, Shown, made_up, subject
from benchmark.checks.workers import in_jail, says_no, takes_settings
from benchmark.execution.contract import Executor
from benchmark.reporting import Reporter, duration
from benchmark.run.exchange import take
from benchmark.run.plan import MethodRun
from benchmark.spec import suite as suites
from benchmark.store import Store
from benchmark.tracks.features.featurizer import bends, csr, directions_of
from benchmark.tracks.features.functions import CLOSE, SAME, unlike
from benchmark.tracks.features.remote import RemoteFeaturizer

MEASURED_BY = "mini"
WIDTHS, FEW_TOKENS = (64, 512), 96
TOKENS = {64: 8_192, 512: 2_048}
BATCHINGS = (1_000, 333, 64, 1)
RECONSTRUCTED = 1e-5
"""How far two reconstructions may lie apart, relative to the largest."""


@contextmanager
def questions(run: MethodRun, store: Store, reporter: Reporter) -> Iterator[Iterator[Asked]]:
    """All questions to a method of the features track, in the order in which they are asked."""
    with tempfile.TemporaryDirectory(prefix="nullgap-check-") as name:
        log = store.root / "logs" / f"check-{run.method.name}.log"
        shown = subject(store, reporter, run.method.manifest.scope)
        bench = Bench(run, Path(name).resolve(), shown, log.resolve())
        try:
            yield _questions(bench)
        finally:
            bench.close()


def _questions(bench: Bench) -> Iterator[Asked]:
    manifest = bench.run.method.manifest
    yield "imports, and takes its settings and presets", partial(takes_settings, bench, bench.subject.asked.shape[1])
    yield "fits, and answers with finite codes >= 0, ids in range and distinct", partial(answers, bench)
    if bench.fitted is None:
        return
    yield "gives a token the same code in any batch", partial(batching, bench)
    yield "gives the same fit for the same seed", partial(_same_seed, bench)
    if manifest.scope != "model":
        yield "fit_many gives what fit gives", partial(_joint, bench)
    if bench.fitted.featurizer.decodes:
        yield "decodes, linearly or as method.toml says", partial(decoding, bench, linear=manifest.linear)
    if bench.fitted.reply.get("wrapped"):
        yield "encodes and decodes as the library that it wraps", partial(_wrapped, bench)
    yield "save and load give it back", partial(_persistent, bench)
    for width in WIDTHS:
        yield f"fits activations of width {width}", partial(_width, bench, width)
    yield "fits with more latents than tokens", partial(_few_tokens, bench)
    yield "writes nowhere but where it may", partial(_writing, bench)
    yield "gives the same fit in jail, where runs have it", partial(_jailed, bench)
    yield "time and memory", partial(_cost, bench)


def answers(bench: Bench) -> str:
    """Some latents are active, and codes are what the contract says."""
    codes = _codes(bench.first.featurizer, bench.subject.asked)
    alive = len(np.unique(codes.indices))
    if not alive:
        raise Refused(
            f"no latent is active on {ASKED_TOKENS:,} tokens after a fit on {_fitted_tokens(bench.subject):,}: "
            "nothing can be asked of such a fit; look at thresholds, biases and the scale of the activations"
        )
    l0 = codes.nnz / codes.shape[0]
    return f"{bench.first.featurizer.n_latents:,} latents, {alive:,} of them active here, {l0:.1f} per token"


def batching(bench: Bench) -> None:
    """Codes do not depend on the other tokens, or on their order."""
    x, featurizer = bench.subject.asked, bench.first.featurizer
    whole = _codes(featurizer, x)
    for size in BATCHINGS:
        parts = x[: 32 if size == 1 else None].split(size)
        found = sparse.vstack([_codes(featurizer, part) for part in parts], format="csr")
        if offence := unlike(whole[: found.shape[0]], found):
            raise Refused(
                f"codes of the same tokens in batches of {size} and of {len(x)} differ: {offence}; a token's code "
                "must not depend on the others (a BatchTopK encoder uses its stored threshold)"
            )
    order = torch.from_numpy(keyed.rng("conformance order").permutation(len(x)))
    if offence := unlike(whole[order.numpy()], _codes(featurizer, x[order])):
        raise Refused(f"codes of the same tokens in another order differ: {offence}; encode must treat tokens alone")


def _same_seed(bench: Bench) -> None:
    again = bench.fit(bench.subject)
    with closing(again.worker):
        bench.settle(again.worker)
        codes = [_codes(fit.featurizer, bench.subject.asked) for fit in (bench.first, again)]
    if offence := unlike(*codes):
        raise Refused(
            f"two fits with the same seed differ: {offence}; draw everything from the seed that fit gets "
            "(torch.Generator().manual_seed(seed)), and from nothing else"
        )


def _joint(bench: Bench) -> str | None:
    if not bench.joint:
        return "no fit_many: every cell is fitted alone"
    together, other = bench.fit(bench.subject, *HOOKPOINTS), bench.fit(bench.subject, HOOKPOINTS[1])
    with closing(together.worker), closing(other.worker):
        for alone, joint in zip((bench.first.featurizer, other.featurizer), together.featurizers, strict=True):
            if offence := unlike(*(_codes(one, bench.subject.asked) for one in (alone, joint))):
                raise Refused(f"fit_many gives another featurizer than fit: {offence}; one job must not see another")
    return "jobs at two hookpoints, each as if alone"


def decoding(bench: Bench, *, linear: bool) -> str:
    """What latents write is added up, linearly if it is said so."""
    featurizer, x = bench.first.featurizer, bench.subject.asked
    answer = featurizer.encode(x)
    decoded = featurizer.decode(answer)
    padded = Latents(*(torch.nn.functional.pad(part, (3, 3)).flip(1) for part in answer))
    if not torch.allclose(featurizer.decode(padded), decoded, rtol=0, atol=CLOSE * float(decoded.abs().max())):
        raise Refused(
            "the same codes in another order, or with more padding (value 0 at id 0), decode to something else: add up "
            "what latents write (scatter_add or embedding_bag), for scatter overwrites latent 0 with the padding"
        )
    left = fvu(bench.subject.decoded, decoded)
    alive = np.unique(csr(answer, featurizer.n_latents).indices)[:64].astype(np.int64)
    reason = bends(featurizer, alive, directions_of(featurizer, alive), keyed.rng("conformance directions"))
    if reason and linear:
        raise Refused(
            f"{reason}; mend decode, or write linear = false into method.toml: metrics of directions are undefined then"
        )
    worse = "" if left < 1 else ": worse than the mean alone, look at scale, bias and orientation of the weights"
    return f"fraction of variance unexplained {left:.3f} after this short fit{worse}"


def _wrapped(bench: Bench) -> str:
    said, reconstructed = like_the_library(bench)
    if not bench.first.featurizer.decodes:
        return said
    left = fvu(bench.subject.decoded, reconstructed)
    if not left < 1:
        raise Refused(
            f"the library itself leaves {left:.3f} of the variance of {HOOKPOINTS[0]} unexplained: these weights are "
            "of another hookpoint or scale, or lie the other way round"
        )
    return f"{said}, FVU {left:.3f}"


def like_the_library(bench: Bench) -> tuple[str, Tensor]:
    """Codes and reconstructions are those of the library's own forward; returns the latter [token, d_model], too."""
    featurizer, x = bench.first.featurizer, bench.subject.asked
    worker = bench.first.worker
    _, original = worker.call({"op": "original", "index": 0}, {"x": x})
    wanted = (len(x), featurizer.n_latents), tuple(x.shape)
    given = tuple(original["codes"].shape), tuple(original["x"].shape)
    if given != wanted:
        raise Refused(f"original gives codes and reconstruction of shapes {given}, and {wanted} are needed")
    answer = featurizer.encode(x)
    codes = csr(answer, featurizer.n_latents)
    dense = original["codes"].float()
    theirs = sparse.csr_array(torch.where(dense > 0, dense, 0.0).numpy())
    if offence := unlike(codes, theirs):
        raise Refused(
            f"encode is not the library's: {offence}; look for decoder norms that are not folded in, a bias "
            "subtracted twice, or an input that only one side normalises"
        )
    if not featurizer.decodes:
        return f"{SAME:.1%} of active latents and their values", original["x"]
    found = featurizer.decode(answer)
    off = float((found - original["x"]).abs().max() / original["x"].abs().max().clamp(min=1e-30))
    if not off <= RECONSTRUCTED:
        raise Refused(
            f"decode is not the library's: reconstructions are {off:.2g} of the largest apart, and at most "
            f"{RECONSTRUCTED:g} is rounding; look at bias, decoder norms and the scale of the output"
        )
    return "active latents, values and reconstructions are the library's", original["x"]


def _persistent(bench: Bench) -> str | None:
    fit = bench.first
    if not fit.reply.get("persistent"):
        return "no save and load: a new metric needs a new fit"
    exchange = fit.worker.exchange()
    fit.featurizer.save(exchange)
    size = take(exchange, bench.saved, suites.load(MEASURED_BY).limits.disk_gib * 2**30)
    loaded = bench.load()
    with closing(loaded.worker):
        _same_when_loaded(bench, fit.featurizer, loaded.featurizer)
        bench.settle(loaded.worker)
    return f"{size / 2**20:.1f} MiB"


def _same_when_loaded(bench: Bench, fitted: RemoteFeaturizer, loaded: RemoteFeaturizer) -> None:
    if (loaded.n_latents, loaded.decodes) != (fitted.n_latents, fitted.decodes):
        raise Refused(
            f"n_latents was {fitted.n_latents} and is {loaded.n_latents} when loaded, decode was "
            f"{'there' if fitted.decodes else 'not there'} and is {'there' if loaded.decodes else 'not there'}"
        )
    if offence := unlike(*(_codes(one, bench.subject.asked) for one in (fitted, loaded))):
        raise Refused(f"a loaded featurizer answers otherwise: {offence}; save everything that encode uses")
    answer = fitted.encode(bench.subject.asked)
    if fitted.decodes and not torch.allclose(fitted.decode(answer), loaded.decode(answer)):
        raise Refused("a loaded featurizer decodes otherwise: save everything that decode uses")


def _width(bench: Bench, width: int) -> str | None:
    return says_no(bench, width) or _asked_once(bench, made_up(width, TOKENS[width]))


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


def _jailed(bench: Bench) -> str | None:
    def differs(jail: Executor) -> str | None:
        inside = bench.fit(bench.subject, executor=jail)
        with closing(inside.worker):
            return unlike(*(_codes(fit.featurizer, bench.subject.asked) for fit in (bench.first, inside)))

    return in_jail(bench, differs)


def _cost(bench: Bench) -> str:
    fit, suite = bench.first, suites.load(MEASURED_BY)
    tokens = _fitted_tokens(bench.subject)
    fits = len(suite.subject.replicates) * len(suite.variants)
    fits *= len(suite.hookpoints) if bench.run.method.manifest.scope != "model" else 1
    whole = fit.seconds * suite.tokens.fit / tokens * fits
    return (
        f"{tokens:,} tokens fitted in {fit.seconds:.1f} s, peak {int(fit.reply['peak_bytes']) / 2**20:,.0f} MiB; fits "
        f"of suite {MEASURED_BY} may take {duration(whole)} on one core, with these settings"
    )


def _codes(featurizer: RemoteFeaturizer, x: Tensor) -> Any:
    return csr(featurizer.encode(x), featurizer.n_latents)


def fvu(x: Tensor, xhat: Tensor) -> float:
    """Fraction of variance unexplained, of activations [token, d_model] and their reconstructions."""
    return float((xhat - x).square().sum() / (x - x.mean(dim=0)).square().sum())


def _fitted_tokens(material: Shown) -> int:
    return len(next(iter(material.fitted.values())))
