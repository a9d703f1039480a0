"""Ctrl-C in two steps: the first asks, the second insists."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self

from texvlm.cli.console import note


class StopRequest:
    """While it is entered, a first SIGINT or SIGTERM is kept as a request and a second one interrupts.

    Owns the two signal handlers and puts the earlier ones back on leaving. Outside the main thread,
    where Python allows no handlers, it does nothing.

    Attributes:
        requested: somebody asked to stop.

    Args:
        message: what to tell on stderr at the first one.
    """

    def __init__(self, message: str) -> None:
        self.requested = False
        self._message = message
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        note(f"texvlm: {self._message}")
