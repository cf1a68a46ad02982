"""Rates on the device at hand, as Markdown: the step of the TopK SAE beside sparsify's, and what `paper` would cost.

Without CUDA it is a rehearsal on small shapes.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

from baselines.topk_sae.engines import TorchEngine, engine_for, selection_dtype
from baselines.topk_sae.gradients import Parameters
from baselines.topk_sae.method import TopKSAE
from baselines.topk_sae.training import Settings
from benchmark.api import FitJob
from benchmark.data.blocks import Blocks
from benchmark.forward.activations import CHUNK_TOKENS, ChunkStore, forward
from benchmark.models.network import Network
from benchmark.spec import method as methods
from benchmark.spec.suite import StreamSettings
from benchmark.worker.stream import ChunkedStream

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
OURS = "**this baseline**"
Step = Callable[[Tensor], Tensor]
"""One optimizer step on a batch, and its FVU."""
A100_HOURS = 435
"""What the paper's runs took (2501.17727v2, appendix K), five variants of five models."""


class Size(NamedTuple):
    """Width, latents, active latents, tokens of a batch."""

    d_model: int
    n_latents: int
    k: int
    batch: int


class Shape(NamedTuple):
    """A Pythia's, the hookpoints measured, and the tokens they are fitted on."""

    name: str
    d_model: int
    layers: int
    heads: int
    hookpoints: int
    tokens: int
    dtype: str


SIZES = [Size(512, 32_768, 32, 8_192), Size(2_048, 131_072, 32, 8_192), Size(2_048, 131_072, 32, 65_536)]
SHAPES = [
    Shape("70m", 512, 6, 8, 6, 1 << 19, "float32"),
    Shape("70m", 512, 6, 8, 6, 1 << 19, "bfloat16"),
    Shape("410m", 1_024, 24, 16, 4, 1 << 18, "float32"),
    Shape("410m", 1_024, 24, 16, 4, 1 << 18, "bfloat16"),
    Shape("1b", 2_048, 16, 8, 2, 1 << 18, "bfloat16"),
]
if not CUDA:
    SIZES, SHAPES = [Size(32, 256, 8, 512)], [Shape("tiny", 32, 2, 2, 2, 1 << 15, "float32")]


def main() -> None:
    name = torch.cuda.get_device_name() if CUDA else "no CUDA device: a rehearsal on small shapes"
    versions = f"torch {torch.__version__}, Python {sys.version.split()[0]}"
    print(f"\n### {name} ({versions})\n")
    _paper()
    _steps()


def _steps() -> None:
    print("| (d, n, k), tokens a step | engine | tokens/s | ours is | share of the bf16 encoder product's | FVU |")
    print("|:--|:--|--:|--:|--:|--:|")
    made: dict[str, Callable[[Size], Step]] = {
        OURS: partial(_ours, engine_for(DEVICE)),
        "in torch": partial(_ours, TorchEngine),
    }
    if importlib.util.find_spec("sparsify"):
        made["sparsify, Adam"] = _sparsify
    for size in SIZES:
        product, ours = _seconds(_encoder_product(size)), math.nan
        for name, make in made.items():
            step, x = make(size), _activations(size)
            rate = size.batch / _seconds(partial(step, x))
            ours = rate if name == OURS else ours
            cells = (f"{tuple(size[:3])}, {size.batch:,}", name, f"{rate:,.0f}", f"{ours / rate:.2f}")
            print(
                "|",
                " | ".join([*cells, f"{rate * product / size.batch:.0%}", f"{float(step(x)):.4f}"]),
                "|",
                flush=True,
            )
            del step
            torch.cuda.empty_cache()
    if CUDA:
        for size in SIZES:
            step, x = _ours(engine_for(DEVICE), size), _activations(size)
            print(f"\nA step at {tuple(size)}, kernels in milliseconds:\n\n{_profile(partial(step, x))}")


