"""A 5 x 7 bitmap font for printable ASCII, and text drawn with it into pixel arrays.

Small labels on pictures and text in the procedural scene need no font file and no drawing
library. Six cells per character (5 of ink, 1 of space), 7 rows; `scale` makes each cell a square
of that many pixels, so edges stay crisp. NumPy only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

GLYPH_SIZE = (5, 7)
"""(width, height) of one glyph's ink, cells."""

ADVANCE = 6
"""Cells from one character's left edge to the next one's."""

FIRST, LAST = " ", "~"
"""The font holds every character between these; any other is drawn as '?'."""

# Sixteen characters to a band, from the space on; '#' is ink.
_FONT = """
..... ..#.. .#.#. .#.#. ..#.. ##... .##.. ..#.. ...#. .#... ..... ..... ..... ..... ..... ....#
..... ..#.. .#.#. .#.#. .#### ##..# #..#. ..#.. ..#.. ..#.. ..#.. ..#.. ..... ..... ..... ....#
..... ..#.. .#.#. ##### #.#.. ...#. #.#.. ..#.. .#... ...#. #.#.# ..#.. ..... ..... ..... ...#.
..... ..#.. ..... .#.#. .###. ..#.. .#... ..... .#... ...#. .###. ##### ..... .###. ..... ..#..
..... ..#.. ..... ##### ..#.# .#... #.#.# ..... .#... ...#. #.#.# ..#.. ..#.. ..... ..... .#...
..... ..... ..... .#.#. ####. #..## #..#. ..... ..#.. ..#.. ..#.. ..#.. ..#.. ..... ..... #....
..... ..#.. ..... .#.#. ..#.. ...## .##.# ..... ...#. .#... ..... ..... .#... ..... ..#.. #....

.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###. ..... ..... ...#. ..... .#... .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...# ..... ..... ..#.. ..... ..#.. #...#
#..## ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...# ..#.. ..#.. .#... ##### ...#. ....#
#.#.# ..#.. ..##. ..##. #..#. ....# ####. ..#.. .###. .#### ..... ..... #.... ..... ....# ...#.
##..# ..#.. .#... ....# ##### ....# #...# ..#.. #...# ....# ..... ..#.. .#... ##### ...#. ..#..
#...# ..#.. #.... #...# ...#. #...# #...# .#... #...# ...#. ..#.. ..#.. ..#.. ..... ..#.. .....
.###. .###. ##### .###. ...#. .###. .###. .#... .###. .##.. ..... .#... ...#. ..... .#... ..#..

.###. .###. ####. .###. ###.. ##### ##### .###. #...# .###. ..### #...# #.... #...# #...# .###.
#...# #...# #...# #...# #..#. #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## ##..# #...#
....# #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..# #...#
.##.# ##### ####. #.... #...# ####. ####. #.### ##### ..#.. ...#. ##... #.... #.#.# #.#.# #...#
#.#.# #...# #...# #.... #...# #.... #.... #...# #...# ..#.. ...#. #.#.. #.... #...# #..## #...#
#.#.# #...# #...# #...# #..#. #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #..## #...#
.###. #...# ####. .###. ###.. ##### #.... .#### #...# .###. .##.. #...# ##### #...# #...# .###.

####. .###. ####. .#### ##### #...# #...# #...# #...# #...# ##### .###. #.... .###. ..#.. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# #...# #...# ....# .#... #.... ...#. .#.#. .....
#...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .#... .#... ...#. #...# .....
####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. ..#.. .#... ..#.. ...#. ..... .....
#.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#... .#... ...#. ...#. ..... .....
#.... #..#. #..#. ....# ..#.. #...# .#.#. #.#.# #...# ..#.. #.... .#... ....# ...#. ..... .....
#.... .##.# #...# ####. ..#.. .###. ..#.. .#.#. #...# ..#.. ##### .###. ....# .###. ..... #####

.#... ..... #.... ..... ....# ..... ..##. ..... #.... ..#.. ...#. #.... .##.. ..... ..... .....
..#.. ..... #.... ..... ....# ..... .#... .#### #.... ..... ..... #.... ..#.. ..... ..... .....
...#. .###. ####. .#### .#### .###. ###.. #...# ####. .##.. ..##. #..#. ..#.. ##.#. ####. .###.
..... ....# #...# #.... #...# #...# .#... #...# #...# ..#.. ...#. #.#.. ..#.. #.#.# #...# #...#
..... .#### #...# #.... #...# ##### .#... .#### #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...#
..... #...# #...# #.... #...# #.... .#... ....# #...# ..#.. #..#. #.#.. ..#.. #.#.# #...# #...#
..... .#### ####. .#### .#### .###. .#... .###. #...# .###. .##.. #..#. ..##. #.#.# #...# .###.

..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ...#. ..#.. .#... .....
..... ..... ..... ..... .#... ..... ..... ..... ..... ..... ..... ..#.. ..#.. ..#.. .....
####. .#### #.##. .#### ###.. #...# #...# #...# #...# #...# ##### ..#.. ..#.. ..#.. .#...
#...# #...# ##... #.... .#... #...# #...# #...# .#.#. #...# ...#. .#... ..#.. ...#. #.#.#
####. .#### #.... .###. .#... #...# #...# #.#.# ..#.. .#### ..#.. ..#.. ..#.. ..#.. ...#.
#.... ....# #.... ....# .#... #...# .#.#. #.#.# .#.#. ....# .#... ..#.. ..#.. ..#.. .....
#.... ....# #.... ####. ..##. .#### ..#.. .#.#. #...# .###. ##### ...#. ..#.. .#... .....
"""


