"""Live inputs: cameras and network streams, always at the newest frame.

A reader thread receives and decodes; it keeps only the newest picture and counts what it drops,
so a slow consumer never falls behind real time and memory never grows. A lost connection is opened
again, each time after a longer wait, a bounded number of times.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources.base import Source, SourceInfo, describe_info

_log = logging.getLogger("texvlm")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How often, and after which waits, a lost connection is opened again.

    Attributes:
        first_s: wait before the first attempt, seconds.
        factor: each wait is this many times the one before.
        longest_s: no wait is longer, seconds, jitter aside.
        jitter: waits vary by up to this fraction, so that many clients do not return at once.
        attempts: attempts in a row without a frame before giving up; 0 never reconnects.
    """

    first_s: float = 0.5
    factor: float = 2.0
    longest_s: float = 15.0
    jitter: float = 0.2
    attempts: int = 8

    def __post_init__(self) -> None:
        if not (self.first_s >= 0 and self.longest_s >= 0 and self.factor >= 1 and 0 <= self.jitter <= 1):
            raise ValueError(f"{self}: waits are 0 or more, factor 1 or more, jitter 0..1")
        if self.attempts < 0:
            raise ValueError(f"attempts is {self.attempts}; accepted: 0 or more")

    def wait_s(self, attempt: int, uniform: Callable[[], float] = random.random) -> float:
        """Seconds to wait before attempt 1, 2, ...; `uniform` gives numbers in [0, 1)."""
        # The exponent is bounded so that a long outage cannot overflow it.
        wait = min(self.longest_s, self.first_s * self.factor ** min(attempt - 1, 64))
        return wait * (1 + self.jitter * (2 * uniform() - 1))


@dataclass(frozen=True, slots=True)
class Arrival:
    """One received picture that is not converted yet: a dropped one never is.

    Attributes:
        pts: presentation time on the connection's own clock, seconds; None when unknown.
        load: makes the frame; called at most once, by the consumer's thread.
    """

    pts: float | None
    load: Callable[[], Frame]


class Connection(Protocol):
    """One opened camera or network stream. Used by one thread at a time."""

    rate: float | None

    def arrivals(self) -> Iterator[Arrival]:
        """Pictures as they come; returns when the other side ends or the connection is lost."""

    @property
    def failure(self) -> str | None:
        """Why the connection was lost; None after an orderly end."""

    @property
    def damaged(self) -> int:
        """Broken packets and pictures so far."""

    def close(self) -> None:
        """Release it."""


