"""Device times: learnt without waiting, counted once, silent while a graph is captured."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from texvlm.backends._gl_context import open_device
from texvlm.backends._gl_timers import GlTimers
from texvlm.backends.cuda.timers import CudaTimers
from texvlm.errors import DeviceCallError


class Clock:
    """A device that runs only when told to, and takes 2 ms for every piece of work.

    Stands for the few calls of `cuda.api.Driver` that timers make.
    """

    def __init__(self) -> None:
        self.queued: list[object] = []
        self.now = 0.0
        self.reached: dict[int, float] = {}
        self.events: set[int] = set()
        self.capturing = False
        self.broken: str | None = None
        self.streams: list[int] = []

    def work(self) -> None:
        self.queued.append(None)

    def run(self, pieces: int = 1 << 30) -> None:
        """Do so many of the queued pieces; events between them cost nothing."""
        while self.queued and (pieces or self.queued[0] is not None):
            event = self.queued.pop(0)
            if event is None:
                self.now += 2.0
                pieces -= 1
            else:
                self.reached[event] = self.now

    def current_stream(self) -> int:
        return 7

    def is_capturing(self, stream: int) -> bool:
        return self.capturing

    def create_event(self, *, timing: bool = False) -> int:
        assert timing
        if self.broken == "create_event":
            raise DeviceCallError("create_event: broken")
        event = len(self.events) + len(self.reached) + 100
        self.events.add(event)
        return event

    def destroy_event(self, event: int) -> None:
        self.events.remove(event)

    def record(self, event: int, stream: int) -> None:
        if self.broken == "record":
            raise DeviceCallError("record: broken")
        assert not self.capturing
        self.streams.append(stream)
        self.reached.pop(event, None)
        self.queued.append(event)

    def is_done(self, event: int) -> bool:
        return event in self.reached

    def elapsed_ms(self, start: int, stop: int) -> float:
        return self.reached[stop] - self.reached[start]


def run_stage(clock, timers, name, pieces=1, **options):
    with timers.stage(name, **options):
        for _ in range(pieces):
            clock.work()


def test_times_appear_when_the_device_is_done_and_not_before():
    clock = Clock()
    timers = CudaTimers(clock)
    run_stage(clock, timers, "refresh", 3)
    run_stage(clock, timers, "sample")
    timers.poll()
    assert timers.total_ms == {}
    clock.run(3)
    timers.poll()
    assert timers.total_ms == {"refresh": 6.0}
    clock.run()
    run_stage(clock, timers, "refresh", 2)
    clock.run()
    timers.poll()
    assert timers.total_ms == {"refresh": 10.0, "sample": 2.0}
    assert timers.last_ms == {"refresh": 4.0, "sample": 2.0}
    assert timers.runs == {"refresh": 2, "sample": 1}


def test_stages_may_lie_in_each_other():
    clock = Clock()
    timers = CudaTimers(clock)
    with timers.stage("frame"):
        run_stage(clock, timers, "refresh", 2)
        run_stage(clock, timers, "sample")
    clock.run()
    timers.poll()
    assert timers.total_ms == {"frame": 6.0, "refresh": 4.0, "sample": 2.0}


def test_marks_go_to_the_stream_named_else_to_the_current_one():
    clock = Clock()
    timers = CudaTimers(clock)
    run_stage(clock, timers, "refresh")
    run_stage(clock, timers, "copy", place=3)
    assert clock.streams == [7, 7, 3, 3]


def test_marks_are_used_again_and_a_full_ring_times_nothing_instead_of_waiting():
    clock = Clock()
    timers = CudaTimers(clock, slots=2)
    for _ in range(3):
        run_stage(clock, timers, "refresh")
    assert timers.untimed == {"refresh": 1}
    assert len(clock.events) == 4
    clock.run()
    for _ in range(2):
        run_stage(clock, timers, "refresh")
        clock.run()
    timers.poll()
    assert timers.runs == {"refresh": 4}
    assert timers.total_ms == {"refresh": 8.0}
    assert len(clock.events) == 4
    timers.close()
    assert not clock.events
    assert timers.total_ms == {"refresh": 8.0}


def test_nothing_is_recorded_while_capturing_or_when_switched_off():
    clock = Clock()
    timers = CudaTimers(clock)
    clock.capturing = True
    run_stage(clock, timers, "refresh")
    clock.capturing = False
    run_stage(clock, timers, "plan")
    clock.run()
    clock.capturing = True
    timers.poll()  # a query of an event would spoil the capture
    assert timers.runs == {}
    clock.capturing = timers.enabled = False
    timers.poll()
    assert timers.runs == {"plan": 1}
    clock.queued.clear()
    run_stage(clock, timers, "refresh")
    assert clock.queued == [None]
    assert timers.runs == {"plan": 1}
    assert timers.untimed == {}


def test_a_stage_that_fails_is_not_timed_and_loses_no_mark():
    clock = Clock()
    timers = CudaTimers(clock, slots=1)
    with pytest.raises(ZeroDivisionError), timers.stage("refresh"):
        raise ZeroDivisionError
    clock.broken = "record"
    with pytest.raises(DeviceCallError, match="broken"):
        run_stage(clock, timers, "refresh")
    clock.broken = None
    run_stage(clock, timers, "refresh")
    clock.run()
    timers.poll()
    assert timers.runs == {"refresh": 1}
    assert timers.untimed == {}
    timers.close()
    assert not clock.events


def test_a_mark_that_cannot_be_made_leaves_none_behind():
    clock = Clock()
    timers = CudaTimers(clock)
    clock.broken = "create_event"
    with pytest.raises(DeviceCallError, match="broken"):
        run_stage(clock, timers, "refresh")
    timers.close()
    assert not clock.events


@pytest.mark.gl
def test_opengl_tells_how_long_it_was_at_it(gl_backend):
    context = open_device(None, hardware_only=False)
    pixels = np.zeros((512, 512, 4), np.uint8)

    def measure() -> tuple[GlTimers, GlTimers]:
        gl = context.gl
        gl.pending_errors()
        timers, small = GlTimers(gl), GlTimers(gl, slots=1)
        texture = gl.generate(gl.glCreateTextures, 0x8C1A)
        gl.glTextureStorage3D(texture, 1, 0x8058, 512, 512, 1)
        for _ in range(2):
            with timers.stage("upload"):
                gl.glTextureSubImage3D(texture, 0, 0, 0, 0, 512, 512, 1, 0x1908, 0x1401, pixels.ctypes.data)
        gl.glFinish()
        timers.poll()
        with small.stage("never"):
            pass
        small.close()
        small.poll()
        gl.check("timers")
        timers.close()
        gl.glDeleteTextures(1, ctypes.byref(ctypes.c_uint(texture)))
        gl.check("closing timers")
        return timers, small

    timers, small = context.run(measure)
    assert timers.runs == {"upload": 2}
    assert 0 < timers.last_ms["upload"] < timers.total_ms["upload"]
    assert small.runs == {}