def _encoder_product(size: Size) -> Callable[[], object]:
    x = torch.randn(size.batch, size.d_model, device=DEVICE, dtype=torch.bfloat16)
    weight = torch.randn(size.n_latents, size.d_model, device=DEVICE, dtype=torch.bfloat16)
    parts = x.split(max(1, (1 << 30) // size.n_latents))
    return lambda: [part @ weight.T for part in parts]


def _start(size: Size) -> Parameters:
    """Directions of one length on the device, small enough that the first step does not overshoot."""
    generator = torch.Generator(DEVICE).manual_seed(0)
    draw = torch.randn(size.n_latents, size.d_model, generator=generator, device=DEVICE)
    decoder = torch.nn.functional.normalize(draw, dim=1)
    zeros = torch.zeros(size.n_latents, device=DEVICE), torch.zeros(size.d_model, device=DEVICE)
    return Parameters(decoder * 0.2, zeros[0], decoder, zeros[1])


def _activations(size: Size) -> Tensor:
    """Sparse combinations of twice as many directions as dimensions."""
    generator = torch.Generator(DEVICE).manual_seed(1)
    atoms = torch.randn(2 * size.d_model, size.d_model, generator=generator, device=DEVICE)
    weights = torch.rand(size.batch, len(atoms), generator=generator, device=DEVICE)
    x: Tensor = torch.where(weights > 0.98, weights, 0) @ atoms / size.d_model**0.5 + 0.1
    return x


def _ours(made: Any, size: Size) -> Step:
    found = made(_start(size), size.k, 0.0, selection_dtype(torch.zeros(0, device=DEVICE)))

    def step(x: Tensor) -> Tensor:
        fvu: Tensor = found.step(x, None, 1e-4).fvu
        return fvu

    return step


def _sparsify(size: Size) -> Step:
    """Float32 weights, bfloat16 by its own autocast, its Triton decoder, and Adam fused as torch has it."""
    import sparsify  # noqa: PLC0415

    config = sparsify.SparseCoderConfig(num_latents=size.n_latents, k=size.k)
    sae = sparsify.SparseCoder(size.d_model, config, device=DEVICE)
    start = _start(size)
    sae.encoder.weight.data, sae.W_dec.data, sae.b_dec.data = start.encoder, start.decoder, start.bias
    optimizer = torch.optim.Adam(sae.parameters(), lr=1e-4, fused=True)

    def step(x: Tensor) -> Tensor:
        fvu = sae(x).fvu
        fvu.backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        optimizer.step()
        optimizer.zero_grad()
        sae.set_decoder_norm_to_unit_norm()
        found: Tensor = fvu.detach()
        return found

    return step


def _seconds(call: Callable[[], object], repeats: int = 12) -> float:
    """Median of single calls after warming up, by the device's clock where it has one."""
    for _ in range(3):
        call()
    if not CUDA:
        return statistics.median(timeit.repeat(call, number=1, repeat=repeats))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(repeats + 1)]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return statistics.median(float(one.elapsed_time(other)) / 1000 for one, other in itertools.pairwise(marks))


def _profile(call: Callable[[], object]) -> str:
    """The kernels that take most of a step."""
    from torch.profiler import ProfilerActivity, profile  # noqa: PLC0415

    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        for _ in range(4):
            call()
        torch.cuda.synchronize()
    found = sorted(profiled.key_averages(), key=lambda event: -event.self_device_time_total)[:12]
    rows = [f"| {event.key[:60]} | {event.self_device_time_total / 4e3:.3f} | {event.count // 4} |" for event in found]
    return "\n".join(["| kernel | ms | calls |", "|:--|--:|--:|", *rows])


def _paper() -> None:
    """Groups of the paper's budget through the product's own path: forward, chunk files, shuffled stream, fit."""
    print(
        "\n| Pythia | forward in | hookpoints | tokens/s, forward | tokens/s, all | 100M tokens, every layer | from |"
    )
    print("|:--|:--|--:|--:|--:|--:|:--|")
    for shape in SHAPES:
        (alone, _), (whole, taken) = _group(shape)
        per_layer = max(1 / whole - 1 / alone, 0.0) / shape.hookpoints
        hours = 1e8 * (1 / alone + shape.layers * per_layer) / 3600
        hookpoints = f"{shape.hookpoints} of {shape.layers}"
        print(
            f"| {shape.name} | {shape.dtype} | {hookpoints} | {alone:,.0f} | {whole:,.0f} | {hours:.2f} h | {taken} |",
            flush=True,
        )
    print(f"\nThe paper: 1 h (70m), 5 h (410m), 10 h (1b) per variant on an A100, {A100_HOURS} h in all.")


def _group(shape: Shape) -> tuple[tuple[float, str], tuple[float, str]]:
    """Tokens/s of the forward pass alone, and of forward pass and fit together, each with the seconds it is from."""
    config = GPTNeoXConfig(
        vocab_size=50_304,
        hidden_size=shape.d_model,
        intermediate_size=4 * shape.d_model,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=2_048,
    )
    torch.manual_seed(0)
    with DEVICE:
        network = Network(GPTNeoXForCausalLM(config).eval().to(getattr(torch, shape.dtype)))
    layers = [round((place + 1) * shape.layers / shape.hookpoints) - 1 for place in range(shape.hookpoints)]

    def read(tokens: int) -> None:
        for _ in forward(network, _text(tokens), "fit", layers):
            pass

    def fit(tokens: int) -> None:
        settings = asdict(_paper_settings())
        stream = StreamSettings(dtype="bfloat16", shuffle_tokens=262_144, spool_gib=0)
        with tempfile.TemporaryDirectory() as folder:
            store = ChunkStore(Path(folder) / "fit", network, _text(tokens), layers, n_tokens=tokens, stream=stream)
            spec = {"d_model": shape.d_model, "n_tokens": tokens, "chunk_tokens": CHUNK_TOKENS,
                    "shuffle_tokens": stream.shuffle_tokens, "seed": 0, "dtype": "bfloat16"}  # fmt: skip
            streams = [ChunkedStream(spec, partial(_opened, store, layer), DEVICE) for layer in layers]
            TopKSAE(**settings).fit_many([FitJob(stream, 0, settings) for stream in streams])
            assert store.forwards == 1

    # What a first call compiles and allocates would be taken off the rate's denominator.
    fit(shape.tokens // 2)
    return _rate(read, shape.tokens), _rate(fit, shape.tokens)


def _opened(store: ChunkStore, layer: int, number: int) -> int:
    return os.open(store.chunk(layer, number), os.O_RDONLY)


def _text(tokens: int) -> Blocks:
    """Random tokens in blocks of 256, with at least so many activations."""
    count = -(-tokens // 255)
    drawn = np.random.Generator(np.random.PCG64(0)).integers(0, 50_000, (count, 256), dtype=np.int32)
    return Blocks(drawn, np.full(count, 256, np.int32), np.arange(count), "")


def _rate(work: Callable[[int], None], tokens: int) -> tuple[float, str]:
    """Tokens/s: what twice the tokens take longer, and the seconds of both."""
    taken = []
    for count in (tokens, 2 * tokens):
        start = time.perf_counter()
        work(count)
        if CUDA:
            torch.cuda.synchronize()
        taken.append(time.perf_counter() - start)
    return tokens / (taken[1] - taken[0]), ", ".join(f"{seconds:.1f}" for seconds in taken)


def _paper_settings() -> Settings:
    manifest = methods.load("topk_sae").manifest
    found = manifest.settings | manifest.presets["paper"]
    return Settings(**(found if CUDA else found | {"batch_size": 1_024, "expansion_factor": 8, "k": 8}))


if __name__ == "__main__":
    main()
