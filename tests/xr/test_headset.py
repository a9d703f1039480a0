"""A headset through the official loader and the test runtime: its states, pictures, gaze, and what goes wrong."""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest
from headset_rig import FOVS, SIZE, paint, place

from texvlm.backends._egl import load_egl
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError, HeadsetLost, HeadsetUnavailable
from texvlm.xr import XR_CLOCK, EyeTokens, Headset

pytestmark = pytest.mark.gl

READY_TO_FOCUSED = [f"state {state}" for state in (1, 2, 3, 4, 5)]
GIVEN_BACK = "destroyed, 0 objects left"


def test_a_session_from_its_beginning_to_its_end(rig, app):
    rig.script("gaze 1 0 0", "stop 3")
    with Headset() as headset:
        assert (headset.runtime_name, headset.gaze_of) == ("texvlm test runtime", "eyes")
        assert headset.images.size == SIZE
        frames = list(headset.frames())
        assert list(headset.frames()) == []  # it has ended
    assert [frame.number for frame in frames] == [0, 1, 2]
    assert [frame.image for frame in frames] == [0, 1, 2]
    assert np.diff([frame.display_time_ns for frame in frames]).tolist() == [frames[0].period_ns] * 2
    assert rig.notes[1] == "binding egl"
    assert rig.notes[2:7] == READY_TO_FOCUSED
    shown = [f"frame {n}: 1 layers" for n in (1, 2)]
    assert rig.notes[7:] == [*shown, "state 3", "state 6", "frame 3: 1 layers", "state 1", "state 8", GIVEN_BACK]


@pytest.mark.parametrize("form", ["0x8C43,0x8058", "0x881A,0x8058"], ids=["srgb", "plain"])
@pytest.mark.parametrize("arrangement", ["layers", "side-by-side"])
def test_each_source_holds_what_its_eye_sees(rig, app, arrangement, form):
    rig.script(f"formats {form}", "gaze 1 0 0", "stop 5")  # more frames than images
    taken = 0
    with Headset(arrangement=arrangement) as headset, EyeTokens(headset, threshold=0) as tokens:
        for frame in headset.frames():
            drawn = [paint(app, eye, frame) for eye in frame.eyes]
            batch = tokens.take(frame)
            for source, picture in enumerate(drawn):
                np.testing.assert_array_equal(tokens.engine.read_level(0, source=source), picture)
            assert batch.pixels.shape == (2, 268, 3, 16, 16)
            assert batch.pts.tolist() == [frame.display_time_ns / 1e9] * 2
            taken += 1
    assert taken == 5
    assert rig.notes[-1] == GIVEN_BACK


def test_the_gaze_falls_on_its_place_in_each_eyes_picture(rig, app):
    directions = {1: (0, 0), 4: (25, -10), 7: (-30, 20)}
    rig.script(*(f"gaze {n} {yaw} {pitch}" for n, (yaw, pitch) in directions.items()), "stop 11")
    with Headset() as headset, EyeTokens(headset) as tokens:
        for frame in headset.frames():
            for eye in frame.eyes:
                paint(app, eye, frame)
                angles = (eye.fov.left, eye.fov.right, eye.fov.up, eye.fov.down)
                assert angles == pytest.approx(FOVS[eye.eye], abs=1e-6)
            tokens.take(frame)
            if frame.number + 1 not in directions:
                continue
            for sample, fov in zip(frame.gaze, FOVS.values(), strict=True):
                assert sample.point == pytest.approx(place(*directions[frame.number + 1], fov), abs=1e-5)
                assert (sample.clock, sample.time_ns) == (XR_CLOCK, frame.display_time_ns - 20_000_000)
            if frame.number == 0:
                assert tokens.fixations == pytest.approx(np.array([place(0, 0, fov) for fov in FOVS.values()]))
    assert tokens.fixations[0, 0] < 0.35  # it followed to the left
    assert tokens.fixations[0, 0] - tokens.fixations[1, 0] == pytest.approx(
        place(-30, 20, FOVS["left"])[0] - place(-30, 20, FOVS["right"])[0], abs=0.02
    )


