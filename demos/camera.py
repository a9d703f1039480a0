"""A webcam, watched where it changes: fine tokens there, and only those sampled anew whose texels changed.

    python demos/camera.py [camera:0 | VIDEO | scene] [--look changes] [--threshold 12] [--frames 300] [--out DIR]

Without INPUT the first camera is taken, and the procedural scene stands in where there is none. A file is played at its
own pace, and frames that come too late are left out, as a camera does. Nothing is kept unless --out asks for it.
"""

import argparse
import contextlib
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from live_gaze import newest

import texvlm
from texvlm.drawing.pictures import draw_sheet, sheet_size
from texvlm.drawing.preview import PreviewWriter
from texvlm.errors import SourceError
from texvlm.fixation import Looker, engine_arguments, parse_look, scene_of
from texvlm.sources import Source

FIRST_CAMERA, STAND_IN = "camera:0", "scene"


def opened(spec: str | None) -> Source:
    if spec is not None:
        return texvlm.open_source(spec)
    try:
        return texvlm.open_source(FIRST_CAMERA)
    except SourceError as refusal:
        print(f"{refusal}\nplaying {STAND_IN!r} instead; name another camera, or a file")
        return texvlm.open_source(STAND_IN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="?", help=f"a camera, or a file to stand in; {FIRST_CAMERA} by default")
    parser.add_argument("--look", default="changes", help="what decides where it is fine; see `texvlm encode --help`")
    parser.add_argument("--threshold", type=float, default=12, help="change that is noise of the camera, of 255")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--backend", default="auto")
    parser.add_argument(
        "--out", type=Path, help="folder for camera.mp4: frame, tokens, changed tiles, what tokens hold"
    )
    arguments = parser.parse_args()
    if arguments.frames < 1:
        parser.error(f"--frames is {arguments.frames}; at least 1 is needed")
    named = parse_look(arguments.look)
    named.make()  # a name that cannot be had is told before a camera opens
    looker = Looker(named.make)
    engine_options = {"backend": arguments.backend, "threshold": arguments.threshold / 255}

    with contextlib.ExitStack() as stack:
        video = stack.enter_context(opened(arguments.input))
        engine = stack.enter_context(texvlm.Engine(video.size, **engine_options))
        out = None
        if arguments.out is not None:
            arguments.out.mkdir(parents=True, exist_ok=True)
            out = stack.enter_context(PreviewWriter(arguments.out / "camera.mp4", sheet_size(video.size)))
        spent, changed, sampled = [], [], []
        for count, (frame, _) in enumerate(newest(video), 1):
            start = time.perf_counter()
            report = engine.submit(frame)
            look = looker.look(scene_of(engine, time_s=frame.pts, report=report))
            batch = engine.tokens(**engine_arguments([look]), copy=False)
            spent.append(1e3 * (time.perf_counter() - start))
            changed.append(report.tiles_dirty / report.tiles_total)
            sampled.append(int(batch.dirty.sum()) / batch.dirty.numel())
            if count % 15 == 1:
                u, v = look.fixations[0]
                shares = f"{changed[-1]:4.0%} of the tiles changed, {sampled[-1]:4.0%} of the tokens sampled anew"
                print(f"{frame.pts or 0:6.2f} s  {shares}  looks at ({u:.2f}, {v:.2f}): {look.why}")
            if out is not None:
                shown = look.fixations * np.array(video.size)
                out.write(
                    draw_sheet(frame.pixels, batch, report.tiles, fixations=shown, importance=look.map), frame.pts
                )
            if count == arguments.frames:
                break
    if not spent:
        raise SourceError(f"{arguments.input}: every frame came too late to be looked at")
    share = f"{statistics.mean(changed):.0%} of the tiles, {statistics.mean(sampled):.0%} of the tokens"
    print(f"{len(spent)} frames, {statistics.median(spent):.2f} ms each (median); in the mean {share} were new")


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError, OSError) as error:
        sys.exit(f"camera: {error}")
    except KeyboardInterrupt:
        pass