def text_size(text: str, *, scale: int = 1) -> tuple[int, int]:
    """(width, height) in pixels of one line of text, without the space after its last character."""
    return max(len(text) * ADVANCE - 1, 0) * scale, GLYPH_SIZE[1] * scale


def text_mask(text: str, *, scale: int = 1) -> NDArray[np.bool_]:
    """One line of text as bool ink, shape (height, width) of `text_size`.

    Raises:
        ValueError: `scale` is below 1.
    """
    if scale < 1:
        raise ValueError(f"scale is {scale}; text is drawn at 1 pixel for each cell or more")
    if not text:
        return np.zeros((GLYPH_SIZE[1] * scale, 0), np.bool_)
    font = _glyphs()
    unknown = ord("?") - ord(FIRST)
    indices = [ord(c) - ord(FIRST) if FIRST <= c <= LAST else unknown for c in text]
    line = font[indices].transpose(1, 0, 2).reshape(GLYPH_SIZE[1], len(text) * ADVANCE)[:, :-1]
    return line.repeat(scale, axis=0).repeat(scale, axis=1)


def draw_text(
    image: NDArray[np.generic],
    text: str,
    xy: tuple[int, int],
    scale: int = 1,
    colour: Sequence[float] | float = 255,
) -> None:
    """Write one line of text into an image, in place; what falls outside the image is cut off.

    Args:
        image: (height, width, channels) or (height, width), any element type.
        text: printable ASCII; other characters become '?'.
        xy: top-left corner of the first character, pixels; may lie outside the image.
        scale: pixels along one cell of the font, at least 1.
        colour: one value for each channel, or one for all, in the image's own range.
    """
    ink = text_mask(text, scale=scale)
    x, y = xy
    height, width = image.shape[:2]
    top, left = max(-y, 0), max(-x, 0)
    bottom, right = min(height - y, ink.shape[0]), min(width - x, ink.shape[1])
    if top < bottom and left < right:
        image[y + top : y + bottom, x + left : x + right][ink[top:bottom, left:right]] = colour


@cache
def _glyphs() -> NDArray[np.bool_]:
    """Every glyph with its space on the right, bool, (characters, 7, ADVANCE)."""
    lines = [line for line in _FONT.splitlines() if line]
    glyphs = []
    for band in range(0, len(lines), GLYPH_SIZE[1]):
        ink = np.array([[c == "#" for c in line + " "] for line in lines[band : band + GLYPH_SIZE[1]]])
        glyphs.append(ink.reshape(GLYPH_SIZE[1], -1, ADVANCE).transpose(1, 0, 2))
    return np.concatenate(glyphs)
