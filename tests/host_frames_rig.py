"""Backends on an emulated device for tests of frames from host memory, and frames to give them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import reference
import torch
from compare import assert_tokens
from conftest import unavailable
from cuda_device import open_host_device
from cuda_host.driver import HostDriver

from texvlm import Engine
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.host_policy import HostDetection, HostPolicy, Rates
from texvlm.errors import BackendUnavailable
from texvlm.frames import Frame
from texvlm.yuv import nv12

SIDES: tuple[HostDetection, ...] = ("host", "device")
HOST_IS_CHEAPER = Rates(compare=1e12, copy=1e9, bus=1e9)


@dataclass
class Opened:
    """A backend on an emulated device.

    Attributes:
        driver: the device; what it was asked for is looked at.
        backend: on it.
    """

    driver: HostDriver
    backend: CudaBackend

    def calls(self, work: Callable[[], object]) -> dict[str, list[tuple]]:
        """Arguments of the calls that some work makes, by name."""
        start = len(self.driver.calls)
        work()
        found: dict[str, list[tuple]] = {}
        for name, arguments in self.driver.calls[start:]:
            found.setdefault(name, []).append(arguments)
        return found

    @contextmanager
    def failing(self, call: str, nth: int = 1) -> Iterator[None]:
        """The nth call of this name within the scope fails, if there are so many."""
        self.driver.fail(call, nth)
        try:
            yield
        finally:
            self.driver.account.relent()

    def pinned(self, pixels: np.ndarray) -> np.ndarray:
        """A copy in page-locked memory, as an application has it; `free` gives it back."""
        address = self.driver.allocate_pinned(pixels.nbytes)
        memory = np.frombuffer((ctypes.c_uint8 * pixels.nbytes).from_address(address), np.uint8)
        copy = memory.view(pixels.dtype).reshape(pixels.shape)
        copy[:] = pixels
        return copy

    def free(self, pixels: np.ndarray) -> None:
        """Give back what `pinned` made."""
        self.driver.free_pinned(pixels.ctypes.data)


def always(rates: Rates) -> HostPolicy:
    return HostPolicy(measure=lambda _: rates)


@contextmanager
def open_device(detection: HostDetection | HostPolicy, *, late_streams: bool = False) -> Iterator[Opened]:
    """A backend that leaves nothing behind when it is closed in the end, and has broken no rule."""
    try:
        driver, compiler = open_host_device(late_streams=late_streams)
    except BackendUnavailable as refusal:
        unavailable("cuda-host", str(refusal))
        raise
    backend = CudaBackend(driver, compiler, filtering="exact", detect_host_frames=detection)
    try:
        yield Opened(driver, backend)
    finally:
        backend.close()
    assert driver.leaks() == []
    assert driver.violations == []


def picture(rng: np.random.Generator, size: tuple[int, int], channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    noise = rng.integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    return noise if dtype == "uint8" else (noise / 255).astype(np.float32)


def changed(rng: np.random.Generator, frame: np.ndarray, by: int = 255) -> np.ndarray:
    """The frame with other pixels in a patch of it; bytes differ by no more than `by`."""
    height, width, _ = frame.shape
    new = frame.copy()
    y, x = rng.integers(0, height), rng.integers(0, width)
    patch = new[y : y + rng.integers(1, 40), x : x + rng.integers(1, 40)]
    if frame.dtype == np.uint8:
        patch[:] = np.clip(patch.astype(int) + rng.integers(-by, by + 1, patch.shape), 0, 255)
    else:
        patch[:] = rng.random(patch.shape)
    return new


def assert_holds(engine: Engine, frame: np.ndarray, source: int = 0) -> None:
    for level, expected in enumerate(reference.pyramid(frame, engine.spec.levels)):
        got = engine.read_level(level, source=source)
        if level == 0 or frame.dtype == np.uint8:
            np.testing.assert_array_equal(got, expected, err_msg=f"level {level}")
        else:
            np.testing.assert_allclose(got, expected, rtol=2e-6, atol=1e-7)


KINDS = ("ordinary", "page-locked", "on the device", "planes", "planes on the device", "replay", "smaller", "verbs")


class Mixed:
    """An engine on the cuda backend and one on the cpu backend that get the same frames, in whatever memory."""

    def __init__(self, device: Opened, size: tuple[int, int], threshold: int, rng: np.random.Generator) -> None:
        self.device, self.size, self.threshold, self.rng = device, size, threshold, rng
        options = {"size": size, "channels": 3, "layout": "uniform", "threshold": threshold / 255}
        self.engine, self.cpu = Engine(backend=device.backend, **options), Engine(backend="cpu", **options)
        self.frame = picture(rng, size)
        self.engine.submit(self.frame)
        self.cpu.submit(self.frame)
        self.graph = self.engine.capture(torch.from_numpy(self.frame.copy()), torch.tensor([[0.5, 0.5]]))
        self.page_locked = device.pinned(self.frame)

    def submit(self, kind: str) -> None:
        """A changed frame, by one of KINDS, which may be lost right afterwards."""
        rng, engine = self.rng, self.engine
        frame = self.frame if rng.random() < 0.2 else changed(rng, self.frame, by=int(rng.integers(1, 40)))
        if kind == "smaller":
            frame = np.ascontiguousarray(
                frame[: rng.integers(1, len(frame) + 1), : rng.integers(1, frame.shape[1] + 1)]
            )
        if kind == "replay" and engine.frame_size() != self.size:
            kind = "on the device"
        if kind == "page-locked":
            self.page_locked[:] = frame
            engine.submit(self.page_locked)
            self.page_locked[:] = 77
        elif kind == "on the device":
            engine.submit(torch.from_numpy(frame.copy()))
        elif kind == "replay":
            self.graph.replay(torch.from_numpy(frame.copy()))
        elif kind == "verbs":
            self._by_verbs(frame)
        elif kind.startswith("planes"):
            frame = self._submit_planes(on_device=kind.endswith("device"))
        else:
            lost = frame.copy()
            engine.submit(lost)
            lost[:] = 77
        self.cpu.submit(frame)
        if frame.shape == self.frame.shape:
            self.frame = frame

    def _by_verbs(self, frame: np.ndarray) -> None:
        """The three steps instead of one; compared by the engine's rule."""
        if self.engine.frame_size() != self.size:
            self.engine.submit(frame)
            return
        store, backend = self.engine._store, self.device.backend
        texture = store.texture_of(0)
        tiles = backend.detect(texture, 0, Frame(frame), store.limit)
        backend.upload(texture, 0, tiles, Frame(frame))
        backend.build_mips(texture, 0, tiles)

    def _submit_planes(self, *, on_device: bool) -> np.ndarray:
        width, height = self.size
        y = self.rng.integers(16, 236, (height, width), dtype=np.uint8)
        uv = self.rng.integers(16, 241, (-(-height // 2), -(-width // 2), 2), dtype=np.uint8)
        planes = map(torch.from_numpy, (y, uv)) if on_device else (y, uv)
        frame = nv12(*planes, matrix="bt709", range="limited")
        self.engine.submit(frame)
        return frame.to_frame().pixels

    def check(self) -> None:
        """Stored is within the threshold of the last frame, and just what the cpu backend stores; so are tokens."""
        for level in range(self.engine.spec.levels):
            np.testing.assert_array_equal(self.engine.read_level(level), self.cpu.read_level(level))
        if self.engine.frame_size() == self.size:
            off = np.abs(self.engine.read_level(0).astype(int) - self.frame)
            assert off.max() <= self.threshold
        expected = self.cpu.tokens().pixels.numpy()[0]
        assert_tokens(self.engine.tokens().pixels[0], expected, 1e-4)

    def close(self) -> None:
        self.graph.close()
        self.engine.close()
        self.cpu.close()
        self.device.free(self.page_locked)

    def __enter__(self) -> Mixed:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