def test_canted_displays_and_a_turned_head(rig, app):
    half = math.radians(12) / 2  # each eye's display faces 12 degrees outward
    eyes = [
        f"eye {k} {x} 0 0 0 {y} 0 {math.cos(half)}"
        for k, x, y in ((0, -0.03, math.sin(half)), (1, 0.03, -math.sin(half)))
    ]
    rig.script(*eyes, "head 1 2 3 0 0.6 0 0.8", "gaze 1 12 0", "stop 2")
    with Headset() as headset:
        frame = next(headset.frames())
    left, right = frame.gaze
    assert left.point == pytest.approx(place(24, 0, FOVS["left"]), abs=1e-5)
    assert right.point == pytest.approx(place(0, 0, FOVS["right"]), abs=1e-5)
    assert frame.eyes[1].in_head.position == pytest.approx((0.03, 0, 0), abs=1e-6)
    turned = 2 * 0.6 * 0.8, 1 - 2 * 0.6**2  # sine and cosine of the head's turn
    assert frame.eyes[1].pose.position == pytest.approx((1 + 0.03 * turned[1], 2, 3 - 0.03 * turned[0]), abs=1e-5)


def test_a_blink_holds(rig, app):
    rig.script("gaze 1 20 0", "blink 3", "gaze 6 -20 0", "stop 6")
    with Headset() as headset, EyeTokens(headset) as tokens:
        fixations, states = [], []
        for frame in headset.frames():
            for eye in frame.eyes:
                paint(app, eye, frame)
            tokens.take(frame)
            fixations.append(tokens.fixations)
            states.append(tokens.gaze.at(frame.display_time_ns)[1])
            assert [sample.valid for sample in frame.gaze] == ([frame.number < 2] * 2 if frame.number < 5 else [])
    assert states == ["followed"] * 2 + ["held"] * 4  # the last frame comes without the focus, and so without gaze
    np.testing.assert_array_equal(fixations[3], fixations[2])


def test_after_a_blink_the_gaze_is_followed_at_once(rig, app):
    rig.script("blink 1", "gaze 2 20 0", "blink 3", "gaze 5 -20 0", "stop 6")
    with Headset() as headset:
        samples = [frame.gaze for frame in headset.frames()]
    assert samples[0] == ()  # there was none to lose yet
    assert [gaze[0].valid for gaze in samples[1:5]] == [True, False, False, True]
    times = [gaze[0].time_ns for gaze in samples[1:5]]
    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        ("eye_gaze 0", True),
        ("extensions XR_KHR_opengl_enable,XR_MNDX_egl_enable", True),
        ("gaze 1 30 0", False),
    ],
    ids=["no tracker", "no extension", "not asked for"],
)
def test_without_the_eyes_gaze_it_is_straight_ahead(rig, app, script, asked):
    rig.script(script, "stop 2")
    with Headset(eye_tracking=asked) as headset, EyeTokens(headset) as tokens:
        assert headset.gaze_of == "head"
        for frame in headset.frames():
            for eye in frame.eyes:
                paint(app, eye, frame)
            tokens.take(frame)
    assert tokens.fixations == pytest.approx(np.array([place(0, 0, fov) for fov in FOVS.values()]), abs=1e-6)
    assert ("eye_gaze_interaction" in rig.notes[0]) == (script == "eye_gaze 0")


def test_a_frame_that_nobody_sees_is_not_drawn(rig, app):
    rig.script("hide 2", "stop 3")
    with Headset() as headset:
        assert [frame.number for frame in headset.frames()] == [0, 1]
    assert [note for note in rig.notes if note.startswith("frame")] == [
        "frame 1: 1 layers",
        "frame 2: 0 layers",
        "frame 3: 1 layers",
    ]


def test_the_application_may_end_it(rig, app):
    with Headset() as headset:
        for frame in headset.frames():
            if frame.number == 1:
                headset.stop()
    assert frame.number == 1
    assert rig.notes[-4:] == ["frame 2: 1 layers", "state 1", "state 8", GIVEN_BACK]


def test_leaving_the_loop_shows_nothing_half_drawn(rig, app):
    with Headset() as headset:
        for _ in headset.frames():
            break
        assert rig.notes[-1] == "frame 1: 0 layers"
    assert rig.notes[-1] == GIVEN_BACK
    with pytest.raises(ClosedError, match="this headset is closed"):
        next(headset.frames())


