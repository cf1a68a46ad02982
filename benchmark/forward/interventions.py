"""Runs of a network with its stream changed: ablations, splices, one-position removals and swapped contexts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from benchmark.data.blocks import Blocks
from benchmark.forward.activations import by_length, keys_of, positions_for, token_rows, tokens_of, usable
from benchmark.metrics import causal, context
from benchmark.metrics.splice import Divergence, kl_per_token
from benchmark.models import hookpoints
from benchmark.models.network import Network

SWAP_BLOCKS = 128
LOGIT_ELEMENTS, LOGIT_TOKENS = 1 << 20, 64


class Ablations(NamedTuple):
    """The clean network, and its stream replaced by 0 and by its mean."""

    clean: Divergence
    zero: Divergence
    mean: Divergence


class Events(NamedTuple):
    """Interventions: token row and drawn latent [event], and the vectors [event, d_model] to take away."""

    rows: NDArray[np.int64]
    latents: NDArray[np.int64]
    removed: Float[Tensor, "event d_model"]
    random: Float[Tensor, "event d_model"]


class Residual(NamedTuple):
    """The residual stream after one layer on the score split: usable tokens, and the first token of each block."""

    layer: int
    x: Float[Tensor, "token d_model"]
    first: Float[Tensor, "block d_model"]

    def of(self, network: Network, blocks: Blocks, rows: NDArray[np.int64]) -> Float[Tensor, "batch pos d_model"]:
        """The stream of some blocks up to the end of the longest, 0 at padding, in the network's dtype."""
        hidden = torch.zeros(len(rows), int(blocks.lengths[rows].max()), network.d_model)
        hidden[:, 0] = self.first[rows]
        hidden[usable(blocks, rows)[:, : hidden.shape[1]]] = self.x[token_rows(blocks, rows)]
        return hidden.to(network.device, network.model.dtype)


class _Batch(NamedTuple):
    rows: NDArray[np.int64]
    predicting: Tensor
    targets: Tensor


def ablations(
    network: Network, blocks: Blocks, streams: Sequence[Residual]
) -> tuple[Float[Tensor, "event d_model"], list[Ablations]]:
    """The clean network's final hidden states of all positions that predict a token, and cross-entropy and KL sums per
    stream; the first token of each block is never replaced.
    """
    last = max(streams, key=lambda stream: stream.layer)
    runs = [last]
    for stream in streams:
        mean = stream.x.mean(dim=0)
        runs += [stream._replace(x=fill.expand_as(stream.x)) for fill in (torch.zeros_like(mean), mean)]
    finals, totals = [], [Divergence() for _ in runs]
    for batch in _batches(network, blocks):
        hidden = [_final(network, blocks, run, batch) for run in runs]
        finals.append(hidden[0].cpu())
        sums = _divergences(network, hidden[0], hidden, batch.targets)
        totals = [total + one for total, one in zip(totals, sums, strict=True)]
    unchanged, *changed = totals
    return torch.cat(finals), [Ablations(unchanged, *pair) for pair in zip(changed[::2], changed[1::2], strict=True)]


def spliced(
    network: Network,
    blocks: Blocks,
    stream: Residual,
    xhat: Float[Tensor, "token d_model"],
    clean: Float[Tensor, "event d_model"],
) -> Divergence:
    """Cross-entropy and KL sums with every usable position replaced by its row of `xhat`; `clean`: see `ablations`."""
    changed, total, start = stream._replace(x=xhat), Divergence(), 0
    for batch in _batches(network, blocks):
        unchanged = clean[start : start + len(batch.targets)].to(network.device)
        start += len(unchanged)
        (found,) = _divergences(network, unchanged, [_final(network, blocks, changed, batch)], batch.targets)
        total += found
    return total


