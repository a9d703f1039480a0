"""Textures of the application, read by a compute shader on its own context.

`examine` settles at attach what can be settled, so that a frame needs one dispatch. No pixel visits the
host: it gets a byte for each tile, from which it lists the tail above the tiles that changed.
"""

from __future__ import annotations

import ctypes
from operator import index

import numpy as np

from texvlm.backends import _gl_api as names
from texvlm.backends._checks import check_layer
from texvlm.backends._detect import texel_limit
from texvlm.backends._gl_api import GlApi
from texvlm.backends._gl_buffers import Fence, Staging
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_frames import TILES_PER_GROUP, FrameWriter, columns_definitions
from texvlm.backends._gl_programs import Definitions
from texvlm.backends._gl_texture import GlTexture
from texvlm.backends.attached import AttachedFrame, SourceFormat, SourceImage
from texvlm.errors import ClosedError
from texvlm.frames import Origin
from texvlm.pyramid import COLUMN_LEVELS, TextureSpec, check_frame_size
from texvlm.regions import TileMask, tile_grid

TARGETS = {names.TEXTURE_2D: "GL_TEXTURE_2D", names.TEXTURE_2D_ARRAY: "GL_TEXTURE_2D_ARRAY"}
FORMATS: dict[int, SourceFormat] = {names.RGBA8: "rgba8", names.RGBA16F: "rgba16f"}
_STORAGE = {name: code for code, name in FORMATS.items()}

SOURCE_UNIT = 5
"""Image unit of the application's texture; refresh_attached.comp says so, too."""


def examine(
    gl: GlApi,
    name: int,
    target: int,
    size: tuple[int, int],
    *,
    layer: int = 0,
    corner: tuple[int, int] = (0, 0),
    level: int = 0,
    origin: Origin = "top-left",
    format: SourceFormat | None = None,
) -> SourceImage:
    """One image of a texture in the current context, as a source.

    Args:
        gl: calls on that context.
        name: OpenGL's name of the texture.
        target: GL_TEXTURE_2D (0x0DE1) or GL_TEXTURE_2D_ARRAY (0x8C1A).
        size: (width, height) of the picture; the image may be larger.
        layer: of an array texture.
        corner: lowest texel (column, row) of the picture in the image.
        level: mip level; others than 0 need immutable storage.
        origin: "bottom-left" for what OpenGL drew, "top-left" for what was uploaded first row first.
        format: what the texture is expected to hold; None for whatever it does.
    Raises:
        ValueError, TypeError: there is no such texture, or it cannot be a source; says what was seen and what is
            accepted.
    """
    check_frame_size(size)
    size = (index(size[0]), index(size[1]))
    corner = (index(corner[0]), index(corner[1]))
    if target not in TARGETS:
        raise ValueError(f"target {target:#06x}; accepted: GL_TEXTURE_2D (0x0de1), GL_TEXTURE_2D_ARRAY (0x8c1a)")
    if origin not in ("top-left", "bottom-left"):
        raise ValueError(f"origin is {origin!r}; accepted: 'top-left', 'bottom-left'")
    if not gl.glIsTexture(name):
        raise ValueError(f"{name} is no texture of the OpenGL context that is current; give the name that holds frames")
    actual = _parameter(gl, name, names.TEXTURE_TARGET)
    if actual != target:
        seen = TARGETS.get(actual, f"target {actual:#06x}")
        raise ValueError(f"texture {name} is a {seen}, not a {TARGETS[target]}; give the target that it was made with")
    lowest, highest = (_parameter(gl, name, what) for what in (names.TEXTURE_BASE_LEVEL, names.TEXTURE_MAX_LEVEL))
    if _parameter(gl, name, names.TEXTURE_IMMUTABLE_FORMAT):
        highest = min(highest, _parameter(gl, name, names.TEXTURE_IMMUTABLE_LEVELS) - 1)
    else:
        highest = min(highest, lowest)  # whether its mips are complete cannot be asked
    if not lowest <= level <= highest:
        raise ValueError(
            f"level {level} of texture {name}; accepted: {lowest}..{highest} "
            "(others than the base level need storage by glTexStorage)"
        )
    code = _level(gl, name, level, names.TEXTURE_INTERNAL_FORMAT)
    if code not in FORMATS:
        raise ValueError(
            f"texture {name} has internal format {code:#06x}; accepted: GL_RGBA8 (0x8058), GL_RGBA16F (0x881a)"
        )
    if format is not None and format != FORMATS[code]:
        raise ValueError(f"texture {name} holds {FORMATS[code]} texels, not {format}")
    width, height, layers = (_level(gl, name, level, what) for what in _EXTENT)
    if size[0] > width or size[1] > height:
        raise ValueError(f"size {size[0]} x {size[1]}; level {level} of texture {name} has {width} x {height} texels")
    if not (0 <= corner[0] <= width - size[0] and 0 <= corner[1] <= height - size[1]):
        raise ValueError(
            f"corner {corner} of a picture of {size[0]} x {size[1]} in {width} x {height} texels; "
            f"accepted: (0..{width - size[0]}, 0..{height - size[1]})"
        )
    if not 0 <= layer < (layers if target == names.TEXTURE_2D_ARRAY else 1):
        raise ValueError(f"layer {layer}; texture {name} has 0..{layers - 1}")
    gl.check(f"attach texture {name}")
    return SourceImage(name, target, size, layer, corner, level, origin, FORMATS[code])


