"""Frames on their way to the device: packed tiles into level 0, then the mips above them.

Everything here runs where the context is current. Dirty tiles take one of two ways up. Few
rectangles: one glTextureSubImage3D each. Many scattered tiles: one dispatch for all (a call for each
would cost about twice as much on llvmpipe, and more on a GPU): upload.comp for level 0 alone, or
refresh.comp, which makes the tiles' own mips in the same pass for nothing.
"""

from __future__ import annotations

import numpy as np

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_buffers import Staging
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_pack import find_rectangles, list_tail, pack, split_pieces
from texvlm.backends._gl_programs import Definitions
from texvlm.backends._gl_state import IMAGE_UNITS
from texvlm.backends._gl_texture import GlTexture, TexelFormat
from texvlm.backends._pack import Pieces, list_tiles
from texvlm.pyramid import COLUMN_LEVELS
from texvlm.regions import TILE, TileMask

RECTANGLES = 64
"""Up to this many rectangles, or an eighth of the dirty tiles if that is more, are uploaded one by one."""

STAGING_BYTES = 16 << 20
"""Most texels packed at once; a larger upload goes in several batches."""

MAX_GROUPS = 65535
"""Workgroups along one axis that every driver takes."""

TILES_PER_GROUP = 4
"""Of build_mips.comp and refresh.comp: 64 threads a workgroup."""

GROUP_THREADS = 64
"""Of build_tail.comp, in one workgroup."""

