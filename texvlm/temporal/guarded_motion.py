"""Motion that may be late or fail: measured within a time, left alone for a while where it is not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from texvlm.motion.field import MotionField
from texvlm.motion.source import Moment, MotionSource

FIRST_PAUSE, LONGEST_PAUSE = 8, 256
"""Frames that motion is left alone after a trouble; twice as many after each further one in a row."""

Trouble = Literal["", "motion slow", "motion failed", "warp"]
"""Why a frame has no motion that can be used; empty where nothing went wrong."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Trust:
    late: int = 0
    pause: int = 0
    next_pause: int = FIRST_PAUSE
    seen_last: bool = False


class GuardedMotion:
    """Asks a motion source, and takes no harm from it. State per source.

    A field that came late is used all the same; after two in a row the next frames do without.

    Args:
        motion: what measures.
        clock: seconds, never back.
    """

    def __init__(self, motion: MotionSource, *, clock: Callable[[], float]) -> None:
        self._motion, self._clock = motion, clock
        self._trust: dict[int, _Trust] = {}

    @property
    def name(self) -> str:
        """Of the motion source."""
        return self._motion.name

    def measure(self, moment: Moment, *, budget_ms: float | None) -> tuple[MotionField | None, Trouble]:
        """The field of a frame against the frame before it; None where there is none that can be used.

        Args:
            moment: the frame.
            budget_ms: time that it may take; None for any.
        """
        trust = self._trust.setdefault(moment.source, _Trust())
        if trust.pause:
            self.skip(moment.source)
            trust.pause -= 1
            return None, ""
        started = self._clock()
        try:
            if not trust.seen_last:  # what it saw last is not the frame before this one
                self._motion.reset(moment.source)
            field = self._motion(moment)
            if field is not None:
                field.check_frame(moment.size)
        except Exception as error:
            _log.warning("motion %s of source %d failed: %s", self.name, moment.source, error)
            self.distrust(moment.source)
            return None, "motion failed"
        trust.seen_last = True
        if budget_ms is not None and 1000 * (self._clock() - started) > budget_ms:
            trust.late += 1
            if trust.late > 1:  # once may be a hiccup of the machine
                self.distrust(moment.source)
            return field, "motion slow"
        trust.late = 0
        if field is not None:
            trust.next_pause = FIRST_PAUSE
        return field, ""

    def skip(self, source: int) -> None:
        """A frame of the source went by that was not measured."""
        if source in self._trust:
            self._trust[source].seen_last = False

    def distrust(self, source: int) -> None:
        """Leave motion of the source alone for a while."""
        trust = self._trust.setdefault(source, _Trust())
        trust.pause, trust.next_pause = trust.next_pause, min(2 * trust.next_pause, LONGEST_PAUSE)
        trust.seen_last, trust.late = False, 0

    def reset(self, source: int) -> None:
        """The next frame of the source has none before it, as after a cut."""
        self.skip(source)

    def forget(self, source: int) -> None:
        """The source left."""
        self._trust.pop(source, None)
        self._motion.reset(source)
