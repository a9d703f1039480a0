"""The native viewer: events in, pictures out, until somebody closes it.

One thread does everything but decoding and recording: it owns the context, the engine and the window.
It sleeps until a frame is due, a fixation moves or a key is pressed, and draws only then.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from time import perf_counter, perf_counter_ns

import numpy as np

from texvlm.backends._gl_api import RGBA, UNSIGNED_BYTE
from texvlm.drawing.pictures import Image, write_png
from texvlm.errors import StoreError
from texvlm.glyphs import text_size
from texvlm.profiling import profile_range
from texvlm.viewer.modes import PictureMode
from texvlm.viewer.native.keys import BY_KEY, HELP_LINES, Action, Binding
from texvlm.viewer.native.painter import Painter
from texvlm.viewer.native.places import places_of, point_in
from texvlm.viewer.native.surface import Event, PointerMoved, Surface, Uncovered
from texvlm.viewer.recorder import Recorder
from texvlm.viewer.session import ViewSession
from texvlm.viewer.shown import Shown
from texvlm.viewer.words import panel_lines, words_picture

PANEL_EVERY_S = 0.25
"""Numbers that change faster cannot be read."""

NOTICE_S = 2.5
"""How long a word about what a key did stays."""

LONGEST_WAIT_S = 0.5
"""A signal or a notice that runs out is noticed within this."""

PANEL, HELP, NOTICE = range(3)
"""Slots of words."""

PANEL_COLUMNS, PANEL_LINES = 38, 18
"""Its least width, characters; about as many lines."""

MARGIN = 8
"""Pixels between words and the window's edge, at scale 1."""

CELL = text_size("XX")[0] - text_size("X")[0]
"""Pixels from one character to the next, at scale 1."""

LEAST_COLUMNS = 20
"""Of a notice, however narrow the window is."""

PANEL_SIZE, HELP_SIZE = (
    words_picture(lines, columns=columns).shape[1::-1]
    for lines, columns in (([("-", "-")] * PANEL_LINES, PANEL_COLUMNS), (HELP_LINES, 0))
)
"""(width, height) of words at scale 1, pixels."""


@dataclass(frozen=True, slots=True)
class ViewFiles:
    """Where pictures go.

    Attributes:
        folder: for what keys ask for; numbered names that are not there yet.
        screenshot: the last picture goes there when the viewer ends; None for nowhere.
        record: everything that is shown goes there; None until a key asks.
    """

    folder: Path = Path()
    screenshot: Path | None = None
    record: Path | None = None


