"""Numba kernels behind the pictures: resizing, tokens onto a canvas, outlines, level maps.

Single-threaded and without the GIL, so that drawing never competes with the engine's parallel
regions. Coordinates are output pixels, origin top-left; callers clip nothing, kernels do.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from texvlm._compiled import compiled


@compiled(fastmath=True)
def resize_area(source, scale, out):  # type: ignore[no-untyped-def]
    """Mean of the source area under each output pixel, times `scale`, rounded to bytes.

    `source` (h, w, c) of any real type; `out` (H, W, 3) uint8. One channel is repeated, a fourth is
    left out. Where `out` is larger this repeats pixels, with exact shares at their borders.
    """
    height, width, channels = source.shape
    out_height, out_width, _ = out.shape
    second, third = (0, 0) if channels == 1 else (1, 2)
    step_y, step_x = height / out_height, width / out_width
    flat = source.reshape(height, width * channels)
    row = np.empty(width * channels, np.float32)
    for j in range(out_height):
        top, bottom = j * step_y, min((j + 1) * step_y, float(height))
        first = int(top)
        row[:] = 0.0
        y = first
        while y < bottom and y < height:
            share = np.float32((min(y + 1.0, bottom) - max(float(y), top)) / step_y)
            for k in range(width * channels):
                row[k] += share * np.float32(flat[y, k])
            y += 1
        for i in range(out_width):
            left, right = i * step_x, min((i + 1) * step_x, float(width))
            r = g = b = np.float32(0.0)
            x = int(left)
            while x < right and x < width:
                share = np.float32((min(x + 1.0, right) - max(float(x), left)) / step_x)
                k = x * channels
                r += share * row[k]
                g += share * row[k + second]
                b += share * row[k + third]
                x += 1
            out[j, i, 0] = _byte(r * scale)
            out[j, i, 1] = _byte(g * scale)
            out[j, i, 2] = _byte(b * scale)


@njit(inline="always")
def _byte(value):  # type: ignore[no-untyped-def]
    return np.uint8(min(max(value + np.float32(0.5), np.float32(0.0)), np.float32(255.0)))


@compiled(fastmath=True)
def add_tokens(patches, left, top, width, height, weight, total, weights):  # type: ignore[no-untyped-def]
    """Add smoothly enlarged patches to a canvas of weighted sums.

    Each patch is interpolated linearly between its pixel centres and reaches half a patch pixel
    beyond its square, where its weight falls linearly to zero. Between two equal tokens the falling
    weights add up to one and the sum is exactly the interpolation across their border: no seam.

    Args: `patches` (n, P, P, 3) float32; `left`, `top`, `width`, `height`, `weight` (n,) float64,
    squares in output pixels; `total` (H, W, 3) and `weights` (H, W) float32, added to.
    """
    canvas_height, canvas_width = weights.shape
    patch = patches.shape[1]
    index = np.empty(canvas_width, np.int32)
    fraction = np.empty(canvas_width, np.float32)
    ramp = np.empty(canvas_width, np.float32)
    line = np.empty((patch + 1, 3), np.float32)
    for n in range(len(patches)):
        half_x, half_y = 0.5 * width[n] / patch, 0.5 * height[n] / patch
        x0 = max(int(np.ceil(left[n] - half_x - 0.5)), 0)
        x1 = min(int(np.ceil(left[n] + width[n] + half_x - 0.5)), canvas_width)
        y0 = max(int(np.ceil(top[n] - half_y - 0.5)), 0)
        y1 = min(int(np.ceil(top[n] + height[n] + half_y - 0.5)), canvas_height)
        for x in range(x0, x1):
            inside = (x + 0.5 - left[n]) / width[n] * patch
            position = min(max(inside - 0.5, 0.0), patch - 1.0)
            index[x] = int(position)
            fraction[x] = position - index[x]
            ramp[x] = min(1.0, inside + 0.5, patch + 0.5 - inside)
        for y in range(y0, y1):
            inside = (y + 0.5 - top[n]) / height[n] * patch
            position = min(max(inside - 0.5, 0.0), patch - 1.0)
            upper = int(position)
            lower = min(upper + 1, patch - 1)
            share = np.float32(position - upper)
            strength = np.float32(min(1.0, inside + 0.5, patch + 0.5 - inside) * weight[n])
            for i in range(patch):
                for c in range(3):
                    a = patches[n, upper, i, c]
                    line[i, c] = a + share * (patches[n, lower, i, c] - a)
            for c in range(3):
                line[patch, c] = line[patch - 1, c]
            for x in range(x0, x1):
                w = strength * ramp[x]
                i, f = index[x], fraction[x]
                for c in range(3):
                    a = line[i, c]
                    total[y, x, c] += w * (a + f * (line[i + 1, c] - a))
                weights[y, x] += w


@compiled(fastmath=True)
def finish_canvas(total, weights, background, out):  # type: ignore[no-untyped-def]
    """Weighted sums to bytes; `background` where no token reached."""
    height, width = weights.shape
    for y in range(height):
        for x in range(width):
            w = weights[y, x]
            if w > 0:
                for c in range(3):
                    out[y, x, c] = _byte(total[y, x, c] / w)
            else:
                for c in range(3):
                    out[y, x, c] = background


@compiled()
def outline_squares(image, edges, colours):  # type: ignore[no-untyped-def]
    """One-pixel outlines, in order. `edges` (n, 4) int32 left, top, right, bottom, all inclusive."""
    height, width, _ = image.shape
    for n in range(len(edges)):
        left, top, right, bottom = edges[n]
        for x in range(max(left, 0), min(right, width - 1) + 1):
            for y in (top, bottom):
                if 0 <= y < height:
                    image[y, x] = colours[n]
        for y in range(max(top, 0), min(bottom, height - 1) + 1):
            for x in (left, right):
                if 0 <= x < width:
                    image[y, x] = colours[n]


@compiled()
def fill_squares(values, edges, out):  # type: ignore[no-untyped-def]
    """Fill squares with a value each, in order; `edges` (n, 4) int32, right and bottom exclusive."""
    height, width = out.shape
    for n in range(len(edges)):
        left, top, right, bottom = edges[n]
        for y in range(max(top, 0), min(bottom, height)):
            for x in range(max(left, 0), min(right, width)):
                out[y, x] = values[n]


@compiled(fastmath=True)
def tint_tiles(picture, mask, scale_x, scale_y, tint, out):  # type: ignore[no-untyped-def]
    """Pixels of True tiles a quarter `tint`, the others gray at half brightness.

    `mask` (rows, columns) bool; `scale_x`, `scale_y` tiles for each output pixel; `tint` (3,) float32.
    """
    height, width, _ = picture.shape
    rows, columns = mask.shape
    column = np.empty(width, np.int32)
    for x in range(width):
        column[x] = min(int((x + 0.5) * scale_x), columns - 1)
    keep = np.float32(0.75)
    for y in range(height):
        row = min(int((y + 0.5) * scale_y), rows - 1)
        for x in range(width):
            if mask[row, column[x]]:
                for c in range(3):
                    out[y, x, c] = _byte(keep * picture[y, x, c] + (1 - keep) * tint[c])
            else:
                r, g, b = picture[y, x]
                gray = _byte(np.float32(0.15) * r + np.float32(0.295) * g + np.float32(0.055) * b)
                for c in range(3):
                    out[y, x, c] = gray