class LiveSource(Source):
    """The newest frames of a camera or network stream; see `open_source`.

    Iteration waits for a frame newer than the last one. It ends when the source is closed, or
    after an orderly end when `backoff.attempts` is 0; it raises SourceError once every attempt to
    reconnect has failed. `close` may be called from any thread and wakes a waiting consumer.

    Attributes:
        received: pictures decoded, on all connections.
        dropped: pictures replaced by a newer one before the consumer took them.
        reconnects: connections opened again after a loss.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        connection: Connection | None = None,
        every: int = 1,
        backoff: Backoff | None = None,
        first_frame_s: float = 10.0,
        close_s: float = 6.0,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], bool] | None = None,
        uniform: Callable[[], float] = random.random,
    ) -> None:
        """Start receiving and wait for the first frame.

        Args:
            name: the input as the caller named it.
            connect: opens a connection, or raises SourceError.
            connection: one that is open already, used first.
            every: keep each N-th received picture.
            backoff: when to reconnect.
            first_frame_s: longest wait for the first frame, seconds.
            close_s: longest wait of `close` for the reader thread, seconds.
            clock: monotonic seconds; replaced in tests, as are the next two.
            wait: sleeps for seconds; True when `close` woke it.
            uniform: numbers in [0, 1) for the jitter.
        Raises:
            SourceError: the first connection fails, or brings no frame in time.
        """
        self._name = name
        self._connect = connect
        self._every = every
        self._backoff = backoff or Backoff()
        self._close_s = close_s
        self._clock = clock
        self._stop = threading.Event()
        self._wait = wait or self._stop.wait
        self._uniform = uniform
        self._changed = threading.Condition()
        self._newest: Arrival | None = None
        self._end: SourceError | None = None
        self._ended = False
        self._connection: Connection | None = connection or connect()
        self._last_pts: tuple[float, float] | None = None  # (pts, clock) of the last picture
        self._damaged_before = 0
        # Counted since the last picture: a server that accepts and sends nothing must not loop for ever.
        self._failed_attempts = 0
        self.received = self.dropped = self.delivered = self.reconnects = 0
        rate = self._connection.rate
        self._reader = threading.Thread(target=self._receive, name=f"texvlm source {name}", daemon=True)
        self._reader.start()
        try:
            self._first: Frame | None = self._take(timeout=first_frame_s)
        except BaseException:
            self.close()
            raise
        if self._first is None:
            self.close()
            raise SourceError(f"{name}: connected, but no frame came (waited up to {first_frame_s:g} s)")
        self._info = SourceInfo(name, "live", self._first.size, rate=rate / every if rate else None)

    @property
    def info(self) -> SourceInfo:
        """Facts known at opening."""
        return self._info

    def __next__(self) -> Frame:
        frame, self._first = self._first, None
        if frame is None or self._stop.is_set():
            frame = self._take()
        if frame is None:
            raise StopIteration
        self.delivered += 1
        return frame

    def describe(self) -> dict[str, Any]:
        """Facts and counters so far."""
        with self._changed:
            connected = self._connection is not None
            damaged = self._damaged_before + (self._connection.damaged if self._connection else 0)
        return describe_info(self._info) | {
            "received": self.received,
            "delivered": self.delivered,
            "dropped": self.dropped,
            "damaged": damaged,
            "reconnects": self.reconnects,
            "connected": connected,
        }

    def close(self) -> None:
        """Stop receiving, from any thread.

        Waits for the reader, which may sit in a read until its time-out; past `close_s` it is left
        to end by itself and releases the connection then.
        """
        self._stop.set()
        with self._changed:
            self._newest = None
            self._changed.notify_all()
        if threading.current_thread() is not self._reader:
            self._reader.join(self._close_s)

    def _take(self, timeout: float | None = None) -> Frame | None:
        """The newest frame, waiting for it; None when the source ended, was closed, or time ran out."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._ended or self._stop.is_set(), timeout)
            arrival, self._newest = self._newest, None
            if self._stop.is_set():
                return None
            if arrival is None:
                if self._end is not None:
                    raise self._end
                return None
        return replace(arrival.load(), pts=arrival.pts)

    def _receive(self) -> None:
        """The reader thread: owns the connection from here on."""
        lost: SourceError | None = None
        try:
            while self._connection is not None:
                self._drain(self._connection)
                failure = self._connection.failure
                self._disconnect()
                if self._stop.is_set() or (self._backoff.attempts == 0 and failure is None):
                    return
                _log.warning("%s: %s", self._name, failure or "the other side ended the stream")
                reconnected, error = self._reconnect(failure or "the other side ended the stream")
                lost = error
                with self._changed:
                    self._connection = reconnected
        except Exception as error:  # a thread must hand its error to the consumer, whatever it is
            lost = SourceError(f"{self._name}: receiving failed: {type(error).__name__}: {error}")
            lost.__cause__ = error
        finally:
            self._disconnect()
            with self._changed:
                self._end, self._ended = lost, True
                self._changed.notify_all()

    def _drain(self, connection: Connection) -> None:
        """Publish pictures until the connection ends or the source is closed."""
        shift: float | None = None
        for arrival in connection.arrivals():
            now = self._clock()
            pts = arrival.pts
            if pts is not None:
                # A new connection may start its clock anew; time goes on by the clock on the wall.
                if shift is None:
                    last = self._last_pts
                    shift = 0.0 if last is None or self.reconnects == 0 else last[0] + (now - last[1]) - pts
                pts += shift
                self._last_pts = (pts, now)
            with self._changed:
                if self._stop.is_set():
                    return
                wanted = self.received % self._every == 0
                self.received += 1
                self._failed_attempts = 0
                if wanted:
                    self.dropped += self._newest is not None
                    self._newest = Arrival(pts, arrival.load)
                    self._changed.notify_all()

    def _reconnect(self, failure: str) -> tuple[Connection | None, SourceError | None]:
        """A new connection, or None with the reason for giving up (None when closed meanwhile)."""
        while self._failed_attempts < self._backoff.attempts:
            self._failed_attempts += 1
            if self._wait(self._backoff.wait_s(self._failed_attempts, self._uniform)) or self._stop.is_set():
                return None, None
            try:
                connection = self._connect()
            except SourceError as error:
                failure = str(error)
                continue
            with self._changed:
                self.reconnects += 1
            return connection, None
        return None, SourceError(
            f"{self._name}: lost, and {self._backoff.attempts} attempts to reconnect failed; last: {failure}"
        )

    def _disconnect(self) -> None:
        with self._changed:
            connection, self._connection = self._connection, None
            if connection is not None:
                self._damaged_before += connection.damaged
        if connection is not None:
            connection.close()
