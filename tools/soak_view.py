"""The viewer for an hour, looked at and played with: memory, handles and threads must stay flat.

    xvfb-run -a python tools/soak_view.py [--minutes 60] [--input clip.mp4] [--out soak.json]

The pointer moves all the time; now and then a key is pressed or the window is resized. Fails where
anything grew from the second tenth of the run to the last.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from contextlib import closing
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Any

import numpy as np

from texvlm.bench.machine import rss_bytes
from texvlm.viewer import ViewSettings
from texvlm.viewer.native.opening import open_session
from texvlm.viewer.native.surface import KeyTyped
from texvlm.viewer.native.viewer import NativeViewer
from texvlm.viewer.native.window import GlfwWindow

SAMPLES = 200
GROWTH_MIB = 16.0
"""Most that the process may grow."""

PLAYED = "123456lL+-[] . hhii"
"""Keys that change the picture and leave nothing behind on disk."""

EVERY_S = 1.5
"""Between two keys or sizes."""


def main() -> int:
    """Play, write what was seen, and say whether it stayed flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--input", default="scene:640x360", help="what texvlm view takes")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--out", type=Path, help="where every sample goes, as JSON")
    arguments = parser.parse_args()
    seconds = 60 * arguments.minutes
    samples: list[dict[str, float]] = []
    chance = Random(1)
    settings = ViewSettings(arguments.input, backend=arguments.backend)
    with (
        closing(GlfwWindow("texvlm soak", (640, 360))) as surface,
        open_session(settings, surface) as session,
    ):
        begin = perf_counter()
        due = {"sample": 0.0, "play": 10.0, "point": 0.0}
        viewer = NativeViewer(session, surface)

        def step() -> bool:
            """Asked by the viewer between pictures: act where the time has come; True at the end."""
            now = perf_counter() - begin
            if now >= due["point"]:
                due["point"] = now + chance.uniform(0.02, 0.1)
                session.point(chance.random(), chance.random())
            if now >= due["play"]:
                due["play"] = now + EVERY_S
                if chance.random() < 0.2:
                    size = chance.randint(100, 900), chance.randint(100, 700)
                    surface.resize(size)
                else:
                    viewer.handle(KeyTyped(chance.choice(PLAYED)))
                if session.player.paused and chance.random() < 0.7:
                    session.player.pause(False)
            if now >= due["sample"]:
                due["sample"] = now + seconds / SAMPLES
                samples.append(_sample(now, session.statistics().frames))
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
    return int(report["grew_mib"] > GROWTH_MIB or report["grew_handles"] > 0 or report["grew_threads"] > 0)


def _sample(now: float, frames: int) -> dict[str, float]:
    return {
        "s": round(now, 1),
        "frames": frames,
        "rss_mib": round(rss_bytes() / 2**20, 2),
        "handles": len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0,
        "threads": threading.active_count(),
    }


def _report(samples: list[dict[str, float]], pictures: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Growth from the second tenth, when everything was used once, to the last."""
    tenth = max(1, len(samples) // 10)
    early, late = samples[tenth : 2 * tenth], samples[-tenth:]

    def grew(name: str) -> float:
        pick = np.mean if name == "rss_mib" else max
        return float(pick([sample[name] for sample in late]) - pick([sample[name] for sample in early]))

    return {
        "input": Path(arguments.input).name,
        "minutes": arguments.minutes,
        "frames": samples[-1]["frames"],
        "pictures": pictures,
        "grew_mib": round(grew("rss_mib"), 2),
        "grew_handles": int(grew("handles")),
        "grew_threads": int(grew("threads")),
        "rss_mib": samples[-1]["rss_mib"],
    }


if __name__ == "__main__":
    sys.exit(main())
