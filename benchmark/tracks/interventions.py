"""Runs of a network with its stream changed: ablations, splices, one-position removals and swapped contexts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from benchmark.data.activations import FORWARD_TOKENS, batches_of, keys_of, tokens_of, usable
from benchmark.data.blocks import Blocks
from benchmark.metrics import context
from benchmark.metrics.splice import Divergence, kl_per_token
from benchmark.models import hookpoints
from benchmark.models.network import Network

SWAP_BLOCKS = 128
LOGIT_ELEMENTS = 1 << 24


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


class _Batch(NamedTuple):
    rows: NDArray[np.int64]
    embeds: Tensor
    mask: Tensor
    predicting: Tensor
    targets: Tensor


def ablations(
    network: Network, blocks: Blocks, layers: Sequence[int], means: Sequence[Float[Tensor, " d_model"]]
) -> list[Ablations]:
    """Cross-entropy and KL sums on the score split per layer; the first token of each block is never replaced."""
    nothing = Ablations(Divergence(), Divergence(), Divergence())
    totals = [nothing] * len(layers)
    for batch in _batches(network, blocks):
        clean = _hidden(network, batch, None)
        unchanged = _divergence(network, clean, clean, batch.targets)
        for place, (layer, mean) in enumerate(zip(layers, means, strict=True)):
            values = mean.to(network.device, network.model.dtype)
            edits = ((layer, _filling(batch.mask, fill)) for fill in (torch.zeros_like(values), values))
            changed = (_divergence(network, clean, _hidden(network, batch, edit), batch.targets) for edit in edits)
            sums = zip(totals[place], (unchanged, *changed), strict=True)
            totals[place] = Ablations(*(old + new for old, new in sums))
    return totals


def spliced(network: Network, blocks: Blocks, layer: int, xhat: Float[Tensor, "token d_model"]) -> Divergence:
    """Cross-entropy and KL sums with every usable position replaced by its row of `xhat`."""
    total, start = Divergence(), 0
    for batch in _batches(network, blocks):
        size = int(batch.mask.sum())
        rows = xhat[start : start + size].to(network.device, network.model.dtype)
        start += size
        changed = _hidden(network, batch, (layer, _filling(batch.mask, rows)))
        total += _divergence(network, _hidden(network, batch, None), changed, batch.targets)
    return total


def removals(
    network: Network, blocks: Blocks, layer: int, places: NDArray[np.int64], events: Events
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """KL in nats [event] of each event's removed and random vector, one position at a time on the clean stream.

    `places` gives block and position of every token row, [token, 2].
    """
    found = np.zeros((2, len(events.rows)))
    block_of, position_of = places[events.rows].T
    order = np.argsort(block_of, kind="stable")
    width = blocks.tokens.shape[1]
    for members in _by_block(block_of, order, width):
        rows, row_place = np.unique(block_of[members], return_inverse=True)
        slot = _slots(row_place)
        leaves = torch.ones(len(rows), 2 * (slot.max() + 1), dtype=torch.long)
        delta = torch.zeros(*leaves.shape, network.d_model)
        for half, vectors in enumerate((events.removed, events.random)):
            leaves[row_place, 2 * slot + half] = torch.from_numpy(position_of[members])
            delta[row_place, 2 * slot + half] = -vectors[members]
        hidden = _with_leaves(network, tokens_of(blocks, rows), keys_of("score", rows), leaves, layer, delta)
        clean = hookpoints.log_probabilities(network, hidden[row_place, position_of[members]])
        for half in range(2):
            changed = hookpoints.log_probabilities(network, hidden[row_place, width + 2 * slot + half])
            found[half, members] = kl_per_token(clean, changed).double().cpu().numpy()
    return found[0], found[1]


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
    for rows in batches_of(blocks):
        tokens = tokens_of(blocks, rows).to(network.device)
        mask = usable(blocks, rows).to(network.device)
        predicting = mask.clone()
        predicting[:, :-1] &= mask[:, 1:]
        predicting[:, -1] = False
        targets = tokens.roll(-1, dims=1)[predicting]
        yield _Batch(rows, network.embed(tokens, keys_of("score", rows)), mask, predicting, targets)


def _hidden(network: Network, batch: _Batch, edit: tuple[int, hookpoints.Edit] | None) -> Tensor:
    """Final hidden states [token, d_model] of the positions that predict a token."""
    return hookpoints.final(network, batch.embeds, edit)[batch.predicting]


def _divergence(network: Network, clean: Tensor, changed: Tensor, targets: Tensor) -> Divergence:
    """Sums over tokens, a slice at a time: log-probabilities of a large vocabulary are never held for a whole batch."""
    total = Divergence()
    size = max(1, LOGIT_ELEMENTS // int(network.model.config.vocab_size))
    for parts in zip(clean.split(size), changed.split(size), targets.split(size), strict=True):
        first, second = (hookpoints.log_probabilities(network, hidden) for hidden in parts[:2])
        total += Divergence.of(first, second, parts[2])
    return total


def _filling(mask: Tensor, values: Tensor) -> hookpoints.Edit:
    def edit(hidden: Tensor) -> Tensor:
        changed = hidden.clone()
        changed[mask] = values
        return changed

    return edit


def _with_leaves(
    network: Network, tokens: Tensor, keys: list[tuple[str, int]], leaves: Tensor, layer: int, delta: Tensor
) -> Tensor:
    """Final hidden states [batch, pos + leaf, d_model] with `delta` [batch, leaf, d_model] added to the leaves."""
    width = tokens.shape[1]
    leaves, delta = leaves.to(network.device), delta.to(network.device, network.model.dtype)
    embeds = network.embed(tokens, keys)
    own = embeds.gather(1, leaves[:, :, None].expand(-1, -1, embeds.shape[2]))
    layout = hookpoints.leaf_layout(width, leaves, network.model.dtype)

    def edit(hidden: Tensor) -> Tensor:
        return torch.cat([hidden[:, :width], hidden[:, width:] + delta], dim=1)

    return hookpoints.final(network, torch.cat([embeds, own], dim=1), (layer, edit), layout)


def _by_block(block_of: NDArray[np.int64], order: NDArray[np.int64], width: int) -> Iterator[NDArray[np.int64]]:
    """Events in block order, cut between blocks so that a forward holds about `FORWARD_TOKENS` positions."""
    start = 0
    while start < len(order):
        stop, blocks, last = start, 0, -1
        while stop < len(order):
            block = block_of[order[stop]]
            if block != last:
                if (blocks + 1) * width + 2 * (stop - start) > FORWARD_TOKENS and blocks:
                    break
                blocks, last = blocks + 1, block
            stop += 1
        yield order[start:stop]
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
