"""A virtual X display for a test, and a hand on its mouse and keyboard."""

from __future__ import annotations

import ctypes
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


def scale_display(display: str, dots_per_inch: int) -> None:
    """Say of a display, as desktops do, how fine its pixels are; 96 is scale 1. Windows opened later follow it."""
    resource_manager, string, replace = 23, 31, 0  # values of Xatom.h and X.h
    x = ctypes.CDLL("libX11.so.6")
    x.XOpenDisplay.restype = ctypes.c_void_p
    connection = ctypes.c_void_p(x.XOpenDisplay(display.encode()))
    assert connection.value, f"no display {display}"
    x.XDefaultRootWindow.restype = ctypes.c_ulong
    root = ctypes.c_ulong(x.XDefaultRootWindow(connection))
    words = f"Xft.dpi:\t{dots_per_inch}\n".encode()
    names = (ctypes.c_ulong(resource_manager), ctypes.c_ulong(string))
    x.XChangeProperty(connection, root, *names, 8, replace, words, len(words))
    x.XCloseDisplay(connection)
