"""Frames from host memory on the cuda backend, compared there or on the device: the same bits, for other bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from host_frames_rig import (
    HOST_IS_CHEAPER,
    KINDS,
    SIDES,
    Mixed,
    Opened,
    always,
    assert_holds,
    changed,
    open_device,
    picture,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from texvlm import Engine
from texvlm.backends import _gl_api as names
from texvlm.backends.base import PendingTiles
from texvlm.backends.cuda.gl_backend import CudaGlBackend
from texvlm.backends.cuda.gl_context import open_headless_for
from texvlm.backends.cuda.host_policy import Rates
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import TILE
from texvlm.yuv import nv12


@pytest.fixture
def opened() -> Iterator[Callable[..., Opened]]:
    """Opens backends; see `open_device`."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(open_device(*arguments, **options))


# ---------------------------------------------------------------- the same bits


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (33, 47), (160, 96)], ids=str)
def test_both_sides_store_and_count_the_same(opened, rng, size, channels, dtype):
    backends = [opened(side).backend for side in SIDES]
    frame = picture(rng, size, channels, dtype)
    textures = [backend.create_texture(TextureSpec(size, channels=channels, dtype=dtype)) for backend in backends]
    for limit in (None, 0, 0, 0, 30 if dtype == "uint8" else 0.1):
        masks = []
        for backend, texture in zip(backends, textures, strict=True):
            texture.frame_sizes[0] = size
            tiles = backend.refresh(texture, 0, Frame(frame), limit)
            masks.append(tiles if isinstance(tiles, np.ndarray) else tiles.mask())
        np.testing.assert_array_equal(*masks)
        for level in range(textures[0].spec.levels):
            held = [b.read_level(t, 0, level) for b, t in zip(backends, textures, strict=True)]
            np.testing.assert_array_equal(*held)
        assert backends[0].counters == backends[1].counters
        frame = changed(rng, frame)
    compared = [backend.describe()["host_frames"]["frames_compared"] for backend in backends]
    assert compared == [{"host": 4, "device": 0}, {"host": 0, "device": 4}]


def test_an_unchanged_frame_sends_nothing_and_launches_nothing(opened, rng):
    host = opened("host")
    frame = picture(rng, (200, 130))
    with Engine(backend=host.backend, tokens=40, threshold=0) as engine:
        engine.submit(frame)
        first = engine.tokens()
        before = engine.counters
        assert not host.calls(lambda: engine.submit(frame.copy()))
        again = engine.tokens()
        work = engine.counters - before
        assert (work.tiles_compared, work.tiles_dirty, work.bytes_uploaded, work.texels_rebuilt) == (9 * 13, 0, 0, 0)
        assert (work.tokens_sampled, work.tokens_reused) == (0, 40)
        assert not again.dirty.any()
        assert torch.equal(first.pixels, again.pixels)


def test_only_the_tiles_that_changed_cross_the_bus_in_one_copy(opened, rng):
    host = opened("host")
    frame = picture(rng, (200, 130))
    with Engine(backend=host.backend, tokens=40, threshold=0) as engine:
        engine.submit(frame)
        engine.tokens()
        frame = frame.copy()
        frame[20, 40] ^= 1
        frame[129, 199] ^= 1  # in the last tile, which reaches beyond the frame
        calls = host.calls(lambda: engine.submit(frame))
        ((_, _, sent, _),) = calls["copy"]
        table = 9 * 13 * (4 + 1)  # a slot and a flag for each tile of the frame
        assert sent == 2 * TILE * TILE * 3 + table
        assert len(calls["launch"]) == 2
        assert "synchronize" not in calls
        assert_holds(engine, frame)
        assert 0 < int(engine.tokens().dirty.sum()) < 40


def test_a_frame_of_another_size_is_taken_whole_and_mirrored(opened, rng):
    host = opened("host")
    with Engine(backend=host.backend, size=(160, 96), layout="uniform", threshold=0) as engine:
        for size in ((160, 96), (33, 47), (150, 16), (160, 96)):
            frame = picture(rng, size)
            assert engine.submit(frame).tiles.all()
            calls = host.calls(lambda frame=frame: engine.submit(changed(rng, frame)))
            assert "launch" in calls
            engine.submit(frame)
            assert_holds(engine, frame)
    assert host.backend.describe()["host_frames"]["mirror_bytes"] == 0  # gone with the texture


