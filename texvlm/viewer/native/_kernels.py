"""The Numba kernels behind the atlas of token pixels. Single-threaded and without the GIL."""

from __future__ import annotations

import numpy as np

from texvlm._compiled import compiled


@compiled()
def lay_out(patches, columns, atlas):  # type: ignore[no-untyped-def]
    """Patches row by row into a picture, each with its own edge pixels once more around it.

    `patches` (n, 3 or more, P, P) uint8; `atlas` (rows, P + 2, columns, P + 2, 4) uint8, its first three channels
    written.
    """
    count, _, patch, _ = patches.shape
    for n in range(count):
        row, column = n // columns, n % columns
        for y in range(patch + 2):
            v = min(max(y - 1, 0), patch - 1)
            for x in range(patch + 2):
                u = min(max(x - 1, 0), patch - 1)
                for c in range(3):
                    atlas[row, y, column, x, c] = patches[n, c, v, u]


@compiled()
def join_borders(patches, squares, owners, step, columns, atlas):  # type: ignore[no-untyped-def]
    """Put around each patch what its neighbours hold there, so that interpolation goes on across borders.

    `patches` as in `lay_out`, which came before; `squares` (n, 4 or more) float32: centre (x, y) and side, texels,
    and the patch's number; `owners` (height, width) int32: the square that shows at a cell of `step` texels, -1 for
    none; `atlas` as in `lay_out`, its borders written where there is a neighbour.
    """
    patch = patches.shape[2]
    height, width = owners.shape
    for k in range(len(squares)):
        side = squares[k, 2]
        texel = side / patch
        left, top = squares[k, 0] - side / 2, squares[k, 1] - side / 2
        n = int(squares[k, 3])
        row, column = n // columns, n % columns
        for y in range(patch + 2):
            out_y = int(y > patch) - int(y < 1)
            for x in range(0, patch + 2, 1 if out_y else patch + 1):
                out_x = int(x > patch) - int(x < 1)
                across, down = left + (x - 0.5) * texel, top + (y - 0.5) * texel
                # asked half a cell further out: the cell at the border itself may still be this square's
                i = int(np.floor(across / step + 0.5 * out_x))
                j = int(np.floor(down / step + 0.5 * out_y))
                if not (0 <= i < width and 0 <= j < height):
                    continue
                other = owners[j, i]
                if other < 0 or other == k:
                    continue
                u = (across - squares[other, 0]) / squares[other, 2] * patch + 0.5 * (patch - 1)
                v = (down - squares[other, 1]) / squares[other, 2] * patch + 0.5 * (patch - 1)
                u, v = min(max(u, 0.0), patch - 1.0), min(max(v, 0.0), patch - 1.0)
                u0, v0 = int(u), int(v)
                u1, v1 = min(u0 + 1, patch - 1), min(v0 + 1, patch - 1)
                m = int(squares[other, 3])
                for c in range(3):
                    upper = patches[m, c, v0, u0] * (1 - (u - u0)) + patches[m, c, v0, u1] * (u - u0)
                    lower = patches[m, c, v1, u0] * (1 - (u - u0)) + patches[m, c, v1, u1] * (u - u0)
                    atlas[row, y, column, x, c] = np.uint8(upper * (1 - (v - v0)) + lower * (v - v0) + 0.5)
