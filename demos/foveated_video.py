"""A video in, foveated tokens out, and what that took.

    python demos/foveated_video.py [INPUT] [--fixation 0.5,0.5] [--frames 60]

INPUT is a video, an image, a folder of images, or `scene`, which needs no file.
"""

import argparse
import sys
import time

import texvlm
from texvlm.fixation import parse_fixation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="?", default="scene")
    parser.add_argument("--fixation", default="0.5,0.5", help="where to look, 0..1 across the frame")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    fixation = parse_fixation(arguments.fixation)

    with texvlm.open_source(arguments.input) as video, texvlm.Engine(backend=arguments.backend) as engine:
        print(f"{arguments.input}: {video.size[0]} x {video.size[1]}, backend {engine.backend_name}")
        frames, start = 0, time.perf_counter()
        for frame in video:
            report = engine.submit(frame)
            batch = engine.tokens(fixation.at(frame.pts))
            frames += 1
            if frames % 10 == 1:
                print(
                    f"frame {frames:4d}: {report.tiles_dirty:5d} of {report.tiles_total} tiles changed, "
                    f"{int(batch.dirty.sum()):3d} of {batch.dirty.numel()} tokens sampled"
                )
            if frames >= arguments.frames:
                break
        seconds = time.perf_counter() - start

    # What an encoder gets: patch-major rows, and where each lies.
    rows, centres, sides = batch.flat(), batch.centres, batch.sides
    print(f"tokens {tuple(rows.shape)} {rows.dtype}, values {float(rows.min()):.2f} to {float(rows.max()):.2f}")
    print(f"first token: centre {centres[0, 0].tolist()}, side {float(sides[0, 0]):g} texels")
    work = engine.counters
    print(f"{frames} frames in {seconds:.2f} s, decoding and compiling included")
    print(f"uploaded {work.bytes_uploaded / 1e6:.1f} MB")
    print(f"{work.tokens_sampled} tokens sampled, {work.tokens_reused} handed out again")


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError) as error:
        sys.exit(f"foveated_video: {error}")
