"""What a layout does to a frame, in numbers and as a picture: coverage, levels, squares.

Coverage is counted at texel centres, for every texel of the frame: each lies in no token, in one,
or in several. Geometry only; no pixels of a video are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.pictures import (
    FAINT_INK,
    INK,
    LOD_COLOURS,
    PAPER_GRAY,
    Image,
    cell_size,
    draw_fixations,
    draw_tokens,
    lod_image,
)
from texvlm.glyphs import draw_text, text_size
from texvlm.layouts.base import Focus, Layout
from texvlm.layouts.table import PADDING_LAYER, Table, lod_of_side

MARGIN = 0.25
"""Most that a picture shows beyond each edge of the frame, as a share of the frame's shorter side."""

PAD = 10
"""Pixels around words and bars."""


@dataclass(frozen=True, slots=True)
class LayoutFacts:
    """What one table amounts to.

    Attributes:
        tokens: rows that hold a token.
        once, never, several: shares of the frame's texels that lie in one, in no, in more tokens.
        partly_outside: tokens of which a part lies outside the frame.
        lods: number of tokens for each LOD, rounded to whole levels; LOD -> count, ascending.
        sides: (least, greatest) token side, texels.
    """

    tokens: int
    once: float
    never: float
    several: float
    partly_outside: int
    lods: dict[int, int]
    sides: tuple[float, float]


def layout_facts(table: Table, *, size: tuple[int, int], patch: int) -> LayoutFacts:
    """Count what a table covers.

    Args:
        table: rows of one view, (tokens,).
        size: (width, height) of the frame, texels.
        patch: output pixels along one token side.
    """
    rows = table[table["layer"] != PADDING_LAYER]
    cover = cover_counts(rows, size)
    levels, counts = np.unique(np.rint(lod_of_side(rows["side"], patch=patch)).astype(int), return_counts=True)
    return LayoutFacts(
        tokens=len(rows),
        once=float(np.mean(cover == 1)),
        never=float(np.mean(cover == 0)),
        several=float(np.mean(cover > 1)),
        partly_outside=int(np.count_nonzero(rows["valid"] < 1 - 1e-6)),
        lods={int(level): int(count) for level, count in zip(levels, counts, strict=True)},
        sides=(float(rows["side"].min()), float(rows["side"].max())) if len(rows) else (0.0, 0.0),
    )


def cover_counts(table: Table, size: tuple[int, int]) -> NDArray[np.int32]:
    """Tokens over the centre of each texel, (height, width); left and top borders belong to a token."""
    width, height = size
    half = table["side"].astype(np.float64) / 2
    left, right = (np.ceil(table["x"] + sign * half - 0.5).clip(0, width).astype(np.int64) for sign in (-1, 1))
    top, bottom = (np.ceil(table["y"] + sign * half - 0.5).clip(0, height).astype(np.int64) for sign in (-1, 1))
    steps = np.zeros((height + 1, width + 1), np.int32)
    for y, x, step in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(steps, (y, x), step)
    counts: NDArray[np.int32] = steps.cumsum(axis=0, dtype=np.int32).cumsum(axis=1, dtype=np.int32)[:height, :width]
    return counts


def draw_layout(
    name: str, layout: Layout, focus: Focus, *, size: tuple[int, int], box: tuple[int, int] = (1280, 720)
) -> Image:
    """A layout's squares over an empty frame, coloured by LOD, with its numbers above and its levels below.

    Args:
        name: title.
        layout: what to draw.
        focus: where it looks.
        size: (width, height) of the frame, texels.
        box: largest (width, height) of the part that shows the frame.
    """
    table = layout.plan(size, focus)
    facts = layout_facts(table, size=size, patch=layout.patch)
    field = _draw_field(table, focus, size=size, patch=layout.patch, box=box)
    scale = max(1, field.shape[1] // 480)
    least, most = facts.sides
    lines = (
        (f"{name}: {facts.tokens} tokens", f"frame {size[0]} x {size[1]}, sides {least:.4g} to {most:.4g} texels"),
        (
            f"covered once {_percent(facts.once)}",
            f"never {_percent(facts.never)}, twice or more {_percent(facts.several)}",
        ),
    )
    return np.concatenate(
        [_draw_heading(lines, field.shape[1], scale), field, _draw_levels(facts, field.shape[1], scale)]
    )


def _draw_field(table: Table, focus: Focus, *, size: tuple[int, int], patch: int, box: tuple[int, int]) -> Image:
    """Squares on paper; around the frame as much room as the tokens beyond its edges need."""
    rows = table[table["layer"] != PADDING_LAYER].copy()
    half = rows["side"] / 2
    most = MARGIN * min(size)
    beyond = max(
        float(np.max(half - rows["x"], initial=0)),
        float(np.max(half - rows["y"], initial=0)),
        float(np.max(rows["x"] + half - size[0], initial=0)),
        float(np.max(rows["y"] + half - size[1], initial=0)),
    )
    margin = min(beyond, most)
    rows["x"] += margin
    rows["y"] += margin
    window = (round(size[0] + 2 * margin), round(size[1] + 2 * margin))
    cell = cell_size(window, box=box)
    ground = lod_image(rows, cell, frame_size=window, patch=patch)
    field = draw_tokens(ground, rows, frame_size=window, patch=patch, dim=0.35)
    if margin:
        _outline_frame(field, margin, window)
    draw_fixations(field, focus.fixations + margin, frame_size=window)
    return field


def _outline_frame(image: Image, margin: float, window: tuple[int, int]) -> None:
    """A white line around the frame, in place."""
    height, width, _ = image.shape
    x, y = round(margin / window[0] * width), round(margin / window[1] * height)
    image[y, x : width - x] = image[height - y - 1, x : width - x] = INK
    image[y : height - y, x] = image[y : height - y, width - x - 1] = INK


def _draw_heading(lines: tuple[tuple[str, str], ...], width: int, scale: int) -> Image:
    """Lines of words, each with a fainter second half."""
    pitch = text_size("X", scale=scale)[1] + PAD
    image = np.full((len(lines) * pitch + PAD, width, 3), PAPER_GRAY, np.uint8)
    for k, (text, faint) in enumerate(lines):
        y = PAD + k * pitch
        draw_text(image, text, (PAD, y), scale, INK)
        draw_text(image, faint, (PAD + text_size(text + "  ", scale=scale)[0], y), scale, FAINT_INK)
    return image


def _draw_levels(facts: LayoutFacts, width: int, scale: int) -> Image:
    """A bar for each LOD: how many tokens have it."""
    text_height = text_size("X", scale=scale)[1]
    pitch = text_height + PAD
    image = np.full((len(facts.lods) * pitch + 2 * PAD, width, 3), PAPER_GRAY, np.uint8)
    head = text_size("LOD 00 ", scale=scale)[0] + PAD
    room = width - head - text_size(" 00000 100.0 %", scale=scale)[0] - PAD
    most = max(facts.lods.values(), default=1)
    for k, (level, count) in enumerate(facts.lods.items()):
        y = PAD + k * pitch
        length = max(2, round(room * count / most))
        image[y : y + text_height, head : head + length] = LOD_COLOURS[min(level, len(LOD_COLOURS) - 1)]
        draw_text(image, f"LOD {level}", (PAD, y), scale, FAINT_INK)
        draw_text(image, f" {count}  {_percent(count / facts.tokens)}", (head + length, y), scale, INK)
    return image


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
