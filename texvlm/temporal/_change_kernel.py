"""How far bytes of tokens lie from others, in one pass on the CPU."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm._compiled import compiled


@compiled()
def mean_change(now: NDArray[np.uint8], encoded: NDArray[np.uint8], change: NDArray[np.float32]) -> None:
    """Mean absolute difference of each token, to the rounding of one division.

    Args:
        now: (tokens, values).
        encoded: likewise.
        change: (tokens,); takes it.
    """
    tokens, count = now.shape
    for token in range(tokens):
        here, there = now[token], encoded[token]
        total = np.int32(0)
        for i in range(count):
            total += np.int32(abs(np.int16(here[i]) - np.int16(there[i])))
        change[token] = np.float32(total) / np.float32(count)
