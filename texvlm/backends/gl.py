"""The `gl` backend: texture arrays in OpenGL, compute shaders, results in mapped memory.

OpenGL 4.5 with compute shaders, on a headless EGL context of our own or on the application's. Calls
go through a small ctypes table (`_gl_api` says why not PyOpenGL or moderngl). Frames come from host
memory: they are compared on the host with a mirror of level 0, so that only dirty tiles cross the
bus; mips and tokens are made on the device (`_gl_frames`, `_gl_tokens`, shaders/). Tokens appear in
buffers that host and device share, handed out as torch tensors.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar, Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends._checks import check_frame, check_layer, check_sample, check_tiles
from texvlm.backends._detect import copy_tiles, detect_tiles
from texvlm.backends._egl import load_egl
from texvlm.backends._gl_api import TEXTURE_FETCH_BARRIER
from texvlm.backends._gl_attached import AttachedReader, check_attached, examine
from texvlm.backends._gl_buffers import Results, Staging
from texvlm.backends._gl_context import GlContext, look_at, open_device
from texvlm.backends._gl_current import CurrentContext
from texvlm.backends._gl_frames import FrameWriter
from texvlm.backends._gl_motion import GlMotion
from texvlm.backends._gl_texture import GlTexture, create_texture, delete_texture, read_texels
from texvlm.backends._gl_timers import GlTimers
from texvlm.backends._gl_tokens import TokenSampler
from texvlm.backends.attached import AttachedFrame, AttachedTexture, ImageChoice
from texvlm.backends.base import Backend, Counters, Normalisation, Texture
from texvlm.backends.block_search import BlockSpec
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import TextureSpec, column_texels, level_size
from texvlm.regions import TileMask, texels_inside

if TYPE_CHECKING:
    from texvlm.backends.base import Picture

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GlDevice:
    """One device as `probe` saw it.

    Attributes:
        index: what `open_headless(device=...)` takes; -1 for a surfaceless display.
        renderer: its name; empty when refused.
        version: OpenGL version and driver; empty when refused.
        software: it renders on the CPU.
        refusal: why it cannot be used, or None.
    """

    index: int
    renderer: str
    version: str
    software: bool
    refusal: str | None


def probe() -> list[GlDevice]:
    """Every device that EGL lists, whether usable or not.

    Raises:
        BackendUnavailable: there is no EGL; says what to install.
    """
    found = []
    for device in load_egl().devices():
        try:
            info = look_at(device)
        except (DeviceCallError, BackendUnavailable) as error:
            found.append(GlDevice(device.index, "", "", device.software, str(error)))
        else:
            found.append(GlDevice(device.index, info.renderer, info.version, info.software, None))
    return found


def open_headless(*, device: int | None = None, hardware_only: bool = False) -> GlBackend:
    """A backend on a context without a window.

    Args:
        device: index from `probe`; None for the first hardware renderer, or else a software one.
        hardware_only: refuse software renderers.
    Raises:
        BackendUnavailable: no such device can be had; names each one tried and what to install.
    """
    return GlBackend(open_device(device, hardware_only=hardware_only))


def open_current() -> GlBackend:
    """A backend on the OpenGL context that the application has current on this thread.

    Every call must come from this thread, with that context current. State that the calls touch is
    saved and restored. Drop or copy its tensors, then close it, before the context goes.

    Raises:
        BackendUnavailable: no context is current, or it is too old.
    """
    return GlBackend(CurrentContext())


class GlBackend(Backend):
    """Texture arrays of one OpenGL device. On a headless context, safe from any thread, one call at a time."""

    name = "gl"

    def __init__(self, context: GlContext) -> None:
        """See open_headless and open_current."""
        self.counters = Counters()
        self._context = context
        self._timers = GlTimers(context.gl, enabled=False)
        self._staging = Staging(context)
        self._results = Results(context)
        self._writer = FrameWriter(context, self._staging)
        self._attached = AttachedReader(context, self._staging, self._writer)
        self._sampler = TokenSampler(context, self._staging)
        self._textures: list[GlTexture] = []
        self._closed = False
        if context.info.software:
            logging.getLogger("texvlm").info("gl backend on a software renderer: %s", context.info.renderer)

    # ------------------------------------------------------------------ textures

    def create_texture(self, spec: TextureSpec) -> Texture:
        """See Backend. ValueError for sizes beyond the driver's limits."""
        handle = self._run(partial(create_texture, self._context, spec))
        self._textures.append(handle)
        return Texture(spec, handle)

    def destroy_texture(self, texture: Texture) -> None:
        """See Backend."""
        handle = self._handle(texture)
        texture.handle = None
        self._textures.remove(handle)
        self._run(partial(delete_texture, self._context, handle))

    def read_level(self, texture: Texture, layer: int, level: int) -> NDArray[np.generic]:
        """See Backend."""
        handle = self._handle(texture)
        width, height = (int(side) for side in texture.frame_sizes[layer])
        size = level_size((width, height), level)
        return self._run(partial(read_texels, self._context, handle, layer, level, size))

    # ------------------------------------------------------------------ frames in

    def detect(self, texture: Texture, layer: int, frame: Frame, threshold: float) -> TileMask:
        """See Backend. On the host, against the mirror: nothing goes to the device."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        tiles = detect_tiles(handle.mirror[layer], frame.pixels, threshold)
        if layer in handle.unsure or layer in handle.unmirrored:
            tiles[:] = True
        self.counters.tiles_compared += tiles.size
        return tiles

    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """See Backend. If it fails, `detect` calls every tile of the layer changed until all were uploaded."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        check_tiles(tiles, frame.size)
        if not tiles.any():
            return
        with self._mirrored(handle, layer, tiles, frame):
            self._run(partial(self._writer.upload, handle, layer, tiles), "upload")

    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """See Backend."""
        handle = self._handle(texture)
        check_layer(texture.spec, layer)
        check_tiles(tiles, texture.spec.size, smaller=True)
        if not tiles.any():
            return
        written = self._run(partial(self._writer.build_mips, handle, layer, tiles), "build_mips")
        self.counters.texels_rebuilt += int(np.count_nonzero(tiles)) * column_texels() + written

    def refresh(self, texture: Texture, layer: int, frame: Picture, threshold: float | None) -> TileMask | None:
        """See Backend. One pass on the device; if it fails, see `upload`."""
        if isinstance(frame, AttachedFrame):
            return self._refresh_attached(texture, layer, frame, threshold)
        if threshold is None or not isinstance(frame, Frame):
            return None
        tiles = self.detect(texture, layer, frame, threshold)
        self.write(texture, layer, tiles, frame)
        return tiles

    def write(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """`upload` and `build_mips` in one pass."""
        handle = self._handle(texture)
        check_frame(texture.spec, layer, frame)
        check_tiles(tiles, frame.size)
        if not tiles.any():
            return
        with self._mirrored(handle, layer, tiles, frame):
            written = self._run(partial(self._writer.refresh, handle, layer, tiles), "refresh")
        self.counters.texels_rebuilt += int(np.count_nonzero(tiles)) * column_texels() + written

    @contextmanager
    def _mirrored(self, handle: GlTexture, layer: int, tiles: TileMask, frame: Frame) -> Iterator[None]:
        """Copy tiles into the mirror, and believe in them only when the device has them too."""
        whole = bool(tiles.all())
        sure = layer not in handle.unsure or whole
        handle.unsure.add(layer)
        copy_tiles(handle.mirror[layer], frame.pixels, tiles)
        yield
        if sure:
            handle.unsure.discard(layer)
        if whole:
            handle.unmirrored.discard(layer)
        self.counters.tiles_dirty += int(np.count_nonzero(tiles))
        self.counters.bytes_uploaded += texels_inside(tiles, frame.size) * handle.spec.texel_bytes

    # ------------------------------------------------------------------ the application's own textures

    def attach(self, name: int, target: int, size: tuple[int, int], **image: Unpack[ImageChoice]) -> AttachedTexture:
        """See Backend. ValueError on a backend with a context of its own."""
        self._check_open()
        if self._context.shared:
            raise ValueError(
                f"texture {name} belongs to the application's OpenGL context, and this backend has one of its own; "
                "open the backend with texvlm.backends.gl.open_current()"
            )
        found = self._run(partial(examine, self._context.gl, name, target, size, **image))
        return AttachedTexture(found, handle=name)

    def detach(self, texture: AttachedTexture) -> None:
        """See Backend. May be called twice."""
        texture.handle = None

    @contextmanager
    def lent_to_gl(self, texture: Texture) -> Iterator[int]:
        """See Backend. To be read only. ValueError on a backend with a context of its own."""
        handle = self._handle(texture)
        if self._context.shared:
            raise ValueError(
                "this backend has an OpenGL context of its own, whose textures no other sees; open the backend with "
                "texvlm.backends.gl.open_current()"
            )
        self._run(partial(self._context.gl.glMemoryBarrier, TEXTURE_FETCH_BARRIER))
        yield handle.name

    def _refresh_attached(
        self, texture: Texture, layer: int, frame: AttachedFrame, threshold: float | None
    ) -> TileMask:
        """`refresh` without pixels from the host; bytes_uploaded counts what was written all the same."""
        handle = self._handle(texture)
        check_attached(texture.spec, layer, frame)
        compared = None if layer in handle.unsure else threshold
        handle.unsure.add(layer)
        tiles, tail = self._run(partial(self._attached.refresh, handle, layer, frame, compared), "refresh")
        handle.unsure.discard(layer)
        handle.unmirrored.add(layer)
        dirty = int(np.count_nonzero(tiles))
        self.counters.tiles_compared += 0 if threshold is None else tiles.size
        self.counters.tiles_dirty += dirty
        self.counters.bytes_uploaded += texels_inside(tiles, frame.size) * texture.spec.texel_bytes
        self.counters.texels_rebuilt += dirty * column_texels() + tail
        return tiles

    # ------------------------------------------------------------------ tokens out

    def empty(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """See Backend. A host tensor over a mapped buffer, which goes back to a pool with its last view."""
        self._check_open()
        return self._results.tensor(shape, dtype)

    def sample(
        self,
        texture: Texture,
        table: Table,
        out: torch.Tensor,
        normalisation: Normalisation,
        rows: NDArray[np.int32] | None = None,
    ) -> None:
        """See Backend. Returns when the pixels are there. ValueError for an `out` that is not from `empty`."""
        handle = self._handle(texture)
        check_sample(texture, table, out)
        rows = np.arange(len(table), dtype=np.int32) if rows is None else np.ascontiguousarray(rows, np.int32)
        if not len(rows):
            return
        found = self._results.find(out)
        if found is None:
            raise ValueError("out is not memory that this backend gave; get it from empty()")
        sample = self._sampler.sample
        self._run(partial(sample, handle, texture.frame_sizes, table, rows, normalisation, out, *found), "sample")
        self.counters.tokens_sampled += int(np.count_nonzero(table["layer"][rows] != PADDING_LAYER))

    def motion_memory(self, texture: Texture, spec: BlockSpec) -> GlMotion:
        """See Backend."""
        self._handle(texture)
        return GlMotion(self, texture, spec, self._context, self._run)

    # ------------------------------------------------------------------ the rest

    def time_stages(self) -> None:
        """See Backend: by timestamp queries, two a stage."""
        self._timers.enabled = True

    @property
    def device_times_ms(self) -> dict[str, float]:
        """See Backend."""
        if not self._closed:
            self._context.run(self._timers.poll)
        return dict(self._timers.total_ms)

    def describe(self) -> dict[str, object]:
        """See Backend."""
        info = self._context.info
        return {
            "backend": self.name,
            "renderer": info.renderer,
            "vendor": info.vendor,
            "version": info.version,
            "software": info.software,
            "context": "current" if isinstance(self._context, CurrentContext) else "headless",
        }

    def close(self) -> None:
        """See Backend. Tensors from `empty` stay valid; their memory is freed with them."""
        if self._closed:
            return
        self._closed = True
        if self._context.alive:  # in a forked child there is nothing that could be freed
            self._context.run(self._free_all)

    def __del__(self) -> None:
        if not getattr(self, "_closed", True) and not sys.is_finalizing():
            warnings.warn("a gl backend was not closed; its textures stay on the device", ResourceWarning, stacklevel=2)

    def _free_all(self) -> None:
        for handle in self._textures:
            delete_texture(self._context, handle)
        self._textures.clear()
        self._timers.close()
        self._staging.close()
        self._results.close()
        if not self._context.shared:
            self._context.programs.close()
        self._context.gl.glFlush()
        self._context.gl.check("close")

    def _run(self, work: Callable[[], T], stage: str = "") -> T:
        """Do work where the context is current; a stage by name is timed."""
        self._check_open()
        return self._context.run(partial(self._timed, work, stage) if stage else work)

    def _timed(self, work: Callable[[], T], stage: str) -> T:
        with self._timers.stage(stage):
            return work()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the gl backend is closed; open a new engine")

    def _handle(self, texture: Texture) -> GlTexture:
        self._check_open()
        if not isinstance(texture.handle, GlTexture):
            raise ClosedError("this texture was destroyed")
        return texture.handle
