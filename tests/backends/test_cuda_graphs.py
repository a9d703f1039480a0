"""Captured frames on the emulation and on a GPU: replays, replays inside a caller's own graph, gaze that moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from required import REQUIRED, unavailable

from texvlm import Engine
from texvlm.backends.base import Backend
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.opening import open_cuda
from texvlm.errors import BackendUnavailable

OPTIONS = {"tokens": 40, "threshold": 0}
GAZE = (0.2, 0.7)

DEVICES: list[Any] = ["cuda-host"]
if torch.cuda.is_available() or "cuda" in REQUIRED:
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.cuda))


@dataclass(frozen=True, slots=True)
class Device:
    """One backend, and how a caller captures a graph of its own there: `capture` returns what runs it."""

    backend: Backend
    capture: Callable[[Callable[[], None]], Callable[[], None]]

    def put(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self.backend.empty((1,), torch.uint8).device)

    def noise(self, rng: np.random.Generator) -> torch.Tensor:
        return self.put(torch.from_numpy(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)))


@pytest.fixture(params=DEVICES)
def device(request) -> Iterator[Device]:
    yield from on_gpu() if request.param == "cuda" else on_host()


def on_host() -> Iterator[Device]:
    driver, compiler = open_host_device()
    ends = ExitStack()
    pool: list[torch.Tensor] = []  # torch keeps what is made during a capture for the graph; here the fixture does
    make = torch.empty

    def make_and_keep(*arguments: Any, **named: Any) -> torch.Tensor:
        pool.append(make(*arguments, **named))
        return pool[-1]

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        stream = driver.create_stream()
        with driver.use_stream(stream), patch.object(torch, "empty", make_and_keep):
            driver.begin_capture(stream)
            work()
            graph = driver.end_capture(stream)
        executable = driver.instantiate(graph)
        ends.callback(driver.destroy_stream, stream)
        ends.callback(driver.destroy_graph, graph)
        ends.callback(driver.destroy_executable, executable)
        return lambda: driver.launch_graph(executable, driver.current_stream())

    backend = CudaBackend(driver, compiler)
    with ends:
        yield Device(backend, capture)
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


def on_gpu() -> Iterator[Device]:
    try:
        backend = open_cuda(filtering="exact")
    except BackendUnavailable as refusal:
        unavailable("cuda", str(refusal))

    def capture(work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            work()
        return graph.replay

    yield Device(backend, capture)
    backend.close()


def expected(cpu: Engine, frame: torch.Tensor, gaze: tuple[float, float]) -> torch.Tensor:
    cpu.submit(frame.cpu().numpy())
    return cpu.tokens(gaze).pixels


def test_replays_give_what_calls_give(device, rng):
    with Engine(backend=device.backend, **OPTIONS) as engine, Engine(backend="cpu", **OPTIONS) as cpu:
        first = device.noise(rng)
        engine.submit(first)
        with engine.capture(first, device.put(torch.tensor([GAZE]))) as recorded:
            for gaze in (GAZE, (0.9, 0.1), (0.5, 0.5)):
                frame = device.noise(rng)
                pixels = recorded.replay(frame, device.put(torch.tensor([gaze]))).pixels
                torch.testing.assert_close(pixels.cpu(), expected(cpu, frame, gaze), rtol=0, atol=1e-5)


def test_a_replay_can_be_part_of_a_callers_own_graph(device, rng):
    """A device refuses to launch a graph on a stream that is being captured: the kernels go in one by one."""
    place, gaze = device.noise(rng), device.put(torch.tensor([GAZE]))
    with Engine(backend=device.backend, **OPTIONS) as engine, Engine(backend="cpu", **OPTIONS) as cpu:
        engine.submit(place)
        with engine.capture(place, gaze) as recorded:
            given: list[torch.Tensor] = []
            run = device.capture(lambda: given.append(recorded.replay().pixels))
            for again in (run, run, recorded.replay):  # and by itself, again
                place.copy_(device.noise(rng))
                again()
                torch.testing.assert_close(given[0].cpu(), expected(cpu, place, GAZE), rtol=0, atol=1e-5)


def test_calls_can_be_part_of_a_callers_own_graph(device, rng):
    place, gaze = device.noise(rng), device.put(torch.tensor([GAZE]))
    with Engine(backend=device.backend, **OPTIONS) as engine, Engine(backend="cpu", **OPTIONS) as cpu:
        engine.submit(place)
        engine.tokens(gaze, copy=False)  # once before: kernels are compiled and memory is made
        given: list[torch.Tensor] = []

        def work() -> None:
            engine.submit(place)
            given.append(engine.tokens(gaze, copy=False).pixels)

        run = device.capture(work)
        for _ in range(3):
            place.copy_(device.noise(rng))
            run()
            torch.testing.assert_close(given[0].cpu(), expected(cpu, place, GAZE), rtol=0, atol=1e-5)


def test_gaze_of_earlier_replays_is_let_go(device, rng):
    frame = device.noise(rng)
    with Engine(backend=device.backend, **OPTIONS) as engine:
        engine.submit(frame)
        with engine.capture(frame, device.put(torch.tensor([[0.5, 0.5]]))) as recorded:
            held = []
            for u in (0.1, 0.2, 0.3):
                recorded.replay(frame, device.put(torch.tensor([[u, 0.5]])))
                held.append([len(launch.memory) for launch in recorded._recording._launches])
            assert held[0] == held[1] == held[2]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_gaze_may_lie_before_or_after_that_of_the_capture(device, rng, order):
    frame = device.noise(rng)
    both = device.put(torch.tensor([[[0.2, 0.3]], [[0.8, 0.6]]]))
    first, second = (both[index] for index in order)
    with Engine(backend=device.backend, **OPTIONS) as engine:
        engine.submit(frame)
        with engine.capture(frame, first) as recorded:
            pixels = recorded.replay(frame, second).pixels
            assert torch.equal(pixels, engine.tokens(second).pixels)
