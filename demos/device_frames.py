"""Frames and gaze that live on the GPU: to tokens without visiting the host, by calls and by one captured launch.

    python demos/device_frames.py [INPUT] [--backend cuda] [--frames 60]

On a backend without a device of its own the calls take the same tensors; only the capture is left out.
"""

import argparse
import itertools
import sys

import torch

import texvlm


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("input", nargs="?", default="scene")
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--backend", default="auto")
    arguments = parser.parse_args()
    if arguments.frames < 1:
        parser.error(f"--frames is {arguments.frames}; at least 1 is needed")

    with (
        texvlm.open_source(arguments.input) as video,
        texvlm.Engine(backend=arguments.backend, dtype=torch.float16) as engine,
    ):
        # What a decoder on the GPU, a renderer or a preprocessing step would leave there.
        shown = [
            torch.from_numpy(frame.pixels).to(engine.device) for frame in itertools.islice(video, arguments.frames)
        ]
        turns = torch.arange(len(shown), device=engine.device) / max(1, len(shown))
        gaze = 0.5 + 0.25 * torch.stack([torch.cos(6.28 * turns), torch.sin(6.28 * turns)], dim=1)

        for frame, fixation in zip(shown, gaze, strict=True):
            engine.submit(frame)
            batch = engine.tokens(fixation[None], copy=False)
        print(f"{len(shown)} frames by calls on {engine.device}: {tuple(batch.flat().shape)} {batch.pixels.dtype}")

        if engine.backend_name == "cuda":
            with engine.capture(shown[0], gaze[:1]) as graph:
                for frame, fixation in zip(shown, gaze, strict=True):
                    batch = graph.replay(frame, fixation[None])
            print(f"{len(shown)} frames by one launch each: {tuple(batch.flat().shape)} {batch.pixels.dtype}")

        work = engine.counters  # asking waits for the device; nothing before did
        print(f"{work.tiles_dirty} tiles updated, {work.tokens_sampled} tokens sampled, {work.tokens_reused} reused")


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError) as error:
        sys.exit(f"device_frames: {error}")
