"""Accumulation: noise is averaged, change is not delayed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.temporal.accumulation import TokenAccumulator

TOKENS, WIDTH = 40, 192


def noisy(frames, *, seed=0, noise=0.02, tokens=TOKENS):
    generator = torch.Generator().manual_seed(seed)
    still = torch.rand(tokens, WIDTH, generator=generator)
    return still, [still + noise * torch.randn(tokens, WIDTH, generator=generator) for _ in range(frames)]


@pytest.mark.parametrize("alpha", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("takeover", [None, 3.0])
def test_the_variance_of_resting_tokens_falls_as_predicted(alpha, takeover):
    still, frames = noisy(120, noise=0.02)
    accumulator = TokenAccumulator(alpha, takeover=takeover)
    kept = [accumulator.update(frame) for frame in frames]
    after = torch.stack([found.values for found in kept[60:]]) - still
    before = torch.stack(frames[60:]) - still
    assert float(after.var() / before.var()) == pytest.approx(alpha / (2 - alpha), rel=0.1)
    if takeover is not None:
        # what a new value differs by from the average of the old ones
        assert kept[-1].noise == pytest.approx(0.02 * (2 / (2 - alpha)) ** 0.5, rel=0.1)
        assert not any(bool(found.taken.any()) for found in kept[1:]), "noise is no change"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.02, 1.0), st.integers(1, TOKENS), st.integers(2, 20))
def test_after_a_step_the_new_value_is_there_in_the_same_frame(seed, alpha, changed, before):
    _, frames = noisy(before + 1, seed=seed, noise=0.01)
    accumulator = TokenAccumulator(alpha)
    for frame in frames[:-1]:
        accumulator.update(frame)
    step = frames[-1].clone()
    step[:changed] += 0.5
    found = accumulator.update(step)
    assert torch.equal(found.values[:changed], step[:changed])
    assert bool(found.taken[:changed].all())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0.05, 1.0), st.floats(2.0, 6.0))
def test_no_token_ever_lags_by_more_than_the_takeover(seed, alpha, takeover):
    generator = torch.Generator().manual_seed(seed)
    accumulator = TokenAccumulator(alpha, takeover=takeover)
    value = torch.rand(TOKENS, WIDTH, generator=generator)
    for _ in range(8):
        value = value + torch.rand(TOKENS, 1, generator=generator) * torch.randn(TOKENS, WIDTH, generator=generator)
        found = accumulator.update(value)
        lag = (found.values - value).square().mean(dim=1).sqrt()
        assert float(lag.max()) <= (1 - alpha) * takeover * found.noise + 1e-5


def test_alpha_1_is_the_identity_to_the_bit():
    _, frames = noisy(5)
    accumulator = TokenAccumulator(1.0, takeover=None)
    for frame in frames:
        assert torch.equal(accumulator.update(frame).values, frame)


def test_moved_tokens_are_taken_over():
    _, frames = noisy(2)
    accumulator = TokenAccumulator(0.1, takeover=None)
    accumulator.update(frames[0])
    moved = torch.zeros(TOKENS, dtype=torch.bool)
    moved[3] = True
    found = accumulator.update(frames[1], moved=moved)
    assert torch.equal(found.values[3], frames[1][3])
    assert found.taken.tolist() == moved.tolist()
    assert torch.allclose(found.values[4], frames[0][4] + 0.1 * (frames[1][4] - frames[0][4]))


def test_motion_is_not_taken_for_noise_where_most_of_the_picture_moves_for_a_while():
    _, frames = noisy(30, noise=0.01)
    accumulator = TokenAccumulator(0.2)
    for frame in frames:
        calm = accumulator.update(frame).noise
    for k, frame in enumerate(frames):
        moving = frame.clone()
        moving[: TOKENS * 3 // 4] += 0.1 * (k + 1)
        found = accumulator.update(moving)
        assert found.noise == pytest.approx(calm)
        assert torch.equal(found.values[0], moving[0])


def test_given_noise_and_repeated_frames():
    _, frames = noisy(3, noise=0.02)
    known = TokenAccumulator(0.2, noise=0.02)
    known.update(frames[0])
    assert known.update(frames[1]).noise == 0.02
    measured = TokenAccumulator(0.2)
    measured.update(frames[0])
    assert measured.update(frames[0]).noise == 0, "a repeated frame says nothing of the noise"
    assert measured.update(frames[1]).noise > 0


def test_sources_sizes_and_state():
    accumulator, alone = TokenAccumulator(0.3), TokenAccumulator(0.3)
    _, frames = noisy(6)
    _, others = noisy(6, seed=9)
    for frame, other in zip(frames, others, strict=True):
        both = accumulator.update(frame, "a")
        accumulator.update(other[:17], "b")
        assert torch.equal(both.values, alone.update(frame).values)
    assert accumulator.state_bytes("a") == TOKENS * WIDTH * 4
    fresh = accumulator.update(frames[0][:11], "a")
    assert bool(fresh.taken.all()), "another size starts anew"
    accumulator.reset("a")
    accumulator.reset("a")
    assert accumulator.sources == ("b",)
    assert accumulator.state_bytes("a") == 0


def test_half_precision_stays_half():
    _, frames = noisy(4)
    accumulator = TokenAccumulator(0.3)
    for frame in frames:
        assert accumulator.update(frame.half()).values.dtype == torch.float16


def test_bad_tokens_change_nothing():
    accumulator, spared = TokenAccumulator(0.3), TokenAccumulator(0.3)
    _, frames = noisy(4)
    for frame in frames:
        broken = frame.clone()
        broken[0, 0] = torch.nan
        for bad, error, message in (
            (broken, ValueError, "not finite"),
            (torch.zeros(0, 3), ValueError, r"\(0, 3\)"),
            (frame.long(), TypeError, "int64"),
        ):
            with pytest.raises(error, match=message):
                accumulator.update(bad)
        with pytest.raises(ValueError, match="moved is"):
            accumulator.update(frame, moved=torch.zeros(3, dtype=torch.bool))
        assert torch.equal(accumulator.update(frame).values, spared.update(frame).values)


@pytest.mark.parametrize(
    "bad", [{"alpha": 0.0}, {"alpha": 1.1}, {"takeover": 1.0}, {"noise": -1.0}, {"most_noise": -1}]
)
def test_bad_options_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        TokenAccumulator(**bad)
