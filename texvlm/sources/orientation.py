"""Orientation: how a stored picture must be turned to be displayed, and where files say so.

Video containers carry a display matrix, image files an EXIF tag. Both are reduced to one of the
eight turns that move whole texels: a transpose, then a flip along x, then a flip along y.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.frames import MotionVectors


@dataclass(frozen=True, slots=True)
class Orientation:
    """From stored to displayed: swap x and y, then mirror along x, then mirror along y."""

    transpose: bool = False
    flip_x: bool = False
    flip_y: bool = False

    def turn(self, pixels: NDArray[Any]) -> NDArray[Any]:
        """The displayed picture, C-contiguous, from a stored one of shape (h, w, c); uint8."""
        if self == UPRIGHT:
            return np.ascontiguousarray(pixels)
        # One void element per texel: NumPy then moves texels, not bytes, which is about twice as fast.
        packed = np.ascontiguousarray(pixels)
        texels = packed.view(f"V{packed.shape[2]}")[..., 0]
        if self.transpose:
            texels = texels.T
        texels = texels[:: -1 if self.flip_y else 1, :: -1 if self.flip_x else 1]
        turned = np.ascontiguousarray(texels)
        return turned.view(np.uint8).reshape(*turned.shape, packed.shape[2])

    def turn_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) as displayed."""
        return (size[1], size[0]) if self.transpose else size

    def turn_motion(self, vectors: MotionVectors, size: tuple[int, int]) -> MotionVectors:
        """Motion vectors of a stored picture of (width, height) `size`, as displayed."""
        if self == UPRIGHT:
            return vectors
        block, motion = vectors.block.copy(), vectors.motion.copy()
        if self.transpose:
            block, motion = block[:, [1, 0, 3, 2]], motion[:, [1, 0]]
        width, height = self.turn_size(size)
        for axis, flipped, side in ((0, self.flip_x, width), (1, self.flip_y, height)):
            if flipped:
                block[:, axis] = side - block[:, axis]
                motion[:, axis] = -motion[:, axis]
        return MotionVectors(np.ascontiguousarray(block), np.ascontiguousarray(motion), vectors.source)


UPRIGHT = Orientation()

_EXIF_TURNS = {
    1: UPRIGHT,
    2: Orientation(flip_x=True),
    3: Orientation(flip_x=True, flip_y=True),
    4: Orientation(flip_y=True),
    5: Orientation(transpose=True),
    6: Orientation(transpose=True, flip_x=True),
    7: Orientation(transpose=True, flip_x=True, flip_y=True),
    8: Orientation(transpose=True, flip_y=True),
}
"""Values of the EXIF Orientation tag (Exif 2.32, section 4.6.4 A)."""

_ORIENTATION_TAG = 274


def orientation_of_matrix(matrix: NDArray[np.int32]) -> Orientation:
    """The turn of a 3 x 3 display matrix, 16.16 fixed point, row-major, nine values.

    A stored point (x, y) is displayed at (a x + c y, b x + d y) up to a shift, with a, b the first
    and c, d the second row. A turn that is no multiple of 90 degrees becomes the nearest one.

    Source:
        ISO/IEC 14496-12, section 6.2.2 (transformation matrix).
    """
    a, b, c, d = (int(matrix[i]) for i in (0, 1, 3, 4))
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transpose=True, flip_x=c < 0, flip_y=b < 0)
    return Orientation(flip_x=a < 0, flip_y=d < 0)


def orientation_of_image(data: bytes) -> Orientation:
    """The turn that an image file asks for (JPEG, PNG, WebP, TIFF); upright when it says nothing.

    Decoders differ by version in whether they pass the tag on, so it is read here.
    """
    try:
        for block in _exif_blocks(data):
            return _EXIF_TURNS.get(_orientation_tag(block), UPRIGHT)
    except (struct.error, IndexError):
        pass  # a damaged tag says nothing about the picture
    return UPRIGHT


def _exif_blocks(data: bytes) -> Iterator[bytes]:
    """TIFF structures that hold the metadata of an image file."""
    if data[:2] in (b"II", b"MM"):
        yield data
    elif data[:2] == b"\xff\xd8":
        at = 2
        while data[at] == 0xFF and data[at + 1] != 0xDA:  # up to the scan: pixels follow
            length = struct.unpack_from(">H", data, at + 2)[0]
            if data[at + 1] == 0xE1 and data[at + 4 : at + 10] == b"Exif\0\0":
                yield data[at + 10 : at + 2 + length]
            at += 2 + length
    elif data[:4] == b"\x89PNG":
        yield from (body for name, body in _chunks(data, 8, ">I4s", trailer=4) if name == b"eXIf")
    elif data[:4] == b"RIFF":
        for name, body in _chunks(data, 12, "<4sI", trailer=0):
            if name == b"EXIF":
                yield body.removeprefix(b"Exif\0\0")


def _chunks(data: bytes, at: int, header: str, *, trailer: int) -> Iterator[tuple[bytes, bytes]]:
    """(name, body) of each chunk of a PNG or RIFF file; RIFF bodies are padded to even length."""
    while at + 8 <= len(data):
        first, second = struct.unpack_from(header, data, at)
        name, length = (first, second) if isinstance(first, bytes) else (second, first)
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + trailer + (length & 1 if trailer == 0 else 0)


def _orientation_tag(tiff: bytes) -> int:
    """Value of the Orientation tag in the first directory of a TIFF structure; 1 when absent."""
    order = "<" if tiff[:2] == b"II" else ">"
    directory = struct.unpack_from(order + "I", tiff, 4)[0]
    count = struct.unpack_from(order + "H", tiff, directory)[0]
    for i in range(count):
        tag, value = struct.unpack_from(order + "H6xH", tiff, directory + 2 + 12 * i)
        if tag == _ORIENTATION_TAG:
            return int(value)
    return 1
