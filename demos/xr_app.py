"""A headset's application: draws both eyes, gets tokens where each eye looks, and shows where they are.

    python demos/xr_app.py [--frames 600] [--arrangement layers|side-by-side] [--context egl|glx] [--out DIR]

Needs an OpenXR runtime, and the extras `xr` and `demos`. All runtimes take the OpenGL contexts of GLX, some
(XR_MNDX_egl_enable) those of EGL as well. The gaze is used for the frame that it was measured for, and kept nowhere.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import texvlm
from texvlm.drawing.pictures import write_png
from texvlm.xr import EyeTokens, Headset

try:
    import moderngl
    from xr_app_drawing import Drawing
except ImportError as missing:
    sys.exit(f'xr_app: {missing.name} is missing; pip install "texvlm[demos,xr]"')

BACKENDS = {"egl": {"backend": "egl"}, "glx": {}}
WAY_OUT = {"egl": "see `texvlm doctor`", "glx": "it needs a display of X11, such as `xvfb-run -a` gives"}


def opened(kind: str) -> moderngl.Context:
    try:
        return moderngl.create_context(standalone=True, require=450, **BACKENDS[kind])
    except Exception as error:  # it raises that, nothing narrower
        raise texvlm.errors.BackendUnavailable(
            f"no OpenGL 4.5 through {kind.upper()} ({error}); {WAY_OUT[kind]}"
        ) from error


def run(context: moderngl.Context, arguments: argparse.Namespace) -> None:
    options = {"arrangement": arguments.arrangement, "eye_tracking": not arguments.no_eye_tracking}
    with Headset("texvlm demo", **options) as headset, EyeTokens(headset) as tokens:
        width, height = headset.images.size
        print(f"{headset.runtime_name}, {headset.system_name}, gaze of the {headset.gaze_of}: 2 of {width} x {height}")
        drawing, spent, first = Drawing(context, headset.images.size), [], None
        for frame in headset.frames():
            first = first or frame.display_time_ns
            for eye in frame.eyes:
                drawing.draw(eye, (frame.display_time_ns - first) / 1e9)
            start = time.perf_counter()
            batch = tokens.take(frame, copy=False)
            spent.append(1e3 * (time.perf_counter() - start))
            for view, eye in enumerate(frame.eyes):
                drawing.overlay(eye, batch, view)
            if frame.number + 1 == arguments.frames:
                if arguments.out is not None:
                    arguments.out.mkdir(parents=True, exist_ok=True)
                    both = np.concatenate([drawing.picture(eye) for eye in frame.eyes], axis=1)
                    write_png(arguments.out / "xr_app.png", both)
                headset.stop()  # the runtime then shows what is under way, and ends
        work = tokens.engine.counters
    if spent:
        print(f"{len(spent)} frames, tokens {statistics.median(spent):.2f} ms (median)")
        print(f"tokens {tuple(batch.flat().shape)}: {work.tokens_sampled} sampled, {work.tokens_reused} reused")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=600)
    parser.add_argument("--arrangement", choices=("layers", "side-by-side"), default="layers")
    parser.add_argument("--context", choices=tuple(BACKENDS), default="egl")
    parser.add_argument(
        "--no-eye-tracking", action="store_true", help="straight ahead, even where the eyes' gaze is known"
    )
    parser.add_argument("--out", type=Path, help="folder for a picture of the last frame")
    arguments = parser.parse_args()
    if arguments.frames < 1:
        parser.error(f"--frames is {arguments.frames}; at least 1 is needed")
    context = opened(arguments.context)
    try:
        run(context, arguments)
    finally:
        context.release()


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError, OSError) as error:
        sys.exit(f"xr_app: {error}")
