"""Meters of quality over time, on sequences whose truth is known, and on a few real frames."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm import open_source
from texvlm.motion.field import MotionField
from texvlm.temporal.quality import ConsistencyMeter, FlickerMeter, GhostMeter, StalenessMeter
from texvlm.temporal.quality.consistency import warped

SIZE = (160, 96)


def shifted(flow, *, shape=(12, 20)):
    """A field of one flow everywhere, texels."""
    return MotionField(
        np.broadcast_to(np.float32(flow), (*shape, 2)).copy(), np.ones(shape, bool), SIZE, (8, 8), "test"
    )


# ---- consistency


def test_what_moves_with_its_content_is_consistent(rng):
    scene = rng.random((12, 40, 5)).astype(np.float32)
    meter = ConsistencyMeter()
    for k in range(4):  # content moves left by a cell a frame, so it was one cell further right
        meter.update(scene[:, k : k + 20], motion=shifted((8, 0)) if k else None)
    found = meter.report()
    assert found.pairs == 3
    assert found.mean > 0.05
    assert found.moved_mean < 1e-6
    assert found.covered == pytest.approx(19 / 20)


def test_moved_maps_are_read_between_cells():
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32)[:, None], (12, 20, 1))
    moved, known = warped(np.ascontiguousarray(ramp), shifted((4, 0)))
    np.testing.assert_allclose(moved[:, :19, 0], ramp[:, :19, 0] + 0.5, atol=1e-5)
    assert known.all()  # the last centre ends on the frame's edge
    assert not warped(np.ascontiguousarray(ramp), MotionField.zero(SIZE, valid=False))[1].any()


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_differences_are_what_they_say(kind):
    a, b = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    a[:] = (1, 0)
    b[:] = [(1, 0), (0, 1), (-2, 0)]
    frames = [a, b] if kind == "numpy" else [torch.from_numpy(a).bfloat16(), torch.from_numpy(b).requires_grad_()]
    cosine, absolute = ConsistencyMeter(), ConsistencyMeter("absolute")
    for frame in frames:
        cosine.update(frame)
        absolute.update(frame)
    assert cosine.report().mean == pytest.approx((0 + 1 + 2) / 3)
    assert cosine.report().worst == pytest.approx(2)
    assert absolute.report().mean == pytest.approx((0 + 1 + 1.5) / 3)
    assert cosine.report().moved_mean is None


def test_a_cut_is_not_measured_and_bytes_are_of_full_scale():
    meter = ConsistencyMeter("absolute")
    meter.update(np.zeros((4, 4, 3), np.uint8))
    meter.update(np.full((4, 4, 3), 51, np.uint8))
    meter.cut()
    meter.update(np.full((4, 4, 3), 255, np.uint8))
    assert meter.report().pairs == 1
    assert meter.report().worst == pytest.approx(0.2)
    meter.reset()
    assert meter.report().pairs == 0


@pytest.mark.parametrize(
    ("values", "motion", "words"),
    [
        (np.zeros(3), None, "accepted: \\(tokens, d\\)"),
        (np.zeros((3, 2)), shifted((0, 0)), "give \\(rows, columns, d\\)"),
        (np.zeros((3, 3)), None, "after \\(3, 2\\)"),
        (np.full((3, 2), np.nan), None, "not finite"),
    ],
)
def test_consistency_refuses(values, motion, words):
    meter = ConsistencyMeter()
    meter.update(np.ones((3, 2)))
    with pytest.raises(ValueError, match=words):
        meter.update(values, motion=motion)
    meter.update(np.ones((3, 2)))
    assert meter.report().pairs == 1, "a refused frame leaves nothing behind"


# ---- flicker


def flickering(hz, amplitude, *, frames=64, rate=30.0, jitter=0.0, tokens=6, channels=4, follow=0.5, seed=0):
    """Tokens whose values follow a content that drifts and jumps; token 2 also swings at `hz`."""
    rng = np.random.default_rng(seed)
    times = (np.arange(frames) + jitter * rng.uniform(-0.4, 0.4, frames)) / rate
    content = rng.standard_normal((frames, tokens)).cumsum(axis=0) * 0.02
    content[frames // 2 :, 1] += 1
    gains = rng.standard_normal((tokens, channels))
    values = follow * content[..., None] * gains + 0.3 * times[:, None, None]
    values[:, 2] += amplitude * np.sin(2 * np.pi * hz * times + 1)[:, None]
    return times, content, values


def flicker_of(times, content, values, **options):
    meter = FlickerMeter(**options)
    for time, given_content, value in zip(times, content, values, strict=True):
        meter.update(value, time_s=time, content=given_content)
    return meter.report()


@settings(max_examples=25, deadline=None)
@given(st.floats(3, 13), st.floats(0.02, 2), st.sampled_from([0.0, 0.4]), st.integers(0, 99))
def test_an_injected_swing_is_found_with_its_frequency_and_strength(hz, amplitude, jitter, seed):
    found = flicker_of(*flickering(hz, amplitude, jitter=jitter, seed=seed))
    assert found.frequency_hz == pytest.approx(hz, abs=0.25)
    assert found.token_hz[2] == pytest.approx(hz, abs=0.25)
    assert found.amplitude[2] == pytest.approx(amplitude / np.sqrt(2), rel=0.35)
    assert np.delete(found.amplitude, 2).max() < 0.02 * amplitude + 1e-6
    assert found.tonal > 0.6


def test_five_hertz():
    times, content, values = flickering(5.0, 0.1, follow=0)
    still = flicker_of(times, 0 * content, values)
    assert still.frequency_hz == pytest.approx(5.0, abs=0.1)
    assert still.amplitude[2] == pytest.approx(0.1 / np.sqrt(2), rel=0.03)
    assert np.delete(still.amplitude, 2).max() < 1e-6
    found = flicker_of(*flickering(5.0, 0.1))
    assert found.frequency_hz == pytest.approx(5.0, abs=0.1)
    assert (found.frames, found.span_s) == (64, pytest.approx(63 / 30))


def test_values_that_follow_content_that_blinks_do_not_flicker():
    times, content, _ = flickering(5, 0)
    content = content + 0.5 * np.sign(np.sin(2 * np.pi * 3 * times))[:, None]
    values = 2 * content[..., None] * np.ones(3)
    explained, alone = flicker_of(times, content, values), flicker_of(times, np.zeros_like(content), values)
    assert explained.frequency_hz is None
    assert alone.frequency_hz == pytest.approx(3, abs=0.3)


def test_noise_has_no_tone_and_drift_no_flicker(rng):
    noisy = flicker_of(np.arange(64) / 30, np.zeros((64, 5)), rng.standard_normal((64, 5, 3)))
    assert noisy.tonal < 0.5
    assert noisy.amplitude == pytest.approx(1, rel=0.35)
    slow = np.sin(2 * np.pi * 0.2 * np.arange(64) / 30)[:, None] * np.ones(5)
    assert flicker_of(np.arange(64) / 30, np.zeros((64, 5)), slow).amplitude.max() < 0.05


def test_many_channels_keep_their_amplitude_and_memory_is_bounded():
    times, content, values = flickering(5, 0.1, frames=200, channels=192, follow=0)
    meter = FlickerMeter(64, directions=16)
    for k in range(200):
        meter.update(torch.from_numpy(values[k]), time_s=times[k], content=content[k])
    found = meter.report()
    assert found.frames == 64
    assert found.frequency_hz == pytest.approx(5, abs=0.1)
    # a swing of all channels alike is one direction among many: its share in sixteen random ones varies
    assert 0.4 < found.amplitude[2] / (0.1 / np.sqrt(2)) < 1.8
    meter.reset()
    assert meter.report().frames == 0


def test_too_few_frames_tell_nothing():
    times, content, values = flickering(5, 0.1, frames=7)
    found = flicker_of(times, content, values)
    assert found.frequency_hz is None
    assert not found.amplitude.any()
    few = flicker_of(*flickering(5, 0.1, frames=12), least_hz=29)
    assert few.frequency_hz is None


def test_flicker_refuses():
    meter = FlickerMeter()
    meter.update(np.zeros(4), time_s=1.0)
    for time in (1.0, 0.5, float("nan")):
        with pytest.raises(ValueError, match="give times that grow"):
            meter.update(np.zeros(4), time_s=time)
    with pytest.raises(ValueError, match="after"):
        meter.update(np.zeros(5), time_s=2.0)
    with pytest.raises(ValueError, match="accepted: \\(tokens,\\)"):
        meter.update(np.zeros(4), time_s=2.0, content=np.zeros(5))
    with pytest.raises(TypeError, match="accepted: an array or tensor of numbers"):
        meter.update(np.array(["a"]), time_s=2.0)
    with pytest.raises(ValueError, match="window is 4"):
        FlickerMeter(4)
    with pytest.raises(ValueError, match="least_hz is 0"):
        FlickerMeter(least_hz=0)


# ---- ghosting


@settings(max_examples=30, deadline=None)
@given(st.floats(0.12, 1), st.integers(1, 5), st.integers(0, 999))
def test_an_injected_ghost_is_found_with_its_strength_and_lag(alpha, lag, seed):
    rng = np.random.default_rng(seed)
    truth = rng.random((10, 8, 24)).astype(np.float32)
    meter = GhostMeter(lags=6)
    for k in range(10):
        output = truth[k].copy()
        if k == 8:
            output[3] = (1 - alpha) * truth[8, 3] + alpha * truth[8 - lag, 3]
        found = meter.update(output, truth[k])
        if k == 8:
            assert found.strength[3] == pytest.approx(alpha, abs=1e-4)
            assert found.lag[3] == lag
            assert found.share == 1 / 8
        else:
            assert found.worst == 0
    assert meter.report().frame == 8


def test_a_plain_average_over_time_is_a_ghost_and_noise_is_none(rng):
    truth = rng.random((6, 4, 32)).astype(np.float32)
    kept, averaged, noisy = truth[0], GhostMeter(), GhostMeter()
    for frame in truth:
        kept = 0.7 * frame + 0.3 * kept
        averaged.update(torch.from_numpy(kept), torch.from_numpy(frame))
        noisy.update(frame + 0.2 * rng.standard_normal(frame.shape), frame)
    assert averaged.report().worst == pytest.approx(0.3, abs=0.08)
    assert averaged.report().share == 1
    assert noisy.report().worst == 0


def test_where_nothing_changed_nothing_can_be_told(rng):
    still = rng.random((4, 8)).astype(np.float32)
    meter = GhostMeter()
    for _ in range(3):
        assert meter.update(still + 1e-3 * rng.random((4, 8)), still).worst == 0
    meter.reset()
    assert meter.report() is None


def test_ghosting_refuses():
    meter = GhostMeter()
    meter.update(np.zeros((4, 8)), np.zeros((4, 8)))
    with pytest.raises(ValueError, match="with truth"):
        meter.update(np.zeros((4, 8)), np.zeros((4, 9)))
    with pytest.raises(ValueError, match="after"):
        meter.update(np.zeros((5, 8)), np.zeros((5, 8)))
    with pytest.raises(ValueError, match="least_strength is 0"):
        GhostMeter(least_strength=0)


# ---- staleness


def reuse(pixels, *, tau):
    """Encodes a token when its mean change since it was last encoded exceeds tau; (encoded, deviation, ages)."""
    kept, ages = pixels[0].copy(), np.zeros(pixels.shape[1], int)
    for k, now in enumerate(pixels):
        deviation = np.abs(now - kept).mean(axis=1)
        encoded = (deviation > tau) | (k == 0)
        kept[encoded] = now[encoded]
        ages = np.where(encoded, 0, ages + 1)
        yield encoded, np.where(encoded, 0, deviation), ages


def test_honest_reuse_is_sound(rng):
    pixels = (rng.random((20, 9, 12)) * 0.05 + np.linspace(0, 0.6, 20)[:, None, None]).astype(np.float32)
    meter = StalenessMeter(limit=0.1)
    for now, (encoded, deviation, ages) in zip(pixels, reuse(pixels, tau=0.1), strict=True):
        found = meter.update(torch.from_numpy(now), encoded=torch.from_numpy(encoded), deviation=deviation, ages=ages)
    assert found.sound
    assert found.frames == 20
    assert found.reused > 50
    assert 0.05 < found.worst_deviation <= 0.1 + 1e-5
    assert found.oldest >= 1


@pytest.mark.parametrize("lie", ["stuck", "bound", "age"])
def test_an_injected_lie_is_found_where_it_is(rng, lie):
    pixels = np.tile(np.linspace(0, 0.9, 12, dtype=np.float32)[:, None, None], (1, 5, 8))
    meter = StalenessMeter(limit=0.1, oldest=3)
    for now, (encoded, deviation, ages) in zip(pixels, reuse(pixels, tau=0.1), strict=True):
        if lie == "stuck" and meter.report().frames:
            encoded[4] = False  # is never encoded again, and says so
            deviation[4] = np.abs(now - pixels[0])[4].mean()
            ages[4] = meter.report().frames
        if lie == "bound":
            deviation[2] *= 0.5
        if lie == "age" and ages[1]:
            ages[1] -= 1
        found = meter.update(now, encoded=encoded, deviation=deviation, ages=ages.astype(np.uint8))
    assert not found.sound
    assert (found.broken > 0) == (lie == "bound")
    assert (found.wrong_ages > 0) == (lie == "age")
    assert (found.stale > 0) == (lie == "stuck")
    assert (found.over_age > 0) == (lie == "stuck")
    if lie == "stuck":
        assert found.tokens.tolist() == [4]
        assert found.oldest == 11
        assert found.worst_deviation == pytest.approx(0.9)
        assert found.worst_excess < 1e-5
    if lie == "bound":
        assert found.worst_excess > 0.02


def test_the_largest_pixel_counts_where_that_is_reported():
    meter = StalenessMeter(measure="max")
    meter.update(np.zeros((1, 4), np.uint8), encoded=[True], deviation=[0.0])
    found = meter.update(np.array([[0, 0, 0, 51]], np.uint8), encoded=[False], deviation=[0.05])
    assert found.broken == 1
    assert found.worst_deviation == pytest.approx(0.2)


def test_staleness_refuses():
    meter = StalenessMeter()
    with pytest.raises(ValueError, match="1 of 2 tokens are reused in the first frame"):
        meter.update(np.zeros((2, 4)), encoded=[True, False], deviation=[0, 0])
    meter.update(np.zeros((2, 4)), encoded=[True, True], deviation=[0, 0])
    with pytest.raises(ValueError, match="deviation of shape"):
        meter.update(np.zeros((2, 4)), encoded=[True, True], deviation=[0])
    with pytest.raises(ValueError, match="after"):
        meter.update(np.zeros((3, 4)), encoded=[True] * 3, deviation=[0] * 3)
    with pytest.raises(ValueError, match="measure is 'sum'"):
        StalenessMeter(measure="sum")
    with pytest.raises(ValueError, match="limit is -1"):
        StalenessMeter(limit=-1)


# ---- real frames


@pytest.mark.data
def test_on_real_frames(data_folder):
    """Tiles of a fixed camera: plain averaging ghosts and flicker is found where it is put in, and only there."""
    with open_source(data_folder / "surveillance_bottles_table.mp4") as video:
        frames = [frame.pixels[::2, ::2] for frame in itertools.islice(video, 24)]
    tiles = [
        frame[:176, :320].reshape(11, 16, 20, 16, 3).transpose(0, 2, 1, 3, 4).reshape(220, -1) / np.float32(255)
        for frame in frames
    ]
    steady, ghosts, flicker, honest = ConsistencyMeter("absolute"), GhostMeter(), FlickerMeter(24), StalenessMeter()
    for k, now in enumerate(tiles):
        steady.update(now)
        assert ghosts.update(now, now).worst == 0
        means = now.reshape(220, 256, 3).mean(axis=1)
        values = means.copy()
        values[7] += 0.05 * np.sin(2 * np.pi * 5 * k / 30)
        flicker.update(values, time_s=k / 30, content=means.mean(axis=1))
        assert honest.update(now, encoded=np.ones(220, bool), deviation=np.zeros(220)).sound
    assert 0 < steady.report().mean < 0.05
    found = flicker.report()
    assert found.amplitude.argmax() == 7
    assert found.token_hz[7] == pytest.approx(5, abs=0.5)