def test_layers_and_textures_have_mirrors_of_their_own(opened, rng):
    host = opened("host")
    options = {"backend": host.backend, "sources": 2, "layout": "uniform", "threshold": 0}
    with Engine(**options) as one, Engine(**options) as other:
        frames = [[picture(rng, (70, 50)) for _ in range(2)] for _ in range(2)]
        for _ in range(3):
            for engine, own in zip((one, other), frames, strict=True):
                for source in range(2):
                    own[source] = changed(rng, own[source])
                    engine.submit(own[source], source)
        for engine, own in zip((one, other), frames, strict=True):
            for source in range(2):
                assert_holds(engine, own[source], source)
        assert [layer["layer"] for layer in host.backend.describe()["host_frames"]["layers"]] == [0, 1, 0, 1]


# ---------------------------------------------------------------- whatever comes in which order


@given(
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=8),
    detection=st.sampled_from([*SIDES, "auto"]),
    late=st.booleans(),
    size=st.tuples(st.integers(1, 70), st.integers(1, 50)),
    threshold=st.sampled_from([0, 8]),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=25, deadline=None)
def test_the_guarantee_holds_for_every_sequence_of_frames(kinds, detection, late, size, threshold, seed):
    policy = always(HOST_IS_CHEAPER) if detection == "auto" else detection
    rng = np.random.default_rng(seed)
    with open_device(policy, late_streams=late) as device, Mixed(device, size, threshold, rng) as mixed:
        for kind in kinds:
            mixed.submit(kind)
            mixed.check()


@pytest.mark.parametrize("between", [kind for kind in KINDS if kind not in ("ordinary", "page-locked")])
def test_what_the_device_wrote_in_between_is_found(opened, rng, between):
    """The first frame comes again: the mirror, still holding it, would call it unchanged."""
    with Mixed(opened("host"), (70, 50), 0, rng) as mixed:
        first = mixed.frame
        mixed.submit("ordinary")
        mixed.submit(between)
        mixed.engine.submit(first)
        assert_holds(mixed.engine, first)


def test_a_layer_that_the_callers_own_graph_writes_is_compared_on_the_device(opened, rng, monkeypatch):
    host = opened("host")
    driver, frame = host.driver, picture(rng, (70, 50))
    place = torch.from_numpy(changed(rng, frame))
    with Engine(backend=host.backend, sources=2, layout="uniform", threshold=0) as engine:
        for source in range(2):
            engine.submit(frame, source)
        stream = driver.create_stream()
        pool: list[torch.Tensor] = []  # torch keeps what is made during a capture for the graph; here the test does
        make = torch.empty
        monkeypatch.setattr(torch, "empty", lambda *a, **k: pool.append(make(*a, **k)) or pool[-1])
        with driver.use_stream(stream):
            driver.begin_capture(stream)
            engine.submit(place)
            graph = driver.end_capture(stream)
        monkeypatch.undo()
        executable = driver.instantiate(graph)
        for _ in range(2):
            driver.launch_graph(executable, stream)  # nobody is told
            np.testing.assert_array_equal(engine.read_level(0), place.numpy())
            engine.submit(frame)
            engine.submit(frame, 1)
            assert_holds(engine, frame)
        assert host.backend.describe()["host_frames"]["frames_compared"] == {"host": 2, "device": 2}
        driver.destroy_executable(executable)
        driver.destroy_graph(graph)
        driver.destroy_stream(stream)
        assert pool


