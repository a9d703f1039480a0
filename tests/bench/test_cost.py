"""Predictions count bytes: what does not change costs nothing, and more work never costs less."""

from __future__ import annotations

from texvlm.backends.base import Counters
from texvlm.bench.cost import Rates, dense_cost, integral_cost, pyramid_cost, texvlm_cost

RATES = Rates(bytes_per_s=1e9, call_ms=0.25)
FRAME = 320 * 160 * 3


def cost(tokens=64, **work):
    return texvlm_cost(Counters(**work), 2, FRAME, tokens=tokens, patch=16, item=4, rates=RATES)


def test_a_new_fixation_moves_tokens_only():
    sampled, handed_out = 64 * 768, 64 * 768
    prediction = cost(tokens_sampled=2 * 64)
    assert prediction.bytes_moved == sampled * (1 + 4) + 2 * handed_out * 4
    assert prediction.ms == round(prediction.bytes_moved / 1e9 * 1e3 + 0.25, 4)


def test_an_unchanged_frame_is_read_twice_and_no_more():
    assert cost(tokens=0, tiles_compared=400).bytes_moved == 2 * FRAME


def test_a_dirty_tile_is_copied_and_averaged():
    """Three times 16 x 16 texels (read, written, read again), and 64 + 16 + 4 + 1 texels of mips."""
    one = cost(tokens=0, tiles_compared=400, tiles_dirty=2).bytes_moved - 2 * FRAME
    assert one == 3 * (3 * 256 + 85)


def test_more_work_costs_more():
    assert dense_cost(FRAME, 1024, RATES).ms < dense_cost(2 * FRAME, 1024, RATES).ms
    assert pyramid_cost(FRAME, 3, 64, 16, RATES).ms < pyramid_cost(FRAME, 4, 64, 16, RATES).ms
    assert integral_cost(172, 16, RATES).bytes_moved < integral_cost(268, 16, RATES).bytes_moved
