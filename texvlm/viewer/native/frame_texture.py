"""The frame as a texture to draw with: the engine's own where OpenGL can see it, else a copy, which is counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from texvlm.backends._gl_api import RGBA8, TEXTURE_2D_ARRAY, UNSIGNED_BYTE
from texvlm.engine import Engine
from texvlm.pyramid import TextureSpec
from texvlm.viewer.native.gl_draw import LINEAR, RGB, DrawApi

SHARPNESS = 0.3
"""A level is shown until it is this far, in levels, from being minified by two: sharper than it is smooth."""


@dataclass(frozen=True, slots=True)
class FrameTexture:
    """One level of a frame, in an array texture.

    Attributes:
        name: OpenGL's, of the texture.
        level: of the frame's pyramid that is shown.
        texture_level: of the texture that holds it.
        size: (width, height) of the frame, level-0 texels.
        storage: (width, height) that the texture spans, level-0 texels.
        gray: one channel.
    """

    name: int
    level: int
    texture_level: int
    size: tuple[int, int]
    storage: tuple[int, int]
    gray: bool


class FrameTextures:
    """Gives the frame that an engine holds as a texture, without a copy where the engine's texture is OpenGL's.

    Attributes:
        bytes_copied: of texels that came back from a backend and went into a texture of the viewer's.
    """

    def __init__(self, gl: DrawApi) -> None:
        self.bytes_copied = 0
        self._gl = gl
        self._copy: tuple[int, tuple[int, int]] | None = None
        self._held: tuple[Engine, int, int] | None = None  # engine, frame number and level of what the copy shows

    @contextmanager
    def of(self, engine: Engine, number: int, *, texels_per_pixel: float) -> Iterator[FrameTexture]:
        """The frame for the scope; nothing else may happen to the engine in it.

        Args:
            engine: holds a frame of source 0.
            number: of the frame: a copy is made once for each.
            texels_per_pixel: how small it is drawn.
        """
        spec, size = engine.spec, engine.frame_size(0)
        if spec is None or size is None:
            raise ValueError("the engine holds no frame; submit one first")
        level = level_for(texels_per_pixel, spec)
        try:
            lent = engine.lent_to_gl()
        except TypeError:  # a backend without OpenGL
            yield self._copied(engine, size, number, level)
            return
        with lent as name:
            yield FrameTexture(name, level, level, size, spec.padded_size, spec.channels == 1)

    def close(self) -> None:
        """Delete the copy."""
        if self._copy is not None:
            self._gl.delete(self._gl.glDeleteTextures, self._copy[0])
            self._copy = self._held = None

    def _copied(self, engine: Engine, size: tuple[int, int], number: int, level: int) -> FrameTexture:
        wanted = (engine, number, level)
        if self._held != wanted:
            texels = np.ascontiguousarray(engine.read_level(level))
            height, width, _ = texels.shape
            if self._copy is None or self._copy[1] != (width, height):
                self.close()
                name = self._gl.make_texture(TEXTURE_2D_ARRAY, RGBA8, (width, height), layers=1, filtered=LINEAR)
                self._copy = (name, (width, height))
            place = (0, 0, 0, width, height, 1)
            self._gl.glTextureSubImage3D(self._copy[0], 0, *place, RGB, UNSIGNED_BYTE, texels.ctypes.data)
            self.bytes_copied += texels.nbytes
            self._held = wanted
        assert self._copy is not None, "just made"
        name, (width, height) = self._copy
        return FrameTexture(name, level, 0, size, (width << level, height << level), gray=False)


def level_for(texels_per_pixel: float, spec: TextureSpec) -> int:
    """The level to show where a pixel spans so many level-0 texels."""
    return min(max(math.floor(math.log2(max(texels_per_pixel, 1e-6)) + SHARPNESS), 0), spec.levels - 1)
