"""Run lengths: what is left out of a clip is bounded, and what is left in counts as often as it stood."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.encoders.untrained import untrained_vit
from texvlm.layouts.table import make_table, pad_table
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.run_lengths import encode_clip, run_lengths
from texvlm.tokens import TokenBatch

SIDE = 16


@pytest.fixture(scope="module")
def encoder():
    return untrained_vit(32, 2, 2, image=64, labels=4).eval()


def clip(pixels, *, padding=0, sources=None, pts=None):
    """A TokenBatch of uint8 (frames, tokens, 3, 16, 16), the tokens in a row; the last `padding` rows are none."""
    frames, tokens = pixels.shape[:2]
    held = tokens - padding
    table = pad_table(
        make_table((np.arange(held) + 0.5) * SIDE, np.full(held, SIDE / 2), SIDE, size=(held * SIDE, SIDE)), tokens
    )
    return TokenBatch(
        torch.from_numpy(pixels),
        np.repeat(table[None], frames, axis=0),
        torch.ones(frames, tokens, dtype=torch.bool),
        np.array([[held * SIDE, SIDE]] * frames, np.int32),
        np.zeros(frames, np.int32) if sources is None else np.array(sources, np.int32),
        np.arange(frames) / 25 if pts is None else np.array(pts, float),
    )


def levels(*values):
    """Tokens of one value each: (frames, tokens) -> (frames, tokens, 3, 16, 16)."""
    return np.broadcast_to(np.array(values, np.uint8)[..., None, None, None], (*np.shape(values), 3, 16, 16)).copy()


def test_a_run_lasts_while_its_tokens_stay_near_the_first():
    runs = run_lengths(clip(levels([10, 50], [11, 50], [12, 90], [13, 90])), ChangeRule(threshold=2))
    assert runs.starts.tolist() == [[True, True], [False, False], [False, True], [True, False]]
    assert runs.durations.tolist() == [3, 2, 2, 1]
    assert runs.run.tolist() == [[0, 1], [0, 1], [0, 2], [3, 2]]
    assert runs.deviation.tolist() == [[0, 0], [1, 0], [2, 0], [0, 0]]


def test_a_fade_that_never_steps_over_the_threshold_starts_new_runs():
    runs = run_lengths(clip(levels(*[[value] for value in range(40)])), ChangeRule(threshold=4))
    assert runs.kept == 8


def test_no_run_lasts_longer_than_the_greatest_age():
    runs = run_lengths(clip(levels(*[[7]] * 10)), ChangeRule(max_age=4))
    assert runs.durations.tolist() == [4, 4, 2]


def test_padding_belongs_to_no_run():
    runs = run_lengths(clip(levels([1, 2], [1, 2]), padding=1), ChangeRule())
    assert runs.run.tolist() == [[0, -1], [0, -1]]
    assert runs.expand(torch.ones(1, 3))[:, 1].abs().sum() == 0


def test_a_row_that_lies_elsewhere_starts_a_run():
    batch = clip(levels([1, 2], [1, 2]))
    batch.table["x"][1, 1] += 3
    assert run_lengths(batch, ChangeRule()).starts.tolist() == [[True, True], [False, True]]


@given(st.integers(0, 2**31), st.sampled_from(["mean", "max"]), st.floats(0, 20))
@settings(max_examples=30, deadline=None)
def test_every_token_lies_within_the_threshold_of_what_stands_for_it(seed, measure, threshold):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-6, 7, (6, 3, 3, 16, 16)) * (rng.random((6, 3, 1, 1, 1)) < 0.6)
    pixels = np.clip(100 + np.cumsum(steps, axis=0), 0, 255).astype(np.uint8)
    runs = run_lengths(clip(pixels), ChangeRule(threshold=threshold, measure=measure))
    firsts = pixels[runs.starts.numpy()].astype(int)[runs.run.numpy()]
    away = np.abs(pixels.astype(int) - firsts).reshape(6, 3, -1)
    away = away.mean(axis=2) if measure == "mean" else away.max(axis=2)
    assert (away <= threshold + 1e-4).all()
    np.testing.assert_allclose(runs.deviation.numpy(), away, atol=1e-4)
    assert int(runs.durations.sum()) == 18


def test_runs_of_equal_pixels_give_the_features_of_all_their_tokens(encoder):
    rng = np.random.default_rng(0)
    stills = rng.integers(0, 256, (1, 6, 3, 16, 16), dtype=np.uint8).repeat(5, axis=0)
    stills[3:, 2] = rng.integers(0, 256, (3, 16, 16), dtype=np.uint8)
    short = encode_clip(encoder, clip(stills), rule=ChangeRule(threshold=0))
    long = encode_clip(encoder, clip(stills), rule=ChangeRule(threshold=0, max_age=1))
    assert (short.runs.kept, long.runs.kept) == (7, 30)
    torch.testing.assert_close(short.features.tokens, long.features.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(short.features.pooled, long.features.pooled, atol=1e-5, rtol=0)


def test_a_clip_of_one_frame_gives_what_the_encoder_gives(encoder):
    rng = np.random.default_rng(1)
    batch = clip(rng.integers(0, 256, (1, 9, 3, 16, 16), dtype=np.uint8))
    with torch.no_grad():
        plain = encoder(batch)
    found = encode_clip(encoder, batch).features
    torch.testing.assert_close(found.tokens, plain.tokens, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.prefix, plain.prefix, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"sources": [0, 1]}, "accepted: views of one source"), ({"pts": [1.0, 0.5]}, "sort the views by pts")],
)
def test_what_is_no_clip_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        run_lengths(clip(levels([1], [1]), **given), ChangeRule())
