"""Motion sources by name."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm import Engine
from texvlm.motion import MOTION_SOURCES, MotionField, MotionSource, moment_of, open_motion


@pytest.mark.parametrize("name", MOTION_SOURCES)
def test_every_name_opens_a_motion_source_of_that_name(name):
    motion = open_motion(name)
    assert isinstance(motion, MotionSource)
    assert motion.name == name
    with Engine((64, 48), backend="cpu") as engine:
        engine.submit(np.zeros((48, 64, 3), np.uint8))
        assert motion(moment_of(engine)) is None
        motion.reset()
        motion.reset(3)


def test_none_never_has_a_field():
    motion = open_motion("none")
    with Engine((64, 48), backend="cpu") as engine:
        for shade in (0, 100):
            engine.submit(np.full((48, 64, 3), shade, np.uint8))
            assert motion(moment_of(engine)) is None


def test_options_reach_it():
    with Engine((64, 48), backend="cpu") as engine:
        motion = open_motion("dis", cell=(8, 8))
        for _ in range(2):
            engine.submit(np.zeros((48, 64, 3), np.uint8))
            field = motion(moment_of(engine))
    assert isinstance(field, MotionField)
    assert field.cell == (8, 8)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("raft", {}, "motion is 'raft'; accepted: dis, blocks, codec, none"),
        ("codec", {"preset": "fast"}, "motion 'codec' does not take preset"),
        ("dis", {"preset": "slow"}, "preset is 'slow'"),
    ],
)
def test_unknown_names_and_options_are_refused_in_one_line(name, options, said):
    with pytest.raises(ValueError, match=said) as refusal:
        open_motion(name, **options)
    assert "\n" not in str(refusal.value)


def test_a_source_without_a_frame_has_no_moment():
    with Engine((64, 48), backend="cpu") as engine, pytest.raises(ValueError, match="source 0 has no frame yet"):
        moment_of(engine)
