"""Spreading a codec's blocks over a grid of cells, by the area that each covers. Compiled."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled


@compiled()
def spread(
    block: NDArray[np.float32],
    motion: NDArray[np.float32],
    size: tuple[int, int],
    cell: tuple[float, float],
    flow: NDArray[np.float32],
    covered: NDArray[np.float32],
) -> None:  # pragma: no cover - runs as machine code
    """Mean motion of the blocks over each cell.

    Args:
        block: (n, 4): x and y of the centre, width, height; texels.
        motion: (n, 2), texels.
        size: (width, height) of the frame; what of a block lies outside does not count.
        cell: (width, height), texels.
        flow: (rows, columns, 2), zeros; the means.
        covered: (rows, columns), zeros; texels of each cell that blocks cover; those covered twice count twice.
    """
    rows, columns = covered.shape
    for index in range(len(block)):
        left = max(block[index, 0] - block[index, 2] / 2, 0.0)
        top = max(block[index, 1] - block[index, 3] / 2, 0.0)
        right = min(block[index, 0] + block[index, 2] / 2, float(size[0]))
        bottom = min(block[index, 1] + block[index, 3] / 2, float(size[1]))
        if not (left < right and top < bottom):
            continue
        for row in range(int(top / cell[1]), min(int(np.ceil(bottom / cell[1])), rows)):
            down = min(bottom, (row + 1) * cell[1]) - max(top, row * cell[1])
            for column in range(int(left / cell[0]), min(int(np.ceil(right / cell[0])), columns)):
                area = down * (min(right, (column + 1) * cell[0]) - max(left, column * cell[0]))
                flow[row, column, 0] += area * motion[index, 0]
                flow[row, column, 1] += area * motion[index, 1]
                covered[row, column] += area
    for row in range(rows):
        for column in range(columns):
            if covered[row, column] > 0:
                flow[row, column, 0] /= covered[row, column]
                flow[row, column, 1] /= covered[row, column]
