"""The Numba kernel behind the atlas of token pixels. Single-threaded and without the GIL."""

from __future__ import annotations

from texvlm._compiled import compiled


@compiled()
def lay_out(patches, columns, atlas):  # type: ignore[no-untyped-def]
    """Patches row by row into a picture.

    `patches` (n, 3 or more, P, P) uint8; `atlas` (rows, P, columns, P, 4) uint8, its first three channels written.
    """
    count, _, patch, _ = patches.shape
    for n in range(count):
        row, column = n // columns, n % columns
        for y in range(patch):
            for x in range(patch):
                for c in range(3):
                    atlas[row, y, column, x, c] = patches[n, c, y, x]
