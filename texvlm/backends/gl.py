"""The `gl` backend: texture arrays in OpenGL, compute shaders, results in mapped memory.

OpenGL 4.5 with compute shaders, on a headless EGL context of our own or on the application's. Calls
go through a small ctypes table (`_gl_api` says why not PyOpenGL or moderngl). Frames come from host
memory: they are compared on the host with a mirror of level 0, so that only dirty tiles cross the
bus; mips and tokens are made on the device. Tokens appear in buffers that host and device share,
handed out as torch tensors.

Dirty tiles take one of two ways up. Few rectangles: one glTextureSubImage3D each, from packed memory.
Many scattered tiles: one dispatch of upload.comp for all of them (a call for each would cost about
twice as much on llvmpipe).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._detect import copy_tiles, detect_tiles
from texvlm.backends._egl import load_egl
from texvlm.backends._gl_buffers import Fence, MappedBuffer, Results, Staging
from texvlm.backends._gl_context import CurrentContext, GlContext, look_at, open_device
from texvlm.backends._gl_pack import Pieces, find_rectangles, list_tiles, pack, split_pieces
from texvlm.backends._gl_programs import Definitions, Program, Programs
from texvlm.backends._gl_texture import GlTexture, create_texture, delete_texture, read_texels
from texvlm.backends.base import Backend, Counters, Normalisation, Texture
from texvlm.backends.cpu import texels_inside
from texvlm.errors import BackendUnavailable, ClosedError, DeviceCallError
from texvlm.frames import Frame
from texvlm.layouts.table import PADDING_LAYER, Table
from texvlm.pyramid import COLUMN_LEVELS, TextureSpec, column_texels, level_size
from texvlm.regions import TILE, TileMask

T = TypeVar("T")

RECTANGLES = 64
"""Up to this many rectangles, or an eighth of the dirty tiles if that is more, are uploaded one by one."""

STAGING_BYTES = 16 << 20
"""Most texels packed at once; a larger upload goes in several batches."""

MAX_GROUPS = 65535
"""Workgroups along one axis that every driver takes."""

TILES_PER_GROUP = 4
"""Of build_mips.comp: 64 threads a workgroup, which suits GPUs and makes no difference on llvmpipe."""

_OUT_BITS = {torch.uint8: 8, torch.float16: 16, torch.float32: 32}


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
    saved and restored. Close the backend, and drop or copy its tensors, before the context goes.

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
        self._programs = Programs(context)
        self._staging = Staging(context)
        self._results = Results(context)
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
        tiles = detect_tiles(self._handle(texture).mirror[layer], frame.pixels, threshold)
        self.counters.tiles_compared += tiles.size
        return tiles

    def upload(self, texture: Texture, layer: int, tiles: TileMask, frame: Frame) -> None:
        """See Backend."""
        handle = self._handle(texture)
        dirty = int(np.count_nonzero(tiles))
        if not dirty:
            return
        copy_tiles(handle.mirror[layer], frame.pixels, tiles)
        batch = STAGING_BYTES // (TILE * TILE * handle.texel.texel_bytes)
        rectangles = find_rectangles(tiles, max(RECTANGLES, dirty // 8))
        if rectangles is not None:
            work = [partial(self._upload_rectangles, handle, layer, p) for p in split_pieces(rectangles, batch)]
        else:
            pieces = split_pieces(list_tiles(tiles), min(batch, MAX_GROUPS))
            work = [partial(self._upload_tiles, handle, layer, p) for p in pieces]
        self._run(partial(_in_turn, work))
        self.counters.tiles_dirty += dirty
        self.counters.bytes_uploaded += texels_inside(tiles, frame.size) * texture.spec.texel_bytes

    def build_mips(self, texture: Texture, layer: int, tiles: TileMask) -> None:
        """See Backend."""
        handle = self._handle(texture)
        dirty = int(np.count_nonzero(tiles))
        if not dirty:
            return
        tail = tail_places(tiles, texture.spec.levels - COLUMN_LEVELS - 1)
        self._run(partial(self._build_mips, handle, layer, tiles, tail))
        self.counters.texels_rebuilt += dirty * column_texels() + sum(map(len, tail))

    def _upload_rectangles(self, handle: GlTexture, layer: int, pieces: Pieces) -> None:
        gl = self._context.gl
        block, _, starts = self._pack(handle, layer, pieces)
        gl.glMemoryBarrier(names.TEXTURE_UPDATE_BARRIER)
        gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, block.name)
        for (x, y, width, height), start in zip((pieces * TILE).tolist(), starts.tolist(), strict=True):
            gl.glTextureSubImage3D(handle.name, 0, x, y, layer, width, height, 1, *handle.texel.transfer, start)
        gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, 0)
        self._staging.done()
        gl.check("upload: glTextureSubImage3D")

    def _upload_tiles(self, handle: GlTexture, layer: int, pieces: Pieces) -> None:
        gl = self._context.gl
        block, packed_bytes, _ = self._pack(handle, layer, pieces, listed=True)
        program = self._programs.use("upload.comp", handle.texel.definitions)
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        handle.bind_level(self._context, 0, 0)
        list_start = self._aligned(packed_bytes)
        self._bind(0, block, list_start, len(pieces) * 8)
        self._bind(1, block, 0, packed_bytes)
        gl.glDispatchCompute(len(pieces), 1, 1)
        self._staging.done()
        gl.check("upload: glDispatchCompute")

    def _pack(
        self, handle: GlTexture, layer: int, pieces: Pieces, *, listed: bool = False
    ) -> tuple[MappedBuffer, int, NDArray[np.int64]]:
        """Rectangles of the mirror in staging memory, and behind them, aligned, their places if `listed`."""
        tiles = int(pieces[:, 2:].prod(axis=1, dtype=np.int64).sum())
        packed_bytes = tiles * TILE * TILE * handle.texel.texel_bytes
        list_start = self._aligned(packed_bytes)
        block = self._staging.take(list_start + len(pieces) * 8)
        starts = pack(handle.mirror[layer], pieces, block.memory[:packed_bytes])
        if listed:
            _write(block, list_start, pieces[:, :2])
        return block, packed_bytes, starts

    def _build_mips(self, handle: GlTexture, layer: int, tiles: TileMask, tail: list[NDArray[np.int32]]) -> None:
        gl = self._context.gl
        places = list_tiles(tiles)[:, :2]
        lists = [places, *tail]
        firsts = np.cumsum([0] + [len(part) for part in lists])
        block = self._staging.take(int(firsts[-1]) * 8)
        _write(block, 0, np.concatenate(lists))
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        gl.glBindTextureUnit(0, handle.words)
        definitions = handle.texel.definitions
        program = self._programs.use("build_mips.comp", (*definitions, ("TEXVLM_TILES", TILES_PER_GROUP)))
        for level in range(1, COLUMN_LEVELS + 1):
            handle.bind_level(self._context, level, level)
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        most = MAX_GROUPS * TILES_PER_GROUP // 32 * 32  # so that parts of the list start aligned
        for start in range(0, len(places), most):
            count = min(most, len(places) - start)
            self._bind(0, block, start * 8, count * 8)
            gl.glProgramUniform1ui(program.name, program.location("count"), count)
            gl.glDispatchCompute(-(-count // TILES_PER_GROUP), 1, 1)
        if tail:
            gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
            program = self._programs.use("build_tail.comp", definitions)
            gl.glProgramUniform1i(program.name, program.location("layer"), layer)
            gl.glProgramUniform2i(program.name, program.location("last"), tiles.shape[1] - 1, tiles.shape[0] - 1)
            self._bind(0, block, 0, int(firsts[-1]) * 8)
            for steps, part in enumerate(tail, start=1):
                handle.bind_level(self._context, 0, COLUMN_LEVELS + steps)
                gl.glProgramUniform1ui(program.name, program.location("first"), int(firsts[steps]))
                gl.glProgramUniform1ui(program.name, program.location("count"), len(part))
                gl.glProgramUniform1i(program.name, program.location("steps"), steps)
                gl.glDispatchCompute(-(-len(part) // 64), 1, 1)
        self._staging.done()
        gl.check("build_mips: glDispatchCompute")

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
        channels, patch = texture.spec.channels, int(out.shape[-1])
        if tuple(out.shape) != (len(table), channels, patch, patch) or not out.is_contiguous():
            raise ValueError(
                f"out is {tuple(out.shape)}; {len(table)} rows of {channels} channels need a contiguous "
                f"({len(table)}, {channels}, patch, patch)"
            )
        rows = np.arange(len(table), dtype=np.int32) if rows is None else np.ascontiguousarray(rows, np.int32)
        if not len(rows):
            return
        layers = table["layer"]
        if int(layers.max()) >= texture.spec.layers:
            raise ValueError(f"layer {int(layers.max())} is outside the texture array (0..{texture.spec.layers - 1})")
        found = self._results.find(out)
        if found is None:
            raise ValueError("out is not memory that this backend gave; get it from empty()")
        work = partial(self._sample, handle, table, rows, texture.frame_sizes, out, found, normalisation)
        self._run(work)
        self.counters.tokens_sampled += int(np.count_nonzero(layers[rows] != PADDING_LAYER))

    def _sample(
        self,
        handle: GlTexture,
        table: Table,
        rows: NDArray[np.int32],
        frame_sizes: NDArray[np.int32],
        out: torch.Tensor,
        found: tuple[MappedBuffer, int],
        normalisation: Normalisation,
    ) -> None:
        gl, info = self._context.gl, self._context.info
        patch, bits = int(out.shape[-1]), _OUT_BITS[out.dtype]
        unit = 4 if patch % 2 == 0 else 1
        program = self._programs.use("sample.comp", _sample_definitions(patch, handle.spec.channels, bits, unit))
        gl.glProgramUniform1i(program.name, program.location("last_level"), handle.spec.levels - 1)
        _set_vector(self._context, program, "mean", normalisation.mean, 0.0)
        _set_vector(self._context, program, "inverse_std", tuple(1 / s for s in normalisation.std), 1.0)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER)
        gl.glBindTextureUnit(0, handle.name)
        size_start = self._aligned(table.nbytes)
        row_start = self._aligned(size_start + frame_sizes.nbytes)
        block = self._staging.take(row_start + rows.nbytes + info.block_alignment)
        _write(block, 0, table)
        _write(block, size_start, frame_sizes)
        _write(block, row_start, rows)
        self._bind(0, block, 0, table.nbytes)
        self._bind(1, block, size_start, frame_sizes.nbytes)
        self._bind(2, block, row_start, rows.nbytes)
        buffer, start = found
        row_bytes = out.nbytes // len(table)
        # a driver limits the bytes that one shader may see, and workgroups along an axis
        batch = min(MAX_GROUPS, (info.max_block_bytes - info.block_alignment) // row_bytes)
        groups = -(-patch * patch // (64 * unit))
        first_row_at = program.location("first_row")
        for first in range(0, len(table), batch):
            low, high = (int(i) for i in np.searchsorted(rows, (first, first + batch)))
            if low == high:
                continue
            begin = start + first * row_bytes
            window = begin // info.block_alignment * info.block_alignment
            size = min(batch, len(table) - first) * row_bytes + begin - window
            self._bind(3, buffer, window, min(-(-size // 4) * 4, buffer.size - window))
            gl.glProgramUniform1i(program.name, first_row_at, first)
            gl.glProgramUniform1ui(program.name, program.location("out_start"), (begin - window) * 8 // (bits * unit))
            gl.glProgramUniform1i(program.name, program.location("rows_start"), low)
            gl.glDispatchCompute(groups, high - low, 1)
        gl.glMemoryBarrier(names.CLIENT_MAPPED_BUFFER_BARRIER)
        self._staging.done()
        fence = Fence(self._context)
        gl.check("sample: glDispatchCompute")
        fence.wait()

    # ------------------------------------------------------------------ the rest

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
        self._context.run(self._free_all)

    def _free_all(self) -> None:
        for handle in self._textures:
            delete_texture(self._context, handle)
        self._textures.clear()
        self._staging.close()
        self._results.close()
        self._programs.close()
        self._context.gl.glFlush()
        self._context.gl.check("close")

    def _run(self, work: Callable[[], T]) -> T:
        self._check_open()
        return self._context.run(work)

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError("the gl backend is closed; open a new engine")

    def _handle(self, texture: Texture) -> GlTexture:
        self._check_open()
        if not isinstance(texture.handle, GlTexture):
            raise ClosedError("this texture was destroyed")
        return texture.handle

    def _aligned(self, start: int) -> int:
        """The next byte at which a storage binding may start."""
        return -(-start // self._context.info.block_alignment) * self._context.info.block_alignment

    def _bind(self, index: int, buffer: MappedBuffer, start: int, size: int) -> None:
        self._context.gl.glBindBufferRange(names.SHADER_STORAGE_BUFFER, index, buffer.name, start, size)


def tail_places(tiles: TileMask, levels: int) -> list[NDArray[np.int32]]:
    """Texels (x, y) above masked tiles at each of `levels` levels beyond level 4, each of shape (n, 2)."""
    places = []
    for _ in range(levels):
        rows, columns = -(-tiles.shape[0] // 2), -(-tiles.shape[1] // 2)
        padded = np.zeros((rows * 2, columns * 2), np.bool_)
        padded[: tiles.shape[0], : tiles.shape[1]] = tiles
        tiles = padded[0::2, 0::2] | padded[0::2, 1::2] | padded[1::2, 0::2] | padded[1::2, 1::2]
        places.append(list_tiles(tiles)[:, :2])
    return places


def _in_turn(work: Sequence[Callable[[], None]]) -> None:
    for part in work:
        part()


def _write(block: MappedBuffer, start: int, data: NDArray[np.generic]) -> None:
    """Copy an array's bytes into mapped memory."""
    block.memory[start : start + data.nbytes] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)


def _sample_definitions(patch: int, channels: int, bits: int, unit: int) -> Definitions:
    return (
        ("TEXVLM_PATCH", patch),
        ("TEXVLM_CHANNELS", f"{channels}u"),
        ("TEXVLM_OUT_BITS", bits),
        ("TEXVLM_UNIT", unit),
        ("TEXVLM_PADDING_LAYER", f"({PADDING_LAYER})"),
    )


def _set_vector(context: GlContext, program: Program, uniform: str, values: Sequence[float], rest: float) -> None:
    """A vec4 uniform from one value for each channel."""
    x, y, z, w = (*values, rest, rest, rest)[:4]
    context.gl.glProgramUniform4f(program.name, program.location(uniform), x, y, z, w)
