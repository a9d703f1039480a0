"""Gathering a picture along a motion field: the kernel behind residuals. Compiled; gray pictures only."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled


@compiled()
def compare(
    new: NDArray[np.float32],
    reference: NDArray[np.float32],
    flow: NDArray[np.float32],
    cell: tuple[float, float],
    moved: NDArray[np.float32],
    still: NDArray[np.float32],
    outside: NDArray[np.float32],
) -> None:  # pragma: no cover - runs as machine code
    """Mean of |new(x) - reference(x + flow)| over the texels of each cell; flow and reference are bilinear.

    Args:
        new: (height, width).
        reference: (height, width).
        flow: (rows, columns, 2), texels of these pictures.
        cell: (width, height), texels of these pictures; may be below 1.
        moved: (rows, columns), zeros; the means.
        still: likewise; what they are with no flow.
        outside: likewise; share of the cell's texels that come from outside the reference.
    """
    height, width = new.shape
    rows, columns, _ = flow.shape
    count = np.zeros((rows, columns), np.float32)
    half, one = np.float32(0.5), np.float32(1)
    step_x, step_y = one / np.float32(cell[0]), one / np.float32(cell[1])
    last_x, last_y = np.float32(width - 1), np.float32(height - 1)
    for y in range(height):
        place = min(max((np.float32(y) + half) * step_y - half, np.float32(0)), np.float32(rows - 1))
        top = int(place)
        bottom = min(top + 1, rows - 1)
        down = place - np.float32(top)
        row = min(int((np.float32(y) + half) * step_y), rows - 1)
        for x in range(width):
            place = min(max((np.float32(x) + half) * step_x - half, np.float32(0)), np.float32(columns - 1))
            left = int(place)
            right = min(left + 1, columns - 1)
            across = place - np.float32(left)
            column = min(int((np.float32(x) + half) * step_x), columns - 1)
            a, b = (one - across) * (one - down), across * (one - down)
            c, d = (one - across) * down, across * down
            from_x, from_y = np.float32(x), np.float32(y)
            from_x += a * flow[top, left, 0] + b * flow[top, right, 0]
            from_x += c * flow[bottom, left, 0] + d * flow[bottom, right, 0]
            from_y += a * flow[top, left, 1] + b * flow[top, right, 1]
            from_y += c * flow[bottom, left, 1] + d * flow[bottom, right, 1]
            if from_x < -half or from_y < -half or from_x > last_x + half or from_y > last_y + half:
                outside[row, column] += one
            from_x, from_y = min(max(from_x, np.float32(0)), last_x), min(max(from_y, np.float32(0)), last_y)
            x0, y0 = int(from_x), int(from_y)
            x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
            u, v = from_x - np.float32(x0), from_y - np.float32(y0)
            upper = reference[y0, x0] + u * (reference[y0, x1] - reference[y0, x0])
            lower = reference[y1, x0] + u * (reference[y1, x1] - reference[y1, x0])
            moved[row, column] += abs(new[y, x] - upper - v * (lower - upper))
            still[row, column] += abs(new[y, x] - reference[y, x])
            count[row, column] += one
    for row in range(rows):
        for column in range(columns):
            texels = max(count[row, column], one)
            moved[row, column] /= texels
            still[row, column] /= texels
            outside[row, column] /= texels
