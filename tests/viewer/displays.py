"""A virtual X display for a test, and a hand on its mouse and keyboard."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from required import unavailable


def repository() -> Path:
    """The root of the checkout."""
    return Path(__file__).parents[2]


@contextmanager
def virtual_display(size: tuple[int, int] = (800, 600)) -> Iterator[str]:
    """The name of a new display, as DISPLAY has it. Skips, or fails where "xvfb" is required, if there is none."""
    for program in ("Xvfb", "xdotool"):
        if shutil.which(program) is None:
            unavailable("xvfb", f"{program} is not installed; on Debian and Ubuntu: apt-get install xvfb xdotool")
    read, write = os.pipe()
    screen = f"{size[0]}x{size[1]}x24"
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", screen, "-nolisten", "tcp", "-noreset"],
        pass_fds=(write,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as told:
            number = told.readline().strip()
        if not number:
            unavailable("xvfb", "Xvfb did not start")
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(10)


class Hand:
    """Moves the pointer and presses keys of a display, as a person would: through its input extension."""

    def __init__(self, display: str) -> None:
        self._environment = {**os.environ, "DISPLAY": display}

    def __call__(self, *arguments: str) -> str:
        """One call of xdotool."""
        done = subprocess.run(
            ["xdotool", *arguments], env=self._environment, capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout.strip()

    def move(self, x: float, y: float) -> None:
        """The pointer to a pixel of the screen."""
        self("mousemove", str(round(x)), str(round(y)))

    def press(self, *keys: str) -> None:
        """Keys by their X names."""
        self("key", *keys)