class NativeViewer:
    """Draws a session onto a surface. Owns the painter and the recording, neither session nor surface.

    Args:
        session: what to show; its backend should draw from the surface's context.
        surface: where to.
        mode: what to show first.
        files: where pictures go.
        frames: stop after so many frames; None for no end.
        patient: record every picture, however long that takes.
        panel: show the numbers.
        stop: asked again and again; True ends the viewer.
    Raises:
        KernelBuildError: a shader does not compile.
        StoreError: the recording cannot be written.

    Attributes:
        written: files that are whole.
        left_out: pictures that came too fast for the recordings among them.
    """

    def __init__(
        self,
        session: ViewSession,
        surface: Surface,
        *,
        mode: PictureMode = PictureMode.BOTH,
        files: ViewFiles | None = None,
        frames: int | None = None,
        patient: bool = False,
        panel: bool = True,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.mode = mode
        self._session, self._surface = session, surface
        self._files = files or ViewFiles()
        self._frames = frames
        self._patient = patient
        self.stop = stop
        self._panel, self._help = panel, False
        self._panel_due_s = self._notice_until_s = 0.0
        self._notice_height = 0
        self._quitting = False
        self._recorder: Recorder | None = None
        self.painter = Painter(surface.gl)
        self.written: list[Path] = []
        self.left_out = 0
        if self._files.record is not None:
            self._start_recording(self._files.record)

    def run(self) -> None:
        """Show pictures until the end of the input, of the frames wanted, or of somebody's patience.

        Raises:
            SourceError: the input failed.
            StoreError: a picture or the recording cannot be written.
        """
        stale = True
        while not (self._quitting or self._surface.closing or self.stop()):
            for event in self._surface.events(self._wait_s()):
                stale |= self.handle(event)
            shown = self._session.advance()
            if shown is not None:
                with self._session.stages.stage("to_window"):
                    self.painter.put(shown)
            now_s = perf_counter()
            stale |= self._panel and now_s >= self._panel_due_s
            stale |= 0 < self._notice_until_s <= now_s
            if shown is not None or stale:
                self._show(shown)
                stale = False
            frame = self._session.shown.frame if self._session.shown is not None else 0
            if self._ended or (self._frames is not None and frame >= self._frames):
                break
        if self._files.screenshot is not None:
            self._save(self._files.screenshot)

    @property
    def _ended(self) -> bool:
        """The input has, and is not to be looked at any longer: a single image is."""
        session = self._session
        return session.finished and not (session.settings.loop and not session.player.live)

    def close(self) -> None:
        """Finish the recording and free what was drawn with; the session and the surface stay open.

        Raises:
            StoreError: the recording cannot be finished.
        """
        with ExitStack() as steps:
            steps.callback(self.painter.close)
            if self._recorder is not None:
                steps.callback(self._stop_recording)

    # ------------------------------------------------------------------ pictures

    def _show(self, shown: Shown | None) -> None:
        """Draw the picture of the moment and the words over it."""
        window = self._surface.size
        if min(window) < 1:  # minimised: nobody sees it
            self._session.presented()
            return
        stage = self._session.stages.stage if shown is not None else nullcontext  # drawing the same again is no stage
        with stage("draw"), profile_range("draw", "preview"):
            self.painter.draw(self._session.engine, self.mode, window)
            if self._recorder is not None and shown is not None:
                self._record_picture(self._recorder, window)
            self._draw_words(window)
        with stage("show"), profile_range("show", "preview"):
            self._surface.show()
        if shown is not None:
            self._session.presented(perf_counter_ns())

    def _draw_words(self, window: tuple[int, int]) -> None:
        now_s = perf_counter()
        help_scale = self._scale_for(HELP_SIZE, window)
        scale = self._scale_for(PANEL_SIZE, window)
        margin = MARGIN * scale
        beside = PANEL_SIZE[0] * scale + HELP_SIZE[0] * help_scale + 3 * margin <= window[0]
        if self._panel and (beside or not self._help):
            if now_s >= self._panel_due_s:
                lines = panel_lines(self._session.statistics(), self._facts())
                self.painter.put_words(PANEL, words_picture(lines, scale=scale, columns=PANEL_COLUMNS))
                self._panel_due_s = now_s + PANEL_EVERY_S
            self.painter.draw_words(PANEL, (margin, margin), window)
        if self._help:
            picture = words_picture(HELP_LINES, scale=help_scale)
            self.painter.put_words(HELP, picture)
            self.painter.draw_words(HELP, (window[0] - picture.shape[1] - margin, margin), window)
        if now_s < self._notice_until_s:
            self.painter.draw_words(NOTICE, (margin, window[1] - self._notice_height - margin), window)
        else:
            self._notice_until_s = 0.0

    def _scale_for(self, size: tuple[int, int], window: tuple[int, int]) -> int:
        """The scale of words whose picture at scale 1 has this size: the display's, or what the window has room for."""
        room = min(window[0] // (size[0] + 2 * MARGIN), window[1] // (size[1] + 2 * MARGIN))
        return max(1, min(self._surface.scale, room))

    def _facts(self) -> list[tuple[str, str]]:
        session = self._session
        state = "paused" if session.player.paused else "live" if session.player.live else ""
        facts = [
            (self.mode.words, state) if state else (self.mode.words, ""),
            ("layout", session.layout_name),
            ("threshold", f"{255 * session.threshold:.3g} / 255"),
            ("look", "policy" if session.follows_policy else "pointer"),
            ("backend", session.engine.backend_name),
        ]
        if self.painter.frames.bytes_copied:
            facts.append(("copied to show", f"{self.painter.frames.bytes_copied / 1e6:.0f} MB"))
        if self._recorder is not None:
            lost = f", {self._recorder.dropped} left out" if self._recorder.dropped else ""
            facts.append(("recording", self._recorder.path.name + lost))
        return facts

    def notice(self, words: str) -> None:
        """Say something in the window for a moment."""
        scale = self._surface.scale
        columns = self._surface.size[0] // (CELL * scale) - 4
        lines = [(line, "") for line in wrap(words, max(columns, LEAST_COLUMNS))]
        picture = words_picture(lines, scale=scale)
        self.painter.put_words(NOTICE, picture)
        self._notice_height = picture.shape[0]
        self._notice_until_s = perf_counter() + NOTICE_S

    def _read(self, window: tuple[int, int]) -> Image:
        """What was drawn, (height, width, 3): the one way back from the device, when somebody asks for pictures."""
        texels = np.empty((window[1], window[0], 4), np.uint8)
        self._surface.gl.glReadPixels(0, 0, *window, RGBA, UNSIGNED_BYTE, texels.ctypes.data)
        self._surface.gl.check("reading a picture")
        return np.ascontiguousarray(texels[::-1, :, :3])

    def _save(self, path: Path) -> bool:
        """The picture of the moment, without words, as a PNG; False where there is none."""
        window = self._surface.size
        if min(window) < 1 or self._session.shown is None:
            return False
        self.painter.draw(self._session.engine, self.mode, window)
        try:
            write_png(path, self._read(window))
        except OSError as error:
            reason = error.strerror or str(error)
            raise StoreError(f"cannot write picture {path}: {reason}; choose another place") from error
        self.written.append(path)
        return True

    def _start_recording(self, path: Path) -> None:
        width, height = self._surface.size
        rate = self._session.player.info.rate or 30.0
        self._recorder = Recorder(path, (max(width, 2), max(height, 2)), rate=rate, patient=self._patient)

    def _record_picture(self, recorder: Recorder, window: tuple[int, int]) -> None:
        try:
            recorder.write(self._read(window), None if self._patient else perf_counter())
        except StoreError as failure:
            if recorder.path == self._files.record:
                raise  # who asked for it on the command line wants to know at once
            self._recorder = None  # it has ended by itself, and there is no file
            self.notice(str(failure))

    def _stop_recording(self) -> str:
        """Finish it; what came of it, in words."""
        recorder, self._recorder = self._recorder, None
        assert recorder is not None, "a recording is under way"
        if not recorder.finish():
            return f"nothing was shown, so there is no {recorder.path}"
        self.written.append(recorder.path)
        self.left_out += recorder.dropped
        lost = f", without {recorder.dropped} pictures that came too fast" if recorder.dropped else ""
        return f"wrote {recorder.path}{lost}"

    # ------------------------------------------------------------------ events

    def _wait_s(self) -> float | None:
        """How long to sleep where nothing happens."""
        now_s = perf_counter()
        wait = self._session.due_in_s(perf_counter_ns())
        moments = [LONGEST_WAIT_S if wait is None else wait]
        if self._panel and not self._session.player.paused:
            moments.append(max(0.0, self._panel_due_s - now_s))
        return min(moments)

    def handle(self, event: Event) -> bool:
        """Do what an event asks for; whether the window must be drawn anew."""
        if isinstance(event, Uncovered):
            return True
        if isinstance(event, PointerMoved):
            self._point(event)
            return False
        binding = BY_KEY.get(event.key)
        if binding is None:
            return False
        try:
            self._act(binding)
        except (ValueError, TypeError, StoreError) as refusal:
            self.notice(str(refusal))
        self._panel_due_s = 0.0
        return True

    def _point(self, event: PointerMoved) -> None:
        """Move the fixation; a pressed button takes over from a policy."""
        shown, window = self._session.shown, self._surface.size
        if shown is None or min(window) < 1:
            return
        if event.pressed and self._session.follows_policy:
            self._session.follow_policy(False)
        places = places_of(shown.size, window, len(self.mode.parts))
        self._session.point(*point_in(places, event.x, event.y), event.time_ns)

    def _act(self, binding: Binding) -> None:
        session = self._session
        match binding.action:
            case Action.MODE:
                assert binding.mode is not None, "it names a mode"
                self.mode = binding.mode
            case Action.NEXT_MODE:
                self.mode = self.mode.next()
            case Action.NEXT_LAYOUT | Action.PREVIOUS_LAYOUT:
                session.cycle_layout(1 if binding.action is Action.NEXT_LAYOUT else -1)
                self.notice(f"layout {session.layout_name}")
            case Action.MORE_TOKENS | Action.FEWER_TOKENS:
                session.change_tokens(1 if binding.action is Action.MORE_TOKENS else -1)
            case Action.LOOSER | Action.STRICTER:
                session.change_threshold(1 if binding.action is Action.LOOSER else -1)
                self.notice(f"threshold {255 * session.threshold:.3g} / 255")
            case Action.PAUSE:
                session.player.pause(not session.player.paused)
            case Action.STEP:
                session.player.step()
            case Action.LOOK:
                session.follow_policy(not session.follows_policy)
            case Action.SCREENSHOT:
                path = self._free_name(".png")
                self.notice(f"wrote {path}" if self._save(path) else "there is no picture yet")
            case Action.RECORD:
                self._record()
            case Action.PANEL:
                self._panel = not self._panel
            case Action.HELP:
                self._help = not self._help
            case Action.FULL_SCREEN:
                self._surface.toggle_full_screen()
            case Action.QUIT:
                self._quitting = True

    def _record(self) -> None:
        if self._recorder is None:
            self._start_recording(path := self._free_name(".mp4"))
            self.notice(f"recording {path}")
        else:
            self.notice(self._stop_recording())

    def _free_name(self, ending: str) -> Path:
        """A name in the folder that nothing has yet."""
        number = 1
        while (path := self._files.folder / f"texvlm-view-{number:03d}{ending}").exists():
            number += 1
        return path