@pytest.mark.gl
def test_an_array_that_was_lent_to_opengl_is_compared_on_the_device(gl_backend, rng):
    driver, compiler = open_host_device()
    backend = CudaGlBackend(driver, compiler, open_headless_for(driver), mapping="resident", detect_host_frames="host")
    frame, other = picture(rng, (32, 32), 4), picture(rng, (32, 32), 4)
    texture = backend.create_texture(TextureSpec((32, 32), channels=4))
    texture.frame_sizes[0] = (32, 32)
    backend.refresh(texture, 0, Frame(frame), None)
    with backend.lent_to_gl(texture) as name:
        box = (0, 0, 0, 32, 32, 1, names.RGBA, names.UNSIGNED_BYTE)
        gl_backend._context.run(lambda: gl_backend._context.gl.glTextureSubImage3D(name, 0, *box, other.ctypes.data))
    tiles = backend.refresh(texture, 0, Frame(frame), 0)
    assert isinstance(tiles, PendingTiles)
    assert tiles.mask().all()
    np.testing.assert_array_equal(backend.read_level(texture, 0, 0), frame)
    backend.close()
    assert driver.leaks() == []
    assert driver.violations == []


# ---------------------------------------------------------------- the policy at work


def test_rates_and_shares_decide_frame_by_frame(opened, rng):
    """Compare is cheap and the bus slow: the host is taken until everything moves, and again afterwards."""
    device = opened(always(HOST_IS_CHEAPER))
    frame = picture(rng, (96, 64))

    def sides(frames: int, *, moving: bool) -> dict[str, int]:
        nonlocal frame
        before = dict(device.backend.describe()["host_frames"]["frames_compared"])
        for _ in range(frames):
            frame = frame ^ 128 if moving else frame
            engine.submit(frame)
            assert device.backend.counters.tiles_compared
        assert_holds(engine, frame)
        after = device.backend.describe()["host_frames"]["frames_compared"]
        return {side: after[side] - before[side] for side in after}

    with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
        engine.submit(frame)
        assert sides(31, moving=False) == {"host": 31, "device": 0}
        moving = sides(96, moving=True)
        assert moving["host"] == 32
        assert moving["device"] == 64
        assert sides(400, moving=False)["host"] > 200  # learnt from flags that were looked at later
        (layer,) = device.backend.describe()["host_frames"]["layers"]
        assert layer["detect"] == "host"
        assert layer["dirty_share"] < 0.05
        json.dumps(engine.describe())


def test_what_was_dirty_on_the_device_is_learnt_without_waiting(opened, rng):
    device = opened(always(Rates(compare=1e9, copy=1e12, bus=1e12)))
    frame = picture(rng, (96, 64))
    with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
        engine.submit(frame)

        def submit_all() -> None:
            for _ in range(25):
                engine.submit(frame)

        calls = device.calls(submit_all)
        assert "synchronize" not in calls
        (layer,) = device.backend.describe()["host_frames"]["layers"]
        assert layer["detect"] == "device"
        assert 0 < layer["dirty_share"] < 0.2
        flags = [size for _, _, size, _ in calls["copy"] if size == 24]
        assert len(flags) == 3  # of 25 frames


def test_page_locked_frames_lean_to_the_device(opened, rng):
    rates = Rates(compare=3e9, copy=1e9, bus=10e9)
    frame = picture(rng, (96, 64))
    for pinned, side in ((False, "host"), (True, "device")):
        device = opened(always(rates))
        given = device.pinned(frame) if pinned else frame
        with Engine(backend=device.backend, layout="uniform", threshold=0) as engine:
            for _ in range(3):
                engine.submit(given)
            (layer,) = device.backend.describe()["host_frames"]["layers"]
            assert layer["detect"] == side
        if pinned:
            device.free(given)


def test_planes_are_compared_on_the_device_whatever_is_asked_for(opened, rng):
    host = opened("host")
    y, uv = rng.integers(0, 256, (48, 64), dtype=np.uint8), rng.integers(0, 256, (24, 32, 2), dtype=np.uint8)
    frame = nv12(y, uv, matrix="bt709", range="limited")
    with Engine(backend=host.backend, layout="uniform", threshold=0) as engine:
        engine.submit(frame)
        engine.submit(frame)
        assert host.backend.describe()["host_frames"]["frames_compared"] == {"host": 0, "device": 1}
        assert_holds(engine, frame.to_frame().pixels)
