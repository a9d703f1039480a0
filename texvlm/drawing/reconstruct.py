"""Pictures back from tokens alone, and how close they come.

What a reconstruction shows is what an encoder gets to see: nothing but token pixels and geometry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER
from texvlm.tokens import TokenBatch

BACKGROUND = 24
"""Gray of pixels that no token covers."""

FINENESS_POWER = 6
"""Weight of a token is side ** -6: where tokens overlap the finer one decides (64 : 1 for half the side)."""


def reconstruct(
    batch: TokenBatch,
    *,
    view: int = 0,
    size: tuple[int, int] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> NDArray[np.uint8]:
    """The frame as the tokens of one view show it.

    Patches are enlarged by linear interpolation, also across the borders of tokens; where tokens
    overlap the finer one shows. Padding rows are ignored.

    Args:
        batch: tokens of any dtype on any device.
        view: which view of the batch.
        size: (width, height) of the picture, pixels; the frame's own size by default.
        mean: of the normalisation that float tokens went through, to be undone.
        std: of the same.
    Returns:
        (height, width, 3) uint8; gray tokens give equal channels, alpha is left out.
    Raises:
        ValueError: `mean` or `std` do not fit the channels.
    """
    from texvlm.drawing._kernels import add_tokens, finish_canvas  # here: importing texvlm must not load Numba

    frame_width, frame_height = (int(side) for side in batch.sizes[view])
    width, height = size or (frame_width, frame_height)
    table = batch.table[view]
    used = np.flatnonzero((table["layer"] != PADDING_LAYER) & (table["valid"] > 0))
    table = table[used]
    patches = _byte_range(batch.pixels[view], used, mean, std)
    scale_x, scale_y = width / frame_width, height / frame_height
    side = table["side"].astype(np.float64)
    left = (table["x"] - side / 2) * scale_x
    top = (table["y"] - side / 2) * scale_y
    weight = (side / side.min()) ** -FINENESS_POWER if len(side) else side
    total = np.zeros((height, width, 3), np.float32)
    weights = np.zeros((height, width), np.float32)
    for halvings, rows in _by_halvings(side * min(scale_x, scale_y) / batch.patch, batch.patch):
        add_tokens(
            _halved(patches[rows], halvings),
            left[rows],
            top[rows],
            side[rows] * scale_x,
            side[rows] * scale_y,
            weight[rows],
            total,
            weights,
        )
    picture = np.empty((height, width, 3), np.uint8)
    finish_canvas(total, weights, BACKGROUND, picture)
    return picture


def psnr(a: NDArray[Any], b: NDArray[Any], mask: NDArray[np.bool_] | None = None, *, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio of two pictures, dB; infinite when they are equal.

    Args:
        a: any real array.
        b: one of the same shape.
        mask: bool over the leading axes: which pixels count; all by default.
        peak: largest value a pixel can have.
    Raises:
        ValueError: shapes differ, or no pixel counts.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of {a.shape} and {b.shape} cannot be compared; they must have one shape")
    difference = a.astype(np.float32) - b
    if mask is not None:
        if mask.shape != a.shape[: mask.ndim]:
            raise ValueError(f"mask of {mask.shape} does not fit pictures of {a.shape}")
        difference = difference[mask]
    if difference.size == 0:
        raise ValueError("no pixel is left to compare; the mask must hold a True")
    error = float(np.mean(np.square(difference), dtype=np.float64))
    return float("inf") if error == 0 else float(10 * np.log10(peak**2 / error))


def _byte_range(
    pixels: torch.Tensor, used: NDArray[np.intp], mean: Sequence[float] | None, std: Sequence[float] | None
) -> NDArray[np.float32]:
    """Patches of the rows in use as RGB values 0..255, float32, (n, patch, patch, 3)."""
    channels = pixels.shape[1]
    patches = pixels[torch.from_numpy(used).to(pixels.device)].cpu().float().numpy()
    for name, values in (("mean", mean), ("std", std)):
        if values is not None and len(values) != channels:
            raise ValueError(f"{name} has {len(values)} values for {channels} channels; give one each")
    if pixels.dtype != torch.uint8:
        scale = np.ones(channels) if std is None else np.asarray(std)
        offset = np.zeros(channels) if mean is None else np.asarray(mean)
        patches = patches * (255 * scale).astype(np.float32)[:, None, None]
        patches += (255 * offset).astype(np.float32)[:, None, None]
    colour = np.repeat(patches, 3, axis=1) if channels == 1 else patches[:, :3]
    return np.ascontiguousarray(colour.transpose(0, 2, 3, 1))


def _by_halvings(pixels_per_sample: NDArray[np.float64], patch: int) -> list[tuple[int, NDArray[np.intp]]]:
    """Rows by how often their patches are halved first, so that a small picture is not sampled too sparsely."""
    if len(pixels_per_sample) == 0:
        return []
    most = (patch & -patch).bit_length() - 1  # an odd side cannot be halved
    wanted = np.floor(-np.log2(pixels_per_sample)).astype(np.int64)
    halvings = np.clip(wanted, 0, most)
    return [(int(k), np.flatnonzero(halvings == k)) for k in np.unique(halvings)]


def _halved(patches: NDArray[np.float32], times: int) -> NDArray[np.float32]:
    """Patches as means of blocks of 2**times x 2**times pixels."""
    if times == 0:
        return patches
    n, patch = patches.shape[:2]
    block = 1 << times
    blocks = patches.reshape(n, patch // block, block, patch // block, block, 3)
    means: NDArray[np.float32] = blocks.mean(axis=(2, 4), dtype=np.float32)
    return means
