"""The strip over time: what it shows lies where and when it happened; any mix of known and unknown is drawn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm.drawing.pictures import PAPER_GRAY
from texvlm.drawing.strip import (
    GREEN,
    GUTTER,
    MARGIN,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    YELLOW,
    Box,
    draw_bars,
    draw_dashes,
    draw_line,
    nice_step,
    per_column,
    round_top,
    slot_of,
)
from texvlm.drawing.timeline import TimelineFrame, draw_timeline
from texvlm.motion.field import MotionField

WIDTH = 1000
ROOM = WIDTH - GUTTER - MARGIN


def places(image, colour):
    """Columns and rows in which a colour occurs, right of the words."""
    found = (image == np.array(colour)).all(axis=2)
    found[:, :GUTTER] = found[:, WIDTH - MARGIN :] = False
    return np.flatnonzero(found.any(axis=0)), np.flatnonzero(found.any(axis=1))


def frames_of(count, **more):
    return [TimelineFrame(time_s=k / 10, **{name: value(k) for name, value in more.items()}) for k in range(count)]


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_every_frame_has_its_slot_and_none_is_lost(values):
    box = Box(7, 0, 120, 10)
    slots = [slot_of(k, len(values), box) for k in range(len(values))]
    assert slots[0][0] == 7
    assert slots[-1][1] <= 7 + 120 + 1
    assert all(a < b for a, b in slots)
    assert per_column(values, 120).max() == max(values)
    top = round_top(values)
    assert top >= max(values) * (1 - 1e-9)
    assert top <= 2.1 * max(values) or max(values) < 1e-30


@given(st.floats(1e-3, 1e5), st.integers(1, 40))
def test_steps_are_round_and_few(span, most):
    step = nice_step(span, most=most)
    assert span / step <= most * (1 + 1e-9)
    digits = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(digits - d) for d in (1, 2, 5, 10)) < 1e-6


def test_lines_and_bars_have_their_height():
    box = Box(0, 0, 60, 101)
    image = np.zeros((101, 60, 3), np.uint8)
    draw_line(image, [0.0, 0.5, 1.0], box, top=1.0, colour=YELLOW)
    lit = image.sum(axis=2) > 200
    assert lit[50, 30]
    assert lit[:, 0].nonzero()[0].tolist()[-1] == 100
    assert lit[:, 59].nonzero()[0].tolist()[0] == 0
    broken = np.zeros_like(image)
    draw_line(broken, [0.5, math.nan, 0.5], box, top=1.0, colour=YELLOW)
    assert not broken[:, 29:31].any()
    assert broken[50, [0, 59]].any(axis=1).all()
    bars = np.zeros_like(image)
    draw_bars(bars, [0.0, 0.5, math.nan], box, top=1.0, colour=YELLOW)
    assert not bars[:, :20].any()
    assert not bars[:, 40:].any()
    assert bars[52:, 20:40].any(axis=2).all()
    assert not bars[:48].any()
    draw_dashes(bars, 0.25, box, top=1.0, colour=SKY)
    assert (bars[75, :5] == SKY).all()


def test_levels_and_fallbacks_stand_at_their_time():
    levels = ["L0"] * 5 + ["L2"] * 10 + ["L3"] * 5
    image = draw_timeline(frames_of(20, level=levels.__getitem__, fell_back=lambda k: k == 12), width=WIDTH)
    for name, colour in (("L0", VERMILLION), ("L2", GREEN), ("L3", PURPLE)):
        _, rows = places(image, colour)
        strip = (image[rows[0] + 12] == np.array(colour)).all(axis=1)
        own = np.flatnonzero(strip[GUTTER : WIDTH - MARGIN])
        assert own[0] == pytest.approx(levels.index(name) / 20 * ROOM, abs=1)
        assert len(own) == pytest.approx(levels.count(name) / 20 * ROOM, abs=2)


def test_transitions_are_marked_at_their_first_frame():
    kinds = ["", "", "cut", "", "fade_in", "fade_in", "fade_in", "", "cut", "cut"]
    image = draw_timeline(frames_of(10, transition=kinds.__getitem__, max_age=lambda k: k), width=WIDTH)
    bottom = image[-60]
    cuts = np.flatnonzero((bottom == VERMILLION).all(axis=1)) - GUTTER
    np.testing.assert_allclose(cuts, np.array([2, 8, 9]) / 10 * ROOM, atol=1)
    fades = np.flatnonzero((bottom == SKY).all(axis=1)) - GUTTER
    np.testing.assert_allclose(fades, [0.4 * ROOM], atol=1)


def test_maps_are_tinted_where_they_are_set():
    tiles, encoded = np.zeros((6, 10), bool), np.zeros((4, 8), bool)
    tiles[:, :5] = True
    encoded[2:] = True
    gray = np.full((96, 160, 3), 128, np.uint8)
    plain = draw_timeline(frames_of(8, picture=lambda _: gray), width=WIDTH)
    image = draw_timeline(
        frames_of(8, picture=lambda _: gray, tiles=lambda _: tiles, encoded=lambda _: encoded), width=WIDTH
    )
    row = (image.shape[0] - plain.shape[0]) // 2
    top = int(np.flatnonzero((plain[:, GUTTER + 20] == 128).all(axis=1))[0])
    height = row - 6
    left, right = slot_of(0, 5, Box(GUTTER, 0, ROOM, 1))
    middle = (left + right) // 2
    changed, kept = image[top + row + height // 2, middle - 30], image[top + row + height // 2, middle + 30]
    assert changed[0] > 2 * changed[2], f"{changed} is tinted {ORANGE}"
    assert kept[0] == kept[2]
    lower, upper = image[top + 2 * row + height * 3 // 4, middle], image[top + 2 * row + height // 4, middle]
    assert lower[2] > 1.5 * lower[0], f"{lower} is tinted {SKY}"
    assert upper[0] == upper[2]


def test_motion_points_to_where_content_is_now():
    flow = np.zeros((6, 10, 2), np.float32)
    flow[..., 0] = -20  # backward: content came from the left
    field = MotionField(flow, np.ones((6, 10), bool), (160, 96), (16, 16), "test")
    gray = np.full((96, 160, 3), 100, np.uint8)
    moving = draw_timeline(frames_of(4, picture=lambda _: gray, motion=lambda _: field), width=WIDTH)
    still = draw_timeline(
        frames_of(4, picture=lambda _: gray, motion=lambda _: MotionField.zero((160, 96))), width=WIDTH
    )
    tail = (np.array(YELLOW) * 0.75).astype(np.uint8)
    dots, tails = (moving == np.array(YELLOW)).all(axis=2), (moving == tail).all(axis=2)
    dots[:, :GUTTER] = False
    assert dots.any()
    rows = np.flatnonzero(tails.any(axis=1))
    row = rows[len(rows) // 2]
    first_tail = np.flatnonzero(tails[row])[0]
    first_dot = np.flatnonzero(dots[row])[0]
    assert first_tail < first_dot, "the line begins where content was"
    assert not (still[:, GUTTER:] == np.array(YELLOW)).all(axis=2).any()


def test_words_say_what_was_measured():
    frames = frames_of(
        30,
        tokens=lambda k: 100,
        encoded_tokens=lambda k: 10,
        deviation=lambda k: 1 / 255,
        bound=lambda k: 2 / 255,
        mean_age=lambda k: k / 2,
        max_age=lambda k: k,
        spent_ms=lambda k: 900 if k == 0 else 3.0,
    )
    image = draw_timeline(frames, title="clip", width=WIDTH)
    bare = draw_timeline(frames_of(30), title="clip", width=WIDTH)
    assert image.shape[0] > bare.shape[0] + 4 * 60
    columns, _ = places(image, YELLOW)
    assert len(columns) > 0.5 * ROOM, "one slow frame does not flatten the others"


options = st.fixed_dictionaries(
    {},
    optional={
        "time_s": st.one_of(st.none(), st.floats(0, 100)),
        "level": st.sampled_from(["", "L0", "L3", "skipped", "other"]),
        "transition": st.sampled_from(["", "cut", "flash", "unheard of"]),
        "tokens": st.integers(0, 999),
        "encoded_tokens": st.integers(0, 999),
        "max_age": st.floats(0, 1e6),
        "deviation": st.floats(0, 1),
        "bound": st.floats(0, 1),
        "spent_ms": st.floats(0, 1e4),
        "fell_back": st.booleans(),
        "encoded": st.just(np.ones((3, 5), bool)),
        "tiles": st.just(np.ones((2, 3), bool)),
        "picture": st.sampled_from([np.zeros((9, 16, 3), np.uint8), np.ones((20, 8, 1), np.float32)]),
        "motion": st.just(MotionField.zero((48, 32))),
    },
)


@settings(max_examples=40, deadline=None)
@given(st.lists(options, min_size=1, max_size=12), st.integers(640, 900))
def test_any_mix_of_known_and_unknown_is_drawn(given_options, width):
    image = draw_timeline([TimelineFrame(**given) for given in given_options], title="t", width=width)
    assert image.dtype == np.uint8
    assert image.shape[1:] == (width, 3)
    assert (image[0] == PAPER_GRAY).all()


def test_more_frames_than_columns():
    frames = frames_of(1500, level=lambda k: "L2", max_age=lambda k: 7 if k == 701 else 1, transition=lambda k: "")
    image = draw_timeline(frames, width=640)
    assert image.shape[1] == 640


def test_timelines_that_are_refused():
    with pytest.raises(ValueError, match="no frames"):
        draw_timeline([])
    with pytest.raises(ValueError, match="640 or more"):
        draw_timeline([TimelineFrame()], width=100)
