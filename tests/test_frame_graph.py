"""Captured frames: a replay does what submit and tokens would have done, with other frames, in one launch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from cuda_device import open_host_device

from texvlm import Engine
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.errors import ClosedError
from texvlm.yuv import nv12

SIZE = (200, 120)


@pytest.fixture
def cuda() -> Iterator[CudaBackend]:
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    yield backend
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


def frames_of(rng: np.random.Generator, count: int, size: tuple[int, int] = SIZE) -> list[torch.Tensor]:
    """A still picture in which a patch changes from frame to frame."""
    frame = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    made = []
    for _ in range(count):
        made.append(torch.from_numpy(frame.copy()))
        x, y = rng.integers(0, size[0] - 30), rng.integers(0, size[1] - 20)
        frame[y : y + 20, x : x + 30] = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    return made


@pytest.mark.parametrize("layout", ["quadtree", "rings", "uniform", "sunflower"])
def test_replays_equal_calls(cuda, rng, layout):
    frames = frames_of(rng, 5)
    options = {"backend": cuda, "layout": layout, "threshold": 0}
    if layout in ("quadtree", "sunflower"):
        options["tokens"] = 40
    gaze = torch.from_numpy(rng.uniform(0, 1, (5, 1, 2)).astype(np.float32))
    with Engine(**options) as engine, Engine(**options) as plain:
        engine.submit(frames[0])
        plain.submit(frames[0])
        with engine.capture(frames[0], gaze[0]) as graph:
            for frame, fixations in zip(frames, gaze, strict=True):
                batch = graph.replay(frame, fixations)
                plain.submit(frame)
                expected = plain.tokens(fixations)
                assert torch.equal(batch.pixels, expected.pixels)
                assert torch.equal(batch.dirty, expected.dirty)
                np.testing.assert_array_equal(batch.table, expected.table)
            np.testing.assert_array_equal(engine.read_level(0), frames[-1].numpy())


def test_a_replay_is_one_launch_and_counts_like_calls(rng):
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    frames = frames_of(rng, 3)
    gaze = torch.tensor([[0.3, 0.6]])
    with Engine(backend=backend, tokens=40, threshold=0) as engine:
        engine.submit(frames[0])
        graph = engine.capture(frames[0], gaze)
        graph.replay()
        before, start = engine.counters, len(driver.calls)
        graph.replay(frames[1])
        called = [name for name, *_ in driver.calls[start:]]
        assert called.count("launch_graph") == 1
        assert "launch" not in called
        assert "copy" not in called
        work = engine.counters - before
        assert work.frames == 1
        assert 0 < work.tiles_dirty < work.tiles_compared
        assert work.tokens_sampled + work.tokens_reused == 40
        before = engine.counters
        batch = graph.replay()  # nothing changed
        work = engine.counters - before
        assert (work.tiles_dirty, work.texels_rebuilt, work.tokens_sampled) == (0, 0, 0)
        assert not batch.dirty.any()
        graph.close()
    backend.close()
    assert not driver.leaks()


def test_several_sources_in_one_graph(cuda, rng):
    sizes = [SIZE, (96, 64), (150, 150)]
    frames = [frames_of(rng, 3, size) for size in sizes]
    gaze = torch.from_numpy(rng.uniform(0, 1, (3, 1, 2)).astype(np.float32))
    options = {"backend": cuda, "layout": "uniform", "sources": 3, "threshold": 0, "size": (200, 150), "channels": 3}
    with Engine(**options) as engine, Engine(**options) as plain:
        for each in (engine, plain):
            for source in range(3):
                each.submit(frames[source][0], source)
        with engine.capture([kinds[0] for kinds in frames], gaze) as graph:
            assert graph.sources == (0, 1, 2)
            for step in (1, 2):
                batch = graph.replay([kinds[step] for kinds in frames], gaze)
                for source in range(3):
                    plain.submit(frames[source][step], source)
                expected = plain.tokens(gaze)
                assert torch.equal(batch.pixels, expected.pixels)
                np.testing.assert_array_equal(batch.sizes, sizes)


def test_planes_and_channel_first_frames(cuda, rng):
    y = torch.from_numpy(rng.integers(16, 236, (SIZE[1], SIZE[0]), dtype=np.uint8))
    uv = torch.from_numpy(rng.integers(16, 241, (SIZE[1] // 2, SIZE[0] // 2, 2), dtype=np.uint8))
    frame = nv12(y, uv, matrix="bt709", range="limited")
    gaze = torch.tensor([[0.5, 0.5]])
    with Engine(backend=cuda, tokens=40, threshold=0) as engine:
        engine.submit(frame)
        with engine.capture(frame, gaze) as graph:
            batch = graph.replay()
            assert torch.equal(batch.pixels, engine.tokens(gaze).pixels)
            with pytest.raises(ValueError, match="another element type or kind than captured"):
                graph.replay(torch.zeros(SIZE[1], SIZE[0], 3, dtype=torch.uint8))
        planar = frames_of(rng, 1)[0].permute(2, 0, 1).contiguous()
        with engine.capture(planar, gaze, channels_first=True) as graph:
            graph.replay()
            np.testing.assert_array_equal(engine.read_level(0), planar.permute(1, 2, 0).numpy())


def test_what_a_graph_refuses(cuda, rng):
    frame, gaze = frames_of(rng, 1)[0], torch.tensor([[0.5, 0.5]])
    with Engine(backend=cuda, tokens=40) as engine:
        with pytest.raises(ValueError, match="source 0 has no frame yet"):
            engine.capture(frame, gaze)
        engine.submit(frame)
        with pytest.raises(TypeError, match=r"fixations are ndarray; a captured frame takes a float32 tensor on cpu$"):
            engine.capture(frame, np.array([[0.5, 0.5]]))
        with pytest.raises(ValueError, match=r"torch.float64; a captured frame takes contiguous torch.float32"):
            engine.capture(frame, gaze.double())
        with pytest.raises(ValueError, match="must lie on the device"):
            engine.capture(frame.numpy(), gaze)
        with pytest.raises(ValueError, match=r"frame of \(100, 120\) for source 0, which holds \(200, 120\)"):
            engine.capture(frame[:, :100], gaze)
        with pytest.raises(ValueError, match="2 frames for sources"):
            engine.capture([frame, frame], gaze)
        graph = engine.capture(frame, gaze)
        with pytest.raises(ValueError, match="2 fixations for 1 sources"):
            graph.replay(frame, torch.zeros(2, 1, 2))
        with pytest.raises(TypeError, match="fixations are tuple; a captured frame takes"):
            graph.replay(frame, (0.5, 0.5))
        with pytest.raises(ValueError, match=r"frame of \(100, 120\)"):
            graph.replay(frame[:, :100])
        engine.submit(torch.zeros(300, 300, 3, dtype=torch.uint8))
        with pytest.raises(ValueError, match="capture anew"):
            graph.replay()
        graph.close()
        with pytest.raises(ClosedError, match="this graph is closed; capture another"):
            graph.replay()
    with Engine(backend="cpu", tokens=40) as engine:
        engine.submit(frame)
        with pytest.raises(TypeError, match=r"of this cpu backend come in through the host, .* open 'cuda' or"):
            engine.capture(frame, gaze)


def test_a_graph_ends_with_its_engine(rng):
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)  # which outlives the engine
    frame, gaze = frames_of(rng, 1)[0], torch.tensor([[0.5, 0.5]])
    with Engine(backend=backend, tokens=40) as engine:
        engine.submit(frame)
        engine.capture(frame, gaze).close()
        graph = engine.capture(frame, gaze)
        graph.replay()
    assert graph.closed
    assert not [left for left in driver.leaks() if left.startswith(("graph", "executable"))]
    with pytest.raises(ClosedError, match="this engine is closed"):
        graph.replay()
    graph.close()
    backend.close()
    assert not driver.leaks()
    assert not driver.violations


def test_engine_calls_can_be_part_of_a_callers_own_graph(rng, monkeypatch):
    driver, compiler = open_host_device()
    backend = CudaBackend(driver, compiler)
    frames = frames_of(rng, 4)
    place, gaze = frames[0].clone(), torch.tensor([[0.2, 0.7]])
    with (
        Engine(backend=backend, tokens=40, threshold=0) as engine,
        Engine(backend="cpu", tokens=40, threshold=0) as cpu,
    ):
        engine.submit(place)
        engine.tokens(gaze, copy=False)  # once before, as every library asks: kernels are compiled and memory is made
        stream = driver.create_stream()
        pool: list[torch.Tensor] = []  # torch keeps what is made during a capture for the graph; here the test does
        make = torch.empty
        monkeypatch.setattr(torch, "empty", lambda *a, **k: pool.append(make(*a, **k)) or pool[-1])
        with driver.use_stream(stream):
            driver.begin_capture(stream)
            engine.submit(place)
            pixels = engine.tokens(gaze, copy=False).pixels
            graph = driver.end_capture(stream)
        monkeypatch.undo()
        executable = driver.instantiate(graph)
        for frame in frames:
            place.copy_(frame)
            driver.launch_graph(executable, stream)
            cpu.submit(frame.numpy())
            torch.testing.assert_close(pixels, cpu.tokens((0.2, 0.7)).pixels, rtol=0, atol=1e-6)
        driver.destroy_executable(executable)
        driver.destroy_graph(graph)
        assert pool
        with driver.use_stream(stream):
            driver.begin_capture(stream)
            with pytest.raises(ValueError, match="host memory cannot be part of a captured graph"):
                engine.submit(frames[0].numpy())
            driver.destroy_graph(driver.end_capture(stream))
        driver.destroy_stream(stream)
    backend.close()
    assert not driver.leaks()


def test_tokens_planned_on_the_device_cost_no_copy_of_their_table(cuda, rng):
    with Engine(backend=cuda, tokens=40, threshold=0) as engine:
        engine.submit(frames_of(rng, 1)[0])
        first = engine.tokens(torch.tensor([[0.2, 0.3]]), copy=False)
        before = first.rows.clone()
        second = engine.tokens(torch.tensor([[0.8, 0.7]]), copy=False)
        assert torch.equal(first.rows, before)  # the caller's own, though nobody copied it
        assert first.rows.data_ptr() != second.rows.data_ptr()
