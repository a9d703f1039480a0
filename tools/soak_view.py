"""The viewer for an hour, looked at and played with: memory, handles, threads and OpenGL's objects must stay flat.

    xvfb-run -a python tools/soak_view.py [--minutes 60] [--input clip.mp4] [--out soak.json]

The pointer moves all the time; now and then a key is pressed or the window is resized, each key once in a large and
once in a small window in the first tenth of the run. Fails where memory grew from the second tenth to the last, or
anything that is counted from the fifth.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np

from texvlm.bench.machine import rss_bytes
from texvlm.viewer import ViewSession, ViewSettings
from texvlm.viewer.native.gl_draw import DrawApi
from texvlm.viewer.native.opening import open_session
from texvlm.viewer.native.surface import KeyTyped
from texvlm.viewer.native.viewer import NativeViewer
from texvlm.viewer.native.window import GlfwWindow

SAMPLES = 200
LEAST_MINUTES = 2.0

GROWTH_MIB = 16.0
"""Most that the process may grow: a picture of another size, or more tokens, is no leak."""

PLAYED = "123456lL+-[] . hhii"
"""Keys that change the picture and leave nothing behind on disk."""

SIZES = ((900, 700), (120, 90))
"""Sizes of the window in which each key is pressed once at first: tokens are drawn otherwise where they are small."""

EVERY_S = 1.5
"""Between two keys or sizes."""

MOST_TOKENS = 1000
"""So that memory is that of the viewer, and not of a budget that happened to grow."""

NAMES = 4096
"""OpenGL gives the smallest free names: objects are looked for among so many."""


class Hand:
    """Moves the pointer, presses keys and resizes the window, as chance has it."""

    def __init__(self, session: ViewSession, viewer: NativeViewer, surface: GlfwWindow, seconds: float) -> None:
        self._session, self._viewer, self._surface = session, viewer, surface
        self._chance = Random(1)
        self._first: list[str | tuple[int, int]] = [*SIZES[:1], *PLAYED, *SIZES[1:], *PLAYED]
        self._first_every_s = min(EVERY_S, seconds / 12 / len(self._first))
        self._point_s = self._play_s = 0.0

    def act(self, now_s: float) -> None:
        """Do what is due."""
        chance, session = self._chance, self._session
        if now_s >= self._point_s:
            self._point_s = now_s + chance.uniform(0.02, 0.1)
            session.point(chance.random(), chance.random())
        if now_s < self._play_s or session.shown is None:
            return
        self._play_s = now_s + (self._first_every_s if self._first else EVERY_S)
        if self._first:
            first = self._first.pop(0)
            if isinstance(first, str):
                self._viewer.handle(KeyTyped(first))
            else:
                self._surface.resize(first)
        elif chance.random() < 0.2:
            self._surface.resize((chance.randint(100, 900), chance.randint(100, 700)))
        else:
            key = chance.choice(PLAYED)
            self._viewer.handle(KeyTyped("-" if key == "+" and session.tokens > MOST_TOKENS else key))
        if session.player.paused and chance.random() < 0.7:
            session.player.pause(False)


def main() -> int:
    """Play, write what was seen, and say whether it stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--input", default="scene:640x360", help="what texvlm view takes")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", type=Path, help="where every sample goes, as JSON")
    arguments = parser.parse_args()
    if not arguments.minutes >= LEAST_MINUTES:
        parser.error(f"--minutes is {arguments.minutes}; accepted: {LEAST_MINUTES} and above")
    seconds = 60 * arguments.minutes
    samples: list[dict[str, float]] = []
    settings = ViewSettings(arguments.input, backend=arguments.backend)
    with (
        closing(GlfwWindow("texvlm soak", (640, 360))) as surface,
        open_session(settings, surface) as session,
    ):
        begin = perf_counter()
        due_s = 0.0
        viewer = NativeViewer(session, surface)
        hand = Hand(session, viewer, surface, seconds)

        def step() -> bool:
            """Asked by the viewer between pictures: act where the time has come; True at the end."""
            nonlocal due_s
            now = perf_counter() - begin
            hand.act(now)
            if now >= due_s:
                due_s = now + seconds / SAMPLES
                samples.append(_sample(now, session.statistics().frames, surface.gl))
            return now >= seconds

        viewer.stop = step
        try:
            viewer.run()
        finally:
            viewer.close()
        pictures = session.statistics().pictures
    report = _report(samples, pictures, arguments)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report | {"samples": samples}, indent=1) + "\n")
    print(json.dumps(report))
    return int(report["grew_mib"] > GROWTH_MIB or any(report[f"grew_{name}"] > 0 for name in COUNTED))


COUNTED = ("handles", "threads", "gl_objects")
"""What may not grow at all, from the fifth tenth on: by then every way to draw was needed once, and what leaks is made
anew with every picture, key or size."""


def _sample(now: float, frames: int, gl: DrawApi) -> dict[str, float]:
    return {
        "s": round(now, 1),
        "frames": frames,
        "rss_mib": round(rss_bytes() / 2**20, 2),
        "handles": _entries("/proc/self/fd") or 0,
        "threads": _entries("/proc/self/task") or threading.active_count(),
        "gl_objects": _names(gl.glIsTexture) + _names(gl.glIsProgram),
        # not judged: the backend keeps one for each size that tokens once had, up to a limit; memory tells more
        "gl_buffers": _names(gl.glIsBuffer),
    }


def _names(there: Callable[[int], int]) -> int:
    """How many objects of OpenGL there are of a kind."""
    return sum(bool(there(name)) for name in range(1, NAMES))


def _entries(folder: str) -> int | None:
    """How much a folder holds; None where there is no such folder, as on other systems than Linux."""
    return len(os.listdir(folder)) if os.path.isdir(folder) else None


def _report(samples: list[dict[str, float]], pictures: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Growth to the last tenth: of memory from the second, of what is counted from the fifth."""
    tenth = len(samples) // 10

    def grew(name: str) -> float:
        pick, first = (np.mean, 1) if name == "rss_mib" else (max, 4)
        early, late = samples[first * tenth : (first + 1) * tenth], samples[-tenth:]
        return float(pick([sample[name] for sample in late]) - pick([sample[name] for sample in early]))

    return {
        "input": Path(arguments.input).name,
        "minutes": arguments.minutes,
        "frames": samples[-1]["frames"],
        "pictures": pictures,
        "grew_mib": round(grew("rss_mib"), 2),
        **{f"grew_{name}": int(grew(name)) for name in COUNTED},
        "rss_mib": samples[-1]["rss_mib"],
    }


if __name__ == "__main__":
    sys.exit(main())
