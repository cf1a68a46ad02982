"""One forward for all hookpoints; spooled and streamed give the same bytes and the same batches."""

from __future__ import annotations

import itertools
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import keyed
from benchmark.data import blocks as token_blocks
from benchmark.data.blocks import Blocks
from benchmark.forward import activations, order
from benchmark.forward.activations import ChunkStore
from benchmark.models import hookpoints, nulls, pythia
from benchmark.models.network import Network
from benchmark.spec.suite import StreamSettings, TokenBudget
from benchmark.worker.stream import ChunkedStream
from tests.conftest import LANGUAGE, REVISION

N_TOKENS = 3_000
CHUNK = 256


@pytest.fixture
def blocks(subjects: Path, tmp_path: Path) -> Blocks:
    tokenizer = pythia.tokenizer(pythia.locate(str(subjects / "seed0"), REVISION))
    tokens = TokenBudget(fit=N_TOKENS, explain=200, score=200, block=64)
    return token_blocks.prepare(LANGUAGE, tokens, tokenizer, "t", tmp_path / "blocks")["fit"]


@pytest.fixture
def network(subjects: Path) -> Network:
    return Network(pythia.load(pythia.locate(str(subjects / "seed0"), REVISION), torch.float32, torch.device("cpu")))


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activations, "CHUNK_TOKENS", CHUNK)
    monkeypatch.setattr(activations, "FORWARD_TOKENS", 512)
    monkeypatch.setattr(activations, "WINDOW_POSITIONS", 1_024)


def store(network: Network, blocks: Blocks, folder: Path, **options: object) -> ChunkStore:
    stream = StreamSettings(**({"shuffle_tokens": 512} | options))
    return ChunkStore(folder, network, blocks, [0, 1], n_tokens=N_TOKENS, stream=stream)


def read(chunks: ChunkStore, layer: int) -> torch.Tensor:
    parts = [
        torch.from_file(str(chunks.chunk(layer, n)), size=chunks.chunk(layer, n).stat().st_size // 4)
        for n in range(chunks.n_chunks)
    ]
    return torch.cat([part.view(-1, chunks.d_model).clone() for part in parts])


def stream(chunks: ChunkStore, layer: int, seed: int = 1, dtype: str = "float32") -> ChunkedStream:
    spec = {
        "d_model": chunks.d_model,
        "n_tokens": N_TOKENS,
        "chunk_tokens": CHUNK,
        "shuffle_tokens": 512,
        "seed": seed,
        "dtype": dtype,
    }
    return ChunkedStream(spec, lambda number: os.open(chunks.chunk(layer, number), os.O_RDONLY), torch.device("cpu"))


def test_chunks_are_the_models_activations_without_first_tokens(
    network: Network, blocks: Blocks, tmp_path: Path
) -> None:
    chunks = store(network, blocks, tmp_path / "spool")
    expected = []
    for row, length in zip(blocks.tokens, blocks.lengths, strict=True):
        embeds = network.embed(torch.from_numpy(row[:length].astype(np.int64))[None], [("x", 0)])
        expected.append(hookpoints.read(network, embeds, [1])[0][0, 1:])
    torch.testing.assert_close(read(chunks, 1), torch.cat(expected)[:N_TOKENS], rtol=1e-4, atol=1e-5)
    assert chunks.forwards == 1


def test_streamed_equals_spooled(network: Network, blocks: Blocks, tmp_path: Path) -> None:
    spooled, streamed = store(network, blocks, tmp_path / "a"), store(network, blocks, tmp_path / "b", spool_gib=0.0)
    assert spooled.spooled
    assert not streamed.spooled
    for layer in (0, 1):
        mine, theirs = (list(stream(chunks, layer).batches(100, epochs=2)) for chunks in (spooled, streamed))
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert spooled.forwards == 1
    assert streamed.forwards == 4
    kept = len(list((tmp_path / "b").rglob("*.bin"))) // 2
    assert kept <= 512 // CHUNK + activations.RING_SLACK


def test_consumers_in_step_share_one_streamed_forward(network: Network, blocks: Blocks, tmp_path: Path) -> None:
    streamed = store(network, blocks, tmp_path / "b", spool_gib=0.0)
    pairs = zip(stream(streamed, 0).batches(100), stream(streamed, 1).batches(100), strict=True)
    assert sum(len(first) for first, _ in pairs) == N_TOKENS
    assert streamed.forwards == 1


def test_every_token_once_an_epoch_in_an_order_of_seed_and_epoch(
    network: Network, blocks: Blocks, tmp_path: Path
) -> None:
    chunks = store(network, blocks, tmp_path / "spool")
    everything = read(chunks, 0)
    batches = list(stream(chunks, 0).batches(100, epochs=2))
    assert [len(batch) for batch in batches[:30]] == [100] * 30
    first, second = torch.cat(batches[:30]), torch.cat(batches[30:])
    for found in (first, second):
        assert torch.equal(found.sum(dim=1).sort().values, everything.sum(dim=1).sort().values)
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat(list(stream(chunks, 0, seed=2).batches(100))))
    assert torch.equal(first, torch.cat(list(stream(chunks, 0).batches(100))))
    early = {tuple(row.tolist()) for row in everything[:100]}
    assert sum(tuple(row.tolist()) in early for row in first[:100]) < 60


