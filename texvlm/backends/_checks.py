"""What every backend refuses before its kernels run: they trust the shapes that they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from texvlm.backends.base import Texture
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import TextureSpec
from texvlm.regions import TileMask, tile_grid

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


def check_frame(spec: TextureSpec, layer: int, frame: Picture) -> None:
    """ValueError unless a frame fits a layer of the texture."""
    width, height = frame.size
    if width > spec.size[0] or height > spec.size[1]:
        raise ValueError(f"frame of {width} x {height}; this texture takes up to {spec.size[0]} x {spec.size[1]}")
    if frame.channels != spec.channels or frame.element != spec.dtype:
        raise ValueError(
            f"frame of {frame.channels} channels of {frame.element}; this texture takes {spec.channels} of {spec.dtype}"
        )
    check_layer(spec, layer)


def check_layer(spec: TextureSpec, layer: int) -> None:
    """ValueError unless the texture has this layer."""
    if not 0 <= layer < spec.layers:
        raise ValueError(f"layer {layer} is outside the texture array (0..{spec.layers - 1})")


def check_tiles(tiles: TileMask, size: tuple[int, int], *, smaller: bool = False) -> None:
    """ValueError unless the mask has the shape of a frame's tiles, or, with `smaller`, of some frame's that fits."""
    columns, rows = tile_grid(size)
    fits = tiles.ndim == 2 and tiles.shape[0] <= rows and tiles.shape[1] <= columns
    if not fits or (not smaller and tiles.shape != (rows, columns)):
        raise ValueError(f"tile mask of shape {tiles.shape}; a frame of {size[0]} x {size[1]} has {(rows, columns)}")


def check_sample(texture: Texture, table: Table, out: torch.Tensor) -> None:
    """ValueError unless the rows read layers that hold a frame, and `out` has a place for each."""
    spec = texture.spec
    patch = int(out.shape[-1])
    if tuple(out.shape) != (len(table), spec.channels, patch, patch) or not out.is_contiguous():
        raise ValueError(
            f"out is {tuple(out.shape)}; {len(table)} rows of {spec.channels} channels need a contiguous "
            f"({len(table)}, {spec.channels}, patch, patch)"
        )
    layers = table["layer"]
    for layer in {int(layers.max(initial=PADDING_LAYER)), int(layers.min(initial=PADDING_LAYER))} - {PADDING_LAYER}:
        check_layer(spec, layer)
