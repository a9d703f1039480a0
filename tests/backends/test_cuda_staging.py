"""Frames under way: nothing is read too early or written too late, and a failure leaves nothing behind.

Streams are late here: what is queued runs when somebody waits for it, so a missing wait shows as wrong texels.
"""

from __future__ import annotations

import numpy as np
import pytest
import reference
import torch
from host_frames_rig import SIDES, always, assert_holds, changed, open_device, picture

from texvlm import Engine
from texvlm.backends.cuda.host_policy import Rates
from texvlm.backends.cuda.staging import BAND_BYTES, SLOTS
from texvlm.errors import DeviceCallError
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.yuv import nv12

SOURCES = 3 * SLOTS + 1


@pytest.fixture
def late_memory(monkeypatch) -> list[torch.Tensor]:
    """Keeps what torch hands out: on a device memory is ordered by streams, here it would be given away at once."""
    kept: list[torch.Tensor] = []
    make = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: kept.append(make(*a, **k)) or kept[-1])
    return kept


def leave_stream(engine: Engine, frame: np.ndarray) -> None:
    """Use every slot on the default stream, so that the emulation need not look at another one any more."""
    for _ in range(SLOTS):
        frame = frame ^ 255
        engine.submit(frame)


@pytest.mark.parametrize("page_locked", [False, True])
@pytest.mark.parametrize("side", SIDES)
def test_a_frame_may_be_overwritten_when_submit_returns(late_memory, rng, side, page_locked):
    """More frames than slots, each into a layer of its own, of growing sizes: slots are used again, and made larger."""
    sizes = [(16 + 9 * index, 20 + 5 * index) for index in range(SOURCES)]
    with open_device(side, late_streams=True) as device:
        driver, stream = device.driver, device.driver.create_stream()
        lent = [device.pinned(np.zeros(40000, np.uint8)) if page_locked else np.empty(40000, np.uint8)]
        frames = [picture(rng, size) for size in sizes]
        options = {"size": sizes[-1], "channels": 3, "layout": "uniform", "threshold": 0}
        with Engine(backend=device.backend, sources=SOURCES, **options) as engine:
            with driver.use_stream(stream):
                for _ in range(3):
                    for source, frame in enumerate(frames):
                        given = lent[0][: frame.size].reshape(frame.shape)
                        given[:] = frame
                        engine.submit(given, source)
                        lent[0][:] = 77
                        last = frames[source]
                        frames[source] = changed(rng, frame)
                    frames[source] = last
                for source, frame in enumerate(frames[:-1]):
                    engine.submit(frame, source)
            driver.synchronize(stream)
            for source, frame in enumerate(frames):
                assert_holds(engine, frame, source)
            leave_stream(engine, frames[0])
        driver.destroy_stream(stream)
        if page_locked:
            device.free(lent[0])
        assert late_memory


def test_page_locked_frames_are_read_where_they_lie_until_they_are_released(late_memory, rng):
    with open_device("device", late_streams=True) as device:
        driver, stream = device.driver, device.driver.create_stream()
        frames = [picture(rng, (70, 50)) for _ in range(SOURCES)]
        lent = [device.pinned(frame) for frame in frames]
        with Engine(backend=device.backend, sources=SOURCES, layout="uniform", threshold=0) as engine:
            with driver.use_stream(stream):

                def submit_all() -> None:
                    for source, frame in enumerate(lent):
                        engine.submit(frame, source, non_blocking=True)

                calls = device.calls(submit_all)
                assert [source for _, source, *_ in calls["copy"]] == [frame.ctypes.data for frame in lent]
                assert "allocate_pinned" not in calls
                frames[-1] = lent[-1][:] = changed(rng, frames[-1])  # too early: it has not been read yet
                device.backend.release_frames()
                for frame in lent:
                    frame[:] = 77
            driver.synchronize(stream)
            for source, frame in enumerate(frames):
                assert_holds(engine, frame, source)
            assert not device.calls(device.backend.release_frames)  # nothing is lent any more
            leave_stream(engine, frames[0])
        driver.destroy_stream(stream)
        for frame in lent:
            device.free(frame)


@pytest.mark.parametrize("page_locked", [False, True])
def test_only_page_locked_frames_are_waited_for(rng, page_locked):
    with open_device("device", late_streams=True) as device:
        frame = picture(rng, (70, 50))
        given = device.pinned(frame) if page_locked else frame
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            for _ in range(SLOTS):
                engine.submit(given)
            calls = device.calls(lambda: engine.submit(given))
            assert len(calls["wait_on_host"]) == 1 + page_locked  # the slot's turn; and the frame itself
            assert "synchronize" not in calls
        if page_locked:
            device.free(given)


def test_a_page_locked_frame_compared_on_the_host_is_never_waited_for(rng):
    with open_device("host", late_streams=True) as device:
        given = device.pinned(picture(rng, (70, 50)))
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            engine.submit(given)
            given[20:30] ^= 1
            expected = given.copy()
            calls = device.calls(lambda: engine.submit(given))
            assert len(calls["wait_on_host"]) == 2  # the next slot's turn, and its memory, which is new
            given[:] = 77
            assert_holds(engine, expected)
        device.free(given)


