"""Frames from host memory into texture arrays, compared on the host or on the device; see `host_policy`.

To compare on the host, level 0 of a layer is kept there, too: its mirror. It is believed only as long as
everything that wrote the layer came through here. After anything else it is read back before it is used
again, so that what is stored stays within the threshold whatever frames come in which order. A layer that
may be written unseen, by a graph that the application replays or by OpenGL, is compared on the device from
then on.

4:2:0 planes are always compared on the device: they are half as many bytes, and converted there in passing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends._detect import copy_tiles, detect_tiles
from texvlm.backends._pack import list_tiles, pack_texels
from texvlm.backends.cuda.api import Driver, Stream
from texvlm.backends.cuda.arrays import CudaTexture
from texvlm.backends.cuda.frame_pixels import FramePixels
from texvlm.backends.cuda.host_policy import HostPolicy, LayerRecord, Side
from texvlm.backends.cuda.ingest import Ingest
from texvlm.backends.cuda.pinned import PinnedBuffer
from texvlm.backends.cuda.staging import Staging
from texvlm.frames import Frame
from texvlm.profiling import profile_range
from texvlm.regions import TILE, TileMask, tile_grid
from texvlm.yuv import YuvFrame

LOOK_EVERY = 8
"""Frames of a layer compared on the device between two looks at how many of its tiles were dirty."""


@dataclass(slots=True, eq=False)
class _Layer:
    """What the host keeps of one layer.

    Attributes:
        record: for the policy.
        mirror: level 0, (padded_height, padded_width, channels); made when it is first needed.
        known: the mirror holds what the device holds, wherever the layer's frame lies.
        barred: it may be written unseen.
    """

    record: LayerRecord = field(default_factory=LayerRecord)
    mirror: NDArray[Any] | None = None
    known: bool = False
    barred: bool = False


class HostFrames:
    """The ring that brings frames to the device, and the mirrors of what was compared on the host."""

    def __init__(self, driver: Driver, ingest: Ingest, policy: HostPolicy, totals: torch.Tensor) -> None:
        """The frames of one backend; `totals` is where its kernels count."""
        self._driver = driver
        self._ingest = ingest
        self._policy = policy
        self._totals = totals
        with ExitStack() as unless_made:
            self._staging = Staging(driver)
            unless_made.callback(self._staging.close)
            self._look = _Look(driver)
            unless_made.pop_all()
        self._layers: dict[CudaTexture, dict[int, _Layer]] = {}
        self._compared = {"host": 0, "device": 0}

    def refresh(
        self,
        texture: CudaTexture,
        layer: int,
        frame: Frame | YuvFrame,
        *,
        limit: float | None,
        stream: Stream,
    ) -> TileMask | torch.Tensor:
        """`Ingest.refresh` of a frame in host memory, which may be written again when this returns or after `wait`.

        Returns:
            The tiles updated, bool, (rows, columns): on the host where they were found there. A frame in
            which none is sends nothing and launches nothing.
        Raises:
            ValueError: the stream is being captured; or a frame or layer that does not fit.
        """
        self._check_not_capturing(stream)
        state = self._state(texture, layer)
        self._look.take()
        side = self._side_of(state, frame)
        if limit is not None:
            self._compared[side] += 1
            if side == "host" and isinstance(frame, Frame):
                return self._compare_here(texture, layer, state, frame, limit, stream)
        state.known = False
        with self.pixels(frame, stream) as pixels:
            tiles = self._ingest.refresh(texture, layer, pixels, limit=limit, stream=stream, totals=self._totals)
        if side == "host" and isinstance(frame, Frame):  # taken whole
            columns, rows = tile_grid(frame.size)
            copy_tiles(self._mirror_of(texture, state), frame.pixels, np.ones((rows, columns), np.bool_))
            state.known = True
        elif limit is not None and self._decides(state, frame) and state.record.frames % LOOK_EVERY == 0:
            self._look.ask(tiles, state.record, stream)
        return tiles

    @contextmanager
    def pixels(self, frame: Frame | YuvFrame, stream: Stream) -> Iterator[FramePixels]:
        """A whole frame as kernels queued on the stream inside the scope read it."""
        self._check_not_capturing(stream)
        if isinstance(frame, YuvFrame):
            with self._staging.bring([frame.y, frame.uv], stream) as (y, uv):
                yield FramePixels.from_yuv(replace(frame, y=y, uv=uv))
        else:
            with self._staging.bring([frame.pixels], stream) as (pixels,):
                yield FramePixels.from_tensor(pixels)

    def written(self, texture: CudaTexture, layers: Iterable[int], stream: Stream) -> None:
        """Something else writes layers now: on the device, or whenever the graph that is being captured runs."""
        capturing = self._driver.is_capturing(stream)
        for layer in layers:
            if capturing:
                self._state(texture, layer).barred = True
            elif (state := self._layers.get(texture, {}).get(layer)) is not None:
                state.known = False

    def bar(self, texture: CudaTexture) -> None:
        """Somebody else may write any layer of a texture from now on, unseen."""
        for layer in range(texture.spec.layers):
            self._state(texture, layer).barred = True

    def forget(self, texture: CudaTexture) -> None:
        """A texture is no more."""
        self._layers.pop(texture, None)

    def wait(self) -> None:
        """Wait on the host until page-locked frames of the caller's are no longer read."""
        self._staging.wait()

    def describe(self) -> dict[str, object]:
        """What was decided on which grounds; JSON-compatible."""
        layers = [
            {"layer": layer, "detect": state.record.side, "dirty_share": state.record.share}
            for states in self._layers.values()
            for layer, state in states.items()
            if state.record.side is not None and not state.barred
        ]
        mirrors = [state.mirror for states in self._layers.values() for state in states.values()]
        return {
            **self._policy.describe(),
            "layers": layers,
            "frames_compared": dict(self._compared),
            "mirror_bytes": sum(mirror.nbytes for mirror in mirrors if mirror is not None),
        }

    def close(self) -> None:
        """Free everything, when nothing reads it any more."""
        self._layers.clear()
        with ExitStack() as steps:
            steps.callback(self._staging.close)
            steps.callback(self._look.close)

    def _state(self, texture: CudaTexture, layer: int) -> _Layer:
        return self._layers.setdefault(texture, {}).setdefault(layer, _Layer())

    # ------------------------------------------------------------------ on the host

    def _side_of(self, state: _Layer, frame: Frame | YuvFrame) -> Side:
        """Where to compare it."""
        if state.barred or not isinstance(frame, Frame):
            return "device"
        pixels = frame.pixels
        return self._policy.choose(
            state.record, self._driver, size=pixels.nbytes, is_pinned=lambda: self._driver.is_pinned(pixels.ctypes.data)
        )

    def _decides(self, state: _Layer, frame: Frame | YuvFrame) -> bool:
        """Whether what this frame teaches is ever used."""
        return self._policy.detection == "auto" and not state.barred and isinstance(frame, Frame)

    def _compare_here(
        self,
        texture: CudaTexture,
        layer: int,
        state: _Layer,
        frame: Frame,
        limit: float,
        stream: Stream,
    ) -> TileMask:
        """Find the tiles that changed, and send them alone."""
        mirror = self._mirror_of(texture, state)
        if not state.known:
            width, height = frame.size
            texels = self._ingest.read_level(texture, layer, 0, frame.size, stream=stream)
            mirror[:height, :width] = texels.cpu().numpy()
            state.known = True
        with profile_range("compare on the host", "upload", frame.pixels.nbytes):
            tiles = detect_tiles(mirror, frame.pixels, limit)
        count = int(np.count_nonzero(tiles))
        state.record.note(count / tiles.size)
        if count:
            state.known = False  # until the device has them, too
            copy_tiles(mirror, frame.pixels, tiles)
            self._send(texture, layer, mirror, tiles, frame.size, stream)
            state.known = True
        return tiles

    def _send(
        self,
        texture: CudaTexture,
        layer: int,
        mirror: NDArray[Any],
        tiles: TileMask,
        size: tuple[int, int],
        stream: Stream,
    ) -> None:
        """Bring the masked tiles to the device in one copy: their texels, the slot of each tile, and the mask."""
        pieces, spec = list_tiles(tiles), texture.spec
        slots = np.where(tiles, np.cumsum(tiles).reshape(tiles.shape) - 1, -1).astype(np.int32)
        texels_end = len(pieces) * TILE * TILE * spec.texel_bytes  # a multiple of 256
        slots_end = texels_end + slots.nbytes
        size_bytes = slots_end + tiles.size

        def fill(memory: NDArray[np.uint8]) -> None:
            pack_texels(mirror, pieces, memory[:texels_end])
            memory[texels_end:slots_end] = slots.reshape(-1).view(np.uint8)
            memory[slots_end:] = tiles.reshape(-1)

        with self._staging.send(size_bytes, fill, stream) as data:
            texels = data[:texels_end].view(torch.uint8 if spec.dtype == "uint8" else torch.float32)
            pixels = FramePixels.from_tiles(
                texels.view(-1, TILE, TILE, spec.channels),
                data[texels_end:slots_end].view(torch.int32).view(tiles.shape),
                size,
            )
            flags = data[slots_end:size_bytes].view(tiles.shape)
            self._ingest.update(texture, layer, flags, pixels, stream=stream, totals=self._totals)

    def _mirror_of(self, texture: CudaTexture, state: _Layer) -> NDArray[Any]:
        """Room for level 0 of a layer; pages come with the first frame."""
        if state.mirror is None:
            width, height = texture.spec.padded_size
            state.mirror = np.zeros((height, width, texture.spec.channels), texture.spec.dtype)
        return state.mirror

    def _check_not_capturing(self, stream: Stream) -> None:
        if self._driver.is_capturing(stream):
            raise ValueError("a frame in host memory cannot be part of a captured graph; put it on the device before")


class _Look:
    """How many tiles were dirty in a frame compared on the device, asked for and learnt later without waiting."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._event = driver.create_event()
        self._memory = PinnedBuffer(driver)
        self._asked: tuple[LayerRecord, int] | None = None

    def ask(self, tiles: torch.Tensor, record: LayerRecord, stream: Stream) -> None:
        """Queue a copy of flags; not while another one is under way."""
        if self._asked is None:
            count = tiles.numel()
            self._memory.bytes(count)
            self._driver.copy(self._memory.address, tiles.data_ptr(), count, stream)
            try:
                self._driver.record(self._event, stream)
            except BaseException:
                self._driver.synchronize(stream)  # or the next one might free memory that is being written
                raise
            self._asked = record, count

    def take(self) -> None:
        """Note what was asked for, if it is there."""
        if self._asked is not None and self._driver.is_done(self._event):
            record, count = self._asked
            record.note(float(self._memory.bytes(count)[:count].mean()))
            self._asked = None

    def close(self) -> None:
        """Free everything, waiting for what was asked."""
        with ExitStack() as steps:  # last step first, and every step whatever fails
            steps.callback(self._memory.close)
            steps.callback(self._driver.destroy_event, self._event)
            steps.callback(self._driver.wait_on_host, self._event)
