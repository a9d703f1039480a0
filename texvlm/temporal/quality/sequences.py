"""What every meter asks of its input: arrays of one shape, finite, at times that grow."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_values(what: str, values: Any, *, bytes_are: float = 255) -> NDArray[np.float32]:
    """An array or tensor on any device as float32 on the host.

    Args:
        what: its name in messages.
        values: numbers of any kind.
        bytes_are: what unsigned bytes are divided by: pixels become 0..1.
    Raises:
        TypeError: neither, or it holds no numbers.
        ValueError: empty, or a value that is not finite.
    """
    if hasattr(values, "detach"):  # a torch tensor; torch itself is not needed here
        values = values.detach().cpu()
        values = (values.float() if values.is_floating_point() else values).numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what} holds {array.dtype}; accepted: an array or tensor of numbers")
    found = array.astype(np.float32) / np.float32(bytes_are if array.dtype == np.uint8 else 1)
    if found.size == 0 or not np.isfinite(found).all():
        raise ValueError(f"{what} of shape {found.shape} is empty or holds a value that is not finite")
    return found


def check_shape(what: str, shape: tuple[int, ...], expected: tuple[int, ...] | None) -> None:
    """ValueError where a sequence changes its shape."""
    if expected is not None and shape != expected:
        raise ValueError(f"{what} of shape {shape} after {expected}; one meter measures one sequence, or reset it")


def check_time(time_s: float, before: float) -> None:
    """ValueError unless a time is finite and later than the one before."""
    if not (math.isfinite(time_s) and time_s > before):
        raise ValueError(f"frame at {time_s} s after {before:g} s; give times that grow, or reset the meter")


class Mean:
    """A running mean and the largest value."""

    def __init__(self) -> None:
        self.total, self.count, self.worst = 0.0, 0, 0.0

    def add(self, values: NDArray[np.floating[Any]]) -> None:
        """Take in more values, any shape, none at all too."""
        if values.size:
            self.total += float(values.sum(dtype=np.float64))
            self.count += values.size
            self.worst = max(self.worst, float(values.max()))

    @property
    def mean(self) -> float:
        """0 where nothing was added."""
        return self.total / self.count if self.count else 0.0
