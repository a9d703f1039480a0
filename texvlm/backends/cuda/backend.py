"""The verbs of `Backend` on a CUDA device.

Everything is queued on torch's current stream and nothing waits for the device, but for what must be
known on the host: `detect`, `read_level`, the tiles of a report, and `counters`. Which tiles changed,
and hence which tokens must be sampled again, is found and kept on the device.
"""

from __future__ import annotations

import math
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends._checks import check_frame, check_layer, check_sample, check_tiles
from texvlm.backends.attached import AttachedFrame
from texvlm.backends.base import Counters, Filtering, Normalisation, PendingTiles, Texture, TokenKeeper
from texvlm.backends.block_search import BlockSpec
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import CudaTexture, OwnArray, Storage, array_bytes, create_texture, describe_memory
from texvlm.backends.cuda.attached import Attachments
from texvlm.backends.cuda.capturing import CapturingBackend
from texvlm.backends.cuda.deferred import Deferred
from texvlm.backends.cuda.device_state import TOTALS, CudaKeeper, DeviceTiles, Parts, to_mask
from texvlm.backends.cuda.frame_pixels import FramePixels, lies_on_host, resident_pixels
from texvlm.backends.cuda.host_frames import HostFrames
from texvlm.backends.cuda.host_policy import HostDetection, HostPolicy
from texvlm.backends.cuda.ingest import Ingest
from texvlm.backends.cuda.kernels import Compiler, Kernels
from texvlm.backends.cuda.motion import CudaMotion
from texvlm.backends.cuda.planner import Planner
from texvlm.backends.cuda.sampler import Sampler
from texvlm.backends.cuda.timers import CudaTimers
from texvlm.device_frames import DeviceReader
from texvlm.errors import ClosedError
from texvlm.frames import Frame
from texvlm.layouts import Layout
from texvlm.layouts.table import Table
from texvlm.pyramid import TextureSpec, level_size
from texvlm.regions import TileMask

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


