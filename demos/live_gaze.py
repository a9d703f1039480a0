"""A live input and a gaze that wanders: tokens for the newest frame, at the pace of the source.

    python demos/live_gaze.py [camera:0 | rtsp://... | scene] [--frames 90]

Without a camera the procedural scene stands in, played at its own rate; frames that come too late
are left out, as a live source does. A real gaze tracker would replace `MovingFixation`.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterator

import texvlm
from texvlm.fixation import MovingFixation
from texvlm.sources import Source


def newest(video: Source) -> Iterator[tuple[texvlm.Frame, float]]:
    """(frame, how late it is in seconds); files and scenes are paced by their own times."""
    start = time.perf_counter()
    for frame in video:
        due = frame.pts or 0.0
        late = time.perf_counter() - start - due
        if video.info.kind == "live":
            yield frame, 0.0
        elif late < 1 / 30:
            time.sleep(max(0.0, -late))
            yield frame, max(0.0, late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="?", default="scene")
    parser.add_argument("--frames", type=int, default=90)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    gaze = MovingFixation()

    with texvlm.open_source(arguments.input) as video, texvlm.Engine(backend=arguments.backend) as engine:
        frames, spent = 0, []
        for frame, late in newest(video):
            start = time.perf_counter()
            u, v = gaze.at(frame.pts)
            report = engine.submit(frame)
            batch = engine.tokens((u, v), copy=False)  # the engine's own memory, valid until the next call
            milliseconds = 1e3 * (time.perf_counter() - start)
            frames = frames + 1
            spent.append(milliseconds)
            if frames % 15 == 1:
                print(
                    f"{frame.pts or 0:6.2f} s  gaze ({u:.2f}, {v:.2f})  {report.tiles_dirty:5d} tiles  "
                    f"{int(batch.dirty.sum()):3d} tokens  {milliseconds:7.2f} ms  {1e3 * late:5.1f} ms late"
                )
            if frames >= arguments.frames:
                break
        facts = video.describe()
    print(f"{frames} frames handled, {statistics.median(spent):.2f} ms each (median); source: {facts}")


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError) as error:
        sys.exit(f"live_gaze: {error}")
    except KeyboardInterrupt:
        pass