def test_a_large_frame_goes_in_bands(rng):
    with open_device("device", late_streams=True) as device:
        height = BAND_BYTES // (1000 * 3) * 2 + 7
        frame = picture(rng, (1000, height))
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            calls = device.calls(lambda: engine.submit(frame))
            assert [size for _, _, size, _ in calls["copy"]] == [BAND_BYTES, BAND_BYTES, frame.size - 2 * BAND_BYTES]
            np.testing.assert_array_equal(engine.read_level(0), frame)


def test_planes_that_are_page_locked_or_not(rng):
    y, uv = rng.integers(0, 256, (45, 64), dtype=np.uint8), rng.integers(0, 256, (23, 32, 2), dtype=np.uint8)
    with open_device("device", late_streams=True) as device:
        lent = device.pinned(y)
        frame = nv12(lent, uv.copy(), matrix="bt709", range="limited")
        expected = frame.to_frame().pixels
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            engine.submit(frame)
            lent[:], frame.uv[:] = 77, 77
            assert_holds(engine, expected)
        device.free(lent)


# ---------------------------------------------------------------- failures

CALLS = ("copy", "record", "wait", "wait_on_host", "launch", "allocate_pinned", "is_done")
QUIET = {("is_done", side) for side in SIDES}
"""Not called there: only who decides looks at what was dirty on the device."""


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("side", [*SIDES, "auto"])
def test_a_failed_submit_costs_one_frame_of_one_source(rng, side, late, call):
    """Each call of a submit fails in turn, from the first frame on; frames are overwritten all the same."""
    policy = always(Rates(compare=1e9, copy=1e12, bus=1e12)) if side == "auto" else side
    words: set[str] = set()
    for nth in range(1, 5):
        with open_device(policy, late_streams=late) as device:
            lent = device.pinned(np.zeros((50, 70, 3), np.uint8))
            frames = [picture(rng, (70, 50)) for _ in range(2)]
            with Engine(backend=device.backend, sources=2, layout="uniform", threshold=0) as engine:
                engine.submit(frames[1], 1)
                for step in range(12):
                    given = lent if step % 2 else np.empty_like(lent)
                    given[:] = frames[0]
                    try:
                        with device.failing(call, nth):
                            engine.submit(given)
                    except (DeviceCallError, MemoryError) as error:
                        words.add(str(error))
                        if engine.frame_size() is None:
                            assert engine.submit(frames[0]).tiles.all()
                    given[:] = 77
                    assert_holds(engine, frames[0])
                    assert_holds(engine, frames[1], 1)
                    frames[0] = changed(rng, frames[0])
            device.free(lent)
    assert words == ({f"{call}: failure asked for by a test"} if (call, side) not in QUIET else set())


def test_nothing_of_a_failed_transfer_is_under_way_afterwards(rng):
    """One plane is on its way when the other fails: its memory may be freed at once."""
    with open_device("device", late_streams=True) as device:
        lent = device.pinned(rng.integers(0, 256, (44, 64), dtype=np.uint8))
        frame = nv12(lent, rng.integers(0, 256, (22, 32, 2), dtype=np.uint8), matrix="bt709", range="limited")
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            with device.failing("copy", 2), pytest.raises(DeviceCallError, match="failure asked for"):
                engine.submit(frame)
            device.free(lent)
            assert not device.calls(device.backend.release_frames)


def test_the_mirror_is_not_believed_after_a_failure(rng):
    """Without the engine's rule that such a source is taken whole, what is on the device is found out."""
    with open_device("host") as device:
        backend, frame = device.backend, picture(rng, (70, 50))
        texture = backend.create_texture(TextureSpec((70, 50)))
        texture.frame_sizes[0] = (70, 50)
        backend.refresh(texture, 0, Frame(frame), None)
        frame = frame ^ 1
        with device.failing("launch"), pytest.raises(DeviceCallError, match="failure asked for"):
            backend.refresh(texture, 0, Frame(frame), 0)
        assert backend.refresh(texture, 0, Frame(frame), 0).all()
        for level, expected in enumerate(reference.pyramid(frame, texture.spec.levels)):
            np.testing.assert_array_equal(backend.read_level(texture, 0, level), expected)


CLOSING = [(call, nth) for call in ("wait_on_host", "destroy_event", "free_pinned", "synchronize") for nth in (1, 2)]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize(("call", "nth"), [*CLOSING, ("destroy_stream", 1)])
def test_a_failure_while_closing_leaves_nothing_behind(rng, side, call, nth):
    with open_device(side) as device:
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            for _ in range(2 * SLOTS):
                engine.submit(picture(rng, (70, 50)))
        with device.failing(call, nth), pytest.raises(DeviceCallError, match="failure asked for"):
            device.backend.close()
