"""Clocks of trackers, frames and displays: every time says which one it was read from.

Nothing guesses that two clocks agree. A headset's runtime, a tracker's own counter, and the monotonic clock of
this machine differ by anything; samples of one are refused where another is expected, unless somebody measured
how far apart the two are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from operator import index
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from texvlm.gaze.sample import GazeSample

MONOTONIC = "monotonic"
"""Name of the clock of `time.monotonic_ns`."""


def to_clock(sample: GazeSample, clock: str, offsets_ns: Mapping[str, int] | None = None) -> GazeSample:
    """A sample on another clock.

    Args:
        sample: of any clock.
        clock: the one wanted.
        offsets_ns: for each other clock, nanoseconds to add to its times to get the wanted one's.
    Raises:
        ValueError: a clock whose offset is not known; names both.
    """
    if sample.clock == clock:
        return sample
    offset = (offsets_ns or {}).get(sample.clock)
    if offset is None:
        raise ValueError(
            f"gaze sample of clock {sample.clock!r} where {clock!r} is used; give offsets_ns={{{sample.clock!r}: "
            "nanoseconds to add}, see texvlm.gaze.measure_offset_ns"
        )
    return replace(sample, time_ns=sample.time_ns + offset, clock=clock)


def measure_offset_ns(
    theirs: Callable[[], int], ours: Callable[[], int] = time.monotonic_ns, *, rounds: int = 16
) -> int:
    """How much to add to another clock's times to get ours, from reading both in turn.

    The other clock is read between two readings of ours, and taken to have been read halfway; of all rounds the one
    with the shortest way counts, because only delays make the answer wrong, and by half of them at most. Clocks
    drift: measure again every few minutes.

    Args:
        theirs: reads the other clock, nanoseconds.
        ours: reads the clock of the frames, nanoseconds.
        rounds: how often to try, at least 1.
    Source:
        Cristian, Probabilistic clock synchronization, Distributed Computing 3, 1989.
    """
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; accepted: 1 and above")
    readings = []
    for _ in range(rounds):
        before, other, after = ours(), theirs(), ours()
        readings.append((after - before, (before + after) // 2 - other))
    return min(readings)[1]


def check_clock(clock: str) -> None:
    """ValueError unless it is a name: printable, without spaces or commas, so that a table may hold it."""
    if not isinstance(clock, str) or not re.fullmatch(r"[\w.:+-]+", clock):
        raise ValueError(f"clock is {clock!r}; accepted: a name of letters, digits and ._:+-, such as {MONOTONIC!r}")


def whole_ns(name: str, value: int) -> int:
    """The time as an int; TypeError unless it is a whole number: seconds as a float are refused, not rounded."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; accepted: whole nanoseconds (int)") from None
