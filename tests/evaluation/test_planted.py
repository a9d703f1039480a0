"""Planted frames: known signs at known places, the same on every run, and nothing but the mark tells the class."""

from __future__ import annotations

import math

import numpy as np
import pytest

from texvlm.errors import SourceError
from texvlm.evaluation.backgrounds import BACKGROUNDS, draw_background
from texvlm.evaluation.planted import (
    AWAY_DEG,
    GAP,
    GREATEST_SHARE,
    LEAST_SHARE,
    NEAR_DEG,
    Target,
    fixation_for,
    load_photos,
    planted_frames,
)
from texvlm.evaluation.settings import FOV_DEG
from texvlm.evaluation.targets import CLASSES, draw_sign
from texvlm.visual_field import VisualField

SIZE = (480, 270)


def frames(split="test", count=4, **options):
    return list(planted_frames(split, count, size=SIZE, targets=3, seed=1, **options))


def test_every_class_looks_different_on_the_same_plate():
    signs = [draw_sign(label, 48, np.random.default_rng(3))[0] for label in range(len(CLASSES))]
    for i, one in enumerate(signs):
        for other in signs[:i]:
            assert np.abs(one - other).max() > 40


def test_the_plate_says_nothing_about_the_class():
    covers = [draw_sign(label, 32, np.random.default_rng(3))[1] for label in range(len(CLASSES))]
    for cover in covers:
        np.testing.assert_array_equal(cover, covers[0])
        assert 0.4 < cover.mean() < 0.9
        assert cover[0, 0] == 0


def test_marks_have_ink_of_about_the_same_area():
    rng = np.random.default_rng
    plain = [draw_sign(label, 96, rng(5))[0] for label in range(len(CLASSES))]
    plate = np.median(plain[0].reshape(-1, 3), axis=0)
    shares = [float((np.abs(sign - plate).max(axis=2) > 40).mean()) for sign in plain]
    assert max(shares) < 3 * min(shares)


@pytest.mark.parametrize(
    ("label", "side", "message"), [(len(CLASSES), 20, "label 10"), (-1, 20, "label"), (0, 3, "side is 3")]
)
def test_signs_that_cannot_be(label, side, message):
    with pytest.raises(ValueError, match=message):
        draw_sign(label, side, np.random.default_rng(0))


@pytest.mark.parametrize("kind", BACKGROUNDS)
def test_backgrounds_are_pictures_and_repeat(kind):
    one, two = (draw_background(kind, SIZE, np.random.default_rng(2)) for _ in range(2))
    assert one.shape == (270, 480, 3)
    assert one.dtype == np.uint8
    assert one.std() > 10
    np.testing.assert_array_equal(one, two)
    assert (one != draw_background(kind, SIZE, np.random.default_rng(4))).any()


def test_an_unknown_background():
    with pytest.raises(ValueError, match="background 'sky'; accepted: spectrum"):
        draw_background("sky", SIZE, np.random.default_rng(0))


def test_frames_repeat_and_do_not_depend_on_how_many_follow():
    for one, two in zip(frames(count=2), frames(count=4), strict=False):
        assert one.targets == two.targets
        np.testing.assert_array_equal(one.pixels, two.pixels)
    assert frames(count=1)[0].targets != frames("train", count=1)[0].targets


def test_targets_lie_apart_and_inside_at_the_sides_asked_for():
    for frame in frames():
        assert frame.size == SIZE
        for i, target in enumerate(frame.targets):
            assert 270 * LEAST_SHARE - 1 <= target.side <= 270 * GREATEST_SHARE + 1
            for centre, room in zip(target.centre, SIZE, strict=True):
                assert target.side / 2 <= centre <= room - target.side / 2
            for other in frame.targets[:i]:
                apart = max(abs(a - b) for a, b in zip(target.centre, other.centre, strict=True))
                assert apart - (target.side + other.side) / 2 >= GAP


def test_every_class_comes_as_often():
    counts = np.bincount([target.label for frame in frames(count=10) for target in frame.targets], minlength=10)
    assert counts.tolist() == [3] * 10


def test_photos_become_backgrounds_also_small_ones():
    photo = np.full((100, 600, 3), 77, np.uint8)
    (frame,) = frames("photos", count=1, photos=[photo])
    assert frame.size == SIZE
    assert np.median(frame.pixels) == 77
    assert frame.name == "photos 0: photo"


def test_too_many_targets_are_refused():
    with pytest.raises(ValueError, match="no room for"):
        list(planted_frames("test", 1, size=(64, 64), targets=30, seed=0))


def test_fixations_are_as_far_away_as_they_say(rng):
    field = VisualField((1360, 768), FOV_DEG)
    for centre in ((680.0, 384.0), (3.0, 3.0), (1359.0, 767.0), (20.0, 700.0)):
        target = Target(0, centre, 20)
        assert fixation_for(target, "on", field, rng) == centre
        near = fixation_for(target, "near", field, rng)
        assert float(field.eccentricities_deg([near], centre)[0]) == pytest.approx(NEAR_DEG)
        assert 0 <= near[0] <= 1360
        assert 0 <= near[1] <= 768
        away = fixation_for(target, "away", field, rng)
        assert field.eccentricities_deg([away], centre)[0] >= AWAY_DEG


def test_in_a_field_too_narrow_the_farthest_corner_is_away(rng):
    field = VisualField((100, 100), 10.0)
    away = fixation_for(Target(0, (20.0, 30.0), 8), "away", field, rng)
    assert away == (100.0, 100.0)
    assert math.dist(away, (20, 30)) == max(math.dist((x, y), (20, 30)) for x in (0, 100) for y in (0, 100))


def test_another_word_for_where(rng):
    with pytest.raises(ValueError, match="where is 'beside'; accepted: on, near, away"):
        fixation_for(Target(0, (1.0, 1.0), 8), "beside", VisualField(SIZE), rng)


def test_a_folder_without_photos(tmp_path):
    with pytest.raises(SourceError, match=r"holds no photo; looked for \.jpg"):
        load_photos(tmp_path)


@pytest.mark.data
def test_real_photos_load(data_folder):
    photos = load_photos(data_folder / "photos")
    assert photos
    assert all(photo.ndim == 3 and photo.shape[2] == 3 for photo in photos.values())
