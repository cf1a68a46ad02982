"""Windows tile documents; firing is counted in own tokens."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from benchmark.autointerp.windows import OWN, WINDOW_TOKENS, Firing, Windows, firing_windows
from benchmark.judges.contract import LEFT_CONTEXT
from tests.autointerp.text import made


def test_every_token_has_left_context_and_no_window_shows_where_a_document_ends() -> None:
    text = made(0)
    windows = text.windows
    assert windows.tokens.shape == (len(windows.block), WINDOW_TOKENS)
    ends = windows.start + WINDOW_TOKENS
    assert (ends <= text.lengths[windows.block]).all()
    for number in (0, 7, len(windows.block) - 1):
        start = windows.start[number]
        np.testing.assert_array_equal(
            windows.tokens[number], text.tokens[windows.block[number], start : start + WINDOW_TOKENS]
        )


def test_own_tokens_of_windows_are_each_row_at_most_once_and_at_its_place() -> None:
    text = made(1)
    block, position = text.rows
    rows = text.windows.rows[:, None] + np.arange(OWN)
    assert len(np.unique(rows)) == rows.size
    assert (position[rows] >= LEFT_CONTEXT).all()
    np.testing.assert_array_equal(text.tokens[block[rows], position[rows]], text.windows.ids)
    np.testing.assert_array_equal(text.windows.of_row[rows], np.arange(len(rows))[:, None].repeat(OWN, axis=1))
    assert (text.windows.of_row >= 0).sum() == rows.size


def test_documents_too_short_for_a_window_have_none() -> None:
    windows = Windows.of(np.zeros((3, 64), int), np.array([31, 32, 16]))
    assert windows.block.tolist() == [1]
    assert windows.rows.tolist() == [30 + 7]


def test_firing_equals_the_dense_count() -> None:
    text, rng = made(2), np.random.default_rng(0)
    z = np.where(rng.random((len(text.windows.of_row), 5)) < [0, 0.01, 0.1, 0.5, 1], rng.random((1, 5)) + 0.1, 0)
    dense = z[text.windows.rows[:, None] + np.arange(OWN)]
    counted = firing_windows(sparse.csr_array(z), text.windows)
    for latent in range(5):
        firing = Firing.of(sparse.csc_array(z), latent, text.windows)
        np.testing.assert_array_equal(firing.windows, np.flatnonzero((dense[:, :, latent] > 0).any(axis=1)))
        np.testing.assert_allclose(firing.activations, dense[firing.windows][:, :, latent])
        assert counted[latent] == len(firing.windows)


def test_left_context_is_known_where_there_are_activations() -> None:
    """The first token of a block has none; every other token before a window's own shows whether it fires."""
    text, rng = made(3), np.random.default_rng(0)
    block, position = text.rows
    active = rng.random(len(position)) < 0.1
    firing = Firing.of(text.column(active, rng), 0, text.windows)
    fires = np.zeros((len(text.lengths), text.tokens.shape[1]), bool)
    fires[block, position] = active
    places = text.windows.start[:, None] + np.arange(WINDOW_TOKENS)
    dense = fires[text.windows.block[:, None], places]
    np.testing.assert_array_equal(firing.left > 0, dense[firing.windows, :LEFT_CONTEXT])
    np.testing.assert_array_equal(firing.touched, np.flatnonzero(dense.any(axis=1)))
    shown = firing.examples(np.array([2, 0]), text.windows)
    assert shown.tokens.shape == shown.activations.shape == (2, WINDOW_TOKENS)
    np.testing.assert_array_equal(shown.activations > 0, dense[firing.windows[[2, 0]]])
