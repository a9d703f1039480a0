"""A captured frame in the hands of its caller: inside another capture, with gaze that moves in memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cuda_device import open_host_device

from texvlm import Engine
from texvlm.backends.cuda.backend import CudaBackend

OPTIONS = {"tokens": 40, "threshold": 0}


@pytest.fixture
def device():
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    yield driver, backend
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


def noise(rng: np.random.Generator) -> torch.Tensor:
    return torch.from_numpy(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8))


def test_a_replay_can_be_part_of_a_callers_own_graph(device, rng):
    """A device refuses to launch a graph on a stream that is being captured: the kernels go in one by one."""
    driver, backend = device
    place, gaze = noise(rng), torch.tensor([[0.2, 0.7]])
    stream = driver.create_stream()
    with Engine(backend=backend, **OPTIONS) as engine, Engine(backend="cpu", **OPTIONS) as cpu:
        engine.submit(place)
        with engine.capture(place, gaze) as recorded:
            with driver.use_stream(stream):
                driver.begin_capture(stream)
                pixels = recorded.replay().pixels
                graph = driver.end_capture(stream)
            executable = driver.instantiate(graph)
            for _ in range(2):
                place.copy_(noise(rng))
                driver.launch_graph(executable, stream)
                driver.synchronize(stream)
                cpu.submit(place.numpy())
                torch.testing.assert_close(pixels, cpu.tokens((0.2, 0.7)).pixels, rtol=0, atol=1e-6)
            place.copy_(noise(rng))
            cpu.submit(place.numpy())
            torch.testing.assert_close(
                recorded.replay().pixels, cpu.tokens((0.2, 0.7)).pixels, rtol=0, atol=1e-6
            )  # and by itself again
            driver.destroy_executable(executable)
            driver.destroy_graph(graph)
    driver.destroy_stream(stream)


def test_gaze_of_earlier_replays_is_let_go(device, rng):
    _, backend = device
    frame = noise(rng)
    with Engine(backend=backend, **OPTIONS) as engine:
        engine.submit(frame)
        with engine.capture(frame, torch.tensor([[0.5, 0.5]])) as recorded:
            held = []
            for u in (0.1, 0.2, 0.3):
                recorded.replay(frame, torch.tensor([[u, 0.5]]))
                held.append([len(launch.memory) for launch in recorded._recording._launches])
            assert held[0] == held[1] == held[2]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_gaze_may_lie_before_or_after_that_of_the_capture(device, rng, order):
    _, backend = device
    frame = noise(rng)
    both = torch.tensor([[[0.2, 0.3]], [[0.8, 0.6]]])
    first, second = (both[index] for index in order)
    with Engine(backend=backend, **OPTIONS) as engine:
        engine.submit(frame)
        with engine.capture(frame, first) as recorded:
            pixels = recorded.replay(frame, second).pixels
            assert torch.equal(pixels, engine.tokens(second).pixels)
