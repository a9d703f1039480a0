"""Block matching in host memory; what is done, and to which bits, is said in `block_search`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from texvlm._compiled import compiled
from texvlm.backends._block_windows import sum_of_differences, sums_of_gradients
from texvlm.backends._threads import ThreadAccount
from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import NEAR, PAD, RECORD, STILL, STILL_SHIFT, STRAY, WINDOW, BlockPlan, BlockSpec
from texvlm.backends.motion_memory import Half, MotionMemory

CHUNK = 16
"""Rows of a kept picture that one thread makes at a time; their neighbours above and below are read twice."""

_keeping, _matching = ThreadAccount(), ThreadAccount()


def keep_picture(plan: BlockPlan, levels: dict[int, NDArray[np.uint8]], out: NDArray[np.uint8]) -> None:
    """Make the kept picture of a frame.

    Args:
        plan: what is kept.
        levels: level -> its texels from (0, 0) on, (height, width, channels) or more of them.
        out: (plan.picture_bytes,); written.
    """
    with _keeping.region(out.size * 3):
        for level in plan.levels:
            texels = levels[level.level]
            width, height = level.size
            rows = out[level.start : level.start + level.stored_rows * level.stride].reshape(-1, level.stride)
            smooth_kernel(texels.shape[2])(texels, width, height, rows)


def match_pictures(plan: BlockPlan, new: NDArray[np.uint8], old: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Where each window of `new` was in `old`: RECORD, (rows, columns, len(RECORD)), of the finest level."""
    vectors = np.empty((plan.blocks, 2), np.int32)
    found = np.empty((plan.finest.rows, plan.finest.columns, len(RECORD)), np.int32)
    nothing = found[:0]
    with _matching.region(new.size * 8):
        for index, level in enumerate(plan.levels):
            own = vectors[level.first : level.first + level.rows * level.columns].reshape(level.rows, level.columns, 2)
            if index == 0:
                parents = own
            place = (level.origin, level.stride, *level.size, plan.pitch)
            between = 0 < index < len(plan.levels) - 1
            records = found if level is plan.finest else nothing
            margin = (STILL, STILL_SHIFT, STRAY)
            _search(new, old, place, margin, NEAR, plan.spiral, index == 0, between, parents, own, records)
            parents = own
    return found


class CpuMotion(MotionMemory):
    """Kept pictures in host memory; `levels` gives the levels of each layer as they are resident."""

    def __init__(
        self,
        backend: Backend,
        texture: Texture,
        spec: BlockSpec,
        levels: Callable[[], tuple[tuple[NDArray[np.uint8], ...], ...]],
    ) -> None:
        super().__init__(backend, texture, spec)
        self._levels = levels
        self._pictures: dict[int, NDArray[np.uint8]] = {}

    def _make(self, layer: int, plan: BlockPlan, half: Half) -> None:
        resident = self._levels()[layer]
        pictures = self._pictures.get(layer)
        if pictures is None or pictures.shape[1] != plan.picture_bytes:
            pictures = self._pictures[layer] = np.zeros((2, plan.picture_bytes), np.uint8)
        keep_picture(plan, {level.level: resident[level.level] for level in plan.levels}, pictures[half])

    def _find(self, layer: int, plan: BlockPlan, new: Half, *, both: bool) -> list[NDArray[np.int32]]:
        pictures = self._pictures[layer]
        found = [match_pictures(plan, pictures[new], pictures[1 - new])]
        return [*found, match_pictures(plan, pictures[1 - new], pictures[new])] if both else found

    def forget(self, layer: int | None = None) -> None:
        """See MotionMemory."""
        super().forget(layer)
        if layer is None:
            self._pictures.clear()
        self._pictures.pop(-1 if layer is None else layer, None)

    def close(self) -> None:
        """See MotionMemory."""
        super().close()
        self._pictures.clear()


