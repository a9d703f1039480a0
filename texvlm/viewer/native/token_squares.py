"""Tokens on the device of the window: a square each for instanced drawing, and their pixels in one atlas."""

from __future__ import annotations

import ctypes
import math

import numpy as np
from numpy.typing import NDArray

from texvlm.backends._gl_api import FLOAT, RGBA, RGBA8, TEXTURE_2D, UNSIGNED_BYTE
from texvlm.drawing._kernels import fill_squares
from texvlm.drawing.pictures import lod_colours
from texvlm.layouts.table import PADDING_LAYER, lod_of_side
from texvlm.tokens import TokenBatch
from texvlm.viewer.native._kernels import join_borders, lay_out
from texvlm.viewer.native.gl_draw import DYNAMIC_STORAGE, LINEAR, DrawApi

FLOATS = 8
"""Of one square: x, y, side, cell; red, green, blue, anew."""

MOST_TAPS = 4
"""A token drawn at less than 1/8 of its pixels is not averaged whole."""

CELLS = 4
"""Of the map of squares, along the side of the smallest."""

LARGEST_MAP = 1024
"""Cells of that map along the frame's longer side."""


class TokenSquares:
    """What OpenGL draws tokens from.

    Attributes:
        count: squares.
        atlas: texture of their patches, row by row, RGBA bytes, each with a texel of its neighbours around it.
        grid: (patches in a row, width, height in texels, pixels along one token side) of the atlas.
        bytes_uploaded: token pixels and squares that went to the device so far.
    """

    def __init__(self, gl: DrawApi) -> None:
        self.count = 0
        self.atlas = 0
        self.grid = (1, 1, 1, 1)
        self.bytes_uploaded = 0
        self._gl = gl
        self._sides: NDArray[np.float32] = np.empty(0, np.float32)
        self._room = 0
        self._buffer = 0
        self._texels: NDArray[np.uint8] = np.empty(0, np.uint8)
        self._array = gl.generate(gl.glCreateVertexArrays)
        for attribute in (0, 1):
            gl.glEnableVertexArrayAttrib(self._array, attribute)
            gl.glVertexArrayAttribFormat(self._array, attribute, 4, FLOAT, 0, 16 * attribute)
            gl.glVertexArrayAttribBinding(self._array, attribute, 0)
        gl.glVertexArrayBindingDivisor(self._array, 0, 1)

    def put(self, batch: TokenBatch) -> None:
        """Take the tokens of a picture: bytes, one view."""
        squares = squares_of(batch)
        self.count, self._sides = len(squares), squares[:, 2]
        if self.count > self._room:
            self._make_buffer(max(self.count, 2 * self._room))
        if self.count:
            self._gl.glNamedBufferSubData(self._buffer, 0, squares.nbytes, squares.ctypes.data)
        self._put_pixels(batch, squares)
        self.bytes_uploaded += squares.nbytes + self._texels.nbytes

    def by_taps(self, pixels_per_texel: float) -> list[tuple[int, int, int]]:
        """The squares in runs that are drawn alike: (taps along a side of a pixel, first square, squares).

        A tap between the pixels of a token stands for two of them; no pixel takes more than MOST_TAPS.

        Args:
            pixels_per_texel: how large the frame is drawn.
        """
        spanned = self.grid[3] / np.maximum(self._sides * pixels_per_texel, 1e-6)  # of a token's pixels, by one drawn
        taps = np.clip(np.ceil(spanned / 2), 1, MOST_TAPS).astype(int)
        starts = np.flatnonzero(np.diff(taps, prepend=0))
        stops = [*starts[1:].tolist(), len(taps)]
        return [(int(taps[k]), int(k), stop - int(k)) for k, stop in zip(starts, stops, strict=True)]

    def bind(self) -> None:
        """Draw from these."""
        self._gl.glBindVertexArray(self._array)

    def close(self) -> None:
        """Delete everything."""
        gl = self._gl
        gl.delete(gl.glDeleteVertexArrays, self._array)
        gl.delete(gl.glDeleteBuffers, self._buffer)
        gl.delete(gl.glDeleteTextures, self.atlas)

    def _make_buffer(self, room: int) -> None:
        gl = self._gl
        gl.delete(gl.glDeleteBuffers, self._buffer)
        self._buffer = gl.generate(gl.glCreateBuffers)
        gl.glNamedBufferStorage(self._buffer, room * 4 * FLOATS, None, DYNAMIC_STORAGE)
        gl.glVertexArrayVertexBuffer(self._array, 0, self._buffer, ctypes.c_ssize_t(0), 4 * FLOATS)
        gl.check("making room for token squares")
        self._room = room

    def _put_pixels(self, batch: TokenBatch, squares: NDArray[np.float32]) -> None:
        """The patches into the atlas, joined where their squares lie side by side."""
        patches = np.ascontiguousarray(batch.pixels[0].cpu().numpy())
        count, patch = patches.shape[0], patches.shape[-1]
        columns = max(1, math.isqrt(count - 1) + 1) if count else 1
        rows = max(1, -(-count // columns))
        pitch = patch + 2
        grid = (columns, columns * pitch, rows * pitch, patch)
        gl = self._gl
        if grid != self.grid or not self.atlas:
            gl.delete(gl.glDeleteTextures, self.atlas)
            self.atlas = gl.make_texture(TEXTURE_2D, RGBA8, grid[1:3], filtered=LINEAR)
            self.grid = grid
            self._texels = np.full((rows, pitch, columns, pitch, 4), 255, np.uint8)
        lay_out(patches, columns, self._texels)
        if len(squares):
            width, height = (int(side) for side in batch.sizes[0])
            owners, step = owners_of(squares, (width, height))
            join_borders(patches, squares, owners, step, columns, self._texels)
        gl.glTextureSubImage2D(self.atlas, 0, 0, 0, *grid[1:3], RGBA, UNSIGNED_BYTE, self._texels.ctypes.data)


def squares_of(batch: TokenBatch) -> NDArray[np.float32]:
    """The tokens of one view as float32 (tokens, FLOATS), coarse ones first; padding rows are left out."""
    table = batch.table[0]
    real = np.flatnonzero((table["layer"] != PADDING_LAYER) & (table["valid"] > 0))
    order = real[np.argsort(-table["side"][real], kind="stable")]
    rows = table[order]
    squares = np.empty((len(rows), FLOATS), np.float32)
    squares[:, 0], squares[:, 1], squares[:, 2], squares[:, 3] = rows["x"], rows["y"], rows["side"], order
    squares[:, 4:7] = lod_colours(lod_of_side(rows["side"], patch=batch.patch)) / 255
    squares[:, 7] = batch.dirty[0].cpu().numpy()[order]
    return squares


def owners_of(squares: NDArray[np.float32], size: tuple[int, int]) -> tuple[NDArray[np.int32], float]:
    """Which square shows where: a map of the frame, (rows, columns), and the side of its cells, level-0 texels.

    Args:
        squares: one or more, in the order in which they are drawn.
        size: (width, height) of the frame, level-0 texels.
    Returns:
        The map holds the number of the square that shows at each cell's centre, -1 for none.
    """
    step = max(float(squares[:, 2].min()) / CELLS, max(size) / LARGEST_MAP)
    columns, rows = (max(1, math.ceil(side / step)) for side in size)
    centres, half = squares[:, :2].astype(np.float64), squares[:, 2:3].astype(np.float64) / 2
    edges = np.concatenate([centres - half, centres + half], axis=1) / step - 0.5
    edges = np.clip(np.ceil(edges), 0, [columns, rows, columns, rows]).astype(np.int32)
    owners = np.full((rows, columns), -1, np.int32)
    fill_squares(np.arange(len(squares), dtype=np.int32), edges, owners)
    return owners, step
