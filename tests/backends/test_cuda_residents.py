"""Frames and gaze that live on the device, on the emulation and on a GPU: texels and tokens as from the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

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
from texvlm.yuv import nv12, p010

SIZE = (150, 90)

DEVICES: list[Any] = ["cuda-host"]
if torch.cuda.is_available() or "cuda" in REQUIRED:
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.cuda))

Put = Callable[[np.ndarray], torch.Tensor]


@pytest.fixture(params=DEVICES)
def resident(request) -> Iterator[tuple[Backend, Put]]:
    """A backend that filters as the cpu backend does, and what puts an array where its kernels read it."""
    if request.param == "cuda":
        try:
            backend = open_cuda(filtering="exact")
        except BackendUnavailable as refusal:
            unavailable("cuda", str(refusal))
    else:
        backend = CudaBackend(*open_host_device(), filtering="exact")
    yield backend, lambda array: torch.from_numpy(array).to(backend.device)
    backend.close()


def bytes_of(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(0, 256, shape, dtype=np.uint8)


def packed(rng, put):
    frame = bytes_of(rng, SIZE[1], SIZE[0], 3)
    return {"data": frame}, {"data": put(frame)}


def planar(rng, put):
    frame = bytes_of(rng, 3, SIZE[1], SIZE[0])
    return {"data": frame, "channels_first": True}, {"data": put(frame), "channels_first": True}


def strided(rng, put):
    frame = bytes_of(rng, 2 * SIZE[1], 3 * SIZE[0], 5)
    return {"data": np.ascontiguousarray(frame[::2, ::3, 1:4])}, {"data": put(frame)[::2, ::3, 1:4]}


def odd_rows(rng, put):
    frame = bytes_of(rng, SIZE[1], SIZE[0] + 3, 1)  # rows that begin at any byte
    return {"data": np.ascontiguousarray(frame[:, 1:-2])}, {"data": put(frame)[:, 1:-2]}


def upside_down(rng, put):
    frame = bytes_of(rng, SIZE[1], SIZE[0], 4)
    return {"data": frame, "origin": "bottom-left"}, {"data": put(frame), "origin": "bottom-left"}


def halves(rng, put):
    frame = rng.uniform(0, 1, (SIZE[1], SIZE[0], 3)).astype(np.float16)
    return {"data": frame.astype(np.float32)}, {"data": put(frame)}


def video(rng, put):
    y, uv = bytes_of(rng, SIZE[1], SIZE[0]), bytes_of(rng, SIZE[1] // 2, SIZE[0] // 2, 2)
    how = {"matrix": "bt709", "range": "limited"}
    return {"data": nv12(y, uv, **how)}, {"data": nv12(put(y), put(uv), **how)}


def deep_video(rng, put):
    y, uv = (
        rng.integers(0, 1024, shape).astype(np.uint16) << 6
        for shape in ((SIZE[1], SIZE[0]), (SIZE[1] // 2, SIZE[0] // 2, 2))
    )
    how = {"matrix": "bt2020", "range": "full"}
    return {"data": p010(y, uv, **how)}, {"data": p010(put(y), put(uv), **how)}


@pytest.mark.parametrize("make", [packed, planar, strided, odd_rows, upside_down, halves, video, deep_video])
def test_frames_are_read_where_they_lie(resident, rng, make):
    backend, put = resident
    with (
        Engine(backend=backend, tokens=40, threshold=0) as engine,
        Engine(backend="cpu", tokens=40, threshold=0) as cpu,
    ):
        for _ in range(2):
            here, there = make(rng, put)
            cpu.submit(here.pop("data"), **here)
            engine.submit(there.pop("data"), **there)
            for level in range(engine.spec.levels):
                read, expected = engine.read_level(level), cpu.read_level(level)
                if read.dtype == np.uint8:
                    np.testing.assert_array_equal(read, expected, err_msg=f"level {level}")
                else:
                    np.testing.assert_allclose(read, expected, atol=1e-6, rtol=0, err_msg=f"level {level}")
            torch.testing.assert_close(engine.tokens().pixels.cpu(), cpu.tokens().pixels, rtol=0, atol=1e-5)


@pytest.mark.parametrize("layout", ["quadtree", "rings", "uniform", "crops", "logpolar", "sunflower"])
def test_gaze_on_the_device_gives_the_hosts_tokens(resident, rng, layout):
    """Places of the last two may differ in the last bits of a float."""
    backend, put = resident
    frame = bytes_of(rng, SIZE[1], SIZE[0], 3)
    with Engine(backend=backend, layout=layout) as engine, Engine(backend="cpu", layout=layout) as cpu:
        engine.submit(frame)
        cpu.submit(frame)
        for gaze in ((0.5, 0.5), (0.1, 0.85), (1.3, -0.2)):
            found, expected = engine.tokens(put(np.array([gaze], np.float32))), cpu.tokens(np.float32(gaze))
            if layout in ("logpolar", "sunflower"):
                np.testing.assert_allclose(found.table["x"].ravel(), expected.table["x"].ravel(), rtol=1e-5, atol=1e-3)
            else:
                np.testing.assert_array_equal(found.table.ravel(), expected.table.ravel())
                torch.testing.assert_close(
                    found.pixels.cpu().reshape(expected.pixels.shape), expected.pixels, rtol=0, atol=1e-5
                )


def test_only_tokens_that_read_a_changed_tile_are_dirty(resident, rng):
    backend, put = resident
    frame = bytes_of(rng, SIZE[1], SIZE[0], 3)
    gaze = put(np.array([[0.3, 0.4]], np.float32))
    with (
        Engine(backend=backend, tokens=40, threshold=0) as engine,
        Engine(backend="cpu", tokens=40, threshold=0) as cpu,
    ):
        for step in range(4):
            engine.submit(put(frame))
            cpu.submit(frame)
            found, expected = engine.tokens(gaze), cpu.tokens((np.float32(0.3), np.float32(0.4)))
            dirty = found.dirty.cpu().numpy() if isinstance(found.dirty, torch.Tensor) else found.dirty
            np.testing.assert_array_equal(np.ravel(dirty), np.ravel(np.asarray(expected.dirty)), err_msg=f"step {step}")
            torch.testing.assert_close(
                found.pixels.cpu().reshape(expected.pixels.shape), expected.pixels, rtol=0, atol=1e-5
            )
            x, y = rng.integers(0, SIZE[0] - 20), rng.integers(0, SIZE[1] - 20)
            frame[y : y + 9, x : x + 17] ^= 255
