"""The frame gate: what is skipped, why, and for how long at most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots import resting

from texvlm.temporal.cuts import CutDetector
from texvlm.temporal.frame_gate import FrameGate, ssim_map


def slow_ssim(x, y, window):
    """SSIM place by place, float64, as the paper has it with a uniform window and unbiased variances."""
    rows, columns = x.shape[0] - window + 1, x.shape[1] - window + 1
    found = np.zeros((rows, columns))
    for i in range(rows):
        for j in range(columns):
            a, b = x[i : i + window, j : j + window], y[i : i + window, j : j + window]
            covariance = np.cov(a.ravel(), b.ravel())
            l = (2 * a.mean() * b.mean() + 1e-4) / (a.mean() ** 2 + b.mean() ** 2 + 1e-4)  # noqa: E741
            found[i, j] = l * (2 * covariance[0, 1] + 9e-4) / (covariance[0, 0] + covariance[1, 1] + 9e-4)
    return found


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from([3, 7]), st.sampled_from([1.0, 1e-3]), st.floats(0.0, 1.0))
def test_ssim_is_that_of_the_reference(seed, window, contrast, level):
    rng = np.random.default_rng(seed)
    x = level + contrast * rng.random((13, 17))
    y = 0.6 * x + 0.4 * contrast * rng.random((13, 17))
    assert np.allclose(ssim_map(x, y, window=window), slow_ssim(x, y, window), rtol=0, atol=1e-9)
    assert np.allclose(ssim_map(255 * x, 255 * y, window=window, full_scale=255.0), ssim_map(x, y, window=window))
    assert np.allclose(ssim_map(x, x), 1)


def test_frames_that_look_alike_are_skipped_and_a_cut_is_not():
    gate, pictures = FrameGate(), resting(1, 5) + resting(2, 5)
    found = [gate.update(p, time_s=k / 25) for k, p in enumerate(pictures)]
    assert [d.process for d in found] == [True, False, False, False, False, True, False, False, False, False]
    assert [d.reason for d in found[:2]] == ["first", "similar"]
    assert found[5].reason == "structure"
    assert [d.skipped for d in found] == [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]


def test_a_slow_fade_gets_through():
    gate = FrameGate(similarity=0.9, change=0.1, longest_s=1e6, longest_frames=10**6)
    picture = resting(1, 1)[0]
    found = [gate.update(picture * (1 - k / 200), time_s=k / 25) for k in range(100)]
    assert any(d.process for d in found[1:])
    assert all(d.process or (d.similarity >= 0.9 and d.change <= 0.1) for d in found), "the promise"


def test_something_small_gets_through():
    gate, picture = FrameGate(), resting(1, 1)[0]
    gate.update(picture)
    dot = picture.copy()
    dot[10:12, 10:12] = 1 - np.rint(dot[10:12, 10:12])
    decision = gate.update(dot)
    assert decision.process
    assert decision.reason in ("change", "structure")


@given(st.integers(0, 6), st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_no_skip_is_longer_than_the_limit(longest, frames):
    gate = FrameGate(longest_frames=longest, longest_s=1e6)
    picture = resting(1, 1)[0]
    processed = [k for k in range(frames) if gate.update(picture).process]
    assert processed == list(range(0, frames, longest + 1))


def test_age_in_seconds():
    gate, picture = FrameGate(longest_s=0.5), resting(1, 1)[0]
    found = [gate.update(picture, time_s=k / 10) for k in range(14)]
    assert [k for k, d in enumerate(found) if d.process] == [0, 6, 12]
    assert found[6].reason == "age"


def test_time_that_goes_back_is_a_jump_and_repeated_time_is_none():
    gate, picture = FrameGate(), resting(1, 1)[0]
    times = [3.0, 3.04, 3.04, 1.0, 1.04, None, float("nan"), 1.2]
    found = [gate.update(picture, time_s=t) for t in times]
    assert [d.reason for d in found] == ["first", "similar", "similar", "time", *["similar"] * 4]


def test_transitions_open_and_close_it():
    detector, gate = CutDetector(), FrameGate(0.0, change=2.0)
    pictures = resting(1, 6) + resting(2, 6)
    pictures[3] = np.clip(pictures[3] * 2 + 0.2, 0, 1)
    found = []
    for k, picture in enumerate(pictures):
        transition = detector.update(picture, time_s=k / 25)
        found.append(gate.update(picture, time_s=k / 25, transition=transition))
    assert [k for k, d in enumerate(found) if d.process] == [0, 6]
    assert (found[3].reason, found[6].reason) == ("flash", "cut")


def test_sources_sizes_and_bad_pictures():
    gate, picture = FrameGate(), resting(1, 1)[0]
    gate.update(picture, "a")
    assert gate.update(picture, "b").reason == "first"
    with pytest.raises(ValueError, match="not finite"):
        gate.update(np.full_like(picture, np.nan), "a")
    assert gate.update(picture, "a").skipped == 1, "the bad one left nothing"
    with pytest.raises(ValueError, match="not finite"):
        gate.update(np.full_like(picture, np.nan), "c")
    assert gate.sources == ("a", "b")
    assert gate.update(picture[:20], "a").reason == "size"
    gate.reset("a")
    assert gate.update(picture, "a").reason == "first"


@pytest.mark.parametrize("bad", [{"similarity": -0.1}, {"change": float("nan")}, {"longest_frames": -1}])
def test_bad_limits_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        FrameGate(**bad)


def test_ssim_refuses_what_it_cannot_compare():
    with pytest.raises(ValueError, match=r"\(5, 9\)"):
        ssim_map(np.zeros((5, 9)), np.zeros((5, 9)))
    with pytest.raises(ValueError, match="full_scale"):
        ssim_map(np.zeros((9, 9)), np.zeros((9, 9)), full_scale=0.0)