@lru_cache
def smooth_kernel(channels: int) -> Callable[..., None]:
    """The kernel that makes one level of a kept picture from texels of so many channels.

    Its arguments: `texels` (height, width, channels) or more; `width`, `height` of the frame there; `rows`
    (height + 2 * PAD, stride), written.
    """
    C = channels

    @compiled(parallel=True)
    def smooth(texels, width, height, rows):  # type: ignore[no-untyped-def]
        for chunk in prange((height + CHUNK - 1) // CHUNK):
            first = chunk * CHUNK
            last = min(first + CHUNK, height)
            luma = np.empty((CHUNK + 2, width), np.uint16)
            across = np.empty(width + 2, np.uint16)
            for y in range(first - 1, last + 1):
                source = texels[min(max(y, 0), height - 1)]
                target = luma[y - first + 1]
                if C == 1:
                    for x in range(width):
                        target[x] = source[x, 0]
                else:
                    for x in range(width):
                        total = np.uint16(77 * source[x, 0] + 150 * source[x, 1] + 29 * source[x, 2] + 128)
                        target[x] = total >> np.uint16(8)
            for y in range(first, last):
                above, here, below = luma[y - first], luma[y - first + 1], luma[y - first + 2]
                for x in range(width):
                    across[x + 1] = np.uint16(above[x] + 2 * here[x] + below[x])
                across[0], across[width + 1] = across[1], across[width]
                target = rows[y + PAD]
                inner = target[PAD : PAD + width]
                for x in range(width):
                    inner[x] = np.uint8(np.uint16(across[x] + 2 * across[x + 1] + across[x + 2] + 8) >> np.uint16(4))
                target[:PAD] = inner[0]
                target[PAD + width :] = inner[width - 1]
        for y in range(PAD):
            rows[y] = rows[PAD]
            rows[height + PAD + y] = rows[height + PAD - 1]

    return smooth  # type: ignore[no-any-return]


@njit(inline="always")
def _window(row, column, place):  # type: ignore[no-untyped-def]
    """Texel at which the window of a block begins."""
    corner = place[4] // 2 - WINDOW // 2
    return column * place[4] + corner, row * place[4] + corner


@njit(inline="always")
def _byte(x, y, place):  # type: ignore[no-untyped-def]
    """Byte of a kept picture at which a window begins; all those wholly outside look alike."""
    origin, stride, width, height, _ = place
    return origin + min(max(y, -WINDOW), height) * stride + min(max(x, -WINDOW), width)


@compiled(parallel=True)
def _search(new, old, place, margin, near, spiral, whole, between, parents, own, found):  # type: ignore[no-untyped-def]
    """Displacements of one level, `own` (rows, columns, 2), from those of the coarser one.

    On the coarsest level, `whole`, from none; on a level `between` it and the finest, from anywhere where need be.
    On the finest one, `found` (rows, columns, len(RECORD)) is written; it is empty on others.
    """
    rows, columns = own.shape[:2]
    stride = place[1]
    for row in prange(rows):
        guesses = np.empty((4, 2), np.int32)
        for column in range(columns):
            x, y = _window(row, column, place)
            at = _byte(x, y, place)
            least = sum_of_differences(new, at, old, at, stride)
            still = least
            fee = margin[0] + (still >> margin[1])
            best_x, best_y = 0, 0
            if least == 0:
                own[row, column, 0] = own[row, column, 1] = 0
                if found.shape[0]:
                    found[row, column] = 0
                continue
            if not whole:
                up, left = row >> 1, column >> 1
                beside_y = min(max(up + 2 * (row & 1) - 1, 0), parents.shape[0] - 1)
                beside_x = min(max(left + 2 * (column & 1) - 1, 0), parents.shape[1] - 1)
                guesses[0], guesses[1] = parents[up, left], parents[up, beside_x]
                guesses[2], guesses[3] = parents[beside_y, left], parents[beside_y, beside_x]
                for k in range(4):
                    dx, dy = 2 * guesses[k, 0], 2 * guesses[k, 1]
                    fresh = dx != 0 or dy != 0
                    for known in range(k):  # a guess made before cannot win now
                        fresh = fresh and (guesses[known, 0] != guesses[k, 0] or guesses[known, 1] != guesses[k, 1])
                    if fresh:
                        cost = sum_of_differences(new, at, old, _byte(x + dx, y + dy, place), stride) + fee
                        if cost < least:
                            least, best_x, best_y = cost, dx, dy
                start_x, start_y = best_x, best_y
                for k in range(near.shape[0]):
                    dx, dy = start_x + near[k, 0], start_y + near[k, 1]
                    if dx == 0 and dy == 0:
                        continue
                    cost = sum_of_differences(new, at, old, _byte(x + dx, y + dy, place), stride) + fee
                    if cost < least:
                        least, best_x, best_y = cost, dx, dy
            if whole or (between and 2 * least > still and least > margin[2]):
                for k in range(spiral.shape[0]):
                    dx, dy = spiral[k, 0], spiral[k, 1]
                    cost = sum_of_differences(new, at, old, _byte(x + dx, y + dy, place), stride) + fee
                    if cost < least:
                        least, best_x, best_y = cost, dx, dy
            own[row, column, 0], own[row, column, 1] = best_x, best_y
            if found.shape[0]:
                record = found[row, column]
                record[0], record[1] = best_x, best_y
                record[2], record[3] = least - (fee if best_x != 0 or best_y != 0 else 0), still
                sums = sums_of_gradients(new, at, old, _byte(x + best_x, y + best_y, place), stride)
                record[4], record[5], record[6], record[7], record[8] = sums
