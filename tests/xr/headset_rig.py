"""A headset that is not there: the test runtime with a script, on an application's OpenGL context."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from gl_app import App, Rectangle
from numpy.typing import NDArray
from xr_runtime import environment

from texvlm.xr import EyeBuffer, HeadsetFrame
from texvlm.xr.calls import load_xr

SIZE = (320, 288)
FOVS = {"left": (-0.9, 0.7, 0.8, -0.85), "right": (-0.7, 0.9, 0.8, -0.85)}
"""Of the runtime's eyes when the script says nothing else: each sees further to its own side."""


class Rig:
    """Writes the script, and reads what the runtime noted."""

    def __init__(self, manifest: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._script, self._log = folder / "script.txt", folder / "log.txt"
        self.environment = environment(manifest, self._script, self._log)
        for name, value in self.environment.items():
            patch.setenv(name, value)
        self.script()

    def script(self, *lines: str) -> None:
        self._script.write_text("".join(f"{line}\n" for line in lines))

    def unload(self) -> None:
        """The loader keeps what a runtime offered until an instance of it goes: make one, and let it go."""
        if not self.notes:
            xr = load_xr()
            application = xr.ApplicationInfo(api_version=xr.Version(1, 0, 0))
            xr.destroy_instance(xr.create_instance(xr.InstanceCreateInfo(application_info=application)))

    @property
    def notes(self) -> list[str]:
        return self._log.read_text().splitlines() if self._log.exists() else []


def place(yaw: float, pitch: float, fov: tuple[float, float, float, float]) -> tuple[float, float]:
    """Where a gaze of both eyes, degrees right and up, falls on a picture: from the angles' own definition."""
    left, right, up, down = map(math.tan, fov)
    across = math.tan(math.radians(yaw))
    upward = math.tan(math.radians(pitch)) / math.cos(math.radians(yaw))
    return (across - left) / (right - left), (up - upward) / (up - down)


def paint(app: App, eye: EyeBuffer, frame: HeadsetFrame) -> NDArray[np.uint8]:
    """Draw a picture of its own for each eye and frame; the picture, rows from the top."""
    (x, y), (width, height) = eye.corner, eye.size
    shade = 40 + 20 * frame.number
    colours = {"left": (shade, 200, 30), "right": (shade, 30, 200)}
    square = (20, 30) if eye.eye == "left" else (140, 100)
    ground, mark = (*colours[eye.eye], 255), (255, 255, shade, 255)
    filled = [
        Rectangle(x, y, width, height, tuple(c / 255 for c in ground)),
        Rectangle(x + square[0], y + square[1], 48, 64, tuple(c / 255 for c in mark)),
    ]
    layered = eye.target == 0x8C1A
    app.draw(eye.texture, filled, layer=eye.layer if layered else None)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = ground[:3]
    top = height - square[1] - 64
    picture[top : top + 64, square[0] : square[0] + 48] = mark[:3]
    return picture
