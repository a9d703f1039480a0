"""Frames for a GPU run: real-looking ones, in rings that a call can go round for ever.

A ring is a few frames in device memory, together larger than any cache, of which each differs from the
one before, and the first from the last, in a known share of tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from texvlm.bench.footage import clips_of
from texvlm.bench.scenes import STEP
from texvlm.regions import TILE, tile_grid
from texvlm.sources import open_source

Picture = NDArray[np.uint8]


def real_pictures(size: tuple[int, int], count: int, data: Path | None) -> tuple[list[Picture], str]:
    """Consecutive frames of a video of this size, and its name.

    Args:
        size: (width, height).
        count: how many.
        data: folder of clips; the first one of this size is taken, else the procedural scene.
    """
    for path in clips_of(data) if data is not None else ():
        with open_source(path) as source:
            if source.info.size == size:
                found = [frame.pixels.copy() for frame, _ in zip(source, range(count), strict=False)]
                if len(found) == count:
                    return found, path.name
    with open_source(f"scene:{size[0]}x{size[1]}") as source:
        return [frame.pixels.copy() for frame, _ in zip(source, range(count), strict=False)], "the procedural scene"


def all_changed(pictures: Sequence[Picture]) -> list[Picture]:
    """A ring in which every tile changes from frame to frame: every second frame is darker or lighter.

    `pictures` is an even number of frames.
    """
    return [picture + np.uint8(STEP * (index % 2)) for index, picture in enumerate(pictures)]


def some_changed(picture: Picture, count: int, share: float, seed: int = 0) -> tuple[list[Picture], int]:
    """A ring of `count` frames in which about `share` of the tiles change; also how many exactly.

    Each frame is the picture with tiles of its own changed: two frames differ in those of both.
    """
    height, width = picture.shape[:2]
    columns, rows = tile_grid((width, height))
    own = max(1, round(share * columns * rows / 2))
    if count * own > columns * rows:
        raise ValueError(f"{count} frames with {own} tiles each of {columns * rows}; ask for fewer frames, or less")
    order = np.random.default_rng(seed).permutation(columns * rows)
    ring = []
    for index in range(count):
        frame = picture.copy()
        for tile in order[index * own : (index + 1) * own]:
            y, x = divmod(int(tile), columns)
            frame[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] += STEP
        ring.append(frame)
    return ring, 2 * own
