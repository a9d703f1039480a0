"""Several videos of different sizes in one engine, several fixations, one call.

    python demos/many_sources.py [INPUT ...] [--frames 30]

Every source has a layer of its own in one texture array. One call samples all views; a token is
sampled again only when its place or its texels changed.
"""

import argparse
import sys

import numpy as np

import texvlm

SCENES = ["scene:640x360", "scene:pan:960x540", "scene:noise:480x480", "scene:static:1280x720"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("inputs", nargs="*", default=SCENES)
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()

    videos = [texvlm.open_source(name) for name in arguments.inputs]
    # The largest size is given at the start, so that the texture array is made once.
    size = tuple(max(video.size[axis] for video in videos) for axis in (0, 1))
    with texvlm.Engine(size, sources=len(videos), tokens=172, backend=arguments.backend) as engine:
        for index, frames in enumerate(zip(*videos, strict=False)):
            for source, frame in enumerate(frames):
                engine.submit(frame, source)

            # One fixation a source: (views, 2).
            looks = [(0.3 + 0.1 * source, 0.5) for source in range(len(videos))]
            batch = engine.tokens(looks)

            # Two fixations that share the tokens of source 0, the second twice as important: (1, k, 2).
            both = engine.tokens([[(0.2, 0.5), (0.8, 0.5)]], sources=0, weights=[1, 2])
            if index % 10 == 0:
                changed = batch.dirty.sum(dim=1).tolist()
                print(
                    f"frame {index:3d}: sampled anew in each view {changed}, in the shared one {int(both.dirty.sum())}"
                )
            if index + 1 >= arguments.frames:
                break
    for video in videos:
        video.close()

    print(f"batch {tuple(batch.pixels.shape)}: (views, tokens, channels, patch, patch)")
    for view, name in enumerate(arguments.inputs):
        near = np.abs(batch.table["side"][view] - batch.patch) < 1
        print(f"  {name}: {batch.sizes[view].tolist()} texels, {int(near.sum())} tokens at full resolution")
    work = engine.counters
    print(f"{work.frames} frames: {work.tokens_sampled} tokens sampled, {work.tokens_reused} handed out again")


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError) as error:
        sys.exit(f"many_sources: {error}")
