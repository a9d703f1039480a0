"""What waits until queued kernels have run: done after them, in order, and never by waiting but at the end."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from cuda_device import open_host_device

from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.deferred import Deferred
from texvlm.device_frames import DeviceFrame
from texvlm.errors import DeviceCallError
from texvlm.pyramid import TextureSpec


@pytest.fixture
def late():
    """A device whose streams run only when somebody waits for them."""
    driver, compiler = open_host_device(late_streams=True)
    yield driver, compiler
    assert not driver.leaks()
    assert not driver.violations


def test_actions_are_done_after_the_stream_and_in_order(late):
    driver, _ = late
    stream, done = driver.create_stream(), []
    deferred = Deferred(driver)
    for number in range(3):
        deferred.add(lambda number=number: done.append(number), stream)
    assert not done
    driver.synchronize(stream)
    assert not done  # nobody came by
    deferred.add(lambda: done.append(3), stream)
    assert done == [0, 1, 2]
    deferred.close()
    assert done == [0, 1, 2, 3]
    driver.destroy_stream(stream)


@pytest.mark.parametrize("call", ["create_event", "record"])
def test_what_cannot_be_marked_is_waited_for(late, call):
    driver, _ = late
    stream, done = driver.create_stream(), []
    deferred = Deferred(driver)
    driver.fail(call)
    with pytest.raises(DeviceCallError):
        deferred.add(lambda: done.append(1), stream)
    assert done == [1]
    deferred.close()
    driver.destroy_stream(stream)


def test_a_lent_frame_is_held_until_it_was_read(late, rng, monkeypatch):
    driver, compiler = late
    kept: list[torch.Tensor] = []  # torch keeps memory that queued kernels use; here the test does
    make = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, **k: kept.append(make(*a, **k)) or kept[-1])
    backend = CudaBackend(driver, compiler)
    stream = driver.create_stream()
    texture = backend.create_texture(TextureSpec((64, 48)))
    texture.frame_sizes[0] = (64, 48)
    pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    memory = torch.from_numpy(pixels.copy())
    owner = weakref.ref(memory)
    with driver.use_stream(stream):
        backend.refresh(texture, 0, DeviceFrame(memory, lent=True), None)
        del memory
        gc.collect()
        assert owner() is not None
    np.testing.assert_array_equal(backend.read_level(texture, 0, 0), pixels)  # on another stream, after this one
    with driver.use_stream(stream):
        backend.refresh(texture, 0, DeviceFrame(torch.from_numpy(pixels), lent=True), 0)  # comes by
    gc.collect()
    assert owner() is None
    assert backend.counters.frames == 0  # on the default stream: none may end as the last one used
    driver.destroy_stream(stream)
    backend.close()
