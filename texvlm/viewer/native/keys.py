"""What each key does: one table for the viewer, its help and the documentation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from texvlm.viewer.modes import PictureMode


class Action(Enum):
    """What a key asks for."""

    MODE = auto()
    NEXT_MODE = auto()
    NEXT_LAYOUT = auto()
    PREVIOUS_LAYOUT = auto()
    MORE_TOKENS = auto()
    FEWER_TOKENS = auto()
    LOOSER = auto()
    STRICTER = auto()
    PAUSE = auto()
    STEP = auto()
    LOOK = auto()
    SCREENSHOT = auto()
    RECORD = auto()
    PANEL = auto()
    HELP = auto()
    FULL_SCREEN = auto()
    QUIT = auto()


@dataclass(frozen=True, slots=True)
class Binding:
    """Keys that do one thing.

    Attributes:
        keys: characters, or names; see KeyTyped.
        action: what they ask for.
        words: for people.
        mode: of Action.MODE.
    """

    keys: tuple[str, ...]
    action: Action
    words: str
    mode: PictureMode | None = None

    @property
    def label(self) -> str:
        """The keys, for people."""
        return " ".join("space" if key == " " else key for key in self.keys)


BINDINGS: tuple[Binding, ...] = (
    *(Binding((str(k),), Action.MODE, mode.words, mode) for k, mode in enumerate(PictureMode, start=1)),
    Binding(("tab",), Action.NEXT_MODE, "next picture"),
    Binding(("l",), Action.NEXT_LAYOUT, "next layout"),
    Binding(("L",), Action.PREVIOUS_LAYOUT, "layout before"),
    Binding(("+", "=", "up"), Action.MORE_TOKENS, "more tokens"),
    Binding(("-", "down"), Action.FEWER_TOKENS, "fewer tokens"),
    Binding(("]",), Action.LOOSER, "looser threshold"),
    Binding(("[",), Action.STRICTER, "stricter threshold"),
    Binding((" ",), Action.PAUSE, "pause, go on"),
    Binding((".", "right"), Action.STEP, "one frame"),
    Binding(("g",), Action.LOOK, "pointer or policy"),
    Binding(("s",), Action.SCREENSHOT, "picture to a PNG"),
    Binding(("r",), Action.RECORD, "record to an mp4"),
    Binding(("i",), Action.PANEL, "numbers"),
    Binding(("h", "?", "f1"), Action.HELP, "this help"),
    Binding(("f", "f11"), Action.FULL_SCREEN, "full screen"),
    Binding(("q", "escape"), Action.QUIT, "quit"),
)

BY_KEY = {key: binding for binding in BINDINGS for key in binding.keys}

HELP_LINES = [(binding.label, binding.words) for binding in BINDINGS]
