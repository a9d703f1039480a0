"""Measure the native viewer: frames a second, and from a fixation move to the picture that shows it.

    xvfb-run -a python benchmarks/viewer.py --data FOLDER      # results/viewer.json and results/viewer.md

Needs `pip install "texvlm[viewer]"`, a display (xvfb-run gives a virtual one), and a folder with the clip.
A thread moves the pointer to random places at random moments, as a person's hand would while the
viewer is busy: a move's clock starts when it is made, not when the viewer sees it, and stops when the
picture with it was handed to the display. A display adds its own delay to that.
"""

from __future__ import annotations

import argparse
import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from time import perf_counter, process_time
from typing import Any

import numpy as np

from texvlm.bench.machine import load_average, probe_machine, source_commit
from texvlm.viewer import PictureMode, ViewSession, ViewSettings
from texvlm.viewer.native.opening import open_session, open_surface
from texvlm.viewer.native.viewer import NativeViewer

CLIP = "moving_park_1080p.mp4"
SIZES = ((1280, 720), (1920, 1080))
MODES = (PictureMode.RECONSTRUCTION, PictureMode.BOTH, PictureMode.FRAME)
WARM_UP_S = 3.0
"""From the first picture on: for that one kernels are compiled, and it is all new."""

MOVES_MS = (20, 80)
"""Shortest and longest time between two moves."""


class Pointer(threading.Thread):
    """Moves the fixation until it is stopped."""

    def __init__(self, session: ViewSession) -> None:
        super().__init__(name="pointer", daemon=True)
        self.stopping = threading.Event()
        self._session = session

    def run(self) -> None:
        """Moves at random moments to random places."""
        chance = Random(1)
        while not self.stopping.wait(chance.uniform(*MOVES_MS) / 1e3):
            self._session.point(chance.random(), chance.random())


def measure(clip: Path, mode: PictureMode, size: tuple[int, int], seconds: float) -> dict[str, Any]:
    """One window on the clip for so long."""
    with (
        open_surface("texvlm benchmark", size, offscreen=False, vsync=False) as surface,
        open_session(ViewSettings(str(clip)), surface) as session,
    ):
        renderer = surface.gl.text(0x1F01)
        end = 0.0

        def warm() -> bool:
            nonlocal end
            if session.shown is None:
                end = perf_counter() + WARM_UP_S
            return perf_counter() >= end

        viewer = NativeViewer(session, surface, mode=mode, stop=warm)
        pointer = Pointer(session)
        pointer.start()
        try:
            viewer.run()
            before, used = session.statistics(), process_time()
            copied = viewer.painter.frames.bytes_copied
            session.latencies_ms.clear()
            begin = perf_counter()
            viewer.stop = lambda: perf_counter() >= begin + seconds
            viewer.run()
            spent, used = perf_counter() - begin, process_time() - used
            after, latencies = session.statistics(), np.array(session.latencies_ms)
        finally:
            pointer.stopping.set()
            pointer.join()
            viewer.close()
        frames = after.frames - before.frames
        return {
            "mode": str(mode),
            "window": list(size),
            "renderer": renderer,
            "seconds": round(spent, 2),
            "frames_per_s": round(frames / spent, 2),
            "pictures_per_s": round((after.pictures - before.pictures) / spent, 2),
            "dropped": after.dropped - before.dropped,
            "frame_bytes_copied": viewer.painter.frames.bytes_copied - copied,
            "processor_ms_a_frame": round(1e3 * used / max(frames, 1), 2),
            "stages_ms": {name: round(ms, 2) for name, ms in after.stages_ms.items()},
            "moves": len(latencies),
            "latency_ms": {
                "median": round(float(np.median(latencies)), 2),
                "p95": round(float(np.percentile(latencies, 95)), 2),
                "max": round(float(latencies.max()), 2),
            },
        }


def main() -> None:
    """Measure every window and mode, and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help=f"folder with {CLIP}")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    load = load_average()
    runs = []
    for size in SIZES:
        for mode in MODES:
            runs.append(measure(arguments.data / CLIP, mode, size, arguments.seconds))
            print(json.dumps(runs[-1]), flush=True)
    result = {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": f"xvfb-run -a python benchmarks/viewer.py --data DATA --seconds {arguments.seconds:g}",
        "commit": source_commit(),
        "machine": probe_machine().model_dump(mode="json"),
        "load_average": [round(load, 2), round(load_average(), 2)],
        "clip": CLIP,
        "runs": runs,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "viewer.json").write_text(json.dumps(result, indent=1) + "\n")
    (arguments.out / "viewer.md").write_text(_markdown(result))


def _markdown(result: dict[str, Any]) -> str:
    machine = result["machine"]
    lines = [
        "# The native viewer",
        "",
        f"{result['clip']}, 1920 x 1080 at 30 frames a second, by `{result['command']}` at commit {result['commit']}; "
        f"{machine['cpu']}, {machine['cores']} cores, {result['runs'][0]['renderer']}; load average before and after: "
        f"{result['load_average'][0]} and {result['load_average'][1]}.",
        "",
        "| window | picture | frames/s | dropped | processor ms a frame | look to picture, ms: median | 95 % | most |",
        "| --- | --- | --: | --: | --: | --: | --: | --: |",
    ]
    for run in result["runs"]:
        late = run["latency_ms"]
        lines.append(
            f"| {run['window'][0]} x {run['window'][1]} | {run['mode']} | {run['frames_per_s']} | {run['dropped']} "
            f"| {run['processor_ms_a_frame']} | {late['median']} | {late['p95']} | {late['max']} |"
        )
    lines += ["", "Texels of frames that came back from the device or went to it again: "]
    lines[-1] += f"{sum(run['frame_bytes_copied'] for run in result['runs'])} bytes."
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
