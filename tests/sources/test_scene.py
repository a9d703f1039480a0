"""The procedural scene: the same every time, and doing what its name says."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from texvlm.errors import SourceError
from texvlm.sources import open_source

SMALL = "320x180"


def frames_of(spec: str, **options: object) -> list:
    with open_source(spec, **options) as source:
        return list(source)


def changed(a, b) -> float:
    """Share of texels that differ."""
    return float((a.pixels != b.pixels).any(-1).mean())


def test_the_demo_has_the_promised_length_size_and_times():
    with open_source("scene") as source:
        assert (source.size, source.frames, source.rate, source.duration) == ((1280, 720), 120, 30.0, 4.0)
        first = next(source)
    assert first.pixels.shape == (720, 1280, 3)
    frames = frames_of(f"scene:{SMALL}", frames=9, rate=15)
    np.testing.assert_allclose([f.pts for f in frames], np.arange(9) / 15)


@pytest.mark.parametrize("name", ["demo", "static", "pan", "noise", "cut"])
def test_one_seed_gives_one_scene(name):
    first, again, other = (frames_of(f"scene:{name}:{SMALL}", frames=5, seed=s) for s in (3, 3, 4))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.pixels, b.pixels)
    assert changed(first[0], other[0]) > 0.05


def test_the_demo_moves_a_little_and_cuts_once():
    with open_source(f"scene:{SMALL}", frames=20) as source:
        frames = list(source)
        assert source.cuts == (10,)
        assert source.describe()["cuts"] == [10]
    steps = [changed(a, b) for a, b in pairwise(frames)]
    assert steps[9] > 0.9
    assert all(0 < step < 0.12 for i, step in enumerate(steps) if i != 9)
    assert [i for i, f in enumerate(frames) if f.kind == "I"] == [0, 10]


def test_static_never_changes():
    frames = frames_of(f"scene:static:{SMALL}", frames=4)
    assert all(changed(frames[0], f) == 0 for f in frames)


def test_pan_moves_everything_by_whole_texels():
    frames = frames_of(f"scene:pan:{SMALL}", frames=40)
    assert changed(frames[0], frames[20]) > 0.8
    sky = slice(0, 12), slice(None)  # nothing flies this high
    shift = 320 * 35 // 100 * 20 / 120
    moved = frames[20].pixels[sky][:, : 320 - round(shift)]
    np.testing.assert_array_equal(moved, frames[0].pixels[sky][:, round(shift) :])


def test_noise_differs_in_every_frame_and_stays_small():
    noisy, clean = (frames_of(f"scene:{name}:{SMALL}", frames=3) for name in ("noise", "static"))
    assert changed(noisy[0], noisy[1]) > 0.9
    difference = noisy[0].pixels.astype(int) - clean[0].pixels
    assert np.abs(difference).max() <= 10
    assert 2.2 < difference[:60].std() < 2.8
    assert abs(difference.mean()) < 0.1


def test_cut_changes_the_shot_every_second():
    with open_source(f"scene:cut:{SMALL}", frames=12, rate=4) as source:
        assert source.cuts == (4, 8)
        frames = list(source)
    assert changed(frames[3], frames[4]) > 0.9
    assert changed(frames[7], frames[8]) > 0.9
    assert changed(frames[0], frames[8]) < 0.2


def test_boxes_hold_all_that_moves():
    with open_source(f"scene:noise:{SMALL}", frames=1) as source:
        assert source.boxes(0).shape[1] == 4
    with open_source("scene:640x360", frames=60) as source:
        for index in (0, 12, 40, 55):
            a, b = source.frame(index), source.frame(index + 1)
            inside = np.zeros(a.pixels.shape[:2], bool)
            for x0, y0, x1, y1 in np.concatenate([source.boxes(index), source.boxes(index + 1)]).astype(int):
                inside[y0:y1, x0:x1] = True
            assert (a.pixels != b.pixels).any()
            if index != 29:
                assert not ((a.pixels != b.pixels).any(-1) & ~inside).any()


def test_frames_are_the_callers_own():
    with open_source(f"scene:static:{SMALL}", frames=2) as source:
        first = next(source)
        first.pixels[:] = 0
        assert next(source).pixels.max() > 100


@pytest.mark.parametrize("channels", [1, 4])
def test_channels(channels):
    frame = frames_of(f"scene:noise:{SMALL}", frames=2, channels=channels)[1]
    assert frame.pixels.shape == (180, 320, channels)
    if channels == 4:
        assert (frame.pixels[..., 3] == 255).all()


@pytest.mark.parametrize("size", ["16x16", "17x301", "301x17", "2000x64"])
def test_any_size_can_be_drawn(size):
    width, height = map(int, size.split("x"))
    for name in ("demo", "pan"):
        assert all(f.size == (width, height) for f in frames_of(f"scene:{name}:{size}", frames=4))


def test_every_nth_frame():
    whole = frames_of(f"scene:{SMALL}", frames=10)
    with open_source(f"scene:{SMALL}", frames=10, every=4) as source:
        assert (source.frames, source.rate) == (3, 7.5)
        for frame, expected in zip(source, whole[::4], strict=True):
            assert frame.pts == expected.pts
            np.testing.assert_array_equal(frame.pixels, expected.pixels)


def test_bad_scenes_are_refused():
    with pytest.raises(SourceError, match="no scene is called 'forest'; accepted: demo, static, pan, noise, cut"):
        open_source("scene:forest")
    with pytest.raises(ValueError, match=r"sides of 16\.\.16384"):
        open_source("scene:4x4")
    for option, value in (("frames", 0), ("rate", 0.0), ("rate", -1.0), ("rate", float("nan")), ("seed", -1)):
        with pytest.raises(ValueError, match=f"{option} is"):
            open_source("scene", **{option: value})
