"""Rows of a strip over time: words at the left, a scale at the right, and between them a slot for each frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.pictures import FAINT_INK, INK, PAPER_GRAY, Image
from texvlm.glyphs import draw_text, text_size

Colour = tuple[int, int, int]
Values = Sequence[float] | NDArray[np.float64]
"""One for each frame, NaN where it is not known."""

GRID_INK: Colour = (58, 62, 68)

# Colours that stay apart with any colour vision: Okabe and Ito, Color Universal Design.
ORANGE, SKY, GREEN, YELLOW = (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)
BLUE, VERMILLION, PURPLE = (70, 140, 210), (213, 94, 0), (204, 121, 167)  # blue lighter than theirs: paper is dark

GUTTER, MARGIN = 178, 76
"""Pixels left and right of the plots, for words and for scales."""

PAD = 10
LETTER = text_size("X")[1]

STEPS = (1, 2, 3, 4, 5, 6, 8, 10)
"""What the top of a scale may be, times a power of ten."""


@dataclass(frozen=True, slots=True)
class Box:
    """Where a plot lies in an image: left, top, width, height, pixels."""

    left: int
    top: int
    width: int
    height: int


def plot_box(height: int, width: int) -> Box:
    """Where the plot of a row lies that is `width` wide with its words."""
    return Box(GUTTER, PAD // 2, width - GUTTER - MARGIN, height)


def blank_row(height: int, width: int) -> Image:
    """A row to draw on."""
    return np.full((height, width, 3), PAPER_GRAY, np.uint8)


def draw_words(
    image: Image, title: str, keys: Sequence[tuple[str, Colour]] = (), *, scale: str = "", top: int = 0
) -> None:
    """A row's title and keys left of its plot, and the top of its scale right of it, in place."""
    draw_text(image, title, (PAD, top + 2), 1, INK)
    for k, (name, colour) in enumerate(keys):
        y = top + 2 + (k + 1) * (LETTER + 7)
        image[y : y + LETTER, PAD : PAD + LETTER] = colour
        draw_text(image, name, (PAD + LETTER + 5, y), 1, FAINT_INK)
    if scale:
        draw_text(image, scale, (image.shape[1] - MARGIN + 6, top + 2), 1, FAINT_INK)


def per_column(values: Values, width: int) -> NDArray[np.float64]:
    """A value for each of `width` columns: that of its frame; of several frames in a column the largest. NaN stays."""
    given = np.asarray(values, np.float64)
    first = np.floor(np.arange(width) * len(given) / width).astype(int)
    last = np.maximum(np.ceil((np.arange(width) + 1) * len(given) / width).astype(int), first + 1)
    if len(given) <= width:
        nearest: NDArray[np.float64] = given[np.floor((np.arange(width) + 0.5) * len(given) / width).astype(int)]
        return nearest
    known = np.where(np.isnan(given), -np.inf, given)
    found = np.array([known[a:b].max() for a, b in zip(first, last, strict=True)])
    return np.where(np.isinf(found), np.nan, found)


def round_top(values: Values) -> float:
    """The least of STEPS times a power of ten that no value exceeds; 1 where all are next to nothing."""
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    most = float(known.max(initial=0))
    if most < 1e-30:  # nothing, or noise of rounding
        return 1.0
    power = 10.0 ** math.floor(math.log10(most))
    return next(step * power for step in STEPS if most <= step * power * (1 + 1e-9))


def draw_bars(image: Image, values: Values, box: Box, *, top: float, colour: Colour) -> None:
    """A bar for each frame from the bottom of the box, bright at its top, in place."""
    heights = np.nan_to_num(per_column(values, box.width)) / top * box.height
    rows = box.height - np.arange(box.height)[:, None]  # distance of a row's upper edge from the bottom
    _blend(image, box, np.clip(heights - rows + 1, 0, 1) * 0.5, colour)
    _blend(image, box, np.clip(1.5 - np.abs(heights - rows), 0, 1) * (heights > 0), colour)


def draw_line(image: Image, values: Values, box: Box, *, top: float, colour: Colour, thickness: float = 1.6) -> None:
    """A line through the frames' values, in place; broken where they are NaN."""
    given = np.asarray(values, np.float64)
    if len(given) < box.width:
        columns = (np.arange(box.width) + 0.5) * len(given) / box.width - 0.5
        low = np.clip(np.floor(columns), 0, len(given) - 1).astype(int)
        high = np.minimum(low + 1, len(given) - 1)
        part = np.clip(columns - low, 0, 1)
        found = np.where(part == 0, given[low], given[low] * (1 - part) + given[high] * part)
        # a known value next to an unknown one keeps its half of the way
        found = np.where(np.isnan(found), np.where(part < 0.5, given[low], given[high]), found)
    else:
        found = per_column(given, box.width)
    y = (1 - found / top) * (box.height - 1)
    before, after = np.concatenate([y[:1], y[:-1]]), np.concatenate([y[1:], y[-1:]])
    before, after = np.where(np.isnan(before), y, before), np.where(np.isnan(after), y, after)
    upper = np.minimum(y, np.minimum(before + y, after + y) / 2)
    lower = np.maximum(y, np.maximum(before + y, after + y) / 2)
    rows = np.arange(box.height)[:, None]
    apart = np.maximum(np.maximum(upper - rows, rows - lower), 0)
    _blend(image, box, np.nan_to_num(np.clip(thickness / 2 + 0.5 - apart, 0, 1)), colour)


def draw_dashes(image: Image, value: float, box: Box, *, top: float, colour: Colour) -> None:
    """A dashed level across the box, in place."""
    y = box.top + round((1 - min(value / top, 1)) * (box.height - 1))
    for x in range(box.left, box.left + box.width, 10):
        image[y, x : min(x + 5, box.left + box.width)] = colour


def draw_frame(image: Image, box: Box) -> None:
    """A base line and a faint line at half and at full height, in place."""
    for share in (0, 0.5, 1):
        image[box.top + round(share * (box.height - 1)), box.left : box.left + box.width] = GRID_INK


def slot_of(frame: int, count: int, box: Box) -> tuple[int, int]:
    """First and last-plus-one column of a frame's slot; at least one."""
    left = box.left + math.floor(frame * box.width / count)
    return left, max(box.left + math.floor((frame + 1) * box.width / count), left + 1)


def nice_step(span: float, *, most: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides a span into `most` parts at most."""
    least = span / most
    power = 10.0 ** math.floor(math.log10(least))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= least * (1 - 1e-9))


def _blend(image: Image, box: Box, cover: NDArray[np.float64], colour: Colour) -> None:
    part = image[box.top : box.top + box.height, box.left : box.left + box.width]
    part[...] = np.rint(part + (np.array(colour) - part.astype(np.float64)) * cover[..., None])
