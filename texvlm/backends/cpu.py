"""The `cpu` backend: pyramids in host memory, Numba kernels, nothing to install.

All levels of a layer lie one after the other in one flat array, so that a kernel takes any number
of levels without being compiled again. Tokens are host tensors; nothing is copied on the way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends._block_kernels import CpuMotion
from texvlm.backends._checks import check_frame, check_layer, check_sample, check_tiles
from texvlm.backends._detect import copy_tiles, detect_tiles
from texvlm.backends._filter import sample_kernel, table_views
from texvlm.backends._mips import build_levels, update_levels
from texvlm.backends._threads import ThreadAccount
from texvlm.backends.base import Backend, Counters, Normalisation, Texture
from texvlm.backends.block_search import BlockSpec
from texvlm.errors import ClosedError
from texvlm.frames import Frame
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import TextureSpec, column_texels, level_size
from texvlm.regions import TileMask, texels_inside

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


@dataclass(frozen=True, slots=True)
class _Pyramids:
    """Flat pyramids of every layer, and views of them.

    Attributes:
        texels: (layers, elements).
        offsets: first element of each level, int64, (levels,).
        pitches: elements from one row of a level to the next, int64, (levels,).
        levels: levels[layer][k] is (height, width, channels), a view into `texels`.
    """

    texels: NDArray[Any]
    offsets: NDArray[np.int64]
    pitches: NDArray[np.int64]
    levels: tuple[tuple[NDArray[Any], ...], ...]


class CpuBackend(Backend):
    """Texture arrays in host memory. Safe from any thread, one call at a time (the engine sees to it)."""

    name = "cpu"

    def __init__(self) -> None:
        self.counters = Counters()
        self._closed = False
        self._sampling = ThreadAccount()

    def create_texture(self, spec: TextureSpec) -> Texture:
        """See Backend."""
        self._check_open()
        sizes = [spec.storage_size(level) for level in range(spec.levels)]
        pitches = np.array([width * spec.channels for width, _ in sizes], np.int64)
        counts = np.array([height for _, height in sizes], np.int64) * pitches
        offsets = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
        texels = np.zeros((spec.layers, int(counts.sum())), spec.dtype)
        levels = tuple(
            tuple(
                texels[layer, start : start + count].reshape(height, width, spec.channels)
                for start, count, (width, height) in zip(offsets, counts, sizes, strict=True)
            )
            for layer in range(spec.layers)
        )
        return Texture(spec, _Pyramids(texels, offsets, pitches, levels))

    def destroy_texture(self, texture: Texture) -> None:
        """See Backend."""
        texture.handle = None

    def detect(self, texture: Texture, layer: int, frame: Frame, threshold: float) -> TileMask:
        """See Backend."""
        pyramids = self._pyramids(texture)
        check_frame(texture.spec, layer, frame)
        tiles = detect_tiles(pyramids.levels[layer][0], frame.pixels, threshold)
        self.counters.tiles_compared += tiles.size
        return tiles

    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """See Backend."""
        pyramids = self._pyramids(texture)
        check_frame(texture.spec, layer, frame)
        check_tiles(tiles, frame.size)
        copy_tiles(pyramids.levels[layer][0], frame.pixels, tiles)
        self.counters.tiles_dirty += int(np.count_nonzero(tiles))
        self.counters.bytes_uploaded += texels_inside(tiles, frame.size) * texture.spec.texel_bytes

    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """See Backend."""
        pyramids = self._pyramids(texture)
        check_layer(texture.spec, layer)
        check_tiles(tiles, texture.spec.size, smaller=True)
        stored = pyramids.levels[layer][0]
        written = build_levels(pyramids.texels[layer], stored, pyramids.offsets, pyramids.pitches, tiles)
        self.counters.texels_rebuilt += int(np.count_nonzero(tiles)) * column_texels() + written

    def refresh(self, texture: Texture, layer: int, frame: Picture, threshold: float | None) -> TileMask | None:
        """See Backend: a row of tiles stays in the nearest cache from comparison to mips."""
        pyramids = self._pyramids(texture)
        if threshold is None or not isinstance(frame, Frame):
            return None
        check_frame(texture.spec, layer, frame)
        stored = pyramids.levels[layer][0]
        tiles, written = update_levels(
            pyramids.texels[layer], stored, pyramids.offsets, pyramids.pitches, frame.pixels, threshold
        )
        self.counters.tiles_compared += tiles.size
        dirty = int(np.count_nonzero(tiles))
        if dirty:
            self.counters.tiles_dirty += dirty
            self.counters.bytes_uploaded += texels_inside(tiles, frame.size) * texture.spec.texel_bytes
            self.counters.texels_rebuilt += dirty * column_texels() + written
        return tiles

    def sample(
        self,
        texture: Texture,
        table: Table,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: NDArray[np.int32] | None = None,
    ) -> None:
        """See Backend."""
        pyramids = self._pyramids(texture)
        check_sample(texture, table, out)
        if rows is None:
            rows = np.arange(len(table), dtype=np.int32)
        to_bytes = out.dtype == torch.uint8
        scale, bias = _scale_and_bias(normalisation, texture.spec.dtype == "uint8", to_bytes)
        # Numba has no 16-bit floats on the host: they are filtered as float32 and converted once. By
        # NumPy, as every copy on this path: torch would wake its own threads for it.
        pixels = (out.view(torch.int16) if out.dtype == torch.bfloat16 else out).numpy()
        direct = out.dtype in (torch.uint8, torch.float32)
        target = pixels if direct else np.empty((len(rows), *pixels.shape[1:]), np.float32)
        slots = rows if direct else np.arange(len(rows), dtype=np.int32)
        places, names = table_views(table)
        with self._sampling.region(len(rows) * out[0].numel()):
            sample_kernel(texture.spec.channels, to_bytes)(
                pyramids.texels,
                pyramids.offsets,
                pyramids.pitches,
                texture.frame_sizes,
                places,
                names,
                rows,
                slots,
                target,
                scale,
                bias,
            )
        if out.dtype == torch.bfloat16:
            pixels[rows] = bfloat16_bits(target)
        elif not direct:
            with np.errstate(over="ignore"):  # infinite, as a shader would write it
                pixels[rows] = target.astype(np.float16)
        self.counters.tokens_sampled += int(np.count_nonzero(table["layer"][rows] != PADDING_LAYER))

    def read_level(self, texture: Texture, layer: int, level: int) -> NDArray[np.generic]:
        """See Backend."""
        size = (int(texture.frame_sizes[layer, 0]), int(texture.frame_sizes[layer, 1]))
        width, height = level_size(size, level)
        return self._pyramids(texture).levels[layer][level][:height, :width].copy()

    def motion_memory(self, texture: Texture, spec: BlockSpec) -> CpuMotion:
        """See Backend."""
        return CpuMotion(self, texture, spec, lambda: self._pyramids(texture).levels)

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """See Backend."""
        self._check_open()
        try:
            return torch.empty(tuple(shape), dtype=dtype)
        except RuntimeError as error:  # torch has no error of its own for this
            raise MemoryError(
                f"no room for tokens of shape {tuple(shape)}; ask for fewer, or a smaller patch"
            ) from error

    def describe(self) -> dict[str, object]:
        """See Backend."""
        return {
            "backend": self.name,
            "threads": numba.get_num_threads(),
            "numba": numba.__version__,
            "torch": torch.__version__,
        }

    def close(self) -> None:
        """See Backend."""
        self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the cpu backend is closed; open a new engine")

    def _pyramids(self, texture: Texture) -> _Pyramids:
        self._check_open()
        if not isinstance(texture.handle, _Pyramids):
            raise ClosedError("this texture was destroyed")
        return texture.handle


def bfloat16_bits(values: NDArray[np.float32]) -> NDArray[np.int16]:
    """The nearest bfloat16 of each value, ties to even, as its bits, which NumPy has no type for."""
    bits = values.view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    rounded[np.isnan(values)] = 0x7FC0  # rounding would carry into the sign
    return rounded.astype(np.uint16).view(np.int16)


@lru_cache(maxsize=64)
def _scale_and_bias(
    normalisation: Normalisation, bytes_in: bool, bytes_out: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What turns texel values into token values, (channels,) each; with 0.5 to round bytes by cutting off."""
    full_scale = 255.0 if bytes_in else 1.0
    mean, std = np.asarray(normalisation.mean), np.asarray(normalisation.std)
    scale, bias = 1 / (full_scale * std), -mean / std
    if bytes_out:
        scale, bias = np.full_like(std, 255 / full_scale), np.full_like(mean, 0.5)
    return scale.astype(np.float32), bias.astype(np.float32)
