"""A new frame as the device reads it: where its pixels lie and what they are. Mirrors cuda/frame_pixels.cuh.

Nothing is copied or converted beforehand: interleaved or planar pixels of any strides, 4:2:0 planes as a
decoder leaves them, and an app's own texture are all read by the one kernel that compares them. Of a
frame that was compared on the host there are only the tiles that changed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.device_frames import DeviceFrame
from texvlm.frames import Frame, Origin
from texvlm.pyramid import ElementType, TextureSpec
from texvlm.yuv import YuvFrame

if TYPE_CHECKING:
    from texvlm.backends.base import Picture


class Source(IntEnum):
    """What a frame's pixels are; a variant of the kernel each."""

    BYTES = 1
    FLOATS = 2
    HALVES = 3
    NV12 = 4
    P010 = 5
    TEXTURE = 6
    TILES = 7


class Access(IntEnum):
    """Whether four neighbouring pixels can be read as aligned words."""

    STRIDED = 0
    PACKED = 1
    PLANAR = 2


_COLOUR = np.dtype(
    [(name, "<i4") for name in ("base", "gain", "red_v", "green_u", "green_v", "blue_u", "mid", "shift")]
)
FRAME_FIELDS = np.dtype(
    [
        ("base", "<u8"),
        ("chroma", "<u8"),
        ("row", "<i8"),
        ("column", "<i8"),
        ("channel", "<i8"),
        ("chroma_row", "<i8"),
        ("chroma_column", "<i8"),
        ("chroma_channel", "<i8"),
        ("width", "<i4"),
        ("height", "<i4"),
        ("access", "<i4"),
        ("flipped", "<i4"),
        ("colour", _COLOUR),
    ]
)
"""`FrameFields`, part of the kernel's arguments."""

_TENSOR_SOURCES = {torch.uint8: Source.BYTES, torch.float32: Source.FLOATS, torch.float16: Source.HALVES}
_ANY: tuple[int, ...] = (1, 3, 4)
_ACCEPTED: dict[Source, tuple[tuple[int, ...], tuple[ElementType, ...]]] = {
    Source.BYTES: (_ANY, ("uint8",)),
    Source.FLOATS: (_ANY, ("float32",)),
    Source.HALVES: (_ANY, ("float32",)),
    Source.NV12: ((3,), ("uint8",)),
    Source.P010: ((3,), ("uint8",)),
    Source.TEXTURE: ((3, 4), ("uint8", "float32")),
    Source.TILES: (_ANY, ("uint8", "float32")),
}
"""Channels and element types of the textures that take each kind."""


