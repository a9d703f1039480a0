"""The pyramid: level sizes, padding, and which texels a changed tile owns.

Tiles own their mips. Levels 1..4 of a 16 x 16 tile are the exact area means of the level-0 texels
they cover, rounded half up once; a tile is one texel of level 4, so it owns a private column of
mips and no neighbour is read. Levels 5 and up (the tail) are area means of level-4 texels, rounded
once, in the same way. Hence an incremental update and a full rebuild give the same bits.

A frame behaves as if its edge pixels went on for ever: level k of a (w, h) frame has
ceil(w / 2**k) x ceil(h / 2**k) texels, the last of which may average repeated edge pixels, and
sampling clamps to them, level by level. Storage is larger (padded to a multiple of
2**(levels - 1), and sized for the largest source); nothing outside a frame's own level is ever read.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import Literal

import numpy as np

from texvlm.regions import TILE, TileMask

COLUMN_LEVELS = 4
"""Levels above the base that one tile owns alone: 2**4 = TILE."""

MAX_SIDE = 16384
"""Longest frame side, texels: the texture limit of current GPUs (GL_MAX_TEXTURE_SIZE, CUDA layered arrays)."""

MAX_LEVELS = MAX_SIDE.bit_length()
"""Levels of the largest frame, down to a single texel."""

ElementType = Literal["uint8", "float32"]


@dataclass(frozen=True, slots=True)
class TextureSpec:
    """Shape of one mip-mapped texture array.

    Attributes:
        size: (width, height) of the largest frame, level-0 texels.
        layers: array layers; at least one for each source.
        channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        dtype: element type; "uint8" holds k/255, "float32" holds values as they come.
        levels: mip levels, base included; 5 at least, because tiles own four. 0 stands for
            `default_levels(size)`.
    Raises:
        ValueError: a value is out of range; names it.
    """

    size: tuple[int, int]
    layers: int = 1
    channels: int = 3
    dtype: ElementType = "uint8"
    levels: int = 0

    def __post_init__(self) -> None:
        check_frame_size(self.size)
        if self.layers < 1:
            raise ValueError(f"layers is {self.layers}; at least 1 is needed")
        if self.channels not in (1, 3, 4):
            raise ValueError(f"channels is {self.channels}; accepted: 1 (gray), 3 (RGB), 4 (RGBA)")
        if self.dtype not in ("uint8", "float32"):
            raise ValueError(f"dtype is {self.dtype!r}; accepted: 'uint8', 'float32'")
        if self.levels == 0:
            object.__setattr__(self, "levels", default_levels(self.size))
        if not COLUMN_LEVELS < self.levels <= MAX_LEVELS:
            raise ValueError(f"levels is {self.levels}; accepted: {COLUMN_LEVELS + 1}..{MAX_LEVELS}")

    @property
    def padded_size(self) -> tuple[int, int]:
        """(width, height) of level-0 storage: the next multiple of 2**(levels - 1)."""
        unit = 1 << (self.levels - 1)
        return (-(-self.size[0] // unit) * unit, -(-self.size[1] // unit) * unit)

    def storage_size(self, level: int) -> tuple[int, int]:
        """(width, height) of one level's storage; always exact halves."""
        width, height = self.padded_size
        return width >> level, height >> level

    @property
    def texel_bytes(self) -> int:
        """Bytes of one texel as packed host data."""
        return self.channels * (1 if self.dtype == "uint8" else 4)

    def describe(self) -> dict[str, object]:
        """The shape and the bytes of all its texels as packed data, for reports; JSON-compatible."""
        sizes = map(self.storage_size, range(self.levels))
        return {
            "size": list(self.size),
            "padded_size": list(self.padded_size),
            "layers": self.layers,
            "channels": self.channels,
            "dtype": self.dtype,
            "levels": self.levels,
            "bytes": self.layers * self.texel_bytes * sum(width * height for width, height in sizes),
        }


def check_frame_size(size: tuple[int, int]) -> None:
    """TypeError unless a size is two whole numbers, ValueError unless each is 1..MAX_SIDE texels."""
    try:
        width, height = map(index, size)
    except (TypeError, ValueError):
        raise TypeError(f"frame size {size!r}; accepted: (width, height), whole numbers of texels") from None
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise ValueError(f"frame size {width} x {height}: each side is 1..{MAX_SIDE} texels")


def default_levels(size: tuple[int, int], patch: int = TILE) -> int:
    """Levels up to the one at which a single patch spans the longer side; never below 5."""
    return min(MAX_LEVELS, max(COLUMN_LEVELS + 1, 1 + (-(-max(size) // patch) - 1).bit_length()))


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(width, height) of a frame's own texels at one level: ceil(side / 2**level)."""
    unit = 1 << level
    return -(-size[0] // unit), -(-size[1] // unit)


def column_texels() -> int:
    """Texels of levels 1..4 that one dirty tile rebuilds: 64 + 16 + 4 + 1."""
    return sum((TILE >> level) ** 2 for level in range(1, COLUMN_LEVELS + 1))


def rebuilt_texels(tiles: TileMask, levels: int) -> int:
    """Texels of levels 1 and up that an update of these tiles rebuilds: their columns, and the tail above."""
    dirty = tiles
    count = int(np.count_nonzero(dirty)) * column_texels()
    for _ in range(COLUMN_LEVELS + 1, levels):
        rows, columns = dirty.shape
        padded = np.pad(dirty, ((0, rows % 2), (0, columns % 2)))
        dirty = padded[0::2, 0::2] | padded[1::2, 0::2] | padded[0::2, 1::2] | padded[1::2, 1::2]
        count += int(np.count_nonzero(dirty))
    return count
