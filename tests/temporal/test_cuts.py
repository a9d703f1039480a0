"""Cuts, and what only looks like one."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shots import SIZE, blended, lit, panned, resting, scene, window

from texvlm import Engine, open_source
from texvlm.temporal.cuts import CutDetector, CutSettings
from texvlm.temporal.small_pictures import small_picture

RATE = 25.0
# What is a cut is a matter of statistics: the examples are the same on every run.


def seen(pictures, *, detector=None, source=0, rate=RATE):
    detector = detector or CutDetector()
    return [detector.update(picture, source, time_s=k / rate) for k, picture in enumerate(pictures)]


def cuts_of(found):
    return [transition.frame for transition in found if transition.kind == "cut"]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 9), st.sampled_from([np.float32, np.uint8]))
def test_a_hard_cut_is_reported_at_its_first_frame_and_resets(seed, length, dtype):
    pictures = resting(2 * seed, length) + resting(2 * seed + 1, 6)
    if dtype == np.uint8:
        pictures = [np.rint(255 * picture).astype(np.uint8) for picture in pictures]
    found = seen(pictures)
    assert cuts_of(found) == [length]
    assert [t.frame for t in found if t.resets] == [0, length], "a first frame has nothing before it either"
    assert found[length].since == length
    assert not found[length].provisional
    assert [t.frame for t in found] == list(range(len(pictures)))


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 3), st.floats(1.3, 2.5), st.floats(0.1, 0.4), st.booleans())
def test_a_flash_is_held_and_confirmed_and_is_no_cut(seed, length, gain, offset, partial):
    pictures = lit(resting(seed, 20), 8, length, gain=gain, offset=offset)
    if partial:
        plain = resting(seed, 20)
        pictures = [np.concatenate([a[:, :20], b[:, 20:]], axis=1) for a, b in zip(pictures, plain, strict=True)]
    found = seen(pictures)
    assert cuts_of(found) == []
    held = [t for t in found if t.hold]
    assert [t.frame for t in held] == list(range(8, 8 + length))
    assert all(t.kind == "flash" and t.provisional and t.since == 8 for t in held)
    assert [(t.frame, t.verdict) for t in found if t.verdict] == [(8 + length, "confirmed")]


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_frames_of_one_colour_in_a_shot_are_held(colour):
    pictures = resting(5, 20)
    pictures[9] = pictures[10] = np.full_like(pictures[9], colour)
    found = seen(pictures)
    assert cuts_of(found) == []
    assert [t.frame for t in found if t.hold] == [9, 10]


def test_light_that_stays_on_is_revoked_and_is_no_cut():
    found = seen(lit(resting(3, 30), 10, 20, gain=1.3, offset=0.2))
    assert cuts_of(found) == []
    assert [t.verdict for t in found if t.verdict] == ["revoked"]
    assert sum(t.hold for t in found) <= 4, "not held for ever"


def test_what_a_flash_leads_to_is_a_cut():
    pictures = lit(resting(3, 11), 10, 1, gain=2.0, offset=0.3) + resting(4, 6)
    assert cuts_of(seen(pictures)) == [11]


def test_a_cut_to_one_colour_is_told_when_it_lasts():
    pictures = resting(3, 10) + [np.zeros((*SIZE, 3))] * 12
    found = seen(pictures)
    assert len(cuts_of(found)) == 1
    assert 10 < cuts_of(found)[0] <= 10 + 5


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(1, 10))
def test_a_pan_is_no_cut_however_suddenly_it_starts(seed, speed):
    assert cuts_of(seen(panned(seed, 14, speed=speed))) == [], f"{speed / SIZE[1]:.0%} of the width a frame"


def test_a_window_that_opens_is_no_cut():
    before, other = resting(11, 1, noise=0)[0], resting(12, 1, noise=0)[0]
    after = before.copy()
    after[4:20, 8:34] = other[4:20, 8:34]
    assert cuts_of(seen([before] * 5 + [after] * 5)) == []
    after[:, 4:] = other[:, 4:]
    assert cuts_of(seen([before] * 5 + [after] * 5)) == [5], "nine tenths of it are new"


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(8, 40))
def test_a_dissolve_is_no_cut(seed, length):
    total = length + 24
    found = seen(blended(resting(2 * seed, total), resting(2 * seed + 1, total), 10, length))
    assert not any(t.resets for t in found[1:])


def test_cuts_in_the_dark_and_between_bars():
    dark = [0.15 * picture for picture in resting(1, 8) + resting(2, 8)]
    assert cuts_of(seen(dark)) == [8]
    boxed = [picture.copy() for picture in resting(1, 8) + resting(2, 8)]
    for picture in boxed:
        picture[:3] = picture[-3:] = 0
    assert cuts_of(seen(boxed)) == [8]


@pytest.mark.parametrize("rate", [10.0, 25.0, 60.0])
def test_repeated_frames_neither_hide_nor_make_a_cut(rate):
    pictures = panned(1, 6, speed=3) + panned(2, 6, speed=3)
    repeated = [picture for picture in pictures for _ in range(4)]
    assert cuts_of(seen(repeated, rate=rate)) == [24]
    assert cuts_of(seen([pictures[0]] * 30)) == []


def test_motion_of_late_raises_the_bar():
    calm, rough = CutSettings(motion=0.0), CutSettings(motion=5.0)
    # a scene seen through another one: frames unlike each other, all the time
    pictures = [0.5 * window(scene(1), x=k) + 0.5 * window(scene(2), x=80 - 7 * k, y=2 * k) for k in range(10)]
    pictures += resting(3, 3)
    scores = [t.score for t in seen(pictures)]
    assert 10 in cuts_of(seen(pictures, detector=CutDetector(calm)))
    assert 10 not in cuts_of(seen(pictures, detector=CutDetector(rough)))
    assert max(scores[1:10]) > 0.05, "there was motion"


def test_just_after_a_cut_the_bar_is_higher():
    pictures = resting(1, 6) + resting(2, 2) + resting(3, 12) + resting(4, 3)
    assert cuts_of(seen(pictures, detector=CutDetector(CutSettings(soon=0.0)))) == [6, 8, 20]
    assert cuts_of(seen(pictures, detector=CutDetector(CutSettings(soon=5.0)))) == [6, 20]


def test_features_speak_for_a_cut_and_against_one():
    first, second = resting(1, 6), resting(2, 6)
    like = [0.45 * a + 0.55 * b for a, b in zip(first, second, strict=True)]
    pictures = first + like
    score = seen(pictures)[6].score
    assert 0.1 < score < 1.2
    doubtful = CutSettings(bar=score, still=1.0, features=0.2)

    def cuts(turn):
        detector = CutDetector(doubtful)
        angles = [0.0] * 6 + [turn] * 6
        return cuts_of(
            [
                detector.update(picture, features=[np.cos(angle), np.sin(angle)], time_s=k / RATE)
                for k, (picture, angle) in enumerate(zip(pictures, angles, strict=True))
            ]
        )

    assert cuts(np.pi / 2) == [6]
    assert cuts(0.0) == []


def test_sources_do_not_touch_each_other():
    detector, alone = CutDetector(), CutDetector()
    a, b = resting(1, 8) + resting(2, 8), panned(3, 16, speed=4)
    found = {"a": [], "b": []}
    for k in range(16):
        found["a"].append(detector.update(a[k], "a", time_s=k / RATE))
        if k % 3:  # b stalls
            found["b"].append(detector.update(b[k], "b", time_s=k / RATE))
    assert found["a"] == seen(a, detector=alone)
    assert cuts_of(found["b"]) == []
    detector.reset("b")
    assert detector.sources == ("a",)
    detector.reset("never seen")


def test_another_size_starts_a_source_anew():
    detector = CutDetector()
    seen(resting(1, 5), detector=detector)
    smaller = detector.update(resting(1, 1)[0][:20], time_s=1.0)
    assert (smaller.kind, smaller.resets, smaller.frame) == ("none", True, 0)
    gray = detector.update(resting(1, 1)[0][:20, :, 0], time_s=1.1)
    assert gray.resets, "another number of channels, too"


def test_time_may_go_back_or_be_missing():
    detector = CutDetector()
    times = [5.0, 5.04, 1.0, 1.0, float("nan"), None, 0.5, 0.54]
    found = [detector.update(p, time_s=t) for p, t in zip(resting(1, 8), times, strict=True)]
    assert all(t.kind == "none" for t in found)


@pytest.mark.parametrize(
    ("picture", "error", "message"),
    [
        (np.full((24, 40), np.nan), ValueError, "not finite"),
        (np.zeros((24, 40, 2)), ValueError, r"\(24, 40, 2\)"),
        (np.zeros((24, 40), np.int64), TypeError, "int64"),
        (np.zeros((4, 40)), ValueError, "40 x 4"),
        (np.zeros(40), ValueError, r"\(40,\)"),
    ],
)
def test_a_bad_picture_changes_nothing(picture, error, message):
    detector, spared = CutDetector(), CutDetector()
    pictures = resting(1, 4) + resting(2, 4)
    expected = seen(pictures, detector=spared)
    found = []
    for k, good in enumerate(pictures):
        with pytest.raises(error, match=message):
            detector.update(picture, time_s=k / RATE)
        with pytest.raises(ValueError, match="features of shape"):
            detector.update(good, features=[np.inf], time_s=k / RATE)
        found.append(detector.update(good, time_s=k / RATE))
    assert found == expected


@pytest.mark.parametrize("bad", [{"bar": -1.0}, {"still": float("nan")}, {"flash_frames": 0}])
def test_bad_settings_are_named(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        CutSettings(**bad)


def test_a_small_level_of_an_engine_shows_the_same_cut():
    big = [np.repeat(np.repeat(p, 8, axis=0), 8, axis=1) for p in resting(1, 3, noise=0) + resting(2, 3, noise=0)]
    with Engine(backend="cpu") as engine:
        with pytest.raises(ValueError, match="no frame yet"):
            small_picture(engine)
        detector, found = CutDetector(), []
        for picture in big:
            engine.submit(np.rint(255 * picture).astype(np.uint8))
            small = small_picture(engine)
            assert max(small.shape) <= 64
            found.append(detector.update(small))
    assert cuts_of(found) == [3]


@pytest.mark.data
@pytest.mark.parametrize("clip", ["slides_lecture_two_slides.mov", "cuts_bikes_city.mp4"])
def test_labelled_cuts_of_real_clips(data_folder, clip):
    facts = json.loads((data_folder / "manifest.json").read_text())["files"]
    labels = next(entry["cuts_measured"] for entry in facts if entry["file"] == clip)
    detector, found = CutDetector(), []
    with open_source(data_folder / clip) as video, Engine(backend="cpu") as engine:
        for frame in video:
            engine.submit(frame)
            found.append(detector.update(small_picture(engine), time_s=frame.pts))
    assert cuts_of(found) == labels
