"""Emulated arrays, and the table through which kernels find texture and surface objects.

`ImageRecord` and the codes mirror runtime.h.
"""

from __future__ import annotations

import ctypes
from ctypes import c_uint32, c_uint64
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

MAX_LEVELS = 16
TEXTURE, POINTS, SURFACE = 1, 2, 3
ELEMENTS = {"uint8": 0, "float16": 1, "float32": 2}

_TAG = 0x7E5 << 32  # upper half of every object's handle, so that other numbers are found out
_CAPACITY = 1 << 20


class ImageRecord(ctypes.Structure):
    """One texture or surface object as kernels see it."""

    _fields_ = (
        *((name, c_uint32) for name in ("kind", "alive", "element", "channels", "layers", "levels", "normalised")),
        *((name, c_uint32) for name in ("width", "height", "handle_low")),
        ("data", c_uint64 * MAX_LEVELS),
    )


@dataclass(slots=True, eq=False)
class Lifetime:
    """What an array and its parts share.

    Attributes:
        writable: surface objects may be made.
        objects: handles of the texture and surface objects that reach the texels.
        handles: of the parts that were handed out; they end with the whole.
    """

    writable: bool
    objects: set[int] = field(default_factory=set)
    handles: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceArray:
    """A mip-mapped array, or one level or layer of one, over the same texels.

    Attributes:
        levels: texels, by level, each (layers, height, width, channels).
        layered: fetched with a layer.
        lifetime: shared by an array and its parts.
    """

    levels: list[NDArray[np.generic]]
    layered: bool
    lifetime: Lifetime

    @property
    def element(self) -> str:
        """Name of the element type."""
        return self.levels[0].dtype.name

    @property
    def bytes(self) -> int:
        """Of all texels."""
        return sum(level.nbytes for level in self.levels)

    def part(self, level: int, layer: int | None = None) -> DeviceArray:
        """One level, or one layer of it as a plain 2D array."""
        texels = self.levels[level]
        if layer is not None:
            texels = texels[layer : layer + 1]
        return DeviceArray([texels], self.layered and layer is None, self.lifetime)


def rubbish(shape: tuple[int, ...], element: str) -> NDArray[np.generic]:
    """Texels as a device hands them out, and as OpenGL sees those that CUDA has mapped: NaN, or 171."""
    return np.full(shape, 171 if element == "uint8" else np.nan, element)


def make_array(size: tuple[int, int], layers: int, levels: int, channels: int, element: str) -> DeviceArray:
    """A layered array with surface access, full of rubbish."""
    shapes = [(layers, max(1, size[1] >> k), max(1, size[0] >> k), channels) for k in range(levels)]
    return DeviceArray([rubbish(shape, element) for shape in shapes], True, Lifetime(writable=True))


class ImageTable:
    """Texture and surface objects by handle. A slot is never used twice, so that old handles stay dead."""

    def __init__(self) -> None:
        self.slots = (ctypes.POINTER(ImageRecord) * _CAPACITY)()
        self.used = 1  # handle 0 is none
        self._records: dict[int, ImageRecord] = {}

    def add(self, array: DeviceArray, kind: int, *, levels: int, normalised: bool) -> int:
        """A handle for an object over an array."""
        layers, height, width, channels = array.levels[0].shape
        record = ImageRecord(kind, 1, ELEMENTS[array.element], channels, layers if array.layered else 0, levels)
        record.normalised, record.width, record.height, record.handle_low = normalised, width, height, self.used
        for level in range(levels):
            record.data[level] = array.levels[level].ctypes.data
        self.slots[self.used] = ctypes.pointer(record)
        handle = _TAG | self.used
        self._records[handle] = record
        self.used += 1
        return handle

    def kill(self, handle: int) -> None:
        """Kernels that use it from now on fail."""
        self._records[handle].alive = 0
