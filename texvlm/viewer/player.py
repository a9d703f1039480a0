"""A source played: decoding runs ahead on a thread, frames come out when their time has come."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from texvlm.frames import Frame
from texvlm.profiling import profile_range
from texvlm.sources import Source

AHEAD = 4
"""Frames decoded before they are due: enough to hide a slow one, few enough to hold in memory."""

LATE_S = 0.25
"""An input that falls further behind than this plays slower, instead of dropping all it has."""

NOMINAL_RATE = 25.0
"""Frames per second of an input that knows neither times nor rate."""

JOIN_S = 8.0
"""Longest wait of `close` for the decoder; a live source may sit in a read until its time-out."""


@dataclass(frozen=True, slots=True, eq=False)
class _Decoded:
    """A frame, and when it is due, seconds from the first one's time."""

    frame: Frame
    due_s: float


class Player:
    """Plays one source, again and again if asked to. One thread calls it; it owns the source.

    A file is played at its own pace: when frames come out too slowly those that are late are dropped and
    counted; when they cannot be decoded in time, it plays slower. A live source gives its newest frame.

    Args:
        source: opened; closed with the player.
        reopen: opens it anew for another round; None plays it once.
        clocked: False hands out each frame as soon as it is there, and `take` waits for it.
        wake: called on the decoder's thread whenever `take` may have something new.

    Attributes:
        dropped: frames that were decoded and never handed out.
        decode_ms: milliseconds that the last frame took to decode.
        paused: no frame comes but by `step`. Set it with `pause`.
    """

    def __init__(
        self,
        source: Source,
        *,
        reopen: Callable[[], Source] | None = None,
        clocked: bool = True,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.info = source.info
        self.live = source.info.kind == "live"
        self.decode_ms = 0.0
        self.paused = False
        self._dropped = 0
        self._source = source
        self._reopen = None if self.live or source.frames == 1 else reopen
        self._clocked = clocked
        self._wake = wake
        self._queue: deque[_Decoded] = deque()
        self._changed = threading.Condition()
        self._stopping = self._ended = False
        self._error: Exception | None = None
        self._steps = 0
        self._origin_s: float | None = None  # when, on the caller's clock, the first frame's time was
        self._thread = threading.Thread(target=self._decode, name=f"texvlm view {source.info.name}", daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------ frames out

    def take(self, now_s: float) -> Frame | None:
        """The newest frame that is due at a time of the caller's own clock, or None.

        Raises:
            SourceError: the input failed; what came before it was handed out.
        """
        with self._changed:
            if not self._clocked and not self.paused:
                self._changed.wait_for(lambda: self._queue or self._ended)
            taken = self._next(now_s)
            if taken is not None:
                self._changed.notify_all()
                return taken.frame
            if self._error is not None and not self._queue:
                error, self._error = self._error, None
                raise error
            return None

    def due_in_s(self, now_s: float) -> float | None:
        """Seconds until `take` has something; None when only `wake`, `step` or `pause` can tell."""
        with self._changed:
            if self._error is not None and not self._queue:
                return 0.0
            if not self._queue or (self.paused and not self._steps):
                return None
            if self.paused or self.live or not self._clocked or self._origin_s is None:
                return 0.0
            return max(0.0, self._origin_s + self._queue[0].due_s - now_s)

    @property
    def dropped(self) -> int:
        """Frames that were received or decoded and never handed out."""
        source = self._source
        return self._dropped + (int(getattr(source, "dropped", 0)) if self.live else 0)

    @property
    def finished(self) -> bool:
        """Every frame was handed out, and no more will come."""
        with self._changed:
            return self._ended and not self._queue and self._error is None

    def pause(self, paused: bool) -> None:
        """Hold the picture, or go on from it."""
        with self._changed:
            self.paused, self._steps = paused, 0
            self._origin_s = None  # time goes on from the frame that comes next

    def step(self) -> None:
        """Hold, and hand out one more frame."""
        if not self.paused:
            self.pause(True)
        with self._changed:
            self._steps += 1

    def close(self) -> None:
        """Stop decoding and close the source, whatever it is doing. May be called twice."""
        with self._changed:
            self._stopping = True
            self._queue.clear()
            self._changed.notify_all()
        if self.live:
            self._source.close()  # wakes the thread where it waits for a frame
        self._thread.join(JOIN_S)

    def _next(self, now_s: float) -> _Decoded | None:
        queue = self._queue
        if not queue:
            return None
        if self.paused:
            if not self._steps:
                return None
            self._steps -= 1
            return queue.popleft()
        if not self._clocked or self.live:
            return queue.popleft()
        if self._origin_s is None:
            self._origin_s = now_s - queue[0].due_s
        taken: _Decoded | None = None
        while queue and self._origin_s + queue[0].due_s <= now_s:
            self._dropped += taken is not None
            taken = queue.popleft()
        if taken is not None and now_s - self._origin_s - taken.due_s > LATE_S:
            self._origin_s = now_s - taken.due_s
        return taken

    # ------------------------------------------------------------------ frames in

    def _decode(self) -> None:
        """The decoder's thread: owns the source."""
        try:
            start_s = 0.0
            while True:
                end_s = self._play(start_s)
                if end_s is None or end_s == start_s or self._reopen is None:
                    return
                self._source.close()
                self._source, start_s = self._reopen(), end_s
        except Exception as error:  # handed over: a thread must not swallow it
            with self._changed:
                self._error = error
        finally:
            self._source.close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            if not self._stopping:
                self._wake()

    def _play(self, start_s: float) -> float | None:
        """Hand over one round that is due from `start_s` on; when the next one is due, or None to stop."""
        step_s = 1 / (self._source.rate or NOMINAL_RATE)
        first_s: float | None = None
        due_s = end_s = start_s
        while True:
            began = perf_counter()
            with profile_range("decode", "decode"):
                frame = next(self._source, None)
            self.decode_ms = 1e3 * (perf_counter() - began)
            if frame is None:
                return None if self._stopping else end_s
            if frame.pts is None:
                due_s = end_s
            else:
                first_s = frame.pts if first_s is None else first_s
                due_s = max(start_s + frame.pts - first_s, due_s)  # times of broken files may go back
            end_s = due_s + step_s
            if not self._put(_Decoded(frame, due_s)):
                return None

    def _put(self, decoded: _Decoded) -> bool:
        """Queue a frame, waiting for room; False when the player is closing."""
        with self._changed:
            if self.live:
                self._dropped += len(self._queue)
                self._queue.clear()
            self._changed.wait_for(lambda: self._stopping or len(self._queue) < AHEAD)
            if self._stopping:
                return False
            self._queue.append(decoded)
            self._changed.notify_all()
        self._wake()
        return True