def test_bfloat16_chunks_are_half_the_size_and_near(network: Network, blocks: Blocks, tmp_path: Path) -> None:
    full, half = store(network, blocks, tmp_path / "a"), store(network, blocks, tmp_path / "b", dtype="bfloat16")
    assert half.chunk(0, 0).stat().st_size * 2 == full.chunk(0, 0).stat().st_size
    mine, theirs = next(stream(full, 0).batches(200)), next(stream(half, 0, dtype="bfloat16").batches(200))
    assert theirs.dtype == torch.float32
    torch.testing.assert_close(mine, theirs, rtol=1e-2, atol=1e-2)


def test_control_noise_repeats_when_the_forward_runs_again(network: Network, blocks: Blocks, tmp_path: Path) -> None:
    control = nulls.build("noise-embeddings", network.model, nulls.tensor_rng("noise-embeddings", "t", 0))
    streamed = store(control, blocks, tmp_path / "b", spool_gib=0.0)
    first, second = (torch.cat(list(stream(streamed, 1).batches(100))) for _ in range(2))
    assert streamed.forwards == 2
    assert torch.equal(first, second)


@pytest.mark.parametrize(("limit", "value"), [("WINDOW_POSITIONS", 1 << 20), ("WINDOW_BYTES", 1)])
@pytest.mark.parametrize("variant", ["trained", "noise-embeddings"])
def test_windows_say_only_who_shares_a_forward(
    network: Network, blocks: Blocks, monkeypatch: pytest.MonkeyPatch, variant: str, limit: str, value: int
) -> None:
    chosen = nulls.build(variant, network.model, nulls.tensor_rng(variant, "t", 0))
    (some,), (first,) = activations.collect(chosen, blocks, "fit", [1])
    monkeypatch.setattr(activations, limit, value)
    (other,), (other_first,) = activations.collect(chosen, blocks, "fit", [1])
    torch.testing.assert_close(some, other, rtol=0, atol=1e-5)
    torch.testing.assert_close(first, other_first, rtol=0, atol=1e-5)


def ordered(chunks: ChunkStore, layer: int, *key: object) -> list[torch.Tensor]:
    """All chunks [token, d_model] in the order of a cell."""
    found = []
    for number in range(chunks.n_chunks):
        with os.fdopen(order.opened(chunks, layer, number, partial(keyed.rng, *key), None), "rb") as file:
            file.seek(0)
            found.append(torch.frombuffer(bytearray(file.read()), dtype=torch.float32).view(-1, chunks.d_model))
    return found


def rows(x: torch.Tensor) -> list[bytes]:
    return [row.numpy().tobytes() for row in x]


@pytest.fixture(params=[8.0, 0.0], ids=["spooled", "streamed"])
def chunks(request: pytest.FixtureRequest, network: Network, blocks: Blocks, tmp_path: Path) -> ChunkStore:
    return store(network, blocks, tmp_path / "a", spool_gib=request.param)


def test_in_a_cell_s_order_every_token_is_there_once_and_layers_go_together(chunks: ChunkStore) -> None:
    text = [rows(read(chunks, layer)) for layer in (0, 1)]
    found = [rows(torch.cat(ordered(chunks, layer, "a cell"))) for layer in (0, 1)]
    assert found != text
    assert sorted(zip(*found, strict=True)) == sorted(zip(*text, strict=True))
    sizes = [len(chunk) for chunk in ordered(chunks, 0, "a cell")]
    assert sizes == [len(chunk) for chunk in read(chunks, 0).split(CHUNK)]


def test_a_cell_s_order_is_its_own_and_says_nothing_of_the_text(chunks: ChunkStore) -> None:
    text = rows(read(chunks, 1))
    follows = set(itertools.pairwise(text))
    one, other = (rows(torch.cat(ordered(chunks, 1, key))) for key in ("a cell", "another"))
    assert one != other
    assert rows(torch.cat(ordered(chunks, 1, "a cell"))) == one
    for found in (one, other):
        assert sum(pair in follows for pair in itertools.pairwise(found)) < 0.05 * len(found)


def test_chunks_that_are_all_kept_are_exchanged(network: Network, blocks: Blocks, tmp_path: Path) -> None:
    chunks = store(network, blocks, tmp_path / "a")
    text = [set(rows(part)) for part in read(chunks, 0).split(CHUNK)]
    found = [set(rows(part)) for part in ordered(chunks, 0, "a cell")]
    assert found != text
    assert all(one in text for one in found)
