"""Calls on different streams and devices: what is queued comes in order, and a thread keeps its own device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from cuda_device import open_host_device

from texvlm.backends.base import Normalisation
from texvlm.backends.cuda import device_state
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.device_frames import DeviceFrame
from texvlm.layouts import Focus, UniformGrid
from texvlm.pyramid import TextureSpec

SPEC = TextureSpec((64, 48))


@pytest.fixture
def device() -> Iterator[Any]:
    """A driver, its compiler, and two streams beside the default one."""
    driver, compiler = open_host_device()
    streams = driver.create_stream(), driver.create_stream()
    backends: list[CudaBackend] = []

    def open_backend() -> CudaBackend:
        backends.append(CudaBackend(driver, compiler))
        return backends[-1]

    yield driver, open_backend, streams
    for backend in backends:
        assert backend.counters  # on the default stream: none may end as the last one used
    for stream in streams:
        driver.destroy_stream(stream)
    for backend in backends:
        backend.close()
    assert not driver.leaks()
    assert not driver.violations


def frame() -> DeviceFrame:
    return DeviceFrame(torch.zeros(48, 64, 3, dtype=torch.uint8))


def orders(driver: Any, start: int) -> list[tuple[str, int]]:
    """(call, stream) of each record of an event and each wait for one."""
    return [
        (name, arguments[1] if name == "record" else arguments[0])
        for name, arguments in driver.calls[start:]
        if name in ("record", "wait")
    ]


def test_what_a_texture_starts_with_comes_before_its_first_use_elsewhere(device):
    """Versions and clocks are set to 0 on the stream that is current when a texture is made."""
    driver, open_backend, (first, second) = device
    backend = open_backend()
    with driver.use_stream(first):
        texture = backend.create_texture(SPEC)
    start = len(driver.calls)
    with driver.use_stream(second):
        backend.refresh(texture, 0, frame(), None)
    assert orders(driver, start) == [("record", first), ("wait", second)]


def test_totals_are_0_before_the_first_kernel_adds_to_them(device):
    driver, open_backend, (first, second) = device
    with driver.use_stream(first):
        backend = open_backend()
    start = len(driver.calls)
    with driver.use_stream(second):
        backend.create_texture(SPEC)
    assert orders(driver, start) == [("record", first), ("wait", second)]


def test_one_stream_waits_for_nothing(device):
    driver, open_backend, _ = device
    backend = open_backend()
    texture = backend.create_texture(SPEC)
    start = len(driver.calls)
    backend.refresh(texture, 0, frame(), None)
    backend.refresh(texture, 0, frame(), 0)
    assert orders(driver, start) == []


def test_torch_is_told_which_streams_use_kept_tokens(device, monkeypatch):
    """Else it hands their memory out again when they are dropped, while another stream still writes it."""
    driver, open_backend, (other, _) = device
    told: list[int] = []
    monkeypatch.setattr(device_state, "use_on_current_stream", lambda *tensors: told.append(driver.current_stream()))
    backend = open_backend()
    texture = backend.create_texture(SPEC)
    backend.refresh(texture, 0, frame(), None)
    texture.frame_sizes[0] = SPEC.size
    table = UniformGrid().plan(SPEC.size, Focus(np.array([[0.5, 0.5]])))
    rows = torch.from_numpy(table.view(np.int32).reshape(len(table), -1).copy())
    keeper = backend.keep(texture, len(table), 16, torch.float32)
    for stream in (0, 0, other, other, 0):
        with driver.use_stream(stream):
            keeper.refresh(texture, rows, Normalisation.identity(3))
    assert told == [0, other, 0]


def test_every_verb_gives_the_thread_its_device_back(monkeypatch):
    """`current_stream` makes the device current; outside of `guard` a thread would be left with it."""
    driver, compiler = open_host_device()
    other = driver.create_stream()
    depth, real = 0, driver.current_stream

    @contextmanager
    def guard() -> Iterator[None]:
        nonlocal depth
        depth += 1
        yield
        depth -= 1

    entered = 0

    def current_stream() -> int:
        nonlocal entered
        entered += 1
        assert depth, "the device of this thread is lost"
        return real()

    monkeypatch.setattr(driver, "guard", guard)
    monkeypatch.setattr(driver, "current_stream", current_stream)
    backend = CudaBackend(driver, compiler)
    texture = backend.create_texture(SPEC)
    pixels = np.zeros((48, 64, 3), np.uint8)
    backend.refresh(texture, 0, DeviceFrame(torch.from_numpy(pixels)), None)
    texture.frame_sizes[0] = SPEC.size
    table = UniformGrid().plan(SPEC.size, Focus(np.array([[0.5, 0.5]])))
    out = backend.empty((len(table), 3, 16, 16), torch.float32)
    backend.sample(texture, table, out, Normalisation.identity(3))
    backend.keep(texture, len(table), 16, torch.float32).refresh(texture, table, Normalisation.identity(3))
    backend.read_level(texture, 0, 0)
    reader = backend.reader()
    assert reader is not None
    reader.wait_for(other)
    assert backend.counters.tokens_sampled == 2 * len(table)
    backend.destroy_texture(texture)
    driver.destroy_stream(other)
    before = entered
    backend.close()
    assert entered > before
    assert depth == 0
