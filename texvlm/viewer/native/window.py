"""A window of glfw, and what people do in it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter_ns
from typing import Any

from texvlm.backends._egl import GL_VERSION
from texvlm.backends._gl_api import RENDERER
from texvlm.errors import ViewerUnavailable
from texvlm.viewer.native.gl_draw import DrawApi
from texvlm.viewer.native.surface import Event, KeyTyped, PointerMoved, Uncovered

WINDOW_ADVICE = (
    "use --offscreen --screenshot FILE.png or --record FILE.mp4 for pictures without a window, "
    "or run it under a virtual display: xvfb-run texvlm view ..."
)

NOT_HERE = (0x1000C, 0x1000D)
"""GLFW_FEATURE_UNAVAILABLE and _UNIMPLEMENTED: what a display does not have, and a window can do without."""

_NUMBERED = re.compile(r"\(\d+\) b?['\"]?(.*?)['\"]?", re.DOTALL)


class GlfwWindow:
    """A window with an OpenGL context that is current on the calling thread, which must be the main one.

    Args:
        title: words above it.
        size: (width, height) in the display's own units; pixels where its scale is 1.
        vsync: wait for the display before showing a picture.
        visible: False opens it where nobody sees it, to find out whether it can be opened.
    Raises:
        ViewerUnavailable: glfw is not installed, there is no display, or it gives no OpenGL of GL_VERSION.
    """

    def __init__(self, title: str, size: tuple[int, int], *, vsync: bool = True, visible: bool = True) -> None:
        self._glfw = glfw = _load()
        self._events: list[Event] = []
        self._window: Any = None
        self._windowed: tuple[int, int, int, int] | None = None
        with _raising(glfw):
            try:
                glfw.init()
            except glfw.GLFWError as error:
                seen = f"{_reason(error)}{_display()}"
                raise ViewerUnavailable(f"no window can be opened: {seen}; {WINDOW_ADVICE}") from None
            try:
                self._window = self._open(title, size, visible)
                glfw.make_context_current(self._window)
                glfw.swap_interval(int(vsync))
                self.gl = DrawApi(_address_of(glfw))
                self._listen()
            except BaseException:
                self.close()
                raise

    def _open(self, title: str, size: tuple[int, int], visible: bool) -> Any:
        """The window, by the display's usual way to OpenGL, or else by EGL."""
        glfw = self._glfw
        refusals: list[str] = []
        for api in (glfw.NATIVE_CONTEXT_API, glfw.EGL_CONTEXT_API):
            glfw.default_window_hints()
            glfw.window_hint(glfw.CONTEXT_CREATION_API, api)
            glfw.window_hint(glfw.CONTEXT_VERSION_MAJOR, GL_VERSION[0])
            glfw.window_hint(glfw.CONTEXT_VERSION_MINOR, GL_VERSION[1])
            glfw.window_hint(glfw.OPENGL_PROFILE, glfw.OPENGL_CORE_PROFILE)
            glfw.window_hint(glfw.SCALE_TO_MONITOR, True)
            glfw.window_hint(glfw.VISIBLE, visible)
            glfw.window_hint(glfw.DEPTH_BITS, 0)
            glfw.window_hint(glfw.STENCIL_BITS, 0)
            try:
                return glfw.create_window(*size, title, None, None)
            except glfw.GLFWError as error:
                if (reason := _reason(error)) not in refusals:
                    refusals.append(reason)
        wanted = f"OpenGL {GL_VERSION[0]}.{GL_VERSION[1]}"
        raise ViewerUnavailable(f"no window with {wanted} can be opened: {'; '.join(refusals)}; {WINDOW_ADVICE}")

    @property
    def renderer(self) -> str:
        """What draws, by its own name."""
        return self.gl.text(RENDERER)

    # ------------------------------------------------------------------ Surface

    @property
    def size(self) -> tuple[int, int]:
        """See Surface."""
        if self._glfw.get_window_attrib(self._window, self._glfw.ICONIFIED):
            return 0, 0
        width, height = self._glfw.get_framebuffer_size(self._window)
        return int(width), int(height)

    @property
    def scale(self) -> int:
        """See Surface."""
        across: float = self._glfw.get_window_content_scale(self._window)[0]
        return max(1, round(across))

    @property
    def closing(self) -> bool:
        """See Surface."""
        return bool(self._glfw.window_should_close(self._window))

    def events(self, timeout_s: float | None) -> list[Event]:
        """See Surface."""
        if timeout_s is None:
            self._glfw.wait_events()
        elif timeout_s > 0:
            self._glfw.wait_events_timeout(timeout_s)
        else:
            self._glfw.poll_events()
        events, self._events = self._events, []
        return events

    def wake(self) -> None:
        """See Surface."""
        self._glfw.post_empty_event()

    def show(self) -> None:
        """See Surface."""
        self._glfw.swap_buffers(self._window)

    def set_title(self, title: str) -> None:
        """See Surface."""
        self._glfw.set_window_title(self._window, title)

    def toggle_full_screen(self) -> None:
        """See Surface."""
        glfw, window = self._glfw, self._window
        if self._windowed is not None:
            glfw.set_window_monitor(window, None, *self._windowed, glfw.DONT_CARE)
            self._windowed = None
            return
        monitor = glfw.get_primary_monitor()
        if monitor is None:
            return
        self._windowed = (*glfw.get_window_pos(window), *glfw.get_window_size(window))
        mode = glfw.get_video_mode(monitor)
        glfw.set_window_monitor(window, monitor, 0, 0, *mode.size, mode.refresh_rate)

    def resize(self, size: tuple[int, int]) -> None:
        """Another (width, height), in the display's own units."""
        self._glfw.set_window_size(self._window, *size)

    def ask_to_close(self) -> None:
        """As somebody who closes the window."""
        self._glfw.set_window_should_close(self._window, True)

    def close(self) -> None:
        """See Surface."""
        if self._window is not None:
            self._glfw.destroy_window(self._window)
            self._window = None
        self._glfw.terminate()

    # ------------------------------------------------------------------ events

    def _listen(self) -> None:
        glfw, window = self._glfw, self._window
        names = {
            glfw.KEY_ESCAPE: "escape",
            glfw.KEY_TAB: "tab",
            glfw.KEY_RIGHT: "right",
            glfw.KEY_LEFT: "left",
            glfw.KEY_UP: "up",
            glfw.KEY_DOWN: "down",
            glfw.KEY_F1: "f1",
            glfw.KEY_F11: "f11",
        }

        def pressed(_: Any, key: int, code: int, action: int, mods: int) -> None:
            if action != glfw.RELEASE and key in names:
                self._events.append(KeyTyped(names[key]))

        def typed(_: Any, code: int) -> None:
            self._events.append(KeyTyped(chr(code)))

        def moved(_: Any, x: float, y: float) -> None:
            held = glfw.get_mouse_button(window, glfw.MOUSE_BUTTON_LEFT) == glfw.PRESS
            self._point(x, y, pressed=held)

        def clicked(_: Any, button: int, action: int, mods: int) -> None:
            if button == glfw.MOUSE_BUTTON_LEFT and action == glfw.PRESS:
                self._point(*glfw.get_cursor_pos(window), pressed=True)

        def uncovered(*_: Any) -> None:
            self._events.append(Uncovered())

        glfw.set_key_callback(window, pressed)
        glfw.set_char_callback(window, typed)
        glfw.set_cursor_pos_callback(window, moved)
        glfw.set_mouse_button_callback(window, clicked)
        glfw.set_framebuffer_size_callback(window, uncovered)
        glfw.set_window_refresh_callback(window, uncovered)
        glfw.set_window_iconify_callback(window, uncovered)

    def _point(self, x: float, y: float, *, pressed: bool) -> None:
        """The pointer, in the window's units: framebuffer pixels differ where the display is scaled."""
        width, height = self._glfw.get_window_size(self._window)
        if width and height:
            across, down = self._glfw.get_framebuffer_size(self._window)
            place = (x * across / width, y * down / height)
            self._events.append(PointerMoved(*place, perf_counter_ns(), pressed=pressed))


