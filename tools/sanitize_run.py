"""A short run of everything that the cuda backend launches, for compute-sanitizer; about a minute under it.

    compute-sanitizer --tool memcheck python tools/sanitize_run.py

Frames of every format and of awkward sizes go in, twice each; tokens of every layout and element type come
out. What is computed is for the tests to check; here the tool looks on.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from texvlm.backends.base import Backend
from texvlm.engine import Engine
from texvlm.layouts import LAYOUTS, make_layout
from texvlm.yuv import nv12, p010

SIZES = ((67, 45), (1, 1))
DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32)
FIXATIONS = [[0.3, 0.6], [0.99, 0.02]]


def exercise(
    open_one: Callable[[str], Backend], device: torch.device, *, sizes: Sequence[tuple[int, int]] = SIZES
) -> int:
    """Run everything; the number of frames that went in.

    Args:
        open_one: a backend by its way of filtering, "hardware" or "exact"; closed here.
        device: where device frames and fixations lie.
        sizes: (width, height) of the frames of every format.
    """
    frames = 0
    for filtering in ("hardware", "exact"):
        backend = open_one(filtering)
        try:
            for size in sizes:
                for index, (channels, element, frame) in enumerate(pictures(size, device)):
                    dtype = DTYPES[index % len(DTYPES)]
                    layout = make_layout("quadtree", tokens=16, patch=8, small_frames="pad")
                    settings = {"channels": channels, "pixel_dtype": element, "dtype": dtype, "layout": layout}
                    with Engine(sources=2, backend=backend, **settings) as engine:
                        frames += feed(engine, frame, device)
            for layout in LAYOUTS:
                with Engine(sources=2, backend=backend, layout=layout) as engine:
                    frames += feed(engine, {"frame": np.full((270, 480, 3), 99, np.uint8)}, device)
        finally:
            backend.close()
    return frames


def pictures(size: tuple[int, int], device: torch.device) -> Iterator[tuple[int, str, dict[str, object]]]:
    """(channels, element type, arguments of submit) of a frame of each format, on the host and on the device."""
    width, height = size
    rng = np.random.default_rng(1)
    for channels in (1, 3, 4):
        bytes_ = rng.integers(0, 256, (height, width, channels), np.uint8)
        floats = rng.random((height, width, channels), np.float32)
        yield channels, "uint8", {"frame": bytes_}
        yield channels, "float32", {"frame": floats}
        yield channels, "uint8", {"frame": torch.from_numpy(bytes_).to(device), "origin": "bottom-left"}
        yield channels, "float32", {"frame": torch.from_numpy(floats).to(device, torch.float16)}
        planes = torch.from_numpy(bytes_).to(device).permute(2, 0, 1).contiguous()
        yield channels, "uint8", {"frame": planes, "channels_first": True}
    half = (-(-height // 2), -(-width // 2), 2)
    for make, dtype, top in ((nv12, np.uint8, 256), (p010, np.uint16, 65536)):
        y, uv = (rng.integers(0, top, shape).astype(dtype) for shape in ((height, width), half))
        yield 3, "uint8", {"frame": make(y, uv, matrix="bt709", range="limited")}
        there = [torch.from_numpy(plane).to(device) for plane in (y, uv)]
        yield 3, "uint8", {"frame": make(*there, matrix="bt601", range="full")}


def feed(engine: Engine, arguments: dict[str, object], device: torch.device) -> int:
    """The frame to both sources, twice to the first; tokens for gazes on the host and on the device."""
    frame = arguments.pop("frame")
    for source in (0, 1, 0):
        engine.submit(frame, source, **arguments)
    engine.tokens(FIXATIONS)
    engine.tokens(torch.tensor(FIXATIONS, device=device))
    engine.submit(frame, 1, **arguments)
    batch = engine.tokens(torch.tensor(FIXATIONS, device=device))
    assert torch.isfinite(batch.pixels.float()).all(), "tokens that are not finite"
    engine.read_level(0)
    return 4


def main() -> None:
    """On torch's current GPU."""
    from texvlm.backends.cuda.opening import open_cuda

    device = torch.device("cuda", torch.cuda.current_device())
    frames = exercise(lambda filtering: open_cuda(filtering=filtering), device)
    torch.cuda.synchronize()
    print(f"{frames} frames went in", file=sys.stderr)


if __name__ == "__main__":
    main()
