"""The definition of right: a slow float64 NumPy texture array that shares no code with any backend.

It follows the words of the design, not the code: levels 1..4 are area means of level-0 texels with
edge pixels repeated, rounded half up once; coarser levels are area means of level-4 texels; a sample
is a mix of two bilinear look-ups, clamped to the frame's own texels of each level.
"""

from __future__ import annotations

import math

import numpy as np


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def area_means(texels: np.ndarray, block: int) -> np.ndarray:
    """Means over block x block texels of an image that goes on for ever beyond its right and bottom edge."""
    height, width, _ = texels.shape
    rows, columns = ceil_div(height, block), ceil_div(width, block)
    padded = np.pad(texels, ((0, rows * block - height), (0, columns * block - width), (0, 0)), mode="edge")
    if texels.dtype == np.uint8:
        sums = padded.astype(np.int64).reshape(rows, block, columns, block, -1).sum(axis=(1, 3))
        return ((2 * sums + block * block) // (2 * block * block)).astype(np.uint8)
    return padded.astype(np.float64).reshape(rows, block, columns, block, -1).mean(axis=(1, 3)).astype(np.float32)


def pyramid(frame: np.ndarray, levels: int) -> list[np.ndarray]:
    """All levels of one frame, each (height, width, channels)."""
    fine = [frame] + [area_means(frame, 2**k) for k in range(1, min(levels, 5))]
    return fine + [area_means(fine[4], 2 ** (k - 4)) for k in range(5, levels)]


def bilinear(level: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Values at texel-space points (centre of texel i at i + 0.5), clamped to the edge; (len(y), len(x), channels)."""
    height, width, _ = level.shape

    def taps(points: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low = np.floor(points - 0.5)
        return (
            np.clip(low, 0, count - 1).astype(int),
            np.clip(low + 1, 0, count - 1).astype(int),
            points - 0.5 - low,
        )

    x0, x1, wx = taps(x, width)
    y0, y1, wy = taps(y, height)
    values = level.astype(np.float64)
    wx, wy = wx[None, :, None], wy[:, None, None]
    top = values[y0][:, x0] * (1 - wx) + values[y0][:, x1] * wx
    low = values[y1][:, x0] * (1 - wx) + values[y1][:, x1] * wx
    return top * (1 - wy) + low * wy


def sample(levels: list[np.ndarray], x: float, y: float, side: float, patch: int) -> np.ndarray:
    """One token in texel values, float64, (channels, patch, patch)."""
    steps = ((np.arange(patch) + 0.5) / patch - 0.5) * side
    ratio = side / patch
    nearest = 2.0 ** round(math.log2(ratio))
    lod = math.log2(nearest) if math.isclose(ratio, nearest, rel_tol=1e-12) else math.log2(ratio)
    lod = min(max(lod, 0.0), len(levels) - 1)
    low = math.floor(lod)
    value = np.zeros((patch, patch, levels[0].shape[2]))
    for level, weight in ((low, 1 - (lod - low)), (low + 1, lod - low)):
        if weight > 0:
            value += weight * bilinear(levels[level], (x + steps) / 2**level, (y + steps) / 2**level)
    return value.transpose(2, 0, 1)


def tokens(
    frames: dict[int, np.ndarray], table: np.ndarray, patch: int, levels: int, mean=None, std=None
) -> np.ndarray:
    """Normalised tokens of a table over several layers, float64, (n, channels, patch, patch)."""
    pyramids = {layer: pyramid(frame, levels) for layer, frame in frames.items()}
    channels = next(iter(frames.values())).shape[2]
    out = np.zeros((len(table), channels, patch, patch))
    for index, row in enumerate(table):
        if row["layer"] < 0:
            continue
        texels = pyramids[int(row["layer"])]
        value = sample(texels, float(row["x"]), float(row["y"]), float(row["side"]), patch)
        out[index] = value / 255 if texels[0].dtype == np.uint8 else value
        if mean is not None:
            out[index] = (out[index] - np.reshape(mean, (-1, 1, 1))) / np.reshape(std, (-1, 1, 1))
    return out
