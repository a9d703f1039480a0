"""Small pictures of frames from tokens alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import adaptive_avg_pool2d

from texvlm.fixation.scene import FloatMap
from texvlm.layouts.table import Table
from texvlm.temporal.small_pictures import LEAST, LONGEST
from texvlm.temporal.token_cells import NOBODY, token_cells
from texvlm.tokens import TokenBatch

PIXELS = 4
"""Pixels along a token's side that a picture is made from."""


class TokenPicture:
    """Small pictures of frames as the tokens of one view show them, for who has tokens and no frame.

    Where each texel is found is worked out when the table changes, and kept.
    """

    def __init__(self) -> None:
        self._known: tuple[Table, tuple[int, int]] | None = None
        self._nobody: NDArray[np.bool_] = np.empty(0, bool)
        self._place: tuple[NDArray[np.intp], ...] = ()

    def __call__(self, batch: TokenBatch, view: int, *, mean: Sequence[float], std: Sequence[float]) -> FloatMap:
        """The picture, (height, width, channels), 0..1; gray where no token lies.

        Args:
            batch: any tokens.
            view: which view.
            mean: that floats were normalised with.
            std: likewise.
        """
        size = (int(batch.sizes[view, 0]), int(batch.sizes[view, 1]))
        table = batch.table[view]
        if self._known is None or self._known[1] != size or not np.array_equal(self._known[0], table):
            self._look_up(table, size)
        token, y, x = self._place
        picture = _small_pixels(batch.pixels[view], mean, std)[token, :, y, x]
        picture[self._nobody] = 0.5
        return np.ascontiguousarray(picture)

    def _look_up(self, table: Table, size: tuple[int, int]) -> None:
        scale = LONGEST / max(size)
        shape = (max(round(size[1] * scale), LEAST), max(round(size[0] * scale), LEAST))
        owner = token_cells(table, size=size, shape=shape)
        row, column = np.indices(shape)
        token = np.maximum(owner, 0).astype(np.intp)
        side = table["side"][token]
        x, y = (
            (((where + 0.5) * extent / count - table[axis][token]) / side + 0.5) * PIXELS
            for where, extent, count, axis in ((column, size[0], shape[1], "x"), (row, size[1], shape[0], "y"))
        )
        self._place = (
            token,
            np.clip(y, 0, PIXELS - 1).astype(np.intp),
            np.clip(x, 0, PIXELS - 1).astype(np.intp),
        )
        self._nobody = owner == NOBODY
        self._known = table.copy(), size


def _small_pixels(pixels: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> NDArray[np.float32]:
    """(tokens, channels, PIXELS, PIXELS) of full scale 1."""
    small = adaptive_avg_pool2d(pixels.float(), PIXELS)
    if pixels.dtype == torch.uint8:
        small = small / 255
    else:
        scale, offset = (torch.tensor(values, device=small.device)[:, None, None] for values in (std, mean))
        small = small * scale + offset
    found: NDArray[np.float32] = small.clamp(0, 1).cpu().numpy()
    return found
