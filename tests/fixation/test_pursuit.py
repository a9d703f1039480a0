"""Smooth pursuit: stays with a thing that moves, waits where there is nothing, starts again when it is lost."""

from __future__ import annotations

import numpy as np
import pytest
from fixation.scenes import SIZE, looks_of, places, plain, uv, with_square

from texvlm.fixation import Changes, Fixed, FollowMap, Peaks, Pursuit, Saliency


def clip_of(path, background=None, thing=None):
    frames = []
    for x, y in path:
        frame = plain() if background is None else background.copy()
        if thing is None:
            frame[round(y) - 12 : round(y) + 12, round(x) - 12 : round(x) + 12] = (240, 240, 240)
        else:
            half = thing.shape[0] // 2
            frame[round(y) - half : round(y) + half, round(x) - half : round(x) + half] = thing
        frames.append(frame)
    return frames


STRAIGHT = [(60 + 2 * i, 60 + i) for i in range(80)]
FAST = [(40 + 9 * i, 40 + 4 * i) for i in range(25)]
CURVE = [(160 + 80 * np.sin(i / 12), 96 + 50 * np.cos(i / 9)) for i in range(120)]


@pytest.mark.parametrize("path", [STRAIGHT, FAST, CURVE], ids=["straight", "fast", "curve"])
@pytest.mark.parametrize("busy", [False, True])
def test_the_look_stays_on_a_thing_that_moves(path, busy, rng):
    background = thing = None
    if busy:  # texture everywhere, that stands still
        background = np.kron(rng.integers(60, 120, (48, 80, 3)), np.ones((4, 4, 1))).astype(np.uint8)
        thing = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    looks = looks_of(Pursuit(Fixed((uv(*path[0]),))), clip_of(path, background, thing))
    apart = (places(looks) - [uv(*point) for point in path]) * SIZE
    assert np.abs(apart).max() < 6  # a quarter of the thing
    assert "texels of level 0" in looks[-1].why


def test_a_thing_that_slowly_becomes_another_is_followed(rng):
    before, after = (np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((4, 4, 1))) for _ in range(2))
    frames = []
    for i, point in enumerate(STRAIGHT):
        part = i / (len(STRAIGHT) - 1)
        frames += clip_of([point], thing=(before * (1 - part) + after * part).astype(np.uint8))
    looks = looks_of(Pursuit(Fixed((uv(*STRAIGHT[0]),))), frames)
    assert np.abs((places(looks) - [uv(*point) for point in STRAIGHT]) * SIZE).max() < 6
    assert not any("lost" in look.why for look in looks)


def test_a_thing_that_stands_still_is_left_there():
    looks = looks_of(Pursuit(Fixed((uv(60, 60),))), clip_of([(60, 60)] * 30))
    assert np.ptp(places(looks), axis=0).max() < 1e-6


def test_a_flat_place_holds_nothing_and_the_start_leads():
    looks = looks_of(Pursuit(Fixed((uv(60, 60),))), [plain()] * 3)
    np.testing.assert_allclose(places(looks), [uv(60, 60)] * 3)
    assert looks[2].why == "fixed, nothing to hold on to"


def test_a_thing_that_is_gone_is_looked_for_again():
    frames = clip_of([(60 + 2 * i, 60) for i in range(10)]) + [with_square((260, 140))] * 5
    looks = looks_of(Pursuit(Peaks(Saliency())), frames)
    assert looks[10].why == "pursuit of saliency: lost, starts again"
    np.testing.assert_allclose(places(looks)[10:], [uv(260, 140)] * 5, atol=0.02)


def test_a_thing_that_leaves_the_frame_is_let_go():
    frames = [with_square((280 + 4 * i, 100)) for i in range(20)]
    looks = looks_of(Pursuit(Fixed((uv(280, 100),))), frames)
    assert (places(looks) <= 1).all()
    np.testing.assert_allclose(places(looks)[-1], uv(280, 100))  # back at the start


def test_what_begins_to_move_is_followed():
    path = [(60, 60)] * 5 + [(60 + 3 * i, 60 + i) for i in range(1, 40)]
    looks = looks_of(Pursuit(Peaks(Changes())), clip_of(path))
    apart = (places(looks)[8:] - [uv(*point) for point in path[8:]]) * SIZE
    assert np.abs(apart).max() < 14


def test_another_frame_size_starts_again():
    frames = [with_square((60, 60)), with_square((60, 60)), with_square((100, 40), side=10, size=(160, 96))]
    looks = looks_of(Pursuit(Peaks(Saliency())), frames)
    assert looks[2].why.endswith("starts")
    np.testing.assert_allclose(places(looks)[2], uv(100, 40, (160, 96)), atol=0.03)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Pursuit(FollowMap(Changes())), "changes gives a score map"),
        (lambda: Pursuit(Fixed(), half=0), "half is 0"),
        (lambda: Pursuit(Fixed(), search=0), "search is 0"),
        (lambda: Pursuit(Fixed(), longest=0), "longest is 0"),
    ],
)
def test_pursuits_that_cannot_be(make, words):
    with pytest.raises(ValueError, match=words):
        make()
