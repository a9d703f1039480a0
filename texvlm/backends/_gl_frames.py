"""Frames on their way to the device: packed tiles into level 0, then the mips above them.

Everything here runs where the context is current. Dirty tiles take one of two ways up. Few
rectangles: one glTextureSubImage3D each. Many scattered tiles: one dispatch of upload.comp for all
(a call for each would cost about twice as much on llvmpipe, and more on a GPU).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_buffers import MappedBuffer, Staging
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_pack import Pieces, find_rectangles, list_tail, list_tiles, pack, split_pieces
from texvlm.backends._gl_programs import Definitions
from texvlm.backends._gl_texture import GlTexture, TexelFormat
from texvlm.pyramid import COLUMN_LEVELS
from texvlm.regions import TILE, TileMask

RECTANGLES = 64
"""Up to this many rectangles, or an eighth of the dirty tiles if that is more, are uploaded one by one."""

STAGING_BYTES = 16 << 20
"""Most texels packed at once; a larger upload goes in several batches."""

MAX_GROUPS = 65535
"""Workgroups along one axis that every driver takes."""

TILES_PER_GROUP = 4
"""Of build_mips.comp: 64 threads a workgroup, which suits GPUs and makes no difference on llvmpipe."""

GROUP_THREADS = 64
"""Of build_tail.comp, in one workgroup."""

TAIL_LEVELS = 6
"""Of build_tail.comp, in one dispatch; drivers take 8 at least."""

TAIL_RUNS = ((1, 4, 1), (4, 4 + TAIL_LEVELS, GROUP_THREADS), (4 + TAIL_LEVELS, 11, GROUP_THREADS))
"""[from, to) of steps beyond level 4, and the threads for one texel. Blocks of up to 8 x 8 texels (all that a
1080p frame has) take one thread each. One thread could not do the largest: llvmpipe ends loops after 65535 rounds."""


class FrameWriter:
    """Writes level 0 and mips of textures."""

    def __init__(self, context: GlContext, staging: Staging) -> None:
        self._context = context
        self._staging = staging

    def upload(self, texture: GlTexture, layer: int, tiles: TileMask) -> None:
        """Bring the masked tiles of level 0 up to date with the mirror; at least one is masked."""
        dirty = int(np.count_nonzero(tiles))
        batch = STAGING_BYTES // (TILE * TILE * texture.texel.texel_bytes)
        rectangles = find_rectangles(tiles, max(RECTANGLES, dirty // 8))
        if rectangles is not None:
            for pieces in split_pieces(rectangles, batch):
                self._upload_rectangles(texture, layer, pieces)
        else:
            for pieces in split_pieces(list_tiles(tiles), min(batch, MAX_GROUPS)):
                self._upload_tiles(texture, layer, pieces)

    def build_mips(self, texture: GlTexture, layer: int, tiles: TileMask) -> int:
        """Rebuild what lies above the masked tiles; at least one is masked. How many tail texels that were."""
        columns = list_tiles(tiles)[:, :2]
        tail = list_tail(tiles, texture.spec.levels - COLUMN_LEVELS - 1)
        tail_start = self._context.info.aligned(columns.nbytes)
        block = self._staging.take(tail_start + tail.nbytes)
        block.write(0, columns)
        block.write(tail_start, tail)
        self._context.gl.glBindTextureUnit(0, texture.words)
        self._build_columns(texture, layer, block, len(columns))
        if len(tail):
            self._build_tail(texture, layer, block, tail_start, tail[:, 2], (tiles.shape[1] - 1, tiles.shape[0] - 1))
        self._staging.done()
        self._context.gl.check("build_mips: glDispatchCompute")
        return len(tail)

    def _upload_rectangles(self, texture: GlTexture, layer: int, pieces: Pieces) -> None:
        gl = self._context.gl
        block = self._staging.take(_packed_bytes(texture, pieces))
        starts = pack(texture.mirror[layer], pieces, block.memory)
        gl.glMemoryBarrier(names.TEXTURE_UPDATE_BARRIER)
        gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, block.name)
        for (x, y, width, height), start in zip((pieces * TILE).tolist(), starts.tolist(), strict=True):
            gl.glTextureSubImage3D(texture.name, 0, x, y, layer, width, height, 1, *texture.texel.transfer, start)
        gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, 0)
        self._staging.done()
        gl.check("upload: glTextureSubImage3D")

    def _upload_tiles(self, texture: GlTexture, layer: int, pieces: Pieces) -> None:
        gl = self._context.gl
        packed_bytes = _packed_bytes(texture, pieces)
        list_start = self._context.info.aligned(packed_bytes)
        block = self._staging.take(list_start + len(pieces) * 8)
        pack(texture.mirror[layer], pieces, block.memory)
        block.write(list_start, pieces[:, :2])
        program = self._context.programs.use("upload.comp", texture.texel.definitions)
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        texture.bind_level(self._context, 0, 0)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        block.bind(self._context, 0, list_start, len(pieces) * 8)
        block.bind(self._context, 1, 0, packed_bytes)
        gl.glDispatchCompute(len(pieces), 1, 1)
        self._staging.done()
        gl.check("upload: glDispatchCompute")

    def _build_columns(self, texture: GlTexture, layer: int, block: MappedBuffer, count: int) -> None:
        """Levels 1..4 of the `count` tiles that the block lists from its start."""
        gl = self._context.gl
        program = self._context.programs.use("build_mips.comp", columns_definitions(texture.texel))
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        for level in range(1, COLUMN_LEVELS + 1):
            texture.bind_level(self._context, level, level)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        # batches start at a multiple of 32 entries, 256 bytes, where every driver can bind
        batch = MAX_GROUPS * TILES_PER_GROUP // 32 * 32
        for start in range(0, count, batch):
            size = min(batch, count - start)
            block.bind(self._context, 0, start * 8, size * 8)
            gl.glProgramUniform1ui(program.name, program.location("count"), size)
            gl.glDispatchCompute(-(-size // TILES_PER_GROUP), 1, 1)

    def _build_tail(
        self,
        texture: GlTexture,
        layer: int,
        block: MappedBuffer,
        start: int,
        steps: NDArray[np.int32],
        last: tuple[int, int],
    ) -> None:
        """Levels 5 and up of the texels that the block lists from byte `start`; `steps` are their levels beyond 4."""
        gl = self._context.gl
        block.bind(self._context, 0, start, len(steps) * 16)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        for lowest, beyond, threads in TAIL_RUNS:
            first, end = (int(i) for i in np.searchsorted(steps, (lowest, beyond)))
            if first == end:
                continue
            program = self._context.programs.use("build_tail.comp", tail_definitions(texture.texel, threads))
            for unit in range(TAIL_LEVELS):
                level = min(COLUMN_LEVELS + lowest + unit, texture.spec.levels - 1)  # all units hold something
                texture.bind_level(self._context, unit, level)
            gl.glProgramUniform1i(program.name, program.location("layer"), layer)
            gl.glProgramUniform2i(program.name, program.location("last"), *last)
            gl.glProgramUniform1i(program.name, program.location("lowest"), lowest)
            gl.glProgramUniform1ui(program.name, program.location("first"), first)
            gl.glProgramUniform1ui(program.name, program.location("count"), end - first)
            gl.glDispatchCompute(-(-(end - first) * threads // GROUP_THREADS), 1, 1)


def columns_definitions(texel: TexelFormat) -> Definitions:
    """What makes one variant of build_mips.comp."""
    return (*texel.definitions, ("TEXVLM_TILES", f"{TILES_PER_GROUP}u"))


def tail_definitions(texel: TexelFormat, threads: int) -> Definitions:
    """What makes one variant of build_tail.comp; `threads` work on one texel."""
    return (*texel.definitions, ("TEXVLM_LEVELS", TAIL_LEVELS), ("TEXVLM_THREADS", f"{threads}u"))


def _packed_bytes(texture: GlTexture, pieces: Pieces) -> int:
    tiles = int(pieces[:, 2:].prod(axis=1, dtype=np.int64).sum())
    return tiles * TILE * TILE * texture.texel.texel_bytes
