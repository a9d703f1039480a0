"""Frames in: one launch over the new frame, and one for the tail, on the caller's stream.

`refresh` reads the frame once: it compares with level 0, writes the tiles that changed with their mips,
and stamps them. `build_tail` builds levels 5 and up above those tiles, counts, and advances the
layer's clock: by one for every update, whether it changed anything or not. Which tiles those are stays on
the device; nothing here waits for it.

`plan_*` say what would be launched, for who wants to queue it in a graph; the verbs launch it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from texvlm.backends._checks import check_layer
from texvlm.backends._detect import texel_limit
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import ArrayObjects, CudaTexture, stored_channels
from texvlm.backends.cuda.frame_pixels import FramePixels, sources_of
from texvlm.backends.cuda.ingest_kernels import (
    READ_ARGUMENTS,
    REFRESH_ARGUMENTS,
    TAIL_ARGUMENTS,
    Mode,
    refresh_definitions,
    tail_definitions,
    texel_definitions,
    variants,
)
from texvlm.backends.cuda.kernels import Kernels
from texvlm.backends.cuda.launch import Launch
from texvlm.pyramid import COLUMN_LEVELS, TextureSpec
from texvlm.regions import TILE, tile_grid

__all__ = ["TOTALS", "FramePixels", "Ingest", "Launch", "variants"]

TOTALS = ("tiles_dirty", "bytes_uploaded", "texels_rebuilt")
"""What the tail adds to the first entries of `totals`, as `base.Counters` defines them."""


TILES_IN_BLOCK = 4  # of refresh.cu
BLOCK_CELLS = 16  # along a side of what a block of build_tail.cu does
LEVELS_IN_LAUNCH = 4  # above those cells: log2 of their number

_DTYPES = {"uint8": torch.uint8, "float32": torch.float32}


@dataclass(frozen=True, slots=True, eq=False)
class _Cells:
    """What one launch of build_tail.cu averages: texels of level 4, or sums of blocks of them.

    Attributes:
        flags: which of them changed, (rows, columns).
        sums: (rows + 1, columns + 1, stored channels); None for texels of level 4.
    """

    flags: torch.Tensor
    sums: torch.Tensor | None

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return (self.flags,) if self.sums is None else (self.flags, self.sums)

    def addresses(self) -> tuple[int, int]:
        """Of the flags, and of the sums or 0."""
        return self.flags.data_ptr(), 0 if self.sums is None else self.sums.data_ptr()


class Ingest:
    """The verbs that bring frames into texture arrays.

    Tensors are made by torch for its current stream: `stream` must be that one.
    """

    def __init__(self, driver: Driver, kernels: Kernels) -> None:
        self._driver = driver
        self._kernels = kernels

    def refresh(
        self,
        texture: CudaTexture,
        layer: int,
        frame: FramePixels,
        *,
        limit: float | None,
        stream: Stream,
        totals: torch.Tensor,
    ) -> torch.Tensor:
        """Bring one layer up to date with a frame, in one pass.

        Args:
            texture: what to update.
            layer: which layer of it.
            frame: its new content; of the size that the layer holds, where `limit` is given.
            limit: greatest difference, in texel values, that is no change; None to take every tile.
            stream: where to queue it.
            totals: int64 on the device; TOTALS are added to its first entries.
        Returns:
            The tiles updated, bool, (rows, columns), on the device.
        Raises:
            ValueError: a frame or layer that does not fit.
        """
        columns, rows = tile_grid(frame.size)
        tiles = torch.empty((rows, columns), dtype=torch.bool, device=self._driver.device)
        objects = texture.storage.objects(stream)
        _run(self.plan_refresh(texture, objects, layer, frame, limit=limit, tiles=tiles, totals=totals), stream)
        return tiles

    def detect(
        self, texture: CudaTexture, layer: int, frame: FramePixels, *, limit: float, stream: Stream
    ) -> torch.Tensor:
        """The tiles that differ from level 0 by more than `limit`, as of `refresh`; nothing else is written."""
        columns, rows = tile_grid(frame.size)
        tiles = torch.empty((rows, columns), dtype=torch.bool, device=self._driver.device)
        objects = texture.storage.objects(stream)
        self._pass_over(texture, objects, layer, tiles, Mode.COMPARE, frame, limit).run(stream)
        return tiles

    def upload(
        self,
        texture: CudaTexture,
        layer: int,
        tiles: torch.Tensor,
        frame: FramePixels,
        *,
        stream: Stream,
        totals: torch.Tensor,
    ) -> None:
        """Write the given tiles, bool or uint8, (rows, columns), of level 0 alone; arguments as of `refresh`."""
        self._write(texture, layer, tiles, frame, Mode.WRITE | Mode.STAMP, stream, totals)

    def update(
        self,
        texture: CudaTexture,
        layer: int,
        tiles: torch.Tensor,
        frame: FramePixels,
        *,
        stream: Stream,
        totals: torch.Tensor,
    ) -> None:
        """Write the given tiles and all above them in one pass: `refresh` of a frame compared elsewhere."""
        self._write(texture, layer, tiles, frame, Mode.WRITE | Mode.BUILD | Mode.STAMP, stream, totals)

    def build_mips(
        self,
        texture: CudaTexture,
        layer: int,
        tiles: torch.Tensor,
        *,
        stream: Stream,
        totals: torch.Tensor,
    ) -> None:
        """Rebuild levels 1 and up above the given tiles, whose grid is the frame's, from level 0."""
        mode, objects = Mode.BUILD | Mode.STAMP, texture.storage.objects(stream)
        launches = [self._pass_over(texture, objects, layer, tiles, mode, None)]
        launches += self._tail(texture, objects, layer, tiles, mode, totals, None)
        _run(launches, stream)

    def read_level(
        self, texture: CudaTexture, layer: int, level: int, size: tuple[int, int], *, stream: Stream
    ) -> torch.Tensor:
        """A copy of the frame's own texels of one level, (height, width, channels), on the device.

        Args:
            texture: what to read.
            layer: which layer of it.
            level: mip level.
            size: (width, height) of the frame at this level.
            stream: where to queue it.
        """
        spec = texture.spec
        check_layer(spec, layer)
        if not 0 <= level < spec.levels:
            raise ValueError(f"level {level} is outside the pyramid (0..{spec.levels - 1})")
        (width, height), (limit_x, limit_y) = size, spec.storage_size(level)
        if width > limit_x or height > limit_y:
            raise ValueError(f"{width} x {height} texels of level {level}; this texture has {limit_x} x {limit_y}")
        dtype, device = _DTYPES[spec.dtype], self._driver.device
        texels = torch.empty((height, width, spec.channels), dtype=dtype, device=device)
        arguments = np.zeros(1, READ_ARGUMENTS)
        arguments["level"] = texture.storage.objects(stream).surfaces[level]
        arguments["target"], arguments["layer"] = texels.data_ptr(), layer
        arguments["width"], arguments["height"] = size
        if texels.numel():
            kernel = self._kernels.get("read_level.cu", texel_definitions(spec), READ_ARGUMENTS)
            kernel.launch((-(-width // 32), -(-height // 8), 1), (32, 8, 1), arguments, stream)
        return texels

    # ------------------------------------------------------------------ launches

    def plan_refresh(
        self,
        texture: CudaTexture,
        objects: ArrayObjects,
        layer: int,
        frame: FramePixels,
        *,
        limit: float | None,
        tiles: torch.Tensor,
        totals: torch.Tensor,
    ) -> list[Launch]:
        """The launches of `refresh`, in order, over these objects of the texture's storage; `tiles` is written."""
        mode = Mode.WRITE | Mode.BUILD | Mode.STAMP | (Mode.ALL if limit is None else Mode.COMPARE)
        first = self._pass_over(texture, objects, layer, tiles, mode, frame, limit)
        return [first, *self._tail(texture, objects, layer, tiles, mode, totals, frame.size)]

    def _write(
        self,
        texture: CudaTexture,
        layer: int,
        tiles: torch.Tensor,
        frame: FramePixels,
        mode: Mode,
        stream: Stream,
        totals: torch.Tensor,
    ) -> None:
        """Queue an update of given tiles from a frame."""
        objects = texture.storage.objects(stream)
        launches = [self._pass_over(texture, objects, layer, tiles, mode, frame)]
        _run([*launches, *self._tail(texture, objects, layer, tiles, mode, totals, frame.size)], stream)

    def _pass_over(
        self,
        texture: CudaTexture,
        objects: ArrayObjects,
        layer: int,
        tiles: torch.Tensor,
        mode: Mode,
        frame: FramePixels | None,
        limit: float | None = None,
    ) -> Launch:
        """The launch of refresh.cu; no frame stands for what level 0 holds."""
        spec = texture.spec
        check_layer(spec, layer)
        if frame is not None:
            frame.check_fits(spec)
        rows, columns = self._check_tiles(spec, tiles, None if frame is None else frame.size)
        arguments = np.zeros(1, REFRESH_ARGUMENTS)
        if frame is not None:
            arguments["frame"] = frame.fields
        arguments["surfaces"] = objects.surfaces[: COLUMN_LEVELS + 1]
        arguments["tiles"] = tiles.data_ptr()
        arguments["versions"] = texture.versions[layer].data_ptr()
        arguments["version_columns"] = texture.versions.shape[2]
        arguments["clock"] = texture.clock[layer].data_ptr()
        arguments["columns"], arguments["rows"], arguments["layer"] = columns, rows, layer
        arguments["limit"] = 0 if limit is None else texel_limit(limit, np.dtype(spec.dtype))
        arguments["mode"] = mode
        source = sources_of(spec)[0] if frame is None else frame.source
        kernel = self._kernels.get("refresh.cu", refresh_definitions(spec, source), REFRESH_ARGUMENTS)
        grid, block = (-(-columns // TILES_IN_BLOCK), rows, 1), (32 * TILES_IN_BLOCK, 1, 1)
        return Launch(kernel, grid, block, arguments, (tiles, *(() if frame is None else frame.memory)))

    def _tail(
        self,
        texture: CudaTexture,
        objects: ArrayObjects,
        layer: int,
        tiles: torch.Tensor,
        mode: Mode,
        totals: torch.Tensor,
        size: tuple[int, int] | None,
    ) -> list[Launch]:
        """The launches of build_tail.cu: one, and another for every four levels beyond the eighth."""
        spec = texture.spec
        kernel = self._kernels.get("build_tail.cu", tail_definitions(spec), TAIL_ARGUMENTS)
        last = spec.levels - 1 if Mode.BUILD in mode else 0
        cells, launches = _Cells(tiles, None), list[Launch]()
        for built in range(COLUMN_LEVELS, max(last, COLUMN_LEVELS + 1), LEVELS_IN_LAUNCH):
            above = objects.surfaces[built + 1 : built + 1 + LEVELS_IN_LAUNCH]
            blocks = self._blocks_of(cells, spec) if last > built + LEVELS_IN_LAUNCH else None
            arguments = np.zeros(1, TAIL_ARGUMENTS)
            arguments["level4"] = objects.surfaces[COLUMN_LEVELS]
            arguments["above"][0, : len(above)] = above
            arguments["flags"], arguments["sums"] = cells.addresses()
            arguments["block_flags"], arguments["block_sums"] = (0, 0) if blocks is None else blocks.addresses()
            arguments["totals"], arguments["clock"] = totals.data_ptr(), texture.clock[layer].data_ptr()
            arguments["frame_size"] = texture.frame_sizes[layer].data_ptr()
            arguments["rows"], arguments["columns"] = cells.flags.shape
            arguments["levels"], arguments["shift"] = len(above), 2 * (built - COLUMN_LEVELS)
            arguments["width"], arguments["height"] = size or (tiles.shape[1] * TILE, tiles.shape[0] * TILE)
            arguments["texel_bytes"] = spec.texel_bytes
            arguments["layer"], arguments["mode"] = layer, mode
            rows, columns = (-(-side // BLOCK_CELLS) + (blocks is not None) for side in cells.flags.shape)
            memory = (totals, *cells.tensors(), *(() if blocks is None else blocks.tensors()))
            launches.append(Launch(kernel, (columns, rows, 1), (32, 1, 1), arguments, memory))
            if blocks is not None:
                cells = blocks
        return launches

    def _blocks_of(self, cells: _Cells, spec: TextureSpec) -> _Cells:
        """Room for what one launch leaves to the next: a cell for each of its blocks."""
        device = self._driver.device
        rows, columns = (-(-side // BLOCK_CELLS) for side in cells.flags.shape)
        flags = torch.empty((rows, columns), dtype=torch.bool, device=device)
        # one more row and column stands for all beyond the frame; 32 bits a sum, of integers or floats
        sums = torch.empty((rows + 1, columns + 1, stored_channels(spec)), dtype=torch.int32, device=device)
        return _Cells(flags, sums)

    def _check_tiles(self, spec: TextureSpec, tiles: torch.Tensor, size: tuple[int, int] | None) -> tuple[int, int]:
        """(rows, columns) of flags that kernels can read. ValueError, or TypeError, for others."""
        if tiles.dtype not in (torch.bool, torch.uint8) or tiles.device != self._driver.device:
            raise TypeError(
                f"tiles of {tiles.dtype} on {tiles.device}; accepted: bool or uint8 on {self._driver.device}"
            )
        columns, rows = tile_grid(spec.size if size is None else size)
        shape = tuple(tiles.shape)
        fits = shape == (rows, columns) or (
            size is None and len(shape) == 2 and shape[0] <= rows and shape[1] <= columns
        )
        if not fits or 0 in shape or not tiles.is_contiguous():
            raise ValueError(f"tiles of shape {shape}; accepted: contiguous, {(rows, columns)} for this frame")
        return shape[0], shape[1]


def _run(launches: Iterable[Launch], stream: Stream) -> None:
    for launch in launches:
        launch.run(stream)
