"""What block matching works on, shared by all backends: grids, kept pictures, and what is found.

Per source, some coarse levels of a frame are kept as smooth 8-bit gray pictures. Luma is (77 R + 150 G +
29 B + 128) >> 8 of the stored texels; its neighbourhood weighed 1 2 1 in both directions, (sum + 8) >> 4, is
what is kept: pictures that were sampled where they alias less match better between texels. Edge texels go
on for ever, PAD of them in memory, so that no kernel asks where the frame ends.

A block is a window of WINDOW x WINDOW texels of its level around the centre of its cell. The search goes
from coarse to fine. On the coarsest level it tries every displacement within `reach`, near ones first; on
finer ones none, then the doubled ones of the parent block and of the three blocks beside it that lie nearest,
then the eight neighbours of the best of those. Between the coarsest and the finest level, a window of whose
difference half is still unexplained, and more than `STRAY`, then tries every displacement, too: things smaller
than the windows of coarser levels move unseen there.

The cost is the sum of absolute differences; any displacement but none also pays `STILL`, and a share of what
none costs, 1 / 2**STILL_SHIFT rounded down. The first one of the least cost wins. A window that did not change
at all is not searched. Everything is integers, so every backend finds the same.

On the finest level the sums of a least-squares step are found as well, for `sub_texel`: displacement beyond
whole texels from gradients of both windows, as of the efficient second-order minimisation of Benhimane and
Malis (2004), which is right to second order without resampling.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from texvlm.pyramid import TextureSpec, level_size

WINDOW = 16
"""Texels of a level along one side of a block's window: a row is what one vector instruction compares."""

PAD = 20
"""Texels kept beyond each edge. A window wholly outside sees edge texels only, so it need not go further
than WINDOW out; its gradients reach one texel further; and rows begin at multiples of four bytes."""

STILL, STILL_SHIFT = 32, 4
"""What a displacement must gain over none: so much, summed over a window (1/8 of a gray value a texel), and
1/16 of the difference itself. Noise is as different everywhere, so the best of many places gains a few
hundredths; motion of anything with texture gains most of it. Found on flat walls with noise, and on pairs of
pictures with known flow."""

GRADIENT = 0.48
"""Slope of a step that central differences of smoothed pictures measure, against the slope of what they are
compared with; 0.5 for slow waves, less for fast ones. Fitted on shifted photographs."""

RECORD = ("dx", "dy", "sad", "sad_still", "xx", "xy", "yy", "xt", "yt")
"""What is found for a block, int32: displacement in texels of the finest level, backward; summed absolute
differences there and in place; sums over the window of products of gradients (x, y) and differences (t).
All are 0 where the window did not change."""


NEAR = np.array([(0, -1), (-1, 0), (1, 0), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1)], np.int32)
"""Displacements (dx, dy) around the best guess, in the order in which they are tried."""


STRAY = 1024
"""Cost that the best guess must have for more than its neighbours to be tried: four gray values a texel."""


@dataclass(frozen=True, slots=True)
class BlockSpec:
    """How finely motion is looked for.

    Attributes:
        patch: side of a cell, level-0 texels, a power of two.
        finest: mip level of the last step; None to choose by the frame: its longer side has at most 512 texels
            there, and a window covers a cell.
        steps: levels that are searched, the finest among them; fewer where the pyramid ends. Each one more
            doubles the displacement that can be seen, and the size that a thing must have to be seen moving.
        reach: displacements tried on the coarsest level, texels of that level in every direction.
    Raises:
        ValueError: a value is out of range; names it.
    """

    patch: int = 32
    finest: int | None = None
    steps: int = 3
    reach: int = 5

    def __post_init__(self) -> None:
        if self.patch not in (4, 8, 16, 32, 64, 128):
            raise ValueError(f"patch is {self.patch}; accepted: 4, 8, 16, 32, 64 or 128 texels")
        if self.finest is not None and not (self.finest >= 0 and 2 <= self.patch >> self.finest <= WINDOW):
            raise ValueError(
                f"finest is {self.finest} for a patch of {self.patch}; accepted: a level where a patch has 2..{WINDOW} "
                "texels"
            )
        if not 1 <= self.steps <= 6:
            raise ValueError(f"steps is {self.steps}; accepted: 1..6 levels")
        if not 1 <= self.reach <= 6:
            raise ValueError(f"reach is {self.reach}; accepted: 1..6 texels of the coarsest level")


@dataclass(frozen=True, slots=True)
class BlockLevel:
    """One level as it is kept and searched.

    Attributes:
        level: of the pyramid.
        size: (width, height) of the frame there.
        columns, rows: blocks.
        stride: bytes from one row to the next.
        start: byte of the kept picture at which this level's texel (-PAD, -PAD) lies.
        first: blocks of coarser levels, in a list of all.
    """

    level: int
    size: tuple[int, int]
    columns: int
    rows: int
    stride: int
    start: int
    first: int

    @property
    def origin(self) -> int:
        """Byte at which texel (0, 0) lies."""
        return self.start + PAD * self.stride + PAD

    @property
    def stored_rows(self) -> int:
        """Rows that are kept."""
        return self.size[1] + 2 * PAD


