"""Texture arrays on the device: their storage, the objects kernels reach it through, and tile versions.

`Storage` is where the mip-mapped array comes from: CUDA's own here, OpenGL's in `interop`. Texture
and surface objects belong to one storage and, where OpenGL owns it, to one mapping of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from texvlm.backends.cuda.api import Driver, Stream
from texvlm.pyramid import MAX_LEVELS, TextureSpec
from texvlm.regions import tile_grid

SURFACES = np.dtype(("<u8", (MAX_LEVELS,)))
"""Field of a kernel's arguments: the surface object of each level, 0 beyond the last."""


@dataclass(frozen=True, slots=True)
class ArrayObjects:
    """What kernels reach one mip-mapped array through.

    Attributes:
        texture: samples every level.
        surfaces: reads and writes one level each.
        epoch: number of the mapping that they belong to, where OpenGL owns the array. Handles may come
            again with another one; this number does not.
    """

    texture: int
    surfaces: tuple[int, ...]
    epoch: int = 0


class Storage(ABC):
    """Owner of one mip-mapped array."""

    @abstractmethod
    def objects(self, stream: Stream) -> ArrayObjects:
        """The objects to use for work queued on this stream now; not to be kept for later calls."""

    @abstractmethod
    def close(self) -> None:
        """Free everything. Nothing queued may still use it."""


def stored_channels(spec: TextureSpec) -> int:
    """Channels of a stored texel: three are stored as four, since arrays have one, two or four."""
    return 1 if spec.channels == 1 else 4


def array_bytes(spec: TextureSpec) -> int:
    """Bytes of a texture array's texels as stored, without what the driver adds."""
    texel = stored_channels(spec) * (1 if spec.dtype == "uint8" else 4)
    return spec.layers * texel * sum(w * h for w, h in map(spec.storage_size, range(spec.levels)))


class OwnArray(Storage):
    """An array that CUDA owns: nothing to map, its objects live as long as it does."""

    def __init__(self, driver: Driver, spec: TextureSpec) -> None:
        self._driver = driver
        self._array = driver.create_array(spec.padded_size, spec.layers, spec.levels, stored_channels(spec), spec.dtype)
        try:
            self._objects: ArrayObjects | None = make_objects(driver, self._array, spec)
        except BaseException:
            driver.destroy_array(self._array)
            raise

    def objects(self, stream: Stream) -> ArrayObjects:
        """See Storage."""
        assert self._objects is not None, "the array was freed"
        return self._objects

    def close(self) -> None:
        """See Storage."""
        if self._objects is not None:
            objects, self._objects = self._objects, None
            with ExitStack() as steps:  # last step first, and every step whatever fails
                steps.callback(self._driver.destroy_array, self._array)
                steps.callback(destroy_objects, self._driver, objects)


def make_objects(driver: Driver, array: int, spec: TextureSpec) -> ArrayObjects:
    """Texture and surface objects of an array; none is left behind when one cannot be made."""
    surfaces: list[int] = []
    texture = driver.create_texture_object(array, spec.levels, spec.dtype)
    try:
        for level in range(spec.levels):
            surfaces.append(driver.create_surface_object(driver.level_of(array, level)))
    except BaseException:
        destroy_objects(driver, ArrayObjects(texture, tuple(surfaces)))
        raise
    return ArrayObjects(texture, tuple(surfaces))


def destroy_objects(driver: Driver, objects: ArrayObjects) -> None:
    """Destroy texture and surface objects, every one whatever fails; the array itself stays.

    A kernel reads an object's description when it runs, and to use one that was destroyed is undefined: where
    kernels may be queued, this is for `Deferred`.
    """
    with ExitStack() as steps:  # last step first
        for surface in reversed(objects.surfaces):
            steps.callback(driver.destroy_surface_object, surface)
        steps.callback(driver.destroy_texture_object, objects.texture)


@dataclass(slots=True, eq=False)
class CudaTexture:
    """One texture array, and what the device keeps of it.

    Attributes:
        spec: its shape.
        storage: owner of the texels.
        versions: clock of each tile's last update, int64, (layers, rows, columns) of the largest
            frame's tiles. A frame with fewer tiles uses the top-left part.
        clock: updates of each layer so far, int64, (layers,). `refresh` stamps the tiles that it
            writes with clock + 1; the tail, queued after it, advances the clock.
        frame_sizes: (width, height) of the frame that each layer holds, int32, (layers, 2).
    """

    spec: TextureSpec
    storage: Storage
    versions: torch.Tensor
    clock: torch.Tensor
    frame_sizes: torch.Tensor


def create_texture(driver: Driver, spec: TextureSpec, storage: Storage) -> CudaTexture:
    """A texture array over some storage, with nothing in any layer yet."""
    columns, rows = tile_grid(spec.size)
    return CudaTexture(
        spec,
        storage,
        torch.zeros((spec.layers, rows, columns), dtype=torch.int64, device=driver.device),
        torch.zeros(spec.layers, dtype=torch.int64, device=driver.device),
        torch.zeros((spec.layers, 2), dtype=torch.int32, device=driver.device),
    )


def surface_field(objects: ArrayObjects) -> tuple[int, ...]:
    """Surface objects as the SURFACES field takes them."""
    return objects.surfaces + (0,) * (MAX_LEVELS - len(objects.surfaces))


def describe_memory(driver: Driver, live: int, peak: int) -> dict[str, int]:
    """Bytes on the device, for reports: of our arrays now and at most, of torch's tensors likewise, and of the device.

    Torch's are those of the whole process: engines' tokens, versions and staging lie among them.
    """
    free, total = driver.memory()
    told = {"array_bytes": live, "array_bytes_peak": peak, "device_bytes_free": free, "device_bytes_total": total}
    if driver.device.type == "cuda":
        told["torch_bytes"] = torch.cuda.memory_allocated(driver.device)
        told["torch_bytes_peak"] = torch.cuda.max_memory_allocated(driver.device)
    return told
