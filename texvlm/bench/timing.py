"""Timing that is fair on a noisy machine: contestants take turns on the same frames.

Every call gets a frame that was written just before, as a decoder would leave it, and the order
rotates from round to round, so that noise, clock changes and warm caches hit all alike.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.bench.report import Timing

Call = Callable[[NDArray[np.uint8]], object]

SETTLE_S = 0.002
"""Pause before each timed call, seconds: the worker threads of the call before are still spinning."""


def race(
    contestants: Mapping[str, Call], frames: Iterator[NDArray[np.uint8]], *, rounds: int, warmup: int = 2
) -> dict[str, Timing]:
    """Time every contestant on every frame.

    Args:
        contestants: calls by name; each gets the frame, (height, width, 3) uint8.
        frames: at least `rounds + warmup` frames.
        rounds: timed frames.
        warmup: untimed frames before.
    """
    order = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    buffer: NDArray[np.uint8] | None = None
    for index in range(warmup + rounds):
        frame = next(frames)
        buffer = np.empty_like(frame) if buffer is None else buffer
        for name in order:
            np.copyto(buffer, frame)
            time.sleep(SETTLE_S)
            start = time.perf_counter()
            contestants[name](buffer)
            spent = time.perf_counter() - start
            if index >= warmup:
                seconds[name].append(spent)
        order.append(order.pop(0))
    return {name: Timing.of(spent) for name, spent in seconds.items()}


def repeat(call: Callable[[int], object], *, rounds: int, warmup: int = 3) -> Timing:
    """Time one call, given its index, again and again."""
    seconds = []
    for index in range(warmup + rounds):
        start = time.perf_counter()
        call(index)
        spent = time.perf_counter() - start
        if index >= warmup:
            seconds.append(spent)
    return Timing.of(seconds)


def copy_bandwidth(count: int, rounds: int = 15) -> float:
    """Bytes moved each second by a plain copy of `count` bytes (read and written both count)."""
    source, target = torch.ones(count, dtype=torch.uint8), torch.empty(count, dtype=torch.uint8)
    timing = repeat(lambda _: target.copy_(source), rounds=rounds)
    return 2 * count / (timing.median_ms / 1e3)