def test_what_fails_while_drawing_is_raised_and_everything_given_back(rig, app):
    def draw() -> None:
        with Headset() as headset, EyeTokens(headset):
            for _ in headset.frames():
                raise ZeroDivisionError

    for times in (1, 2):  # the next one opens
        with pytest.raises(ZeroDivisionError):
            draw()
        assert rig.notes.count(GIVEN_BACK) == times


@pytest.mark.parametrize(
    "script", ["fail 3 -17", "fail 3 -13", "fail 3 -2", "fail 3 3", "lose_session 2", "lose_instance 2"]
)
def test_a_loss_is_one_clear_error(rig, app, script):
    rig.script("gaze 1 0 0", script)
    with Headset() as headset:
        frames = headset.frames()
        assert [next(frames).number, next(frames).number] == [0, 1]
        with pytest.raises(HeadsetLost) as loss:
            next(frames)
    assert "anew" in str(loss.value)
    assert "\n" not in str(loss.value)
    assert rig.notes[-1] == GIVEN_BACK


def test_another_failure_names_what_was_being_done(rig, app):
    rig.script("fail 1 -1")
    with (
        pytest.raises(DeviceCallError, match="OpenXR failed while waiting for the next frame: ValidationFailureError"),
        Headset() as headset,
    ):
        next(headset.frames())


def test_the_clock_is_told_where_the_runtime_can(rig, app):
    with Headset() as headset:
        frame = next(headset.frames())
        assert headset.monotonic_offset_ns(frame.display_time_ns) == 7_000_000_000
    rig.script("extensions XR_KHR_opengl_enable,XR_MNDX_egl_enable")
    with Headset() as headset, pytest.raises(HeadsetUnavailable, match='keep to the clock "openxr"'):
        headset.monotonic_offset_ns(1)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("size 0 0", "the OpenXR runtime has no headset; connect one"),
        (
            "extensions XR_KHR_opengl_enable",
            "has no XR_MNDX_egl_enable, which this context needs; use a context of GLX",
        ),
        ("extensions XR_MNDX_egl_enable", "has no XR_KHR_opengl_enable, which this context needs; use another runtime"),
        ("formats 0x881A", r"offers eye pictures as 0x881a alone; needed: SRGB8_ALPHA8 \(0x8c43\) or RGBA8"),
    ],
)
def test_what_the_runtime_lacks_is_said(rig, app, script, message):
    rig.script(script)
    with pytest.raises(HeadsetUnavailable, match=message):
        Headset()
    rig.unload()
    assert rig.notes[-1] == GIVEN_BACK


def test_without_a_runtime_the_way_out_is_said(rig, app, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("XR_RUNTIME_JSON", str(tmp_path / "none.json"))
    with pytest.raises(
        HeadsetUnavailable, match=r"no OpenXR runtime; start the headset's .* or name its manifest in XR_"
    ):
        Headset()
    assert capfd.readouterr().err == ""  # the loader holds its tongue


def test_without_the_binding_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "xr", None)
    with pytest.raises(HeadsetUnavailable, match=r'OpenXR needs pyopenxr .*; pip install "texvlm\[xr\]"'):
        Headset()


def test_without_a_context_it_is_said(rig):
    assert not load_egl().current_context()
    with pytest.raises(HeadsetUnavailable, match="no OpenGL context is current on this thread; make the renderer's"):
        Headset()


def test_arguments_that_are_not_accepted(rig, app):
    with pytest.raises(ValueError, match="arrangement is 'over-under'; accepted: layers, side-by-side"):
        Headset(arrangement="over-under")
    assert rig.notes[-1] == GIVEN_BACK
    with Headset(size=(96, 64)) as headset, pytest.raises(ValueError, match="layout"):
        EyeTokens(headset, layout="none such")
    assert rig.notes[-1] == GIVEN_BACK


def test_tokens_need_the_context_that_they_were_opened_on(rig, app):
    rig.script("gaze 1 0 0")
    with Headset() as headset, EyeTokens(headset) as tokens:
        frame = next(headset.frames())
        headset.images.make_readable(frame.image)
        egl = load_egl()
        handle, display = egl.current_context(), egl.open_display(egl.devices()[0])
        egl.make_current(display, None, None, None)
        with pytest.raises((DeviceCallError, BackendUnavailable), match="another OpenGL context is current, or none"):
            tokens.engine.submit(tokens._eyes[0][0])
        egl.make_current(display, None, None, handle)