TAIL_LEVELS = IMAGE_UNITS
"""Of build_tail.comp, in one dispatch."""

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
        rectangles = few_rectangles(tiles)
        if rectangles is not None:
            self._upload_rectangles(texture, layer, rectangles)
        else:
            self._upload_tiles(texture, layer, tiles, with_columns=False)
        self._context.gl.check("upload")

    def build_mips(self, texture: GlTexture, layer: int, tiles: TileMask) -> int:
        """Rebuild what lies above the masked tiles; at least one is masked. How many tail texels that were."""
        self._build_columns(texture, layer, tiles)
        written = self.build_tail(texture, layer, tiles)
        self._context.gl.check("build_mips")
        return written

    def refresh(self, texture: GlTexture, layer: int, tiles: TileMask) -> int:
        """`upload` and `build_mips`; scattered tiles take one dispatch for both."""
        rectangles = few_rectangles(tiles)
        if rectangles is not None:
            self._upload_rectangles(texture, layer, rectangles)
            self._build_columns(texture, layer, tiles)
        else:
            self._upload_tiles(texture, layer, tiles, with_columns=True)
        written = self.build_tail(texture, layer, tiles)
        self._context.gl.check("refresh")
        return written

    def _upload_rectangles(self, texture: GlTexture, layer: int, rectangles: Pieces) -> None:
        gl = self._context.gl
        tile_bytes = _tile_bytes(texture)
        gl.glMemoryBarrier(names.TEXTURE_UPDATE_BARRIER)
        for pieces in split_pieces(rectangles, STAGING_BYTES // tile_bytes):
            block = self._staging.take(int(pieces[:, 2:].prod(axis=1, dtype=np.int64).sum()) * tile_bytes)
            starts = pack(texture.mirror[layer], pieces, block.memory)
            gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, block.name)
            for (x, y, width, height), start in zip((pieces * TILE).tolist(), starts.tolist(), strict=True):
                gl.glTextureSubImage3D(texture.name, 0, x, y, layer, width, height, 1, *texture.texel.transfer, start)
            gl.glBindBuffer(names.PIXEL_UNPACK_BUFFER, 0)
            self._staging.done()

    def _upload_tiles(self, texture: GlTexture, layer: int, tiles: TileMask, *, with_columns: bool) -> None:
        """Level 0 by upload.comp, or levels 0..4 by refresh.comp."""
        gl = self._context.gl
        if with_columns:
            program = self._context.programs.use("refresh.comp", columns_definitions(texture.texel))
        else:
            program = self._context.programs.use("upload.comp", texture.texel.definitions)
        tiles_per_group = TILES_PER_GROUP if with_columns else 1
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        for level in range(COLUMN_LEVELS + 1 if with_columns else 1):
            texture.bind_level(self._context, level, level)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        tile_bytes = _tile_bytes(texture)
        for pieces in split_pieces(list_tiles(tiles), min(STAGING_BYTES // tile_bytes, MAX_GROUPS)):
            count = len(pieces)
            list_start = self._context.info.aligned(count * tile_bytes)
            block = self._staging.take(list_start + count * 8)
            pack(texture.mirror[layer], pieces, block.memory)
            block.write(list_start, pieces[:, :2])
            block.bind(self._context, 0, list_start, count * 8)
            block.bind(self._context, 1, 0, count * tile_bytes)
            gl.glProgramUniform1ui(program.name, program.location("count"), count)
            gl.glDispatchCompute(-(-count // tiles_per_group), 1, 1)
            self._staging.done()

    def _build_columns(self, texture: GlTexture, layer: int, tiles: TileMask) -> None:
        """Levels 1..4 from level 0."""
        gl = self._context.gl
        program = self._context.programs.use("build_mips.comp", columns_definitions(texture.texel))
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        gl.glBindTextureUnit(0, texture.words)
        for level in range(1, COLUMN_LEVELS + 1):
            texture.bind_level(self._context, level, level)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        for pieces in split_pieces(list_tiles(tiles), MAX_GROUPS * TILES_PER_GROUP):
            block = self._staging.take(len(pieces) * 8)
            block.write(0, pieces[:, :2])
            block.bind(self._context, 0, 0, len(pieces) * 8)
            gl.glProgramUniform1ui(program.name, program.location("count"), len(pieces))
            gl.glDispatchCompute(-(-len(pieces) // TILES_PER_GROUP), 1, 1)
            self._staging.done()

    def build_tail(self, texture: GlTexture, layer: int, tiles: TileMask) -> int:
        """Levels 5 and up from level 4, above the masked tiles. How many texels that were."""
        gl = self._context.gl
        tail = list_tail(tiles, texture.spec.levels - COLUMN_LEVELS - 1)
        if not len(tail):
            return 0
        block = self._staging.take(tail.nbytes)
        block.write(0, tail)
        block.bind(self._context, 0, 0, tail.nbytes)
        gl.glBindTextureUnit(0, texture.words)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        for lowest, beyond, threads in TAIL_RUNS:
            first, end = (int(i) for i in np.searchsorted(tail[:, 2], (lowest, beyond)))
            if first == end:
                continue
            program = self._context.programs.use("build_tail.comp", tail_definitions(texture.texel, threads))
            for unit in range(TAIL_LEVELS):
                level = min(COLUMN_LEVELS + lowest + unit, texture.spec.levels - 1)  # all units hold something
                texture.bind_level(self._context, unit, level)
            gl.glProgramUniform1i(program.name, program.location("layer"), layer)
            gl.glProgramUniform2i(program.name, program.location("last"), tiles.shape[1] - 1, tiles.shape[0] - 1)
            gl.glProgramUniform1i(program.name, program.location("lowest"), lowest)
            gl.glProgramUniform1ui(program.name, program.location("first"), first)
            gl.glProgramUniform1ui(program.name, program.location("count"), end - first)
            gl.glDispatchCompute(-(-(end - first) * threads // GROUP_THREADS), 1, 1)
        self._staging.done()
        return len(tail)


def few_rectangles(tiles: TileMask) -> Pieces | None:
    """Rectangles that hold exactly the masked tiles, or None when there are too many to upload one by one."""
    return find_rectangles(tiles, max(RECTANGLES, int(np.count_nonzero(tiles)) // 8))


def columns_definitions(texel: TexelFormat) -> Definitions:
    """What makes one variant of build_mips.comp and refresh.comp."""
    return (*texel.definitions, ("TEXVLM_TILES", f"{TILES_PER_GROUP}u"))


def tail_definitions(texel: TexelFormat, threads: int) -> Definitions:
    """What makes one variant of build_tail.comp; `threads` work on one texel."""
    return (*texel.definitions, ("TEXVLM_LEVELS", TAIL_LEVELS), ("TEXVLM_THREADS", f"{threads}u"))


def _tile_bytes(texture: GlTexture) -> int:
    """Bytes of one tile as it is packed."""
    return TILE * TILE * texture.texel.texel_bytes
