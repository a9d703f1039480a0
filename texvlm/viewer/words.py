"""The words of a viewer: the panel of numbers, and the keys, as pictures with alpha. NumPy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from texvlm.drawing.pictures import FAINT_INK, INK
from texvlm.glyphs import draw_text, text_size
from texvlm.viewer.shown import ViewStatistics

PAD = 5
"""Cells of the font around the words."""

LINE = 10
"""Cells from one line to the next."""

SHADE = 170
"""Opacity of the ground behind the words, of 255."""


def words_picture(lines: Sequence[tuple[str, str]], *, scale: int = 1, columns: int = 0) -> NDArray[np.uint8]:
    """Lines of a name and a value on a dark ground, (height, width, 4), RGBA.

    Args:
        lines: (name, value); the values stand under each other.
        scale: pixels along one cell of the font.
        columns: least width, characters, so that a panel does not change its size with its numbers.
    """
    head = max((len(name) for name, value in lines if value), default=0) + 2
    longest = max((head + len(value) if value else len(name) for name, value in lines), default=0)
    width = text_size("X" * max(longest, columns), scale=scale)[0] + 2 * PAD * scale
    height = (LINE * len(lines) - (LINE - 7) + 2 * PAD) * scale
    picture = np.zeros((height, width, 4), np.uint8)
    picture[..., 3] = SHADE
    indent = text_size("X" * head, scale=scale)[0] + scale
    for k, (name, value) in enumerate(lines):
        y = (PAD + LINE * k) * scale
        draw_text(picture, name, (PAD * scale, y), scale, (*(FAINT_INK if value else INK), 255))
        draw_text(picture, value, (PAD * scale + indent, y), scale, (*INK, 255))
    return picture


def panel_lines(statistics: ViewStatistics, facts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """What the panel says: facts about the settings, then the numbers."""
    stages = statistics.stages_ms
    latency = "-" if statistics.latency_ms is None else f"{statistics.latency_ms:.0f} ms"
    return [
        *facts,
        ("frames/s", f"{statistics.frames_per_s:.1f}"),
        *((f"  {name}", f"{ms:6.2f} ms") for name, ms in stages.items() if ms >= 0.005),
        ("tokens", f"{statistics.tokens} ({statistics.tokens_sampled} anew)"),
        ("uploaded", f"{statistics.bytes_uploaded / 1e6:.2f} MB ({100 * statistics.tiles_share:.0f} % of tiles)"),
        ("dropped", str(statistics.dropped)),
        ("look to picture", latency),
    ]
