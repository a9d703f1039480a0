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
from texvlm.backends._gl_pack import Pieces, find_rectangles, list_tiles, pack, split_pieces
from texvlm.backends._gl_texture import GlTexture
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

TAIL_THREADS = 64
"""Of build_tail.comp, in one workgroup."""


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
        gl = self._context.gl
        lists = [list_tiles(tiles)[:, :2], *tail_places(tiles, texture.spec.levels - COLUMN_LEVELS - 1)]
        starts = np.cumsum([0] + [len(places) for places in lists]).tolist()
        block = self._staging.take(starts[-1] * 8)
        block.write(0, np.concatenate(lists))
        gl.glBindTextureUnit(0, texture.words)
        self._build_columns(texture, layer, block, starts[1])
        if len(lists) > 1:
            last = (tiles.shape[1] - 1, tiles.shape[0] - 1)
            self._build_tail(texture, layer, block, starts, last)
        self._staging.done()
        gl.check("build_mips: glDispatchCompute")
        return int(starts[-1] - starts[1])

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
        block.bind(self._context, 0, list_start, len(pieces) * 8)
        block.bind(self._context, 1, 0, packed_bytes)
        gl.glDispatchCompute(len(pieces), 1, 1)
        self._staging.done()
        gl.check("upload: glDispatchCompute")

    def _build_columns(self, texture: GlTexture, layer: int, block: MappedBuffer, count: int) -> None:
        """Levels 1..4 of the `count` tiles that the block lists from its start."""
        gl = self._context.gl
        definitions = (*texture.texel.definitions, ("TEXVLM_TILES", f"{TILES_PER_GROUP}u"))
        program = self._context.programs.use("build_mips.comp", definitions)
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
        self, texture: GlTexture, layer: int, block: MappedBuffer, starts: list[int], last: tuple[int, int]
    ) -> None:
        """Levels 5 and up; the block lists level 4 + k between the entries `starts[k]` and `starts[k + 1]`."""
        gl = self._context.gl
        program = self._context.programs.use("build_tail.comp", texture.texel.definitions)
        gl.glProgramUniform1i(program.name, program.location("layer"), layer)
        gl.glProgramUniform2i(program.name, program.location("last"), *last)
        block.bind(self._context, 0, 0, starts[-1] * 8)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        for steps in range(1, len(starts) - 1):
            count = starts[steps + 1] - starts[steps]
            texture.bind_level(self._context, 0, COLUMN_LEVELS + steps)
            gl.glProgramUniform1ui(program.name, program.location("first"), starts[steps])
            gl.glProgramUniform1ui(program.name, program.location("count"), count)
            gl.glProgramUniform1i(program.name, program.location("steps"), steps)
            gl.glDispatchCompute(-(-count // TAIL_THREADS), 1, 1)


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


def _packed_bytes(texture: GlTexture, pieces: Pieces) -> int:
    tiles = int(pieces[:, 2:].prod(axis=1, dtype=np.int64).sum())
    return tiles * TILE * TILE * texture.texel.texel_bytes
