"""What pictures are drawn on: a window, or nothing that anybody sees. The events that come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from texvlm.viewer.native.gl_draw import DrawApi


@dataclass(frozen=True, slots=True)
class KeyTyped:
    """A key, by the character that it types, or by its name: escape, tab, right, left, up, down, f1, f11."""

    key: str


@dataclass(frozen=True, slots=True)
class PointerMoved:
    """The pointer is at a framebuffer pixel from the top-left. `pressed`: its button is or was just down."""

    x: float
    y: float
    time_ns: int
    pressed: bool = False


@dataclass(frozen=True, slots=True)
class Uncovered:
    """The surface was resized or uncovered, and must be drawn anew."""


Event = KeyTyped | PointerMoved | Uncovered


class Surface(Protocol):
    """Owns an OpenGL context that is current on the thread that made it, and what it draws into."""

    gl: DrawApi

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the framebuffer, pixels; (0, 0) where nothing can be seen, as of a minimised window."""

    @property
    def scale(self) -> int:
        """Framebuffer pixels along one pixel of a usual display, whole: for words."""

    @property
    def closing(self) -> bool:
        """Somebody asked to close it."""

    def events(self, timeout_s: float | None) -> list[Event]:
        """What happened; waits for something, or for `wake`, so long; None is for ever."""

    def wake(self) -> None:
        """Let a waiting `events` return. From any thread."""

    def show(self) -> None:
        """What was drawn becomes visible; returns when it was handed over."""

    def set_title(self, title: str) -> None:
        """Words above the window."""

    def toggle_full_screen(self) -> None:
        """Fill the screen, or no longer."""

    def close(self) -> None:
        """Destroy it. May be called twice."""
