"""An application's own OpenGL texture as a source: what it is, and one frame of it.

Values only; which calls read the texture is the backends' business (`_gl_attached`, `cuda.attached`).
The texture stays the application's: it draws into it between frames, and its pixels never visit the
host.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from texvlm.frames import MotionVectors, Origin
from texvlm.pyramid import ElementType

SourceFormat = Literal["rgba8", "rgba16f"]
"""GL_RGBA8, read as k/255, and GL_RGBA16F, read as it is."""


class ImageChoice(TypedDict, total=False):
    """Which image of a texture, and how it is to be read; what is left out takes the first value named.

    layer: 0, or another one of an array texture.
    corner: (0, 0), or the texel (column, row), counted as the texture counts them, at which the picture starts.
    level: mip level 0, or another one, which needs immutable storage.
    origin: "top-left" for what was uploaded first row first, "bottom-left" for what OpenGL drew.
    format: None for whatever the texture holds, or what it is expected to hold.
    """

    layer: int
    corner: tuple[int, int]
    level: int
    origin: Origin
    format: SourceFormat | None


@dataclass(frozen=True, slots=True)
class SourceImage:
    """One image of an OpenGL texture, as `examine` in `_gl_attached` found it.

    Attributes:
        name: OpenGL's name of the texture.
        target: GL_TEXTURE_2D or GL_TEXTURE_2D_ARRAY.
        size: (width, height) of the picture.
        layer: of an array; 0 for a plain texture.
        corner: lowest texel (column, row) of the picture in the image.
        level: mip level.
        origin: whether texel row 0 is the picture's first row or its last.
        format: of its texels.
    """

    name: int
    target: int
    size: tuple[int, int]
    layer: int
    corner: tuple[int, int]
    level: int
    origin: Origin
    format: SourceFormat


@dataclass(slots=True, eq=False)
class AttachedTexture:
    """A texture that a backend may read until it is detached; `handle` is the backend's own, None afterwards."""

    image: SourceImage
    handle: object


@dataclass(frozen=True, slots=True, eq=False)
class AttachedFrame:
    """What an attached texture shows now, as a frame.

    As uint8 texels, values are clamped to 0..1, times 255, rounded half up, and what is not a number is
    0; as float32 texels they are stored as they are.

    Attributes:
        texture: where the pixels are.
        channels: 3 leaves alpha out, 4 keeps it.
        element: of the texels that are stored.
        pts: presentation time in seconds, or None when unknown.
        kind, motion: as of texvlm.frames.Frame.
    """

    texture: AttachedTexture
    channels: int = 3
    element: ElementType = "uint8"
    pts: float | None = None
    kind: str | None = None
    motion: MotionVectors | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height), texels."""
        return self.texture.image.size


def check_as_attached(*, channels_first: bool, origin: Origin) -> None:
    """ValueError for options of arrays: a texture's picture lies as was said when it was attached."""
    if channels_first or origin != "top-left":
        raise ValueError("an attached texture lies as it was attached; channels_first and origin are for arrays")