def require_unchanged(gl: GlApi, image: SourceImage) -> None:
    """ClosedError when the application has deleted the texture or given it other storage since `examine`."""
    if gl.glIsTexture(image.name):
        width, height, layers = (_level(gl, image.name, image.level, what) for what in _EXTENT)
        if (
            _level(gl, image.name, image.level, names.TEXTURE_INTERNAL_FORMAT) == _STORAGE[image.format]
            and width >= image.corner[0] + image.size[0]
            and height >= image.corner[1] + image.size[1]
            and layers > image.layer
        ):
            return
    raise ClosedError(f"texture {image.name} was deleted or given other storage; detach it and attach it anew")


def check_attached(spec: TextureSpec, layer: int, frame: AttachedFrame) -> None:
    """ValueError unless a frame of an application's texture fits a layer of ours; ClosedError when it was detached."""
    image = frame.texture.image
    if frame.texture.handle is None:
        raise ClosedError(f"texture {image.name} was detached; attach it anew")
    width, height = frame.size
    if width > spec.size[0] or height > spec.size[1]:
        raise ValueError(f"frame of {width} x {height}; this texture takes up to {spec.size[0]} x {spec.size[1]}")
    if frame.channels not in (3, 4) or (frame.channels, frame.element) != (spec.channels, spec.dtype):
        raise ValueError(
            f"frame of {frame.channels} channels of {frame.element} from an OpenGL texture, which gives 3 or 4; "
            f"this texture takes {spec.channels} of {spec.dtype}"
        )
    check_layer(spec, layer)


class AttachedReader:
    """Brings layers up to date with the application's textures. Runs where its context is current."""

    def __init__(self, context: GlContext, staging: Staging, writer: FrameWriter) -> None:
        self._context = context
        self._staging = staging
        self._writer = writer

    def refresh(
        self, texture: GlTexture, layer: int, frame: AttachedFrame, threshold: float | None
    ) -> tuple[TileMask, int]:
        """Write the tiles that differ by more than the threshold, or all without one, and the mips above them.

        Waits for the comparison, since the host must know the tiles.

        Returns:
            The tiles written, and how many texels of the tail.
        """
        gl, image = self._context.gl, frame.texture.image
        require_unchanged(gl, image)
        program = self._context.programs.use("refresh_attached.comp", attached_definitions(texture, image.format))
        columns, rows = tile_grid(image.size)
        pitch = -(-columns // TILES_PER_GROUP)
        for level in range(COLUMN_LEVELS + 1):
            texture.bind_level(self._context, level, level, access=names.WRITE_ONLY if level else names.READ_WRITE)
        gl.glBindImageTexture(
            SOURCE_UNIT, image.name, image.level, 0, image.layer, names.READ_ONLY, _STORAGE[image.format]
        )
        limit = 0.0 if threshold is None else float(texel_limit(threshold, np.dtype(texture.spec.dtype)))
        for uniform, value in (
            ("layer", layer),
            ("bottom_up", image.origin == "bottom-left"),
            ("take_all", threshold is None),
        ):
            gl.glProgramUniform1i(program.name, program.location(uniform), int(value))
        gl.glProgramUniform2i(program.name, program.location("size"), *image.size)
        gl.glProgramUniform2i(program.name, program.location("source_corner"), *image.corner)
        gl.glProgramUniform1f(program.name, program.location("limit"), limit)
        size = rows * pitch * TILES_PER_GROUP
        block = self._staging.take(size)
        block.bind(self._context, 0, 0, size)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_IMAGE_ACCESS_BARRIER)
        gl.glDispatchCompute(pitch, rows, 1)
        gl.glMemoryBarrier(names.CLIENT_MAPPED_BUFFER_BARRIER)
        self._staging.done()
        fence = Fence(self._context)
        gl.glBindImageTexture(SOURCE_UNIT, 0, 0, 0, 0, names.READ_ONLY, names.RGBA8)  # no hold on what is not ours
        gl.check(f"refresh from texture {image.name}")
        fence.wait()
        tiles: TileMask = block.memory[:size].reshape(rows, -1)[:, :columns] != 0
        return tiles, self._writer.build_tail(texture, layer, tiles) if tiles.any() else 0


def attached_definitions(texture: GlTexture, format: SourceFormat) -> Definitions:
    """What makes one variant of refresh_attached.comp."""
    return (
        *columns_definitions(texture.texel),
        ("TEXVLM_CHANNELS", texture.spec.channels),
        ("TEXVLM_SOURCE_FORMAT", format),
    )


_EXTENT = (names.TEXTURE_WIDTH, names.TEXTURE_HEIGHT, names.TEXTURE_DEPTH)


def _parameter(gl: GlApi, name: int, what: int) -> int:
    value = ctypes.c_int()
    gl.glGetTextureParameteriv(name, what, ctypes.byref(value))
    return value.value


def _level(gl: GlApi, name: int, level: int, what: int) -> int:
    value = ctypes.c_int()
    gl.glGetTextureLevelParameteriv(name, level, what, ctypes.byref(value))
    return value.value
