"""Recorded gaze played back as a tracker would give it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from texvlm.gaze.clocks import MONOTONIC, check_clock, whole_ns
from texvlm.gaze.sample import GazeSample


class GazeReplay:
    """Hands out the samples of a recording when their time has come.

    Args:
        samples: of one clock, times never going back; see `read_gaze`.
        start_ns: the time, on `clock`, at which the recording is taken to begin.
        clock: of the samples that are handed out.
    Raises:
        ValueError: no sample, samples of several clocks, or times that go back.
    """

    def __init__(self, samples: Sequence[GazeSample], *, start_ns: int = 0, clock: str = MONOTONIC) -> None:
        check_clock(clock)
        clocks = sorted({sample.clock for sample in samples})
        if len(clocks) != 1:
            raise ValueError(f"{len(samples)} samples of clocks {', '.join(clocks) or 'none'}; give samples of one")
        for before, after in pairwise(samples):
            if after.time_ns < before.time_ns:
                raise ValueError(f"a sample at {after.time_ns} ns after one at {before.time_ns} ns; sort them by time")
        shift = whole_ns("start_ns", start_ns) - samples[0].time_ns
        self._samples = [replace(sample, time_ns=sample.time_ns + shift, clock=clock) for sample in samples]
        self._next = 0

    @property
    def end_ns(self) -> int:
        """Time of the last sample."""
        return self._samples[-1].time_ns

    @property
    def finished(self) -> bool:
        """Whether all were handed out."""
        return self._next == len(self._samples)

    def due(self, now_ns: int) -> list[GazeSample]:
        """The samples up to a time that were not handed out before."""
        first = self._next
        while not self.finished and self._samples[self._next].time_ns <= now_ns:
            self._next += 1
        return self._samples[first : self._next]
