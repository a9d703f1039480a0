"""The viewer in a real window on a virtual display, with a real mouse and keyboard."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import av
import numpy as np
import pytest
from required import unavailable
from viewer.displays import Hand, scale_display, virtual_display
from viewer.films import Film, pixels

from texvlm.drawing.preview import PreviewWriter
from texvlm.errors import StoreError, ViewerUnavailable
from texvlm.viewer import PictureMode, ViewSettings
from texvlm.viewer import recorder as recorder_module
from texvlm.viewer import settings as settings_module
from texvlm.viewer.native.opening import open_session, open_surface
from texvlm.viewer.native.surface import KeyTyped, PointerMoved, Uncovered
from texvlm.viewer.native.viewer import NativeViewer, ViewFiles
from texvlm.viewer.native.window import NOT_HERE, GlfwWindow, _raising

pytestmark = pytest.mark.gl
SIZE = (320, 200)


@pytest.fixture(scope="module")
def display():
    with virtual_display() as name:
        yield name


@pytest.fixture
def here(display, monkeypatch):
    """This process draws on the display."""
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    try:
        GlfwWindow("probe", (64, 64)).close()
    except ViewerUnavailable as refusal:
        unavailable("xvfb", str(refusal))
    return Hand(display)


def film_on(monkeypatch, film):
    monkeypatch.setattr(settings_module, "open_source", lambda name: film)
    return ViewSettings("film", tokens=40, patch=8, threshold=0, loop=False)


def events_of(window, wanted, timeout_s=10.0):
    """Everything until an event of a kind came."""
    found, end = [], time.monotonic() + timeout_s
    while not any(isinstance(event, wanted) for event in found):
        assert time.monotonic() < end, f"no {wanted.__name__} came"
        found += window.events(0.1)
    return found


def picture_of(path):
    with av.open(str(path)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def test_the_whole_program_with_mouse_and_keyboard(display, tmp_path):
    command = [sys.executable, "-m", "texvlm", "view", "scene:320x180", "--size", "640x360", "--json", "--tokens", "80"]
    command += ["--out", str(tmp_path), "--screenshot", str(tmp_path / "last.png"), "--mode", "reconstruction"]
    environment = {**os.environ, "DISPLAY": display, "PYTHONPATH": os.pathsep.join(sys.path)}
    hand = Hand(display)
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        try:
            hand("search", "--sync", "--onlyvisible", "--name", "texvlm scene")

            def shoot(number: int) -> np.ndarray:
                """Press s until the picture is there: the window opens before its first frame is shown."""
                path, end = tmp_path / f"texvlm-view-{number:03d}.png", time.monotonic() + 60
                while not path.exists():
                    assert program.poll() is None, program.stderr.read()
                    assert time.monotonic() < end, "no picture was written"
                    hand.press("s")
                    time.sleep(0.3)
                return picture_of(path)

            first = shoot(1)
            hand.press("space")
            hand.move(40, 40)
            time.sleep(1)  # a picture is saved as it is when the key is heard: the move must have been drawn
            taken = len(list(tmp_path.glob("*.png")))
            left = shoot(taken + 1)
            hand.move(600, 320)
            time.sleep(1)
            taken = len(list(tmp_path.glob("*.png")))
            right = shoot(taken + 1)
            hand.press("1")
            time.sleep(1)
            taken = len(list(tmp_path.glob("*.png")))
            frame = shoot(taken + 1)
            for key in ("r", "period", "period", "r"):
                hand.press(key)
                time.sleep(0.5)  # keys that come together are all heard before the next picture
            hand("windowsize", hand("search", "--name", "texvlm scene").splitlines()[0], "500", "300")
            hand.press("h", "l", "plus", "bracketright", "6")
            time.sleep(0.5)
            hand.press("q")
            out, err = program.communicate(timeout=30)
        finally:
            program.kill()
    assert program.returncode == 0, err
    report = json.loads(out)
    assert report["backend"] == "gl"
    assert report["latency_ms"] > 0
    assert first.shape == (360, 640, 3)
    by_left, by_right = (np.abs(picture.astype(int) - frame) for picture in (left, right))
    beside = slice(54, 94), slice(14, 94)  # below the ring around the fixation
    assert by_left[beside].mean() < by_right[beside].mean()
    beside = slice(266, 306), slice(546, 626)
    assert by_right[beside].mean() < by_left[beside].mean()
    assert picture_of(tmp_path / "last.png").shape == (300, 500, 3)
    (film,) = tmp_path.glob("*.mp4")
    assert str(film) in report["written"]


def test_keys_and_the_pointer_come_as_events_in_framebuffer_pixels(here):
    with open_surface("texvlm test", SIZE, offscreen=False) as window:
        window.events(0.05)
        here.move(50, 60)
        moved = events_of(window, PointerMoved)[-1]
        assert (moved.x, moved.y, moved.pressed) == (50, 60, False)
        here("mousedown", "1")
        assert events_of(window, PointerMoved)[-1].pressed
        here("mouseup", "1")
        for name, key in (("g", "g"), ("plus", "+"), ("Escape", "escape"), ("Right", "right"), ("F1", "f1")):
            here.press(name)
            assert KeyTyped(key) in events_of(window, KeyTyped)
        here("windowsize", here("search", "--name", "texvlm test").splitlines()[0], "400", "240")
        events_of(window, Uncovered)
        assert window.size == (400, 240)
        assert window.scale == 1


def test_on_a_scaled_display_the_pointer_is_where_it_points(here, monkeypatch):
    with open_surface("texvlm test", SIZE, offscreen=False) as window:
        monkeypatch.setattr(window._glfw, "get_framebuffer_size", lambda _: (640, 400))
        monkeypatch.setattr(window._glfw, "get_window_content_scale", lambda _: (2.0, 2.0))
        assert (window.size, window.scale) == ((640, 400), 2)
        window.events(0.05)
        here.move(70, 90)
        moved = events_of(window, PointerMoved)[-1]
        assert (moved.x, moved.y) == (140, 180)


def test_a_fine_display_has_a_larger_window_and_larger_words(monkeypatch):
    with virtual_display((1000, 700)) as fine:
        scale_display(fine, 192)
        monkeypatch.setenv("DISPLAY", fine)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        settings = film_on(monkeypatch, Film([None], size=SIZE))
        with (
            open_surface("texvlm test", (480, 300), offscreen=False) as window,
            open_session(settings, window) as session,
        ):
            assert (window.size, window.scale) == ((960, 600), 2)
            window.events(0.05)
            Hand(fine).move(700, 90)
            moved = events_of(window, PointerMoved)[-1]
            assert (moved.x, moved.y) == (700, 90)
            viewer = NativeViewer(session, window)
            scales = [viewer._scale_for((230, 190), size) for size in ((960, 600), (700, 400), (90, 40))]
            assert scales == [2, 1, 1]  # as large as the display wants, and no larger than there is room
            viewer.close()


def test_what_is_shown_is_the_frame_and_nothing_comes_back(here, monkeypatch, tmp_path):
    settings = film_on(monkeypatch, Film([0.0], size=SIZE))
    with open_surface("texvlm test", SIZE, offscreen=False) as window, open_session(settings, window) as session:
        monkeypatch.setattr(type(session.engine), "read_level", lambda *_, **__: pytest.fail("the frame came back"))
        path = tmp_path / "shown.png"
        viewer = NativeViewer(session, window, mode=PictureMode.FRAME, files=ViewFiles(screenshot=path), panel=True)
        viewer.run()
        viewer.close()
        assert viewer.painter.frames.bytes_copied == 0
        differs = (picture_of(path) != pixels(0, SIZE)).any(axis=-1)
        assert differs.mean() < 0.01  # the ring of the fixation, and no words
    assert not session.latencies_ms


def test_a_single_image_stays_until_somebody_closes_it(here, monkeypatch):
    settings = replace(film_on(monkeypatch, Film([None], size=SIZE)), loop=True)
    with open_surface("texvlm test", SIZE, offscreen=False) as window, open_session(settings, window) as session:
        asked = iter([False] * 6 + [True])
        viewer = NativeViewer(session, window, stop=lambda: next(asked))
        viewer.run()
        assert next(asked, None) is None  # it went on until it was told to stop
        assert session.finished
        assert viewer.handle(KeyTyped("2"))
        assert viewer.mode is PictureMode.RECONSTRUCTION
        viewer.close()


class FullDisk(PreviewWriter):
    """Has room for nothing."""

    def write(self, image, pts=None):
        raise StoreError("no room; free some")


@pytest.fixture
def still(here, monkeypatch, tmp_path):
    """A viewer on a film that is paused; (viewer, session, window, what it said)."""
    settings = film_on(monkeypatch, Film([0.01 * k for k in range(500)], size=SIZE))
    with open_surface("texvlm test", SIZE, offscreen=False) as window, open_session(settings, window) as session:
        viewer = NativeViewer(session, window, files=ViewFiles(tmp_path), panel=False)
        said = []
        monkeypatch.setattr(viewer, "notice", said.append)
        session.player.pause(True)
        yield viewer, session, window, said
        viewer.close()


def show_one(viewer, session):
    """One more frame."""
    before = session.statistics().pictures
    session.player.step()
    viewer.stop = lambda: session.statistics().pictures > before
    viewer.run()


def test_what_is_said_to_be_written_is_there(still, tmp_path):
    viewer, session, _, said = still
    viewer.handle(KeyTyped("s"))
    viewer.handle(KeyTyped("r"))
    viewer.handle(KeyTyped("r"))
    film = tmp_path / "texvlm-view-001.mp4"
    assert said == ["there is no picture yet", f"recording {film}", f"nothing was shown, so there is no {film}"]
    assert not list(tmp_path.iterdir())
    show_one(viewer, session)
    viewer.handle(KeyTyped("s"))
    viewer.handle(KeyTyped("r"))
    show_one(viewer, session)
    viewer.handle(KeyTyped("r"))
    picture = tmp_path / "texvlm-view-001.png"
    assert said[3:] == [f"wrote {picture}", f"recording {film}", f"wrote {film}"]
    assert viewer.written == [picture, film]
    assert all(path.exists() for path in viewer.written)


def test_a_recording_that_fails_is_told_and_the_window_stays(still, monkeypatch, tmp_path):
    viewer, session, _, said = still
    monkeypatch.setattr(recorder_module, "PreviewWriter", FullDisk)
    viewer.handle(KeyTyped("r"))
    end = time.monotonic() + 20
    while "no room; free some" not in said:  # the recorder is a thread of its own
        show_one(viewer, session)
        assert time.monotonic() < end
    show_one(viewer, session)
    assert not list(tmp_path.iterdir())
    assert viewer.written == []


def test_losing_the_focus_in_full_screen_ends_nothing(still, here):
    viewer, session, window, _ = still  # a display without a window manager refuses to minimise it
    show_one(viewer, session)
    window.toggle_full_screen()
    events_of(window, Uncovered)
    number = here("search", "--name", "texvlm test").splitlines()[0]
    for action in ("windowunmap", "windowmap"):
        here(action, number)
        for _ in range(10):
            window.events(0.02)
        show_one(viewer, session)
    window.toggle_full_screen()
    show_one(viewer, session)
    assert window.size == SIZE


def test_what_a_display_lacks_is_no_error_of_an_open_window(still):
    _, _, window, _ = still
    for code in (*NOT_HERE, 0x10008):
        window._glfw._handle_glfw_errors(code, b"Wayland: The platform does not provide the window position")
    with _raising(window._glfw), pytest.raises(window._glfw.GLFWError):
        window._glfw.get_window_attrib(window._window, 12345)


def test_resizing_draws_anew(here, monkeypatch, tmp_path):
    settings = replace(film_on(monkeypatch, Film([None], size=SIZE)), loop=True)
    with open_surface("texvlm test", SIZE, offscreen=False) as window, open_session(settings, window) as session:
        sizes = []

        def stop():
            sizes.append(window.size)
            if len(sizes) == 3:
                window.resize((400, 300))
            return sizes[-1] == (400, 300) and len(sizes) > 3

        path = tmp_path / "shown.png"
        viewer = NativeViewer(session, window, files=ViewFiles(screenshot=path), stop=stop)
        viewer.run()
        viewer.close()
    assert picture_of(path).shape == (300, 400, 3)


@pytest.mark.parametrize("stage", ["before", "first", "later", "held"])
def test_it_closes_cleanly_at_every_stage(here, monkeypatch, stage):
    film = Film([0.01 * k for k in range(500)], size=SIZE, held=0 if stage == "held" else None)
    settings = film_on(monkeypatch, film)
    with open_surface("texvlm test", SIZE, offscreen=False) as window, open_session(settings, window) as session:
        viewer = NativeViewer(session, window)

        def close(number):
            if number >= {"first": 1, "later": 4}.get(stage, 0):
                window.ask_to_close()

        session.listeners.append(lambda shown: close(shown.number))
        if stage == "before":
            close(0)
        if stage == "held":  # nothing was decoded yet, and the decoder waits
            moments = iter([False, True])
            viewer.stop = lambda: next(moments)
        viewer.run()
        viewer.close()
        if stage == "held":
            film.gate.set()
    assert film.closed
    assert session.statistics().pictures == 0  # it is closed, and holds none
    if stage in ("before", "held"):
        assert session.engine.counters.frames == 0


def test_without_a_display_it_says_the_way_out(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":7654")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(ViewerUnavailable, match=r"^no window can be opened: .*display :7654\); use --offscreen"):
        GlfwWindow("texvlm", (64, 64))


def test_without_glfw_it_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "glfw", None)
    with pytest.raises(ViewerUnavailable, match=r'pip install "texvlm\[viewer\]"'):
        GlfwWindow("texvlm", (64, 64))


def test_the_doctor_says_whether_windows_open(here, monkeypatch):
    from texvlm.doctor.viewer import examine_viewer

    assert examine_viewer().state == "ok"
    monkeypatch.setenv("DISPLAY", ":7654")
    lost = examine_viewer()
    assert lost.state == "missing"
    assert ":7654" in lost.detail