def events(
    blocks: Blocks,
    places: NDArray[np.int64],
    z: sparse.csr_array,
    vectors: Float[Tensor, "latent d_model"],
    rng: Callable[[str], np.random.Generator],
) -> Events:
    """Up to 30 active positions per latent of z [token, latent] by one keyed priority per token, and what is taken away
    there; only positions with a next token. `places` gives block and position of every token row, [token, 2].
    """
    predicts = places[:, 1] < blocks.lengths[places[:, 0]] - 1
    priority = rng("causal positions").random(len(predicts))
    columns = z.tocsc()
    rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    latents: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
    for latent in range(z.shape[1]):
        active = columns.indices[columns.indptr[latent] : columns.indptr[latent + 1]]
        active = active[predicts[active]]
        chosen = active[np.argsort(priority[active], kind="stable")[: causal.POSITIONS]]
        rows.append(chosen.astype(np.int64))
        latents.append(np.full(len(chosen), latent, np.int64))
    row, owner = np.concatenate(rows), np.concatenate(latents)
    if not len(row):
        return Events(row, owner, torch.empty(0, 0), torch.empty(0, 0))
    strength = torch.from_numpy(np.asarray(z[row, owner])).float()
    removed = strength[:, None] * vectors[torch.from_numpy(owner)]
    draw = rng("causal directions").standard_normal((len(row), vectors.shape[1]), dtype=np.float32)
    random = torch.nn.functional.normalize(torch.from_numpy(draw), dim=1) * removed.norm(dim=1, keepdim=True)
    return Events(row, owner, removed, random)


