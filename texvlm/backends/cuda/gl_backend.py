"""The cuda backend over arrays that OpenGL owns, in two mapping modes.

`resident`: arrays stay mapped; frames come in through CUDA as on arrays of its own. OpenGL gets an array
only for the scope of `lent_to_gl`, for example to show it.

`epochs`: frames come in through OpenGL, tokens go out through CUDA. Mapping is lazy: frames of any number
of layers and arrays are uploaded while nothing is mapped, and the first tokens afterwards map all arrays
in one call. Frames are compared in host memory, so they must come from there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_texture import GlTexture
from texvlm.backends.attached import AttachedFrame
from texvlm.backends.base import Counters, Filtering, PendingTiles, Texture
from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.arrays import Storage
from texvlm.backends.cuda.attached import Attachments
from texvlm.backends.cuda.backend import CudaBackend
from texvlm.backends.cuda.gl_arrays import GlArray, GlArrays
from texvlm.backends.cuda.gl_context import open_current_for, open_headless_for, probe_interop
from texvlm.backends.cuda.host_policy import HostDetection, HostPolicy
from texvlm.backends.cuda.interop import Interop
from texvlm.backends.cuda.kernels import Compiler
from texvlm.backends.gl import GlBackend
from texvlm.device_frames import DeviceReader
from texvlm.frames import Frame
from texvlm.pyramid import TextureSpec
from texvlm.regions import TileMask, tile_grid

if TYPE_CHECKING:
    from texvlm.backends.base import Picture

Mapping = Literal["resident", "epochs"]
"""How arrays that OpenGL owns are shared; see above."""


class CudaGlBackend(CudaBackend):
    """Texture arrays of one OpenGL context, sampled by the CUDA device that it is on."""

    def __init__(
        self,
        driver: Driver,
        compiler: Compiler,
        context: GlContext,
        *,
        mapping: Mapping,
        filtering: Filtering = "hardware",
        detect_host_frames: HostDetection | HostPolicy = "auto",
    ) -> None:
        """On a context from `gl_context.open_headless_for` or `open_current_for`.

        Raises:
            BackendUnavailable: the two sides do not see the same texels.
        """
        super().__init__(driver, compiler, filtering=filtering, detect_host_frames=detect_host_frames)
        self._mapping = mapping
        self._frames_by_gl = mapping == "epochs"
        self._gl = GlBackend(context)
        self._interop = Interop(driver, context)
        self._arrays = GlArrays(driver, self._interop, self._gl)
        if not context.shared:  # the application's own: its textures are there, too
            self._attachments = Attachments(driver, self._interop)
        try:
            probe_interop(driver, self._kernels, context, self._gl)
        except BaseException:
            self.close()
            raise

    def _make_storage(self, spec: TextureSpec) -> Storage:
        return self._arrays.create(spec)

    @contextmanager
    def lent_to_gl(self, texture: Texture) -> Iterator[int]:
        """OpenGL's name of a texture array, which is OpenGL's until the scope ends; see GlArray.lent_to_gl."""
        with self._queue() as stream, self._array(texture).lent_to_gl(stream) as name:
            self._host_frames.bar(self._handle(texture))  # OpenGL may write it, and nobody would tell
            yield name

    # ------------------------------------------------------------------ frames in, by OpenGL

    def detect(self, texture: Texture, layer: int, frame: Frame, threshold: float) -> TileMask:
        """See Backend. In epochs on the host, against the mirror: nothing is mapped or unmapped."""
        if not self._frames_by_gl:
            return super().detect(texture, layer, frame, threshold)
        with self._lock:
            tiles = self._gl.detect(self._array(texture).owned, layer, frame, threshold)
            self._counted.tiles_compared += tiles.size
            return tiles

    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """See Backend."""
        if not self._frames_by_gl:
            super().upload(texture, layer, tiles, frame)
            return
        with self._for_gl(texture) as owned:
            self._gl.upload(owned, layer, tiles, frame)
            self._stamp(texture, layer, tiles, frame.size)

    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """See Backend."""
        if not self._frames_by_gl:
            super().build_mips(texture, layer, tiles)
            return
        with self._for_gl(texture) as owned:
            self._gl.build_mips(owned, layer, tiles)
            self._stamp(texture, layer, tiles, None)

    def refresh(self, texture: Texture, layer: int, frame: Picture, threshold: float | None) -> TileMask | PendingTiles:
        """See Backend. In epochs, unchanged frames leave the arrays mapped."""
        if not self._frames_by_gl:
            return super().refresh(texture, layer, frame, threshold)
        if isinstance(frame, AttachedFrame):
            return self._refresh_attached(texture, layer, frame, threshold)
        assert isinstance(frame, Frame), "without a reader, frames come from the host"
        columns, rows = tile_grid(frame.size)
        tiles: TileMask = np.ones((rows, columns), np.bool_)
        if threshold is not None:
            tiles = self.detect(texture, layer, frame, threshold)
        if tiles.any():
            with self._for_gl(texture) as owned:
                self._gl.write(owned, layer, tiles, frame)
                self._stamp(texture, layer, tiles, frame.size)
        return tiles

    def _refresh_attached(
        self, texture: Texture, layer: int, frame: AttachedFrame, threshold: float | None
    ) -> TileMask | PendingTiles:
        """The application's texture comes in through CUDA; the mirror knows nothing of it."""
        handle = self._array(texture).owned.handle
        assert isinstance(handle, GlTexture), "the texture is alive"
        compared = None if layer in handle.unsure else threshold
        handle.unsure.add(layer)
        tiles = super().refresh(texture, layer, frame, compared)
        handle.unsure.discard(layer)
        handle.unmirrored.add(layer)
        return tiles

    def reader(self) -> DeviceReader | None:
        """See Backend."""
        return None if self._frames_by_gl else super().reader()

    @contextmanager
    def _for_gl(self, texture: Texture) -> Iterator[Texture]:
        """The scope of OpenGL's calls on a texture, which is unmapped, as OpenGL's side knows it."""
        with self._queue() as stream:
            array = self._array(texture)
            self._arrays.for_gl(stream)
            yield array.gl_texture

    def _stamp(self, texture: Texture, layer: int, tiles: TileMask, size: tuple[int, int] | None) -> None:
        """Note on the device which tiles OpenGL has written, as the ingest kernels do for theirs."""
        handle = self._handle(texture)
        rows, columns = tiles.shape
        versions = handle.versions[layer, :rows, :columns]
        written = self._to_device(tiles).to(torch.bool)
        versions.copy_(torch.where(written, handle.clock[layer] + 1, versions))
        handle.clock[layer] += 1
        if size is not None:
            handle.frame_sizes[layer].copy_(torch.tensor(size, dtype=torch.int32))

    # ------------------------------------------------------------------ the rest

    @property
    def counters(self) -> Counters:  # type: ignore[override]
        """See CudaBackend. What OpenGL's side did counts, too."""
        counted, by_gl = super().counters, self._gl.counters
        if not self._closed:  # the device's totals were just read anew
            counted.tiles_dirty += by_gl.tiles_dirty
            counted.bytes_uploaded += by_gl.bytes_uploaded
            counted.texels_rebuilt += by_gl.texels_rebuilt
            counted.maps = self._interop.maps + (0 if self._attachments.uses(self._interop) else counted.maps)
        return counted

    def time_stages(self) -> None:
        """See Backend. On both sides: in epochs, frames come in by OpenGL."""
        super().time_stages()
        self._gl.time_stages()

    @property
    def device_times_ms(self) -> dict[str, float]:
        """See Backend."""
        return {**self._gl.device_times_ms, **super().device_times_ms}

    def describe(self) -> dict[str, object]:
        """See Backend."""
        return {**super().describe(), "mapping": f"cuda-gl {self._mapping}", "opengl": self._gl.describe()}

    def close(self) -> None:
        """See CudaBackend. CUDA lets go of every array before OpenGL deletes it."""
        try:
            super().close()
        finally:
            self._gl.close()

    def _array(self, texture: Texture) -> GlArray:
        storage = self._handle(texture).storage
        assert isinstance(storage, GlArray), "this backend makes no other storage"
        return storage


def open_cuda_gl(
    ordinal: int | None = None, *, mapping: Mapping, filtering: Filtering = "hardware", current: bool = False
) -> CudaGlBackend:
    """A backend on a GPU whose arrays OpenGL owns.

    Args:
        ordinal: the device's number among those that CUDA sees; None for torch's current one.
        mapping: "resident" or "epochs"; see above.
        filtering: as of `opening.open_cuda`.
        current: use the OpenGL context that the application has current on this thread, not a headless one.
    Raises:
        BackendUnavailable: there is no usable GPU, or no OpenGL context on it that CUDA can share textures with.
    """
    # Here, not above: the rest of this module runs without cuda-bindings.
    from texvlm.backends.cuda.compiler import NvrtcCompiler
    from texvlm.backends.cuda.opening import open_driver

    driver = open_driver(ordinal)
    try:
        context: GlContext = open_current_for(driver) if current else open_headless_for(driver)
    except BaseException:
        driver.close()
        raise
    compiler = NvrtcCompiler(driver.info.architecture)
    return CudaGlBackend(driver, compiler, context, mapping=mapping, filtering=filtering)
