"""What texvlm is measured against, written as a good engineer would without it.

`DenseTokens` resizes the whole frame and cuts it into patches. `PyramidTokens` samples the same
foveated tokens from a float pyramid that torch builds for every frame; it does the same job as
texvlm, and `agreement` shows that it does. The integral-image tokenizer is in `texvlm.bench.integral`.
All keep their buffers from call to call, and split colour planes with OpenCV, which is the fastest
way here from packed bytes to planes.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody knows it by)
from numpy.typing import NDArray

from texvlm.engine import Engine
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import default_levels, level_size

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

PYRAMID_TOLERANCE = 0.6
"""In 1/255, between `PyramidTokens` and texvlm: 0.5 for mips that are rounded to 8 bits, which the
float pyramid's are not, and 0.1 for grid_sample's positions, which are float32 in -1..1."""


class DenseTokens:
    """The whole frame as a uniform grid: resize to `side` x `side`, normalise, cut into patches.

    Args:
        side: pixels of the resized square; a multiple of `patch`.
        patch: pixels along one token side.
        interpolation: cv2.INTER_LINEAR (fastest) or cv2.INTER_AREA (antialiased, like the resize of
            models' own processors).
    """

    def __init__(self, side: int = 1024, patch: int = 16, *, interpolation: int = cv2.INTER_LINEAR) -> None:
        self._interpolation = interpolation
        cells = side // patch
        self._resized = np.empty((side, side, 3), np.uint8)
        self._bytes = torch.empty((3, side, side), dtype=torch.uint8)
        self._planes = [plane.numpy() for plane in self._bytes]
        self._floats = torch.empty((3, side, side))
        self._patches = self._floats.view(3, cells, patch, cells, patch).permute(1, 3, 0, 2, 4)
        self._tokens = torch.empty((cells, cells, 3, patch, patch))
        std = torch.tensor(IMAGENET_STD).view(3, 1, 1)
        self._scale, self._bias = 1 / (255 * std), -torch.tensor(IMAGENET_MEAN).view(3, 1, 1) / std

    def __call__(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        """Tokens, (cells * cells, 3, patch, patch) float32; overwritten by the next call."""
        side = self._resized.shape[0]
        cv2.resize(frame, (side, side), dst=self._resized, interpolation=self._interpolation)
        cv2.split(self._resized, self._planes)
        self._floats.copy_(self._bytes)
        self._floats.mul_(self._scale).add_(self._bias)
        self._tokens.copy_(self._patches)
        return self._tokens.flatten(0, 1)


class PyramidTokens:
    """A float pyramid by average pooling, and grid_sample at the token positions of a table.

    Args:
        size: (width, height) of the frames.
        table: token table, shape (n,), one frame.
        patch: output pixels along one token side.

    Attributes:
        top: the coarsest mip level that the tokens need.
    """

    def __init__(self, size: tuple[int, int], table: Table, patch: int) -> None:
        self._size = size
        self._patch = patch
        self.look_at(table)
        unit = 1 << self.top
        width, height = size
        self._bytes = torch.empty((3, height, width), dtype=torch.uint8)
        self._planes = [plane.numpy() for plane in self._bytes]
        self._base = torch.empty((1, 3, -(-height // unit) * unit, -(-width // unit) * unit))

    def look_at(self, table: Table) -> None:
        """Take another table; only its sampling grids are worked out."""
        last = default_levels(self._size) - 1
        side = table["side"].astype(np.float64)
        used = table["layer"] != PADDING_LAYER
        lod = np.where(used, np.minimum(np.maximum(np.log2(side / self._patch), 0), last), 0)
        level = np.floor(lod).astype(np.int64)
        self._share = torch.from_numpy((lod - level).astype(np.float32))
        self._steps = []
        for k in range(last + 1):
            rows = np.flatnonzero(used & ((level == k) | ((level + 1 == k) & (lod > level))))
            if rows.size:
                weight = np.where(level[rows] == k, 1 - (lod - level)[rows], (lod - level)[rows])
                self._steps.append(
                    (
                        k,
                        torch.from_numpy(rows),
                        torch.from_numpy(self._grid(table[rows], k)),
                        torch.from_numpy(weight.astype(np.float32) / np.float32(255)).view(-1, 1, 1, 1),
                    )
                )
        self.top = max(step[0] for step in self._steps)
        self._tokens = torch.zeros((len(table), 3, self._patch, self._patch))

    def build(self, frame: NDArray[np.uint8]) -> None:
        """The pyramid of a frame."""
        width, height = self._size
        cv2.split(frame, self._planes)
        base = self._base
        base[0, :, :height, :width].copy_(self._bytes)
        base[0, :, :height, width:] = base[0, :, :height, width - 1 : width]
        base[0, :, height:] = base[0, :, height - 1 : height]
        self._levels = [base]
        for _ in range(self.top):
            self._levels.append(F.avg_pool2d(self._levels[-1], 2))

    def sample(self) -> torch.Tensor:
        """Tokens of the last frame built, (n, 3, patch, patch) float32 in 0..1; overwritten by the next call."""
        self._tokens.zero_()
        for level, rows, grid, weight in self._steps:
            columns, lines = level_size(self._size, level)
            texels = self._levels[level][:, :, :lines, :columns]
            pixels = F.grid_sample(texels, grid, mode="bilinear", padding_mode="border", align_corners=False)
            patches = pixels.view(3, len(rows), self._patch, self._patch).transpose(0, 1)
            self._tokens.index_add_(0, rows, patches * weight)
        return self._tokens

    def __call__(self, frame: NDArray[np.uint8]) -> torch.Tensor:
        """`build` and `sample`."""
        self.build(frame)
        return self.sample()

    def _grid(self, table: Table, level: int) -> NDArray[np.float32]:
        """Sampling positions of some tokens at one level, in grid_sample's -1..1, (1, n * patch, patch, 2)."""
        patch = self._patch
        offset = (np.arange(patch) + 0.5) / patch - 0.5
        side = table["side"].astype(np.float64)[:, None]
        columns, lines = level_size(self._size, level)
        x = (table["x"].astype(np.float64)[:, None] + offset * side) / 2**level * (2 / columns) - 1
        y = (table["y"].astype(np.float64)[:, None] + offset * side) / 2**level * (2 / lines) - 1
        grid = np.empty((len(table), patch, patch, 2), np.float32)
        grid[..., 0] = x[:, None, :]
        grid[..., 1] = y[:, :, None]
        return grid.reshape(1, len(table) * patch, patch, 2)


def agreement(engine: Engine, frame: NDArray[np.uint8]) -> float:
    """Largest difference between texvlm's tokens of a frame and PyramidTokens', in 1/255.

    The engine must hold exactly this frame (threshold 0, or its first one).
    """
    batch = engine.tokens()
    size = (frame.shape[1], frame.shape[0])
    theirs = PyramidTokens(size, batch.table[0], batch.patch)(frame)
    return float((batch.pixels[0] - theirs).abs().max() * 255)
