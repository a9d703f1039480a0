"""Timing that is fair on a noisy machine: contestants take turns on the same frames.

They take turns in runs of a second or two of video, in an order that rotates, so that noise and clock
changes hit all alike, while each works as it would on a video of its own: with its own data in the
caches, and no thread of another one still spinning. Every frame is written just before the call, as a
decoder leaves it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.bench.report import Timing

Call = Callable[[NDArray[np.uint8]], object]

RUN = 40
"""Timed frames in a row."""

UNTIMED = 10
"""Frames before them that are not timed: caches, clocks and thread counts settle."""

SETTLE_S = 0.02
"""Pause between runs, seconds: until then the worker threads of the one before spin."""


def race(contestants: Mapping[str, Call], frames: Iterator[NDArray[np.uint8]], *, rounds: int) -> dict[str, Timing]:
    """Time every contestant on every frame.

    Args:
        contestants: calls by name; each gets the frame, (height, width, 3) uint8.
        frames: as many as are asked for; arrays may be handed out again, changed.
        rounds: timed frames, at least.
    """
    order = list(contestants)
    seconds: dict[str, list[float]] = {name: [] for name in order}
    timed = min(RUN, rounds)
    untimed = min(UNTIMED, timed)
    buffer: NDArray[np.uint8] | None = None
    for turn in range(1 + -(-rounds // timed)):  # nothing is timed in the first turn
        pictures = [next(frames).copy() for _ in range(untimed + timed)]
        buffer = np.empty_like(pictures[0]) if buffer is None else buffer
        for name in order:
            time.sleep(SETTLE_S)
            for index, picture in enumerate(pictures):
                np.copyto(buffer, picture)
                start = time.perf_counter()
                contestants[name](buffer)
                spent = time.perf_counter() - start
                if turn and index >= untimed:
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


def copy_bandwidth(count: int, rounds: int = 30) -> float:
    """Bytes moved each second by a plain copy of `count` bytes (read and written both count).

    From the quick tenth of the copies: what the machine can do, whoever else is busy on it.
    """
    source, target = torch.ones(count, dtype=torch.uint8), torch.empty(count, dtype=torch.uint8)
    timing = repeat(lambda _: target.copy_(source), rounds=rounds)
    return 2 * count / (timing.p10_ms / 1e3)