@dataclass(frozen=True, slots=True, eq=False)
class FramePixels:
    """One frame that kernels can read where it lies.

    Attributes:
        size: (width, height), texels.
        source: what its pixels are.
        channels: of the textures that take it.
        fields: FRAME_FIELDS, shape (1,).
        memory: what must live until the work that reads the frame is queued.
    """

    size: tuple[int, int]
    source: Source
    channels: tuple[int, ...]
    fields: NDArray[Any]
    memory: tuple[torch.Tensor, ...] = ()

    @classmethod
    def from_tensor(cls, pixels: torch.Tensor, *, origin: Origin = "top-left") -> FramePixels:
        """A frame from a tensor of any strides that the device can address.

        Args:
            pixels: (height, width, channels), uint8, or float32 or float16 with values in 0..1. A
                channel-first picture comes as `pixels.permute(1, 2, 0)`.
            origin: where row 0 lies.
        Raises:
            TypeError: an element type that is not accepted.
            ValueError: a shape or an origin that is not accepted.
        """
        source = _TENSOR_SOURCES.get(pixels.dtype)
        if source is None:
            raise TypeError(f"frame of {pixels.dtype}; accepted on the device: uint8, float32, float16")
        if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
            raise ValueError(
                f"frame of shape {tuple(pixels.shape)}: accepted are (height, width, channels) with 1, 3 or 4 channels"
            )
        height, width, channels = map(int, pixels.shape)
        row, column, channel = (step * pixels.element_size() for step in pixels.stride())
        access = Access.STRIDED
        if _aligned(pixels.data_ptr(), row if height > 1 else 0):
            # the stride of an axis of one element says nothing
            if column == channels and (channels == 1 or channel == 1):
                access = Access.PACKED
            elif column == 1 and _aligned(channel):
                access = Access.PLANAR
        base = pixels.data_ptr()
        if _is_flipped(origin):
            base, row = base + (height - 1) * row, -row
        fields = _fields((width, height), base, access)
        fields["row"], fields["column"], fields["channel"] = row, column, channel
        return cls((width, height), source, (channels,), fields, (pixels,))

    @classmethod
    def from_yuv(cls, frame: YuvFrame) -> FramePixels:
        """A 4:2:0 frame whose planes are tensors that the device can address.

        Raises:
            TypeError: planes that are no tensors.
        """
        luma, chroma = frame.y, frame.uv
        if not (isinstance(luma, torch.Tensor) and isinstance(chroma, torch.Tensor)):
            raise TypeError("planes of a frame on the device are torch tensors; these are NumPy arrays")
        sample = luma.element_size()
        row, column = (step * sample for step in luma.stride())
        chroma_steps = [step * sample for step in chroma.stride()]
        packed = (
            _aligned(luma.data_ptr(), chroma.data_ptr(), row, chroma_steps[0])
            and column == sample
            and chroma_steps[1:] == [2 * sample, sample]
        )
        fields = _fields(frame.size, luma.data_ptr(), Access.PACKED if packed else Access.STRIDED)
        fields["chroma"], fields["row"], fields["column"] = chroma.data_ptr(), row, column
        fields["chroma_row"], fields["chroma_column"], fields["chroma_channel"] = chroma_steps
        c = frame.coefficients
        fields["colour"] = (c.half - c.gain * c.offset, c.gain, c.rv, c.gu, c.gv, c.bu, c.mid, c.shift)
        source = Source.NV12 if frame.bits == 8 else Source.P010
        return cls(frame.size, source, _ACCEPTED[source][0], fields, (luma, chroma))

    @classmethod
    def from_texture(
        cls, texture: int, size: tuple[int, int], *, corner: tuple[int, int] = (0, 0), origin: Origin = "top-left"
    ) -> FramePixels:
        """A frame from a texture object of `Driver.create_level_texture_object`: RGBA, values as floats.

        A uint8 texture array stores clamp(value, 0, 1) * 255, rounded half up; one of float32 stores values
        as they are. Of three channels alpha is left out. The object must live until the work is queued.

        Args:
            texture: samples one plain 2D array of four channels.
            size: (width, height) of the picture, texels.
            corner: its lowest texel (column, row) in the array.
            origin: where its lowest row lies.
        """
        fields = _fields(size, texture, Access.STRIDED)
        fields["column"], fields["row"] = corner
        fields["flipped"] = _is_flipped(origin)
        return cls(size, Source.TEXTURE, _ACCEPTED[Source.TEXTURE][0], fields)

    @classmethod
    def from_tiles(cls, texels: torch.Tensor, slots: torch.Tensor, size: tuple[int, int]) -> FramePixels:
        """A frame of which only some tiles are there, and no others are asked for.

        Args:
            texels: (count, 16, 16, channels), contiguous, of the texture's element type; beyond the frame's
                edge its last pixels repeat.
            slots: which of them each tile of the frame is, int32, (rows, columns), contiguous; -1 for none.
            size: (width, height) of the frame.
        """
        fields = _fields(size, texels.data_ptr(), Access.PACKED)
        fields["chroma"] = slots.data_ptr()
        fields["row"], fields["column"], fields["channel"] = (
            step * texels.element_size() for step in texels.stride()[1:]
        )
        return cls(size, Source.TILES, (int(texels.shape[3]),), fields, (texels, slots))

    def check_fits(self, spec: TextureSpec) -> None:
        """ValueError unless a layer of the texture array takes this frame."""
        width, height = self.size
        if width > spec.size[0] or height > spec.size[1]:
            raise ValueError(f"frame of {width} x {height}; this texture takes up to {spec.size[0]} x {spec.size[1]}")
        dtypes = _ACCEPTED[self.source][1]
        if spec.channels not in self.channels or spec.dtype not in dtypes:
            channels = " or ".join(map(str, self.channels))
            raise ValueError(
                f"frame of {self.source.name} for textures of {channels} channels of {' or '.join(dtypes)}; "
                f"this texture takes {spec.channels} of {spec.dtype}"
            )


def lies_on_host(frame: Picture, device: torch.device) -> TypeGuard[Frame | YuvFrame]:
    """Whether a frame must be brought to the device before kernels can read it."""
    if isinstance(frame, YuvFrame):
        return not (isinstance(frame.y, torch.Tensor) and frame.y.device == device)
    return isinstance(frame, Frame)


def resident_pixels(frame: Picture, device: torch.device) -> FramePixels:
    """A frame that lies on the device, as kernels read it. ValueError for others."""
    if isinstance(frame, DeviceFrame):
        return FramePixels.from_tensor(frame.pixels, origin=frame.origin)
    if isinstance(frame, YuvFrame) and not lies_on_host(frame, device):
        return FramePixels.from_yuv(frame)
    raise ValueError("a captured frame must lie on the device: give a tensor there, or a YuvFrame of tensors")


def all_resident(frames: Iterable[Picture], device: torch.device) -> list[FramePixels]:
    """`resident_pixels` of each."""
    return [resident_pixels(frame, device) for frame in frames]


def sources_of(spec: TextureSpec) -> tuple[Source, ...]:
    """The kinds of frame that a texture array takes."""
    return tuple(
        source for source, (channels, dtypes) in _ACCEPTED.items() if spec.channels in channels and spec.dtype in dtypes
    )


def _fields(size: tuple[int, int], base: int, access: Access) -> NDArray[Any]:
    fields = np.zeros(1, FRAME_FIELDS)
    fields["width"], fields["height"] = size
    fields["base"], fields["access"] = base, access
    return fields


def _aligned(*numbers: int) -> bool:
    return all(number % 4 == 0 for number in numbers)


def _is_flipped(origin: str) -> bool:
    if origin not in ("top-left", "bottom-left"):
        raise ValueError(f"origin is {origin!r}; accepted: 'top-left', 'bottom-left'")
    return origin == "bottom-left"