def removals(
    network: Network, blocks: Blocks, stream: Residual, places: NDArray[np.int64], events: Events
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """KL in nats [event] of each event's removed and random vector, one position at a time on the clean stream.

    `places` gives block and position of every token row, [token, 2].
    """
    kl = np.zeros((2, len(events.rows)))
    block_of, position_of = places[events.rows].T
    for members in _by_block(blocks.lengths, block_of, positions_for(network.device)):
        rows, row_place = np.unique(block_of[members], return_inverse=True)
        slot = _slots(row_place)
        leaves = torch.ones(len(rows), 2 * (slot.max() + 1), dtype=torch.long)
        delta = torch.zeros(*leaves.shape, network.d_model)
        for half, vectors in enumerate((events.removed, events.random)):
            leaves[row_place, 2 * slot + half] = torch.from_numpy(position_of[members])
            delta[row_place, 2 * slot + half] = -vectors[members]
        unchanged = stream.of(network, blocks, rows)
        hidden, width = _with_leaves(network, unchanged, leaves, stream.layer, delta), unchanged.shape[1]
        clean = hidden[row_place, position_of[members]]
        for half in range(2):
            kl[half, members] = _kl(network, clean, hidden[row_place, width + 2 * slot + half])
    return kl[0], kl[1]


def swapped(
    network: Network, blocks: Blocks, layers: Sequence[int]
) -> tuple[NDArray[np.int64], list[Float[Tensor, "event d_model"]]]:
    """Activations of tokens whose whole prefix is replaced by another document's, same token, same position.

    Returns block and position of each event, [event, 2], and the activations per layer. Full blocks are paired with
    the next full block of another document, up to 128 pairs; every position from 24 on is an event.
    """
    pairs = _pairs(blocks)
    width = blocks.tokens.shape[1]
    leaves = np.arange(context.FIRST, width)
    where = np.stack([np.repeat(pairs[:, 0], len(leaves)), np.tile(leaves, len(pairs))], axis=1)
    parts: list[list[Tensor]] = [[] for _ in layers]
    for chunk in np.array_split(pairs, -(-len(pairs) // 32)) if len(pairs) else []:
        prefix = network.embed(tokens_of(blocks, chunk[:, 1]), keys_of("swap prefix", chunk[:, 0]))
        tokens = network.embed(tokens_of(blocks, chunk[:, 0]), keys_of("swap token", chunk[:, 0]))
        positions = torch.from_numpy(np.tile(leaves, (len(chunk), 1))).to(network.device)
        layout = hookpoints.leaf_layout(width, positions, network.model.dtype)
        embeds = torch.cat([prefix, tokens[:, context.FIRST :]], dim=1)
        for place, values in enumerate(hookpoints.read(network, embeds, layers, layout)):
            parts[place].append(values[:, width:].flatten(0, 1).float().cpu())
    empty = torch.empty(0, network.d_model)
    return where, [torch.cat(found) if found else empty for found in parts]


def _batches(network: Network, blocks: Blocks) -> Iterator[_Batch]:
    for rows in by_length(blocks.lengths, positions_for(network.device)):
        longest = int(blocks.lengths[rows[0]])
        tokens, mask = tokens_of(blocks, rows)[:, :longest], usable(blocks, rows)[:, :longest]
        predicting = mask.clone()
        predicting[:, :-1] &= mask[:, 1:]
        predicting[:, -1] = False
        targets = tokens.roll(-1, dims=1)[predicting]
        yield _Batch(rows, predicting.to(network.device), targets.to(network.device))


def _final(network: Network, blocks: Blocks, stream: Residual, batch: _Batch) -> Float[Tensor, "token d_model"]:
    """Final hidden states of the positions of a batch that predict a token, from a stream that may be changed."""
    hidden = hookpoints.resume(network, stream.of(network, blocks, batch.rows), stream.layer)
    return hidden[batch.predicting]


def _divergences(network: Network, clean: Tensor, changed: Sequence[Tensor], targets: Tensor) -> list[Divergence]:
    """Sums over tokens of several changes against one clean network, a slice of tokens at a time."""
    totals, size = [Divergence() for _ in changed], _slice(network)
    for start in range(0, len(targets), size):
        here = slice(start, start + size)
        first = hookpoints.log_probabilities(network, clean[here])
        for number, hidden in enumerate(changed):
            second = first if hidden is clean else hookpoints.log_probabilities(network, hidden[here])
            totals[number] += Divergence.of(first, second, targets[here])
    return totals


def _kl(network: Network, clean: Tensor, changed: Tensor) -> NDArray[np.float64]:
    """KL in nats [token] between the predictions of final hidden states [token, d_model], a slice at a time."""
    size = _slice(network)
    parts_kl = [
        kl_per_token(*(hookpoints.log_probabilities(network, hidden) for hidden in parts))
        for parts in zip(clean.split(size), changed.split(size), strict=True)
    ]
    return torch.cat(parts_kl).double().cpu().numpy()


def _slice(network: Network) -> int:
    """Tokens whose log-probabilities stay in the processor's cache, however large the vocabulary."""
    return max(LOGIT_TOKENS, LOGIT_ELEMENTS // int(network.model.config.vocab_size))


def _with_leaves(network: Network, hidden: Tensor, leaves: Tensor, layer: int, delta: Tensor) -> Tensor:
    """Final hidden states [batch, pos + leaf, d_model] with `delta` [batch, leaf, d_model] added to the leaves."""
    leaves, delta = leaves.to(network.device), delta.to(network.device, network.model.dtype)
    own = hidden.gather(1, leaves[:, :, None].expand(-1, -1, hidden.shape[2])) + delta
    layout = hookpoints.leaf_layout(hidden.shape[1], leaves, network.model.dtype)
    return hookpoints.resume(network, torch.cat([hidden, own], dim=1), layer, layout)


def _by_block(lengths: NDArray[np.int32], block_of: NDArray[np.int64], positions: int) -> Iterator[NDArray[np.int64]]:
    """Events by block, blocks of like length together, cut between blocks so that a forward holds about `positions`."""
    order = np.lexsort((block_of, -lengths[block_of]))
    start = 0
    while start < len(order):
        longest = int(lengths[block_of[order[start]]])
        stop, blocks, last = start, 0, -1
        while stop < len(order):
            block = block_of[order[stop]]
            if block != last:
                if (blocks + 1) * longest + 2 * (stop - start) > positions and blocks:
                    break
                blocks, last = blocks + 1, block
            stop += 1
        members = order[start:stop]
        yield members[np.argsort(block_of[members], kind="stable")]
        start = stop


def _slots(row_place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Running number of each event within its block; `row_place` is sorted."""
    starts = np.searchsorted(row_place, row_place)
    return np.arange(len(row_place)) - starts


def _pairs(blocks: Blocks) -> NDArray[np.int64]:
    full = np.flatnonzero(blocks.lengths == blocks.tokens.shape[1])
    pairs = []
    for place, row in enumerate(full):
        others = full[place + 1 :]
        partner = others[blocks.documents[others] != blocks.documents[row]][:1]
        if len(partner):
            pairs.append((row, partner[0]))
        if len(pairs) == SWAP_BLOCKS:
            break
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)
