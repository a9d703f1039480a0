"""Dissolves and fades as they go on, and the measures below them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots import SIZE, blended, panned, resting, scene, window

from texvlm.temporal.cuts import CutDetector
from texvlm.temporal.likeness import camera_shift, histogram_distance, light_on, likeness, structure_distance
from texvlm.temporal.small_pictures import LONGEST, as_small_picture


def seen(pictures):
    detector = CutDetector()
    return [detector.update(picture) for picture in pictures]


@pytest.mark.parametrize("length", [8, 16, 40])
def test_a_dissolve_is_known_before_it_ends_and_confirmed_after(length):
    total = length + 30
    found = seen(blended(resting(1, total, noise=0.001), resting(2, total, noise=0.001), 10, length))
    named = [t for t in found if t.kind == "dissolve"]
    assert named
    assert 10 < named[0].frame <= 10 + length
    assert abs(named[-1].since - 10) <= 2
    assert [t.verdict for t in found if t.verdict] == ["confirmed"]


@pytest.mark.parametrize("colour", [0.0, 1.0])
@pytest.mark.parametrize("length", [8, 30])
def test_a_fade_down_and_up_again(colour, length):
    solid = [np.full((*SIZE, 3), colour)] * (length + 14)
    down = blended(resting(1, length + 14, noise=0.001), solid, 8, length)
    up = blended(solid + solid[:10], resting(2, length + 24, noise=0.001), 4, length)
    found = seen(down + up)
    kinds = [t.kind for t in found]
    assert not any(t.resets for t in found[1:])
    assert kinds.index("fade_out") < 8 + length < kinds.index("fade_in")
    confirmed = [t.frame for t in found if t.verdict == "confirmed"]
    assert len(confirmed) == 2
    assert confirmed[0] <= len(down), "the picture is one colour"
    assert found[confirmed[0]].kind == "fade_out"


def test_a_pan_is_no_dissolve():
    assert {t.kind for t in seen(panned(1, 40, speed=1))} == {"none"}


def test_a_cut_ends_what_was_under_way():
    half = blended(resting(1, 40, noise=0.001), resting(2, 40, noise=0.001), 5, 30)[:30]
    found = seen(half + resting(3, 5, noise=0.001))
    assert found[29].kind == "dissolve"
    assert (found[30].kind, found[30].verdict) == ("cut", "confirmed")


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.integers(-12, 12), st.integers(-5, 5))
def test_the_camera_shift_is_the_shift(seed, x, y):
    wide = scene(seed).mean(axis=2).astype(np.float32)
    old, new = window(wide, x=40, y=30), window(wide, x=40 + x, y=30 + y)
    assert camera_shift(old, new) == (x, y)
    distance, shift = structure_distance(old, new)
    other = window(scene(seed + 1)).mean(axis=2).astype(np.float32)
    assert distance < structure_distance(other, new)[0], "what a pan brought in counts little"
    assert shift in ((x, y), (0, 0))


@settings(max_examples=12, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.floats(0.9, 1.3), st.floats(0.15, 0.3))
def test_light_is_no_structure(seed, gain, offset):
    old = window(scene(seed)).mean(axis=2).astype(np.float32)
    new = (gain * old + offset).astype(np.float32)
    assert structure_distance(old, new)[0] < 0.1
    assert structure_distance(old, old)[0] < 1e-6
    light = light_on(old, new)
    assert light.new_structure < 0.05 or light.new_structure == pytest.approx(0.3)
    # within a step of brightness there is some variance that no step explains
    assert light.unmapped < 0.15
    assert (light.much, light.no_darker) == (True, 1.0)
    assert not light_on(new, old).much
    assert light_on(old, window(scene(seed + 1)).mean(axis=2).astype(np.float32) + 0.3).unmapped > 0.3


def test_histogram_distance_by_hand():
    dark, bright = np.zeros((8, 8, 1), np.float32), np.ones((8, 8, 1), np.float32)
    assert histogram_distance(dark, dark) == 0
    assert histogram_distance(dark, bright) == 1
    half = dark.copy()
    half[:4] = 1
    assert histogram_distance(dark, half) == pytest.approx(0.5)
    # a little light moves little: a tenth of a step
    assert histogram_distance(dark, dark + np.float32(0.1 / 31)) == pytest.approx(0.1, abs=1e-3)


def test_what_stays_is_told():
    old = window(scene(1))
    new = old.copy()
    new[:, :20] = 1 - new[:, :20]
    assert likeness(as_small_picture(old), as_small_picture(new)).still == pytest.approx(0.5, abs=0.15)
    assert likeness(as_small_picture(old), as_small_picture(old)).still == 1


def test_a_large_picture_is_averaged_down():
    big = np.zeros((200, 300, 3), np.uint8)
    big[:, 150:] = 255
    small = as_small_picture(big)
    assert max(small.size) <= LONGEST
    assert small.luma[0, 0] == 0
    assert small.luma[0, -1] == pytest.approx(1)
    assert small.luma.mean() == pytest.approx(0.5, abs=0.02)
    assert as_small_picture(big[..., 0]).colour.shape[2] == 1
    assert np.array_equal(as_small_picture(np.dstack([big, big[..., :1]])).luma, small.luma), "alpha counts not"
