"""What one would write for a GPU without texvlm, in torch: for the same frames, in the same run.

Frames lie on the device, (height, width, 3) uint8. All keep their buffers from call to call, so that they can be
captured into a graph as texvlm's calls are.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (the name everybody knows it by)
from numpy.typing import NDArray

from texvlm.bench.baselines import IMAGENET_MEAN, IMAGENET_STD
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import default_levels, level_size

DENSE_SIDE = 1024


class TorchPyramid:
    """A float pyramid by average pooling, and grid_sample at the positions of a token table.

    Args:
        size: (width, height) of the frames.
        table: token table, (n,), one frame.
        patch: output pixels along one token side.
        device: where frames lie.

    Attributes:
        top: the coarsest mip level that the tokens need.
    """

    def __init__(self, size: tuple[int, int], table: Table, patch: int, device: torch.device) -> None:
        self._size, self._patch, self._device = size, patch, device
        last = default_levels(size) - 1
        side = table["side"].astype(np.float64)
        used = table["layer"] != PADDING_LAYER
        lod = np.where(used, np.clip(np.log2(side / patch), 0, last), 0)
        level = np.floor(lod).astype(np.int64)
        self._steps: list[tuple[int, torch.Tensor, torch.Tensor, torch.Tensor]] = []
        for k in range(last + 1):
            rows = np.flatnonzero(used & ((level == k) | ((level + 1 == k) & (lod > level))))
            if rows.size:
                share = (lod - level)[rows]
                weight = np.where(level[rows] == k, 1 - share, share).astype(np.float32) / np.float32(255)
                grid = self._grid(table[rows], k)
                there, where, how_much = (torch.from_numpy(part).to(device) for part in (rows, grid, weight))
                self._steps.append((k, there, where, how_much))
        self.top = max(step[0] for step in self._steps)
        unit = 1 << self.top
        padded = (-(-size[1] // unit) * unit, -(-size[0] // unit) * unit)
        self._base = torch.empty((1, 3, *padded), device=device)
        self._tokens = torch.zeros((len(table), 3, patch, patch), device=device)

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        """Tokens, (n, 3, patch, patch) float32 in 0..1; overwritten by the next call."""
        width, height = self._size
        base = self._base
        base[0, :, :height, :width].copy_(frame.permute(2, 0, 1))
        base[0, :, :height, width:] = base[0, :, :height, width - 1 : width]
        base[0, :, height:] = base[0, :, height - 1 : height]
        levels = [base]
        for _ in range(self.top):
            levels.append(F.avg_pool2d(levels[-1], 2))
        self._tokens.zero_()
        for level, rows, grid, weight in self._steps:
            columns, lines = level_size(self._size, level)
            texels = levels[level][:, :, :lines, :columns]
            pixels = F.grid_sample(texels, grid, mode="bilinear", padding_mode="border", align_corners=False)
            patches = pixels.view(3, len(rows), self._patch, self._patch).transpose(0, 1)
            self._tokens.index_add_(0, rows, patches * weight.view(-1, 1, 1, 1))
        return self._tokens

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


class DensePatches:
    """The whole frame as a uniform grid: resize to a square, normalise, cut into patches.

    Args:
        antialias: filter as the models' own processors do; without it pixels are skipped.
        side: of the square; a multiple of `patch`.
        patch: output pixels along one token side.
        dtype: of the tokens.
        device: where frames lie.
    """

    def __init__(
        self,
        *,
        antialias: bool,
        device: torch.device,
        side: int = DENSE_SIDE,
        patch: int = 16,
        dtype: torch.dtype = torch.float16,
    ) -> None:
        self._antialias = antialias
        self._side, self._patch, self._dtype = side, patch, dtype
        std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)
        self._scale = 1 / (255 * std)
        self._bias = -torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1) / std

    @property
    def tokens(self) -> int:
        """How many it gives."""
        cells = self._side // self._patch
        return cells * cells

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        """Tokens, (n, 3 * patch * patch), normalised."""
        floats = frame.permute(2, 0, 1)[None].float()
        side = (self._side, self._side)
        small = F.interpolate(floats, size=side, mode="bilinear", antialias=self._antialias, align_corners=False)
        cells, patch = self._side // self._patch, self._patch
        scaled = (small[0] * self._scale + self._bias).to(self._dtype)
        return scaled.view(3, cells, patch, cells, patch).permute(1, 3, 0, 2, 4).reshape(cells * cells, -1)


def pyramid_bytes(size: tuple[int, int], levels: int, tokens: int, patch: int) -> int:
    """Bytes that TorchPyramid moves: to float, each level read and written, texels read, tokens added and written."""
    values = 3 * size[0] * size[1]
    moved: float = values * (1 + 4) + sum(values * 4 * 1.25 / 4**level for level in range(levels))
    return round(moved + tokens * patch * patch * 3 * 4 * 5)


def dense_bytes(size: tuple[int, int], side: int, item: int) -> int:
    """Bytes that DensePatches moves: to float, resize, scale, shift and convert, cut into patches."""
    values, small = 3 * size[0] * size[1], 3 * side * side
    return values * (1 + 4) + values * 4 + small * 4 + small * 4 * 4 + small * (4 + item) + small * 2 * item
