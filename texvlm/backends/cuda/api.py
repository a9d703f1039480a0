"""What the cuda backend asks of a device: one small table of calls.

`driver.CudaDriver` makes them on a GPU; the tests bring another one, which runs the same kernels on
the host and keeps account of every object. Handles are plain integers. Streams are the caller's:
every call that takes one only queues work on it, and returns.

Errors: each call raises DeviceCallError with the call's name, the code, and its likely cause where
that is known; allocations raise MemoryError when the device has no room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch

from texvlm.pyramid import ElementType

Stream = int
"""A CUDA stream's handle; 0 is the legacy default stream."""

GlAccess = Literal["read", "surface"]
"""What CUDA does with a registered OpenGL image: sample it only, or write it through surfaces, too."""


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What a device is.

    Attributes:
        name: its name.
        architecture: what kernels are compiled for, such as "sm_90".
        driver: CUDA version of the driver, such as "13.0".
        memory_bytes: of the device.
        multiprocessors: how many.
        l2_bytes: second-level cache.
        max_side: longest side of a layered array with surface access, texels.
        max_layers: most layers of one.
    """

    name: str
    architecture: str
    driver: str
    memory_bytes: int
    multiprocessors: int
    l2_bytes: int
    max_side: int
    max_layers: int


class Driver(ABC):
    """Calls on one device.

    Attributes:
        device: where torch puts tensors that kernels can address.
        ordinal: the device's number among those that CUDA sees.
        info: what it is.
    """

    device: torch.device
    ordinal: int
    info: DeviceInfo

    # ------------------------------------------------------------------ torch's side

    def guard(self) -> AbstractContextManager[object]:
        """A scope after which the calling thread has that device current again which it had before."""
        return nullcontext()

    @abstractmethod
    def current_stream(self) -> Stream:
        """Torch's current stream on this device. Makes the device current on this thread, too."""

    @abstractmethod
    def is_capturing(self, stream: Stream) -> bool:
        """Whether what is queued on the stream becomes a graph."""

    @abstractmethod
    def memory(self) -> tuple[int, int]:
        """(free, total) bytes of the device now."""

    # ------------------------------------------------------------------ memory

    @abstractmethod
    def allocate_pinned(self, size: int) -> int:
        """Address of page-locked host memory that the device can read while the host goes on."""

    @abstractmethod
    def free_pinned(self, address: int) -> None:
        """Free it. Nothing queued may still read it."""

    @abstractmethod
    def is_pinned(self, address: int) -> bool:
        """Whether host memory at this address is page-locked."""

    @abstractmethod
    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """Queue a copy of `size` bytes; each address may be the host's or the device's."""

    # ------------------------------------------------------------------ arrays

    @abstractmethod
    def create_array(self, size: tuple[int, int], layers: int, levels: int, channels: int, dtype: ElementType) -> int:
        """A layered, mip-mapped array with surface access: (width, height), 1 or 4 channels."""

    @abstractmethod
    def destroy_array(self, array: int) -> None:
        """Free it. Nothing queued may still use it."""

    @abstractmethod
    def level_of(self, array: int, level: int) -> int:
        """One level of a mip-mapped array, as an array of its own; lives as long as the whole."""

    @abstractmethod
    def create_texture_object(self, array: int, levels: int, dtype: ElementType) -> int:
        """A sampler over every level: normalised coordinates, clamped, linear within the level nearest to the LOD.

        8-bit texels read as k/255.
        """

    @abstractmethod
    def create_level_texture_object(self, level: int, *, normalised: bool) -> int:
        """A sampler over one array without filtering: texel coordinates, clamped.

        `normalised`: 8-bit texels read as k/255; floats are read as they are and take False.
        """

    @abstractmethod
    def destroy_texture_object(self, texture: int) -> None:
        """Destroy either kind."""

    @abstractmethod
    def create_surface_object(self, level: int) -> int:
        """Texels of one level for reading and writing by kernels."""

    @abstractmethod
    def destroy_surface_object(self, surface: int) -> None:
        """Destroy it."""

    # ------------------------------------------------------------------ streams and events

    @abstractmethod
    def create_stream(self) -> Stream:
        """A stream that does not wait for the legacy default one."""

    @abstractmethod
    def destroy_stream(self, stream: Stream) -> None:
        """Destroy it when its work is done."""

    @abstractmethod
    def synchronize(self, stream: Stream) -> None:
        """Wait on the host until everything queued on the stream is done."""

    @abstractmethod
    def create_event(self, *, timing: bool = False) -> int:
        """An event; with `timing` it keeps the time at which it was reached."""

    @abstractmethod
    def destroy_event(self, event: int) -> None:
        """Destroy it."""

    @abstractmethod
    def record(self, event: int, stream: Stream) -> None:
        """Let the event mark what has been queued on the stream so far."""

    @abstractmethod
    def wait(self, stream: Stream, event: int) -> None:
        """Let later work on the stream wait for the event, not the host."""

    @abstractmethod
    def is_done(self, event: int) -> bool:
        """Whether the event was reached; True for one that was never recorded."""

    @abstractmethod
    def wait_on_host(self, event: int) -> None:
        """Wait on the host until the event is reached."""

    @abstractmethod
    def elapsed_ms(self, start: int, stop: int) -> float:
        """Milliseconds between two timing events that were both reached."""

    # ------------------------------------------------------------------ kernels

    @abstractmethod
    def load_program(self, image: bytes) -> int:
        """Machine code, as the compiler made it."""

    @abstractmethod
    def unload_program(self, program: int) -> None:
        """Unload it."""

    @abstractmethod
    def find_kernel(self, program: int, name: str) -> int:
        """An entry point of a program."""

    @abstractmethod
    def launch(
        self, kernel: int, grid: tuple[int, int, int], block: tuple[int, int, int], arguments: int, stream: Stream
    ) -> None:
        """Queue a kernel that takes one structure by value; `arguments` is the structure's host address.

        The structure is read before the call returns.
        """

    # ------------------------------------------------------------------ graphs

    @abstractmethod
    def begin_capture(self, stream: Stream) -> None:
        """Turn what this thread queues on the stream from now on into a graph."""

    @abstractmethod
    def end_capture(self, stream: Stream) -> int:
        """The graph; nothing of it has run."""

    @abstractmethod
    def kernel_nodes(self, graph: int) -> list[int]:
        """Its kernel nodes, in the order in which they were queued on one stream."""

    @abstractmethod
    def instantiate(self, graph: int) -> int:
        """An executable graph."""

    @abstractmethod
    def set_arguments(
        self,
        executable: int,
        node: int,
        kernel: int,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        arguments: int,
    ) -> None:
        """Give one kernel node other arguments, for later launches of the executable graph."""

    @abstractmethod
    def launch_graph(self, executable: int, stream: Stream) -> None:
        """Queue the executable graph."""

    @abstractmethod
    def destroy_graph(self, graph: int) -> None:
        """Destroy a graph; executables made from it live on."""

    @abstractmethod
    def destroy_executable(self, executable: int) -> None:
        """Destroy an executable graph. No launch of it may be under way."""

    # ------------------------------------------------------------------ OpenGL; its context must be current

    @abstractmethod
    def gl_devices(self) -> list[int]:
        """Ordinals of the CUDA devices that drive the OpenGL context current on this thread."""

    @abstractmethod
    def register_gl_image(self, name: int, target: int, access: GlAccess) -> int:
        """A graphics resource for an OpenGL texture with complete, immutable storage."""

    @abstractmethod
    def unregister_gl_image(self, resource: int) -> None:
        """Give the texture back to OpenGL for good; it must not be mapped."""

    @abstractmethod
    def map_gl(self, resources: Sequence[int], stream: Stream) -> None:
        """Take textures from OpenGL, in one call: its earlier work on them comes first."""

    @abstractmethod
    def unmap_gl(self, resources: Sequence[int], stream: Stream) -> None:
        """Give them back, in one call, after the work queued on the stream."""

    @abstractmethod
    def mapped_array(self, resource: int) -> int:
        """The mip-mapped array of a mapped resource; valid for this mapping only."""

    @abstractmethod
    def mapped_level(self, resource: int, layer: int, level: int) -> int:
        """One layer of one level of a mapped resource as a plain 2D array; valid for this mapping only."""

    # ------------------------------------------------------------------ the end

    @abstractmethod
    def close(self) -> None:
        """Release what the driver itself holds. Objects made by its calls must be gone."""
