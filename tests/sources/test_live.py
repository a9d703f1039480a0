"""Live sources without a network: newest frame only, back-off, clocks, closing."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from texvlm.errors import SourceError
from texvlm.frames import Frame
from texvlm.sources.live import Arrival, Backoff, LiveSource

WAIT_S = 10.0  # only ever reached when something is broken


def frame(value: int) -> Frame:
    return Frame(np.full((8, 8, 3), value, np.uint8))


class Camera:
    """A connection that plays a script: numbers are pictures, callables are run between them."""

    rate = 30.0
    damaged = 0

    def __init__(self, *script: int | Callable[[], object], failure: str | None = None, start: float = 0.0) -> None:
        self.script, self.failure, self.start = script, failure, start
        self.loaded: list[int] = []
        self.closed = threading.Event()

    def arrivals(self) -> Iterator[Arrival]:
        index = 0
        for step in self.script:
            if callable(step):
                step()
                continue
            yield Arrival(self.start + index / 30, lambda step=step: self.load(step))
            index += 1

    def load(self, value: int) -> Frame:
        self.loaded.append(value)
        return frame(value)

    def close(self) -> None:
        self.closed.set()


class Gate:
    """Stops a script until the test opens it; `reached` tells that the script stands there."""

    def __init__(self) -> None:
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.reached.set()
        assert self.opened.wait(WAIT_S)


def opener(*answers: Camera | str) -> Callable[[], Camera]:
    """Gives the cameras one after the other; a text is a refusal."""
    rest = list(answers)

    def connect() -> Camera:
        answer = rest.pop(0)
        if isinstance(answer, str):
            raise SourceError(answer)
        return answer

    return connect


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.002)


def values(source: LiveSource, count: int) -> list[int]:
    return [int(next(source).pixels[0, 0, 0]) for _ in range(count)]


# ---- back-off


def test_waits_double_up_to_the_longest():
    backoff = Backoff(first_s=0.5, factor=2, longest_s=5, jitter=0.2)
    assert [backoff.wait_s(n, lambda: 0.5) for n in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]
    assert backoff.wait_s(1, lambda: 0.0) == pytest.approx(0.4)
    assert backoff.wait_s(10**6, lambda: 0.5) == 5


@given(st.integers(1, 10**9), st.floats(0, 0.999), st.floats(1, 10))
def test_waits_are_bounded(attempt, uniform, factor):
    wait = Backoff(first_s=0.1, factor=factor, longest_s=3, jitter=0.5).wait_s(attempt, lambda: uniform)
    assert 0.05 <= wait <= 4.5


def test_bad_back_off_is_refused():
    for options in ({"factor": 0.5}, {"first_s": -1}, {"jitter": 2}, {"attempts": -1}):
        with pytest.raises(ValueError, match=r"accepted|waits are"):
            Backoff(**options)


class Waits:
    """Stands in for sleeping; remembers how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> bool:
        self.seconds.append(seconds)
        return False


def test_a_lost_connection_is_opened_again_after_longer_and_longer_waits():
    end = Gate()
    first = Camera(1, gate := Gate(), failure="reset by peer")
    second = Camera(2, end)
    waits = Waits()
    connect = opener(first, "refused", "refused", second)
    with LiveSource("cam", connect, wait=waits, uniform=lambda: 0.5, backoff=Backoff(first_s=1, factor=3)) as source:
        assert values(source, 1) == [1]
        gate.opened.set()
        assert values(source, 1) == [2]
        assert waits.seconds == [1, 3, 9]
        facts = source.describe()
        end.opened.set()
    assert (facts["reconnects"], facts["connected"], facts["received"]) == (1, True, 2)
    assert first.closed.is_set()
    assert second.closed.wait(WAIT_S)


def test_a_frame_starts_the_waits_anew():
    gates = [Gate() for _ in range(3)]
    cameras = [Camera(n, gate) for n, gate in enumerate(gates)]
    waits = Waits()
    connect = opener(cameras[0], "refused", cameras[1], "refused", cameras[2])
    with LiveSource("cam", connect, wait=waits, uniform=lambda: 0.5, backoff=Backoff(first_s=1, factor=2)) as source:
        for n, gate in enumerate(gates):
            assert values(source, 1) == [n]
            gate.opened.set() if n < 2 else None
        assert waits.seconds == [1, 2, 1, 2]
        gates[2].opened.set()


def test_giving_up_raises_with_the_last_reason_and_keeps_raising():
    waits = Waits()
    connect = opener(Camera(1, gate := Gate(), failure="cable pulled"), "refused", "host is down")
    source = LiveSource("rtsp://cam", connect, wait=waits, backoff=Backoff(attempts=2))
    assert values(source, 1) == [1]
    gate.opened.set()
    for _ in range(2):
        with pytest.raises(SourceError, match=r"rtsp://cam: lost, and 2 attempts .* last: host is down"):
            next(source)
    assert source.describe()["connected"] is False
    source.close()


