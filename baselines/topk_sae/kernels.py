"""The CPU kernels of a TopK step: select, forward with what comes back, and the update of all parameters.

A step touches only active latents, and everything that a token or a latent needs is done while its rows are in cache.
Tokens and latents are cut into a fixed number of blocks, so that no sum depends on the number of threads.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import get_num_threads, njit, prange, set_num_threads
from numpy.typing import NDArray

BLOCKS = 64
NONE = -1
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Keys = Any  # an array of integers


class Rows(NamedTuple):
    """encoder [latent, d_model], encoder_bias [latent] and decoder [latent, d_model], or one moment of each."""

    encoder: Floats
    encoder_bias: Floats
    decoder: Floats


class Found(NamedTuple):
    """Chosen latents of each token and what comes back to them: indices (`NONE` where fewer are active), values and
    scores, all [token, k]; upstream [token, d_model].
    """

    indices: Ints
    values: Floats
    scores: Floats
    upstream: Floats


class Backward(NamedTuple):
    """What gradients are made of. Entry e stands for number e % k of token e // k in values and scores [token, k];
    those of latent j are entries[starts[j] : starts[j + 1]], in the order of tokens. Numbers below `main` belong to
    upstream[0] [token, d_model], the others (AuxK) to upstream[1].
    """

    x: Floats
    upstream: Floats
    values: Floats
    scores: Floats
    main: int
    starts: Longs
    entries: Longs


class Rates(NamedTuple):
    """Adam's step size, both betas, 1 / sqrt of the second moment's correction, and epsilon."""

    step: np.float32
    beta: np.float32
    beta2: np.float32
    root: np.float32
    epsilon: np.float32


MOST_THREADS = get_num_threads()


def use_threads(count: int) -> None:
    """Threads of the kernels from here on; what they compute does not depend on it."""
    set_num_threads(min(count, MOST_THREADS))


@njit(cache=True)  # type: ignore[untyped-decorator]
def bound_of(keys: Keys, wanted: int) -> Any:
    """A bound that as few keys [key] reach as may be, and at least `wanted`; 1 where fewer keys are positive.

    Bisection: counting is a loop without branches, which the compiler makes wide, as keys are compared in
    their own width. Only ties let more keys reach it.
    """
    least, most = keys[0], keys[0]
    for key in keys:
        least = min(least, key)
        most = max(most, key)
    low: Any = max(np.int64(least), 1)
    high: Any = np.int64(most) + 1
    bound, narrow = low, np.empty(1, keys.dtype)
    while True:
        narrow[0] = bound
        limit, count = narrow[0], 0
        for key in keys:
            count += key >= limit
        if count == wanted or (bound == 1 and count < wanted):
            return bound
        if count > wanted:
            low = bound
        else:
            high = bound
        if high - low <= 1:
            return low
        bound = (low + high) // 2


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def select(keys: Keys, indices: Ints) -> None:
    """Columns of the largest positive keys of each row, as many as `indices` [row, c] has room for, else `NONE`.

    Keys [row, column] are the bits of floats as integers of the same width: they sort as the floats do above 0. What c
    of the maxima of 4 c groups of columns reach, c keys reach, so that all but the groups that reach it are read once.
    """
    rows, columns = keys.shape
    wanted = indices.shape[1]
    groups = min(columns, max(128, 4 * wanted))
    each = (rows + BLOCKS - 1) // BLOCKS
    for block in prange(BLOCKS):
        largest = np.empty(groups, keys.dtype)
        reached, place = np.empty(columns, keys.dtype), np.empty(columns, np.int32)
        for row in range(block * each, min(rows, (block + 1) * each)):
            own, chosen = keys[row], indices[row]
            largest[:] = own[:groups]
            for start in range(groups, columns, groups):
                part = own[start : start + groups]
                for group in range(len(part)):
                    largest[group] = max(largest[group], part[group])
            # Column c belongs to group c % groups. The bound comes from the maxima alone, and a group whose maximum is
            # below it holds no key that reaches it: most columns are compared once, above, and never again.
            bound = bound_of(largest, wanted)
            count = 0
            for group in range(groups):
                if largest[group] >= bound:
                    for column in range(group, columns, groups):
                        if own[column] >= bound:
                            reached[count], place[count] = own[column], column
                            count += 1
            take(reached[:count], place[:count], chosen)


@njit(cache=True)  # type: ignore[untyped-decorator]
def take(keys: Keys, names: Ints, chosen: Ints) -> int:
    """Writes the names of the largest positive keys to `chosen`, `NONE` behind them; returns how many there are."""
    wanted, taken = len(chosen), 0
    bound = bound_of(keys, wanted)
    for ties in range(2):
        for number in range(len(keys)):
            if taken < wanted and (keys[number] == bound if ties else keys[number] > bound):
                chosen[taken] = names[number]
                taken += 1
    chosen[taken:] = NONE
    return taken


@njit(cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def _dot(a: Floats, b: Floats) -> Any:
    total = np.float32(0)
    for place in range(len(a)):
        total += a[place] * b[place]
    return total


@njit(parallel=True, cache=True)  # type: ignore[untyped-decorator]
def sums(x: Floats, total: Doubles, squares: Doubles) -> None:
    """Writes column sums [BLOCKS, d_model] and sums of squares [BLOCKS] of x [token, d_model], per block of tokens."""
    tokens, width = x.shape
    each = (tokens + BLOCKS - 1) // BLOCKS
    for block in prange(BLOCKS):
        own = total[block]
        own[:] = 0
        square = 0.0
        for token in range(block * each, min(tokens, (block + 1) * each)):
            for place in range(width):
                value = np.float64(x[token, place])
                own[place] += value
                square += value * value
        squares[block] = square


@njit(parallel=True, cache=True, fastmath=True)  # type: ignore[untyped-decorator]
def forward(x: Floats, target: Floats, rows: Rows, candidates: Ints, scale: float, found: Found) -> Doubles:
    """The k best of the candidates [token, c] in float32, what they reconstruct, and what comes back to them.

    Writes `found`: upstream = scale * (reconstruction - target) and scores = upstream times decoder rows, 0 where a
    latent is silent. Returns squared errors per block [BLOCKS].
    """
    tokens, width = x.shape
    indices, values, scores, upstream = found
    squares = np.empty(BLOCKS)
    k, offered = indices.shape[1], candidates.shape[1]
    each, factor = (tokens + BLOCKS - 1) // BLOCKS, np.float32(scale)
    for block in prange(BLOCKS):
        total = 0.0
        exact, chosen = np.empty(offered, np.float32), np.empty(k, np.int32)
        numbers = np.arange(offered).astype(np.int32)
        for token in range(block * each, min(tokens, (block + 1) * each)):
            own, error = x[token], upstream[token]
            exact[:] = 0
            for number in range(offered):
                latent = candidates[token, number]
                if latent >= 0:
                    exact[number] = max(_dot(rows.encoder[latent], own) + rows.encoder_bias[latent], 0)
            taken = take(exact.view(np.int32), numbers, chosen)
            indices[token], values[token], scores[token] = NONE, 0, 0
            for number in range(taken):
                indices[token, number] = candidates[token, chosen[number]]
                values[token, number] = exact[chosen[number]]
            for place in range(width):
                error[place] = -target[token, place]
            for number in range(taken):
                value, row = values[token, number], rows.decoder[indices[token, number]]
                for place in range(width):
                    error[place] += value * row[place]
            total += _dot(error, error)
            for place in range(width):
                error[place] *= factor
            for number in range(taken):
                scores[token, number] = _dot(rows.decoder[indices[token, number]], error)
        squares[block] = total
    return squares


@njit(cache=True)  # type: ignore[untyped-decorator]
def by_latent(indices: Ints, starts: Longs, entries: Longs) -> None:
    """Writes starts [latent + 1] and entries, which has room for all of indices [token, k]: see `Backward`."""
    tokens, k = indices.shape
    starts[:] = 0
    for token in range(tokens):
        for number in range(k):
            if indices[token, number] >= 0:
                starts[indices[token, number] + 1] += 1
    for latent in range(len(starts) - 1):
        starts[latent + 1] += starts[latent]
    following = starts[:-1].copy()
    for token in range(tokens):
        for number in range(k):
            latent = indices[token, number]
            if latent >= 0:
                entries[following[latent]] = token * k + number
                following[latent] += 1


@njit(cache=True, fastmath=True, error_model="numpy", inline="always")  # type: ignore[untyped-decorator]
def adam(row: Floats, gradient: Floats, first: Floats, second: Floats, rates: Rates) -> None:
    """Adam (Kingma and Ba, arXiv 1412.6980, algorithm 1) on one row and its moments, in place."""
    one = np.float32(1)
    for place in range(len(row)):
        first[place] = rates.beta * first[place] + (one - rates.beta) * gradient[place]
        second[place] = rates.beta2 * second[place] + (one - rates.beta2) * gradient[place] * gradient[place]
        row[place] -= rates.step * first[place] / (math.sqrt(second[place]) * rates.root + rates.epsilon)


@njit(parallel=True, cache=True, fastmath=True, error_model="numpy")  # type: ignore[untyped-decorator]
def update(back: Backward, rows: Rows, first: Rows, second: Rows, rates: Rates, to_bias: Doubles) -> None:
    """Gradients of every latent from its entries, Adam and unit decoder rows, a latent at a time.

    The part of a decoder gradient along its row is taken out. Writes what the encoder gives back to the decoder's bias,
    per block, to to_bias [BLOCKS, d_model].
    """
    latents, width = rows.encoder.shape
    k = back.values.shape[1]
    each = (latents + BLOCKS - 1) // BLOCKS
    for block in prange(BLOCKS):
        for_encoder, for_decoder = np.empty(width, np.float32), np.empty(width, np.float32)
        bias = to_bias[block]
        bias[:] = 0
        for latent in range(block * each, min(latents, (block + 1) * each)):
            start, stop = back.starts[latent], back.starts[latent + 1]
            for_encoder[:] = 0
            for_decoder[:] = 0
            for_bias = np.zeros(1, np.float32)
            for entry in back.entries[start:stop]:
                token = entry // k
                number = entry - token * k
                score, value = back.scores[token, number], back.values[token, number]
                own, error = back.x[token], back.upstream[int(number >= back.main), token]
                for place in range(width):
                    for_encoder[place] += score * own[place]
                    for_decoder[place] += value * error[place]
                for_bias[0] += score
            encoder, decoder = rows.encoder[latent], rows.decoder[latent]
            if stop > start:
                for place in range(width):
                    bias[place] += for_bias[0] * encoder[place]
                along = _dot(for_decoder, decoder)
                for place in range(width):
                    for_decoder[place] -= along * decoder[place]
            adam(encoder, for_encoder, first.encoder[latent], second.encoder[latent], rates)
            adam(decoder, for_decoder, first.decoder[latent], second.decoder[latent], rates)
            one = slice(latent, latent + 1)
            adam(rows.encoder_bias[one], for_bias, first.encoder_bias[one], second.encoder_bias[one], rates)
            norm = np.float32(1) / np.float32(max(math.sqrt(_dot(decoder, decoder)), 1e-12))
            for place in range(width):
                decoder[place] *= norm
