"""Texture arrays of the gl backend: formats, storage, and the host's mirror of level 0."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_programs import Definitions
from texvlm.pyramid import TextureSpec


@dataclass(frozen=True, slots=True)
class TexelFormat:
    """How one kind of texel is stored, and what the shaders call it.

    Attributes:
        storage: internal format.
        words: image format of the same bits as unsigned words.
        transfer: (format, type) of packed host texels.
        channels: stored; three are stored as four, since no driver writes three-channel images.
        texel_bytes: stored.
        definitions: what the shaders need to know of it.
    """

    storage: int
    words: int
    transfer: tuple[int, int]
    channels: int
    texel_bytes: int
    definitions: Definitions


def _format(
    storage: int, words: int, transfer: tuple[int, int], channels: int, texel_bytes: int, glsl: str
) -> TexelFormat:
    integer = transfer[1] == names.UNSIGNED_BYTE
    definitions: Definitions = (
        ("TEXVLM_INTEGER", int(integer)),
        ("TEXVLM_WORD_FORMAT", glsl),
        ("TEXVLM_TEXEL_BYTES", texel_bytes),
        ("TEXVLM_PACKED", "uvec4" if texel_bytes == 16 else "uint"),
    )
    return TexelFormat(storage, words, transfer, channels, texel_bytes, definitions)


_GRAY8 = _format(names.R8, names.R8UI, (names.RED, names.UNSIGNED_BYTE), 1, 1, "r8ui")
_RGBA8 = _format(names.RGBA8, names.R32UI, (names.RGBA, names.UNSIGNED_BYTE), 4, 4, "r32ui")
_GRAY32F = _format(names.R32F, names.R32UI, (names.RED, names.FLOAT), 1, 4, "r32ui")
_RGBA32F = _format(names.RGBA32F, names.RGBA32UI, (names.RGBA, names.FLOAT), 4, 16, "rgba32ui")


def format_of(spec: TextureSpec) -> TexelFormat:
    """The format that a texture of this shape is stored in."""
    if spec.dtype == "uint8":
        return _GRAY8 if spec.channels == 1 else _RGBA8
    return _GRAY32F if spec.channels == 1 else _RGBA32F


@dataclass(slots=True, eq=False)
class GlTexture:
    """One texture array on the device, with what the host keeps of it.

    Attributes:
        spec: its shape.
        texel: its format.
        name: OpenGL's; samples as floats.
        words: what mips are built from: a view as unsigned words for 8-bit texels, else `name`.
        mirror: level 0 as the host last wrote it, (layers, padded_height, padded_width, channels).
            Frames are compared with it, so that only dirty tiles cross the bus.
        unsure: layers whose texels may be anything, because an upload failed: the next frame is taken whole.
        unmirrored: layers that the device wrote from a texture of the application: the mirror knows
            nothing of them, so the next frame from the host is taken whole.
    """

    spec: TextureSpec
    texel: TexelFormat
    name: int
    words: int
    mirror: NDArray[Any]
    unsure: set[int] = field(default_factory=set)
    unmirrored: set[int] = field(default_factory=set)

    def bind_level(self, context: GlContext, unit: int, level: int, *, access: int = names.WRITE_ONLY) -> None:
        """Give an image unit one level, all layers, as unsigned words."""
        context.gl.glBindImageTexture(unit, self.name, level, 1, 0, access, self.texel.words)


def create_texture(context: GlContext, spec: TextureSpec) -> GlTexture:
    """Immutable storage for every level and layer. Runs where the context is current.

    Raises:
        ValueError: larger than this driver's textures may be.
        MemoryError: no room on the device or for the mirror.
    """
    gl, info = context.gl, context.info
    width, height = spec.padded_size
    if max(width, height) > info.max_side or spec.layers > info.max_layers:
        raise ValueError(
            f"{spec.layers} layers of {width} x {height} texels: {info.renderer} takes at most "
            f"{info.max_layers} layers of {info.max_side} x {info.max_side}"
        )
    texel = format_of(spec)
    mirror = np.zeros((spec.layers, height, width, spec.channels), spec.dtype)  # pages come with the first frame
    created = [gl.generate(gl.glCreateTextures, names.TEXTURE_2D_ARRAY)]
    try:
        gl.glTextureStorage3D(created[0], spec.levels, texel.storage, width, height, spec.layers)
        gl.check(f"glTextureStorage3D({spec.levels} levels, {width} x {height}, {spec.layers} layers)")
        if texel.transfer[1] == names.UNSIGNED_BYTE:
            created.append(gl.generate(gl.glGenTextures))
            gl.glTextureView(
                created[1], names.TEXTURE_2D_ARRAY, created[0], texel.words, 0, spec.levels, 0, spec.layers
            )
            gl.check("glTextureView")
        for name in created:
            gl.glTextureParameteri(name, names.TEXTURE_MIN_FILTER, names.NEAREST_MIPMAP_NEAREST)
            gl.glTextureParameteri(name, names.TEXTURE_MAG_FILTER, names.NEAREST)
        gl.check("glTextureParameteri")
    except BaseException:
        gl.glDeleteTextures(len(created), (ctypes.c_uint * len(created))(*created))
        gl.pending_errors()
        raise
    context.live["texture"] += len(created)
    return GlTexture(spec, texel, created[0], created[-1], mirror)


def delete_texture(context: GlContext, texture: GlTexture) -> None:
    """Free its storage. Runs where the context is current."""
    created = sorted({texture.name, texture.words})
    context.gl.glDeleteTextures(len(created), (ctypes.c_uint * len(created))(*created))
    context.live["texture"] -= len(created)


def read_texels(context: GlContext, texture: GlTexture, layer: int, level: int, size: tuple[int, int]) -> NDArray[Any]:
    """Texels of one level from its top-left, (height, width, channels). Runs where the context is current."""
    width, height = size
    texels = np.empty((height, width, texture.texel.channels), texture.spec.dtype)
    if texels.size:
        gl = context.gl
        gl.glMemoryBarrier(names.TEXTURE_UPDATE_BARRIER)
        place = (0, 0, layer, width, height, 1)
        gl.glGetTextureSubImage(texture.name, level, *place, *texture.texel.transfer, texels.nbytes, texels.ctypes.data)
        gl.check("read_level: glGetTextureSubImage")
    return np.ascontiguousarray(texels[:, :, : texture.spec.channels])