class CudaBackend(CapturingBackend):
    """Texture arrays of one CUDA device. Safe from any thread, one call at a time (the engine sees to it).

    Calls may come on different streams: each waits, on the device, for what the last one queued.
    """

    name = "cuda"

    def __init__(
        self,
        driver: Driver,
        compiler: Compiler,
        *,
        filtering: Filtering = "hardware",
        detect_host_frames: HostDetection | HostPolicy = "auto",
    ) -> None:
        self.device = driver.device
        self._driver = driver
        self._filtering = filtering
        self._kernels = Kernels(driver, compiler)
        self._ingest = Ingest(driver, self._kernels)
        self._sampler = Sampler(driver, self._kernels, filtering)
        self._planner = Planner(driver, self._kernels)
        self._attachments = Attachments(driver)
        self._borrowed = Deferred(driver)
        self._timers = CudaTimers(driver, enabled=False)
        self._totals = torch.zeros(len(TOTALS), dtype=torch.int64, device=driver.device)
        self._host_frames = HostFrames(driver, self._ingest, HostPolicy.of(detect_host_frames), self._totals)
        self._parts = Parts(driver, self._ingest, self._planner, self._sampler, self._totals)
        self._counted = Counters()
        try:
            self._order = driver.create_event()
        except BaseException:
            self._host_frames.close()
            raise
        with driver.guard():
            self._last = driver.current_stream()  # which sets the totals to 0
        self._textures: list[CudaTexture] = []
        self._array_bytes = {"live": 0, "peak": 0}
        self._closed = False
        self._lock = threading.RLock()  # engines on several threads may share one backend

    # ------------------------------------------------------------------ textures

    def create_texture(self, spec: TextureSpec) -> Texture:
        """See Backend. ValueError for sizes beyond the device's limits."""
        self._check_open()
        info = self._driver.info
        width, height = spec.padded_size
        if max(width, height) > info.max_side or spec.layers > info.max_layers:
            raise ValueError(
                f"{spec.layers} layers of {width} x {height} texels: {info.name} takes at most "
                f"{info.max_layers} layers of {info.max_side} x {info.max_side}"
            )
        with self._queue():  # versions and clocks are set to 0 on this stream
            storage = self._make_storage(spec)
            try:
                handle = create_texture(self._driver, spec, storage)
            except BaseException:
                storage.close()
                raise
        self._textures.append(handle)
        self._array_bytes["live"] += array_bytes(spec)
        self._array_bytes["peak"] = max(self._array_bytes.values())
        return Texture(spec, handle)

    def destroy_texture(self, texture: Texture) -> None:
        """See Backend. Waits for what is queued on it."""
        handle = self._handle(texture)
        texture.handle = None
        self._textures.remove(handle)
        self._host_frames.forget(handle)
        with self._queue(), ExitStack() as steps:  # last step first, and every step whatever fails
            steps.callback(handle.storage.close)
            steps.callback(self._wait_for_device)
        self._array_bytes["live"] -= array_bytes(handle.spec)

    def read_level(self, texture: Texture, layer: int, level: int) -> NDArray[np.generic]:
        """See Backend. Waits for the device."""
        handle = self._handle(texture)
        width, height = (int(side) for side in texture.frame_sizes[layer])
        size = level_size((width, height), level)
        with self._queue() as stream:
            texels = self._ingest.read_level(handle, layer, level, size, stream=stream)
            return np.ascontiguousarray(texels.cpu().numpy())

    def _make_storage(self, spec: TextureSpec) -> Storage:
        """Where the texels of a new texture lie."""
        return OwnArray(self._driver, spec)

    # ------------------------------------------------------------------ frames in

    def detect(self, texture: Texture, layer: int, frame: Frame, threshold: float) -> TileMask:
        """See Backend. Waits for the device."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        with self._queue() as stream:
            with self._on_device(frame, stream) as pixels:
                tiles = self._ingest.detect(handle, layer, pixels, limit=threshold, stream=stream)
            self._counted.tiles_compared += tiles.numel()
            return to_mask(tiles)

    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """See Backend."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        check_tiles(tiles, frame.size)
        with self._queue() as stream, self._on_device(frame, stream) as pixels:
            self._host_frames.written(handle, (layer,), stream)
            self._ingest.upload(handle, layer, self._to_device(tiles), pixels, stream=stream, totals=self._totals)

    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """See Backend."""
        handle = self._handle(texture)
        check_layer(texture.spec, layer)
        check_tiles(tiles, texture.spec.size, smaller=True)
        with self._queue() as stream:
            self._ingest.build_mips(handle, layer, self._to_device(tiles), stream=stream, totals=self._totals)

    def refresh(self, texture: Texture, layer: int, frame: Picture, threshold: float | None) -> TileMask | PendingTiles:
        """See Backend. One launch over the frame and one for the tail, without waiting for either."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        with self._queue("refresh") as stream:
            if lies_on_host(frame, self.device):
                tiles = self._host_frames.refresh(handle, layer, frame, limit=threshold, stream=stream)
            else:
                totals = self._totals
                self._host_frames.written(handle, (layer,), stream)
                with self._on_device(frame, stream) as pixels:
                    tiles = self._ingest.refresh(handle, layer, pixels, limit=threshold, stream=stream, totals=totals)
                if getattr(frame, "lent", False) and not self._driver.is_capturing(stream):
                    self._borrowed.add(partial(id, frame), stream)  # only to hold on to it
            if threshold is not None:
                self._counted.tiles_compared += math.prod(tiles.shape)
            return tiles if isinstance(tiles, np.ndarray) else DeviceTiles(tiles, self._queue)

    def release_frames(self) -> None:
        """See Backend."""
        with self._lock:
            self._host_frames.wait()

    def reader(self) -> DeviceReader | None:
        """See Backend."""
        with self._queue() as stream:
            return DeviceReader(self._driver.device, stream, self.owns, self._wait_for)

    def owns(self, tensor: torch.Tensor) -> bool:
        """See Backend."""
        return tensor.device == self._driver.device

    def _on_device(self, frame: Picture, stream: Stream) -> AbstractContextManager[FramePixels]:
        """A frame as kernels queued on the stream inside the scope read it."""
        if isinstance(frame, AttachedFrame):
            return self._attachments.pixels(frame, stream)
        if lies_on_host(frame, self.device):
            return self._host_frames.pixels(frame, stream)
        return nullcontext(resident_pixels(frame, self.device))

    # ------------------------------------------------------------------ tokens out

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """See Backend. Torch's own memory, on the device."""
        self._check_open()
        try:
            return torch.empty(tuple(shape), dtype=dtype, device=self._driver.device)
        except torch.OutOfMemoryError as error:  # no other: failures of earlier work may show here, too
            raise MemoryError(
                f"no room for tokens of shape {tuple(shape)}; ask for fewer, or a smaller patch"
            ) from error

    def sample(
        self,
        texture: Texture,
        table: Table,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: NDArray[np.int32] | None = None,
    ) -> None:
        """See Backend. `out` may be any tensor on the device."""
        handle = self._handle(texture)
        check_sample(texture, table, out)
        with self._queue("sample") as stream:
            self._sampler.sample(handle, table, out, normalisation, rows, stream=stream, totals=self._totals)

    def keep(self, texture: Texture, rows: int, patch: int, dtype: torch.dtype) -> TokenKeeper:
        """See Backend."""
        self._handle(texture)
        return CudaKeeper(self._parts, self._queue, self.empty((rows, texture.spec.channels, patch, patch), dtype))

    def motion_memory(self, texture: Texture, spec: BlockSpec) -> CudaMotion:
        """See Backend. What is found is brought to the host, which waits for the device."""
        self._handle(texture)
        return CudaMotion(self, texture, spec, self._driver, self._kernels, self._queue)

    def plan(
        self,
        layout: Layout,
        sizes: Sequence[tuple[int, int]],
        layers: Sequence[int],
        fixations: torch.Tensor,
        weights: NDArray[np.float64] | None,
    ) -> torch.Tensor:
        """See Backend."""
        self._check_open()
        with self._queue("plan") as stream:
            return self._planner.plan(layout, sizes, layers, fixations, weights, stream=stream)

    # ------------------------------------------------------------------ the rest

    @property
    def counters(self) -> Counters:  # type: ignore[override]
        """Work done so far, a copy. Waits for the device, which counts what it finds to do."""
        with self._lock, self._driver.guard():
            if not self._closed:
                self._enter()
                for name, value in zip(TOTALS, self._totals.tolist(), strict=True):
                    setattr(self._counted, name, value)
                self._counted.maps = self._attachments.maps
            return replace(self._counted)

    def count(
        self, *, frames: int = 0, reallocations: int = 0, tokens_reused: int = 0, blocks_matched: int = 0
    ) -> None:
        """See Backend. The kernels count tokens."""
        self._counted.frames += frames
        self._counted.reallocations += reallocations
        self._counted.blocks_matched += blocks_matched

    def time_stages(self) -> None:
        """See Backend: by events, two a stage."""
        self._timers.enabled = True

    @property
    def device_times_ms(self) -> dict[str, float]:
        """See Backend."""
        with self._lock, self._driver.guard():
            if not self._closed:
                self._timers.poll()
            return dict(self._timers.total_ms)

    def describe(self) -> dict[str, object]:
        """See Backend."""
        info = self._driver.info
        return {
            "backend": self.name,
            "device": str(self._driver.device),
            "name": info.name,
            "architecture": info.architecture,
            "driver": info.driver,
            "torch": torch.__version__,
            "filtering": self._filtering,
            "mapping": "cuda",
            "host_frames": self._host_frames.describe(),
            **describe_memory(self._driver, self._array_bytes["live"], self._array_bytes["peak"]),
        }

    def close(self) -> None:
        """See Backend. Waits for what is queued. Tensors that were handed out stay valid: they are torch's."""
        if self._closed:
            return
        try:
            self._counted = self.counters
        finally:
            self._closed = True
            with ExitStack() as steps:  # last step first, and every step whatever fails
                steps.enter_context(self._driver.guard())
                steps.callback(self._driver.close)
                steps.callback(self._kernels.close)
                steps.callback(self._driver.destroy_event, self._order)
                for handle in self._textures:
                    steps.callback(handle.storage.close)
                steps.callback(self._timers.close)
                for part in (self._planner, self._sampler, self._host_frames, self._attachments, self._borrowed):
                    steps.callback(part.close)
                steps.callback(self._wait_for_device)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not sys.is_finalizing():
            warnings.warn("a cuda backend was not closed; its arrays stay on the device", ResourceWarning, stacklevel=2)

    @contextmanager
    def _queue(self, stage: str = "") -> Iterator[Stream]:
        """The scope of what is queued by one call, on the stream that it gives; a stage by name is timed."""
        with self._lock, self._driver.guard():
            stream = self._enter()
            with self._timers.stage(stage, stream) if stage else nullcontext():
                yield stream

    def _enter(self) -> Stream:
        """Torch's current stream, after everything that was queued through this backend before."""
        self._check_open()
        driver = self._driver
        stream = driver.current_stream()
        if driver.is_capturing(stream):
            return stream  # whoever captures has ordered it after what went before
        if stream != self._last:
            driver.record(self._order, self._last)
            driver.wait(stream, self._order)
            self._last = stream
        return stream

    def _wait_for(self, producer: Stream) -> None:
        """Let torch's current stream wait for what has been queued on another one."""
        with self._lock, self._driver.guard():
            stream = self._driver.current_stream()
            self._driver.record(self._order, producer)
            self._driver.wait(stream, self._order)

    def _wait_for_device(self) -> None:
        """Wait on the host for everything queued through this backend."""
        self._driver.synchronize(self._last)

    def _to_device(self, tiles: TileMask) -> torch.Tensor:
        """A mask as flags on the device, uint8."""
        return torch.from_numpy(np.ascontiguousarray(tiles).view(np.uint8)).to(self._driver.device, copy=True)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the cuda backend is closed; open a new engine")

    def _handle(self, texture: Texture) -> CudaTexture:
        self._check_open()
        if not isinstance(texture.handle, CudaTexture):
            raise ClosedError("this texture was destroyed")
        return texture.handle