@dataclass(frozen=True)
class BlockPlan:
    """Everything about frames of one size.

    Attributes:
        size: (width, height), level-0 texels.
        patch: side of a cell, level-0 texels.
        pitch: side of a cell in texels of its level; the same on every level.
        reach: see BlockSpec.
        levels: coarsest first.
        picture_bytes: of all levels of one kept frame; a multiple of 16.
    """

    size: tuple[int, int]
    patch: int
    pitch: int
    reach: int
    levels: tuple[BlockLevel, ...]
    picture_bytes: int

    @property
    def finest(self) -> BlockLevel:
        """The level that displacements are given in."""
        return self.levels[-1]

    @property
    def blocks(self) -> int:
        """Blocks of all levels."""
        return self.finest.first + self.finest.rows * self.finest.columns

    @cached_property
    def spiral(self) -> NDArray[np.int32]:
        """Displacements of the coarsest level but (0, 0), (n, 2): near ones first, then row by row."""
        steps = np.arange(-self.reach, self.reach + 1)
        dy, dx = (grid.reshape(-1) for grid in np.meshgrid(steps, steps, indexing="ij"))
        order = np.lexsort((dx, dy, dx * dx + dy * dy))[1:]
        return np.ascontiguousarray(np.stack([dx, dy], axis=1)[order], np.int32)

    def nothing_moved(self) -> NDArray[np.int32]:
        """What is found where no window changed, (rows, columns, len(RECORD))."""
        return np.zeros((self.finest.rows, self.finest.columns, len(RECORD)), np.int32)


def plan_blocks(size: tuple[int, int], levels: int, spec: BlockSpec) -> BlockPlan:
    """How frames of one size are matched.

    Args:
        size: (width, height), level-0 texels.
        levels: of the pyramid.
        spec: what is wanted.
    Raises:
        ValueError: the pyramid does not have the finest level.
    """
    finest = spec.finest
    if finest is None:
        finest = max((spec.patch // WINDOW).bit_length() - 1, next(k for k in range(16) if max(size) >> k <= 512))
        finest = min(finest, spec.patch.bit_length() - 2, levels - 1)
    if finest >= levels:
        raise ValueError(f"finest is {finest}; this pyramid has levels 0..{levels - 1}")
    coarsest = min(finest + spec.steps, levels) - 1
    pitch = spec.patch >> finest
    planned: list[BlockLevel] = []
    start = first = 0
    for level in range(coarsest, finest - 1, -1):
        width, height = level_size(size, level)
        columns, rows = -(-width // pitch), -(-height // pitch)
        stride = -(-(width + 2 * PAD) // 16) * 16
        planned.append(BlockLevel(level, (width, height), columns, rows, stride, start, first))
        start += stride * (height + 2 * PAD)
        first += columns * rows
    return BlockPlan(size, spec.patch, pitch, spec.reach, tuple(planned), start)


def check_texels(spec: TextureSpec) -> None:
    """TypeError unless block matching can read a texture's texels."""
    if spec.dtype != "uint8":
        raise TypeError(f"blocks are matched on uint8 texels; this texture holds {spec.dtype}: submit frames of bytes")


def sub_texel(found: NDArray[np.int32]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Displacement beyond whole texels, and how much texture the window has.

    Args:
        found: RECORD, (rows, columns, 9).
    Returns:
        (rows, columns, 2), texels of the finest level, at most 1 in any direction; the lesser eigenvalue
        of the window's mean gradient products, (rows, columns), squared gray values a texel; and the
        root of their trace, gray values a texel.
    """
    # gradients are of two windows, smoothed across (weight 4) and over two texels; differences weigh 16
    slope = GRADIENT / 4 / 2
    weights = np.array([slope, slope, slope, 1 / 16, 1 / 16]) * (slope / (WINDOW * WINDOW))
    xx, xy, yy, xt, yt = np.moveaxis(found[..., 4:], -1, 0) * weights[:, None, None]
    trace, square = xx + yy, xy * xy
    least = trace / 2 - np.sqrt(np.square(xx - yy) / 4 + square)
    xx += 0.1  # where there is no texture, nothing moves
    yy += 0.1
    step = np.empty((*xx.shape, 2))
    step[..., 0] = yy * xt - xy * yt
    step[..., 1] = xx * yt - xy * xt
    step /= (xx * yy - square)[..., None]
    return np.clip(step, -1, 1, out=step), np.maximum(least, 0, out=least), np.sqrt(trace)
