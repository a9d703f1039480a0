"""The integral-image tokenizer of the published 172-token layout over 1280 x 1280 pixels.

Five nested square rings of 16-px tokens whose pixels are means of 1, 2, 4, 6 and 8 squared source
pixels. The published tokenizer crops the field around the fixation (pixels outside the image are
the data set's mean), builds an int32 integral image of the crop, reads four corners for each
token pixel, and divides with a floor. This is that algorithm, written for this benchmark.

Source: Segment This Thing (CVPR 2025), tokenizer and the STT layout.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

FIELD = 1280
PATCH = 16
RINGS = ((1, 4), (2, 4), (4, 6), (6, 8), (8, 10))
"""(source pixels along one token pixel, tokens along one side) of each ring, innermost first."""
MEAN_BYTES = (124, 116, 104)


def ring_blocks() -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Left and top corner, and stride, of every token inside the field, pixels; each of shape (172,)."""
    rows = []
    inner = 0
    for stride, cells in RINGS:
        side = stride * PATCH
        start = (FIELD - cells * side) // 2
        for y in range(start, start + cells * side, side):
            for x in range(start, start + cells * side, side):
                inside = max(abs(2 * x + side - FIELD), abs(2 * y + side - FIELD)) < inner
                if not inside:
                    rows.append((x, y, stride))
        inner = cells * side
    left, top, strides = np.array(rows, np.int64).T
    return left, top, strides


class IntegralTokens:
    """Tokens by four gathers from an integral image of the whole field.

    Args:
        opencv: build the integral image with cv2.integral instead of torch.cumsum. The published
            code uses cumsum; this shows what the same algorithm costs with a faster kernel.
    """

    def __init__(self, *, opencv: bool = False) -> None:
        self._opencv = opencv
        left, top, stride = ring_blocks()
        step = np.arange(PATCH)
        x0 = left[:, None, None] + step[None, None, :] * stride[:, None, None]
        y0 = top[:, None, None] + step[None, :, None] * stride[:, None, None]
        x1, y1 = x0 + stride[:, None, None], y0 + stride[:, None, None]
        pitch = FIELD + 1
        corners = [np.broadcast_to(y * pitch + x, (len(left), PATCH, PATCH)) for y in (y0, y1) for x in (x0, x1)]
        self._corners = [torch.from_numpy(corner.copy()).flatten() for corner in corners]
        area = torch.from_numpy((stride * stride).astype(np.int32))
        self._area = area.view(-1, 1, 1, 1)
        self._crop = np.empty((FIELD, FIELD, 3), np.uint8)
        self._planes = torch.empty((3, FIELD, FIELD), dtype=torch.uint8)
        self._rows = torch.empty((3, FIELD, FIELD), dtype=torch.int32)
        self._sums = torch.zeros((3, FIELD + 1, FIELD + 1), dtype=torch.int32)
        self._packed = np.zeros((FIELD + 1, FIELD + 1, 3), np.int32)

    def __call__(self, frame: NDArray[np.uint8], fixation: tuple[float, float] = (0.5, 0.5)) -> torch.Tensor:
        """Tokens, (172, 3, 16, 16) uint8."""
        self._cut(frame, fixation)
        if self._opencv:
            cv2.integral(self._crop, sum=self._packed, sdepth=cv2.CV_32S)
            packed = torch.from_numpy(self._packed).view(-1, 3)
            a, b, c, d = (packed.index_select(0, corner) for corner in self._corners)
            sums = (d - b - c + a).view(-1, PATCH, PATCH, 3).permute(0, 3, 1, 2)
        else:
            cv2.split(self._crop, [plane.numpy() for plane in self._planes])
            torch.cumsum(self._planes, 2, dtype=torch.int32, out=self._rows)
            torch.cumsum(self._rows, 1, dtype=torch.int32, out=self._sums[:, 1:, 1:])
            flat = self._sums.flatten(1)
            a, b, c, d = (flat.index_select(1, corner) for corner in self._corners)
            sums = (d - b - c + a).view(3, -1, PATCH, PATCH).transpose(0, 1)
        return torch.div(sums, self._area, rounding_mode="floor").to(torch.uint8)

    def _cut(self, frame: NDArray[np.uint8], fixation: tuple[float, float]) -> None:
        """The field around the fixation, the mean colour where it leaves the frame."""
        height, width = frame.shape[:2]
        left, top = round(fixation[0] * width) - FIELD // 2, round(fixation[1] * height) - FIELD // 2
        x0, x1 = max(left, 0), min(left + FIELD, width)
        y0, y1 = max(top, 0), min(top + FIELD, height)
        if (x1 - x0, y1 - y0) != (FIELD, FIELD):
            self._crop[:] = MEAN_BYTES
        if x0 < x1 and y0 < y1:
            self._crop[y0 - top : y1 - top, x0 - left : x1 - left] = frame[y0:y1, x0:x1]