def test_a_server_that_accepts_and_sends_nothing_does_not_loop_for_ever():
    waits = Waits()
    connect = opener(Camera(1, gate := Gate()), *[Camera() for _ in range(3)])
    with LiveSource("cam", connect, wait=waits, uniform=lambda: 0.5, backoff=Backoff(attempts=3)) as source:
        assert values(source, 1) == [1]
        gate.opened.set()
        with pytest.raises(SourceError, match="the other side ended the stream"):
            next(source)
    assert waits.seconds == [0.5, 1, 2]


def test_without_reconnecting_an_orderly_end_ends_and_a_loss_raises():
    with LiveSource("cam", opener(Camera(1)), backoff=Backoff(attempts=0)) as source:
        assert [int(f.pixels[0, 0, 0]) for f in source] == [1]
    with (
        LiveSource("cam", opener(Camera(1, failure="reset")), backoff=Backoff(attempts=0)) as source,
        pytest.raises(SourceError, match="reset"),
    ):
        list(source)


def test_the_first_connection_fails_at_once():
    with pytest.raises(SourceError, match="refused"):
        LiveSource("cam", opener("refused"))


def test_a_connection_without_frames_fails_at_opening():
    gate = Gate()
    camera = Camera(gate)
    with pytest.raises(SourceError, match="no frame came"):
        LiveSource("cam", opener(camera), first_frame_s=0.05, close_s=0.05)
    gate.opened.set()
    assert camera.closed.wait(WAIT_S)


def test_an_error_inside_the_reader_reaches_the_consumer():
    def fault() -> None:
        raise RuntimeError("decoder bug")

    with (
        LiveSource("cam", opener(Camera(1, fault))) as source,
        pytest.raises(SourceError, match="receiving failed: RuntimeError: decoder bug"),
    ):
        list(source)


# ---- only the newest


def test_late_frames_are_dropped_counted_and_never_converted():
    gates = Gate(), Gate(), Gate()
    camera = Camera(0, gates[0], *range(1, 101), gates[1], *range(101, 151), gates[2])
    with LiveSource("cam", opener(camera)) as source:
        assert values(source, 1) == [0]
        gates[0].opened.set()
        assert gates[1].reached.wait(WAIT_S)
        assert values(source, 1) == [100]
        gates[1].opened.set()
        assert gates[2].reached.wait(WAIT_S)
        assert values(source, 1) == [150]
        facts = source.describe()
        gates[2].opened.set()
    assert (facts["received"], facts["delivered"], facts["dropped"]) == (151, 3, 148)
    assert camera.loaded == [0, 100, 150]


def test_no_more_than_the_newest_picture_is_held():
    class Load:
        def __call__(self) -> Frame:
            return frame(0)

    alive: weakref.WeakSet[Load] = weakref.WeakSet()
    most = 0

    class Burst(Camera):
        def arrivals(self) -> Iterator[Arrival]:
            nonlocal most
            for index in range(500):
                load = Load()
                alive.add(load)
                most = max(most, len(alive))
                yield Arrival(index / 30, load)
            end()

    end = Gate()
    with LiveSource("cam", opener(Burst())) as source:
        assert end.reached.wait(WAIT_S)
        next(source)
        end.opened.set()
        assert source.received == 500
    assert most <= 4


def test_every_nth_of_the_received_pictures():
    gates = Gate(), Gate()
    camera = Camera(0, gates[0], 1, 2, 3, 4, 5, gates[1])
    with LiveSource("cam", opener(camera), every=3) as source:
        assert source.rate == 10
        assert values(source, 1) == [0]
        gates[0].opened.set()
        assert values(source, 1) == [3]
        gates[1].opened.set()
    assert source.dropped == 0


# ---- time and closing


def test_time_goes_on_across_a_reconnect():
    now = 100.0
    end = Gate()

    def later() -> None:
        nonlocal now
        gate()
        now = 107.0

    gate = Gate()
    cameras = Camera(1, later, start=5000.0), Camera(2, end, start=3.0)
    with LiveSource("cam", opener(*cameras), wait=Waits(), clock=lambda: now) as source:
        assert next(source).pts == 5000.0
        gate.opened.set()
        assert next(source).pts == pytest.approx(5007.0)
        end.opened.set()


def test_closing_from_another_thread_ends_a_waiting_iteration():
    gate = Gate()
    camera = Camera(1, gate)
    source = LiveSource("cam", opener(camera), close_s=0.05)
    seen: list[Frame] = []
    consumer = threading.Thread(target=lambda: seen.extend(source))
    consumer.start()
    assert gate.reached.wait(WAIT_S)
    source.close()
    consumer.join(WAIT_S)
    assert not consumer.is_alive()
    assert len(seen) <= 1
    gate.opened.set()
    assert camera.closed.wait(WAIT_S)
    assert list(source) == []
    source.close()


def test_closing_during_a_wait_to_reconnect_is_prompt():
    gate = Gate()
    connect = opener(Camera(1, gate, failure="lost"))
    source = LiveSource("cam", connect, backoff=Backoff(first_s=3600, longest_s=3600))
    assert values(source, 1) == [1]
    gate.opened.set()
    until(lambda: not source.describe()["connected"])
    source.close()
    assert list(source) == []
    assert not any(t.name == "texvlm source cam" for t in threading.enumerate())