def _load() -> Any:
    """glfw, whose failures go into its log: an open window outlives what its display refuses."""
    try:
        import glfw
    except ImportError as error:
        reason = f": {error}" if "glfw" in sys.modules or "librar" in str(error).lower() else ""
        raise ViewerUnavailable(f'glfw is not installed{reason}; pip install "texvlm[viewer]"') from None
    module: Any = glfw
    module.ERROR_REPORTING = "log"
    return module


@contextmanager
def _raising(glfw: Any) -> Iterator[None]:
    """Failures of glfw are exceptions in the scope."""
    before, glfw.ERROR_REPORTING = glfw.ERROR_REPORTING, {code: "log" for code in NOT_HERE} | {None: "exception"}
    try:
        yield
    finally:
        glfw.ERROR_REPORTING = before


def _address_of(glfw: Any) -> Callable[[bytes], int | None]:
    def address_of(name: bytes) -> int | None:
        address: int = glfw.get_proc_address(name.decode())
        return address or None

    return address_of


def _reason(error: Exception) -> str:
    """The words of a glfw error, which come as "(number) b'words'"."""
    found = _NUMBERED.fullmatch(str(error))
    return found[1] if found else str(error)


def _display() -> str:
    if sys.platform != "linux":
        return ""
    display = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return f" (display {display})" if display else " (neither DISPLAY nor WAYLAND_DISPLAY is set)"
