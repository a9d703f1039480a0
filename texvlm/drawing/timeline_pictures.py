"""Pictures of a timeline: samples of the frames, and what changed, was encoded or moved around each of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.pictures import Image, as_picture
from texvlm.drawing.strip import GUTTER, MARGIN, ORANGE, SKY, YELLOW, Box, Colour, blank_row, draw_words, slot_of
from texvlm.motion.field import MotionField
from texvlm.regions import TILE

if TYPE_CHECKING:
    from texvlm.drawing.timeline import TimelineFrame


def picture_rows(frames: Sequence[TimelineFrame], width: int) -> list[Image]:
    """Rows of samples: frames, changed tiles, encoded tokens, motion."""
    first = next((f for f in frames if f.picture is not None), None)
    if first is None or first.picture is None:
        return []
    aspect = first.picture.shape[0] / first.picture.shape[1]
    room = width - GUTTER - MARGIN
    count = min(max(2, round(room / 168)), max(len(frames), 2))
    across = room // count - 4
    size = (min(across, 260), max(8, min(round(min(across, 260) * aspect), 200)))
    slots = [
        range(k * len(frames) // count, max((k + 1) * len(frames) // count, k * len(frames) // count + 1))
        for k in range(min(count, len(frames)))
    ]
    samples = [frames[slot[len(slot) // 2]] for slot in slots]
    pictures = [blank_row(size[1], size[0]) if s.picture is None else as_picture(s.picture, size=size) for s in samples]
    rows: list[tuple[str, list[tuple[str, Colour]], list[Image]]] = [("frames", [], pictures)]

    def tinted(maps_of: Callable[[TimelineFrame], NDArray[np.float64] | None], colour: Colour) -> list[Image]:
        found = []
        for picture, slot in zip(pictures, slots, strict=True):
            maps = [m for m in (maps_of(frames[k]) for k in slot) if m is not None]
            found.append(_tint(picture, [_resized(m, size) for m in maps], colour))
        return found

    if any(f.tiles is not None for f in frames):
        rows.append(("changed tiles", [("more often: brighter", ORANGE)], tinted(_tile_map, ORANGE)))
    if any(f.encoded is not None for f in frames):
        rows.append(("encoded tokens", [("more often: brighter", SKY)], tinted(_encoded_map, SKY)))
    if any(f.motion is not None for f in frames):
        moved = [_draw_motion(picture, s.motion) for picture, s in zip(pictures, samples, strict=True)]
        rows.append(("motion", [("dot: where it is now", YELLOW)], moved))
    return [_picture_row(title, keys, images, width) for title, keys, images in rows]


def _picture_row(title: str, keys: Sequence[tuple[str, Colour]], images: Sequence[Image], width: int) -> Image:
    row = blank_row(images[0].shape[0] + 6, width)
    draw_words(row, title, keys)
    box = Box(GUTTER, 0, width - GUTTER - MARGIN, row.shape[0])
    for k, image in enumerate(images):
        left, right = slot_of(k, len(images), box)
        x = (left + right - image.shape[1]) // 2
        row[: image.shape[0], x : x + image.shape[1]] = image
    return row


def _tile_map(frame: TimelineFrame) -> NDArray[np.float64] | None:
    """Changed tiles on a grid that ends where the frame does."""
    if frame.tiles is None:
        return None
    size = frame.size or (None if frame.picture is None else (frame.picture.shape[1], frame.picture.shape[0]))
    if size is None:
        return frame.tiles.astype(np.float64)
    rows, columns = frame.tiles.shape
    down = np.minimum((np.arange(rows * 4) + 0.5) / (rows * 4) * size[1] / TILE, rows - 1).astype(int)
    across = np.minimum((np.arange(columns * 4) + 0.5) / (columns * 4) * size[0] / TILE, columns - 1).astype(int)
    tiles: NDArray[np.float64] = frame.tiles[down[:, None], across].astype(np.float64)
    return tiles


def _encoded_map(frame: TimelineFrame) -> NDArray[np.float64] | None:
    return None if frame.encoded is None else frame.encoded.astype(np.float64)


def _resized(values: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    """Nearest neighbour; (height, width)."""
    rows, columns = values.shape
    down, across = np.arange(size[1]) * rows // size[1], np.arange(size[0]) * columns // size[0]
    resized: NDArray[np.float64] = values[down[:, None], across]
    return resized


def _tint(picture: Image, maps: Sequence[NDArray[np.float64]], colour: Colour) -> Image:
    """A gray and dark picture, tinted where maps are set; the square root shows what is rare."""
    ground: NDArray[np.float64] = np.repeat(picture.mean(axis=2, keepdims=True) * 0.4, 3, axis=2)
    if maps:
        share = 0.85 * np.sqrt(np.mean(maps, axis=0))[..., None]
        ground = ground * (1 - share) + share * (0.25 * ground + 0.85 * np.array(colour))
    tinted: Image = np.clip(np.rint(ground), 0, 255).astype(np.uint8)
    return tinted


def _draw_motion(picture: Image, motion: MotionField | None) -> Image:
    """Where content went: a line from its place before to a dot at its place now; motion under half a pixel is none."""
    image: Image = np.rint(np.repeat(picture.mean(axis=2, keepdims=True) * 0.45, 3, axis=2)).astype(np.uint8)
    if motion is None:
        return image
    height, width = image.shape[:2]
    scale = np.array([width / motion.size[0], height / motion.size[1]])
    columns, rows = max(width // 12, 1), max(height // 12, 1)
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    places = np.stack([x, y], axis=-1).reshape(-1, 2) * motion.size
    flow, known = motion.at(places)
    seen = known & (np.hypot(*(flow * scale).T) >= 0.5)
    for now, way in zip(places[seen] * scale, (flow * scale)[seen], strict=True):
        steps = max(math.ceil(float(np.abs(way).max())), 1)
        line = now + way * np.linspace(1, 0, steps + 1)[:, None]
        inside = (line >= 0).all(axis=1) & (line < [width, height]).all(axis=1)
        points = line[inside].astype(int)
        image[points[:, 1], points[:, 0]] = np.array(YELLOW) * 0.75
        column, row = min(int(now[0]), width - 2), min(int(now[1]), height - 2)
        image[row : row + 2, column : column + 2] = YELLOW
    return image
