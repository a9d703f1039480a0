"""Host kernel of texvlm.yuv: luma and chroma rows to RGB, in 32-bit integers.

Channel by channel, from rows of luma and of what chroma adds, because such loops compile to straight
vector code; then the three rows are interleaved. One thread: frames are converted beside a decoder
that is glad of the other cores.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from texvlm._compiled import compiled

# Functions of their own so that the compiler sees arrays that do not overlap. Numba adds 32-bit
# integers as 64-bit ones, which halves the vectors: hence the casts.


@njit
def _chroma_row(pairs, rv, gu, gv, bu, base, mid, drop, red, green, blue):  # type: ignore[no-untyped-def]
    """What a row of (U, V) pairs adds to each channel of the two texel rows below it, and `base`."""
    for x in range(len(pairs) // 2):
        u = np.int32(np.int32(np.int32(pairs[2 * x]) >> drop) - mid)
        v = np.int32(np.int32(np.int32(pairs[2 * x + 1]) >> drop) - mid)
        red[2 * x] = red[2 * x + 1] = np.int32(base + rv * v)
        green[2 * x] = green[2 * x + 1] = np.int32(base + gu * u + gv * v)
        blue[2 * x] = blue[2 * x + 1] = np.int32(base + bu * u)


@njit
def _channel_row(luma, gain, chroma, shift, drop, out):  # type: ignore[no-untyped-def]
    """One channel of a row."""
    low, high = np.int32(0), np.int32(255)
    for x in range(len(out)):
        total = np.int32(np.int32(np.int32(luma[x]) >> drop) * gain + chroma[x])
        out[x] = np.uint8(min(max(np.int32(total >> shift), low), high))


@njit
def _interleave(red, green, blue, out):  # type: ignore[no-untyped-def]
    for x in range(len(red)):
        out[3 * x] = red[x]
        out[3 * x + 1] = green[x]
        out[3 * x + 2] = blue[x]


@compiled()
def convert(y, uv, numbers, pixels):  # type: ignore[no-untyped-def]
    """A whole picture.

    Args:
        y: luma, (height, width), uint8 or uint16.
        uv: chroma, (ceil(height / 2), 2 * ceil(width / 2)), same element type.
        numbers: gain, rv, gu, gv, bu, mid, shift of ColourCoefficients, then what all sums begin with
            (half - gain * offset), then how many low bits of a sample to drop; int32.
        pixels: (height, 3 * width), uint8; written.
    """
    gain, rv, gu, gv, bu = numbers[0], numbers[1], numbers[2], numbers[3], numbers[4]
    mid, shift, base, drop = numbers[5], numbers[6], numbers[7], numbers[8]
    height, width = y.shape
    added = np.empty((3, uv.shape[1]), np.int32)
    channels = np.empty((3, width), np.uint8)
    for row in range(height):
        if row % 2 == 0:
            _chroma_row(uv[row // 2], rv, gu, gv, bu, base, mid, drop, added[0], added[1], added[2])
        for channel in range(3):
            _channel_row(y[row], gain, added[channel], shift, drop, channels[channel])
        _interleave(channels[0], channels[1], channels[2], pixels[row])
