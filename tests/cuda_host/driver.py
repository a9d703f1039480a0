"""HostDriver: the backend's table of device calls, on the host."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from cuda_host.account import Account
from cuda_host.calls import device_call
from cuda_host.images import MAX_LEVELS, POINTS, SURFACE, TEXTURE, DeviceArray, ImageTable, make_array
from cuda_host.opengl import GlImages
from cuda_host.program import Dim, HostKernel, Launcher, find_kernel, load_library
from cuda_host.streams import DEFAULT_STREAM, CopyWork, KernelWork, Streams, Work
from texvlm.backends.cuda.api import DeviceInfo, Driver, GlAccess, Stream
from texvlm.pyramid import ElementType

INFO = DeviceInfo(
    name="emulation on the host",
    architecture="host",
    driver="0.0",
    memory_bytes=8 << 30,
    multiprocessors=1,
    l2_bytes=1 << 20,
    max_side=32768,
    max_layers=2048,
)
_PAGE = 4096


class HostDriver(Driver):
    """Runs kernels at once, on torch's CPU tensors, and is strict about everything else.

    Attributes:
        account: objects, calls and broken rules.
        closed: every further call is an error.
        gl_device_list: what `gl_devices` answers when an OpenGL context is current.
    """

    def __init__(
        self, *, late_streams: bool = False, backwards: bool = False, memory_bytes: int = INFO.memory_bytes
    ) -> None:
        """A device of its own.

        Args:
            late_streams: work on created streams runs only when somebody waits for it.
            backwards: blocks and threads run last first; a kernel that lacks a barrier then differs.
            memory_bytes: more than this in arrays is a MemoryError.
        """
        self.device = torch.device("cpu")
        self.ordinal = 0
        self.info = INFO
        self.account = Account()
        self.gl_device_list = [0]
        self._memory_bytes = memory_bytes
        self.closed = False
        self._stream = DEFAULT_STREAM
        self._images = ImageTable()
        self._launcher = Launcher(self._images, backwards=backwards)
        self._streams = Streams(self.account, self._run, late=late_streams)
        self._gl = GlImages(self.account, self._images)

    # ------------------------------------------------------------------ what tests ask

    @property
    def calls(self) -> list[tuple[str, tuple[Any, ...]]]:
        """(name, arguments) of every call but the mere queries, in order."""
        return self.account.calls

    @property
    def violations(self) -> list[str]:
        """Every rule that was broken, even where the error was swallowed."""
        return self.account.violations

    @property
    def outside_writes(self) -> int:
        """Surface writes beyond their array, which Zero mode drops."""
        return self._launcher.outside_writes

    @property
    def outside_reads(self) -> int:
        """Surface reads beyond their array, which Zero mode answers with 0."""
        return self._launcher.outside_reads

    def captures_here(self) -> bool:
        """Whether this thread is capturing."""
        return self._streams.captures_here()

    def leaks(self) -> list[str]:
        """Objects that were made and not destroyed."""
        return self.account.leaks()

    def fail(self, call: str, nth: int = 1) -> None:
        """Let the nth next call of this name fail: MemoryError for allocations, else DeviceCallError.

        Calls that end an object end it all the same, as on a device that reports an earlier error.
        """
        if not hasattr(Driver, call):
            raise ValueError(f"{call!r} is no call of a driver")
        self.account.fail(call, nth)

    @contextmanager
    def use_stream(self, stream: Stream) -> Iterator[None]:
        """Make a stream the current one, as torch.cuda.stream does."""
        before, self._stream = self._stream, stream
        try:
            yield
        finally:
            self._stream = before

    def texels(self, array: int, level: int) -> np.ndarray[Any, Any]:
        """All stored texels of one level of an array, padding included, (layers, height, width, channels); no copy."""
        return self.account.get(array, "array").levels[level]  # type: ignore[no-any-return]

    # ------------------------------------------------------------------ torch's side

    @device_call
    def current_stream(self) -> Stream:
        return self._stream

    @device_call
    def is_capturing(self, stream: Stream) -> bool:
        return self._streams.is_capturing(stream)

    @device_call
    def memory(self) -> tuple[int, int]:
        used = sum(array.bytes for array in self.account.alive("array").values())
        return self._memory_bytes - used, self._memory_bytes

    # ------------------------------------------------------------------ memory

    @device_call
    def allocate_pinned(self, size: int) -> int:
        if size < 1:
            raise self.account.misuse(f"{size} bytes")
        memory = np.full(size + _PAGE, 171, np.uint8)
        address = -(-memory.ctypes.data // _PAGE) * _PAGE
        return self.account.add("pinned memory", (memory, size), handle=address)

    @device_call
    def free_pinned(self, address: int) -> None:
        if self._streams.uses(*self._pinned_range(address)):
            raise self.account.misuse(f"a queued copy still uses the memory at {address:#x}")
        self.account.remove(address, "pinned memory")

    def _pinned_range(self, address: int) -> tuple[int, int]:
        return address, address + self.account.get(address, "pinned memory")[1]

    @device_call
    def is_pinned(self, address: int) -> bool:
        ranges = self.account.alive("pinned memory").items()
        return any(start <= address < start + size for start, (_, size) in ranges)

    @device_call
    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        if not target or not source or size < 0:
            raise self.account.misuse(f"{size} bytes from {source:#x} to {target:#x}")
        self._streams.submit(stream, CopyWork(target, source, size))

    # ------------------------------------------------------------------ arrays

    @device_call
    def create_array(self, size: tuple[int, int], layers: int, levels: int, channels: int, dtype: ElementType) -> int:
        most = min(MAX_LEVELS, max(size).bit_length())
        if min(size) < 1 or max(size) > INFO.max_side or not 1 <= layers <= INFO.max_layers or not 1 <= levels <= most:
            raise self.account.misuse(f"{layers} layers of {size}, {levels} levels (at most {most})")
        if channels not in (1, 4) or dtype not in ("uint8", "float32"):
            raise self.account.misuse(f"{channels} channels of {dtype}")
        wanted = sum(max(1, size[0] >> k) * max(1, size[1] >> k) for k in range(levels)) * layers * channels
        free, _ = self.memory()
        if wanted * np.dtype(dtype).itemsize > free:
            raise MemoryError(f"create_array: {wanted} texels, but {free} bytes are free")
        return self.account.add("array", make_array(size, layers, levels, channels, dtype))

    @device_call
    def destroy_array(self, array: int) -> None:
        lifetime = self.account.get(array, "array").lifetime
        if lifetime.objects:
            raise self.account.misuse(f"{len(lifetime.objects)} objects over the array are alive")
        self.account.remove(array, "array")
        for handle in lifetime.handles:
            self.account.expire(handle)

    @device_call
    def level_of(self, array: int, level: int) -> int:
        whole: DeviceArray = self.account.get(array, "array")
        if not 0 <= level < len(whole.levels):
            raise self.account.misuse(f"level {level} of {len(whole.levels)}")
        handle = self.account.add("level", whole.part(level), owned=False)
        whole.lifetime.handles.append(handle)
        return handle

    @device_call
    def create_texture_object(self, array: int, levels: int, dtype: ElementType) -> int:
        whole: DeviceArray = self.account.get(array, "array")
        if not 1 <= levels <= len(whole.levels) or whole.element != dtype:
            raise self.account.misuse(
                f"{levels} levels of {dtype}; the array has {len(whole.levels)} of {whole.element}"
            )
        return self._add_object("texture", whole, TEXTURE, levels=levels, normalised=dtype == "uint8")

    @device_call
    def create_level_texture_object(self, level: int, *, normalised: bool) -> int:
        part: DeviceArray = self.account.get(level, "level")
        if normalised and part.element != "uint8":
            raise self.account.misuse(f"texels of {part.element} cannot be normalised")
        return self._add_object("texture", part, POINTS, levels=1, normalised=normalised)

    @device_call
    def destroy_texture_object(self, texture: int) -> None:
        self._remove_object("texture", texture)

    @device_call
    def create_surface_object(self, level: int) -> int:
        part: DeviceArray = self.account.get(level, "level")
        if not part.lifetime.writable or part.element == "float16":
            raise self.account.misuse("the array was made, or registered, without surface access")
        return self._add_object("surface", part, SURFACE, levels=1, normalised=False)

    @device_call
    def destroy_surface_object(self, surface: int) -> None:
        self._remove_object("surface", surface)

    def _add_object(self, what: str, array: DeviceArray, kind: int, *, levels: int, normalised: bool) -> int:
        handle = self._images.add(array, kind, levels=levels, normalised=normalised)
        array.lifetime.objects.add(handle)
        return self.account.add(f"{what} object", array, handle=handle)

    def _remove_object(self, what: str, handle: int) -> None:
        array: DeviceArray = self.account.remove(handle, f"{what} object")
        array.lifetime.objects.discard(handle)
        self._images.kill(handle)

    # ------------------------------------------------------------------ streams and events

    @device_call
    def create_stream(self) -> Stream:
        return self._streams.create()

    @device_call
    def destroy_stream(self, stream: Stream) -> None:
        self._streams.destroy(stream)

    @device_call
    def synchronize(self, stream: Stream) -> None:
        self._streams.synchronize(stream)

    @device_call
    def create_event(self, *, timing: bool = False) -> int:
        return self._streams.create_event(timing=timing)

    @device_call
    def destroy_event(self, event: int) -> None:
        self.account.remove(event, "event")

    @device_call
    def record(self, event: int, stream: Stream) -> None:
        self._streams.record(event, stream)

    @device_call
    def wait(self, stream: Stream, event: int) -> None:
        self._streams.wait(stream, event)

    @device_call
    def is_done(self, event: int) -> bool:
        return self._streams.is_done(event)

    @device_call
    def wait_on_host(self, event: int) -> None:
        self._streams.wait_on_host(event)

    @device_call
    def elapsed_ms(self, start: int, stop: int) -> float:
        return self._streams.elapsed_ms(start, stop)

    # ------------------------------------------------------------------ kernels

    @device_call
    def load_program(self, image: bytes) -> int:
        try:
            library = load_library(image)
        except OSError as error:
            raise self.account.misuse(f"code 200: {error}") from None
        return self.account.add("program", library)

    @device_call
    def unload_program(self, program: int) -> None:
        self.account.remove(program, "program")
        for handle, kernel in self.account.alive("kernel").items():
            if kernel.program == program:
                self.account.expire(handle)

    @device_call
    def find_kernel(self, program: int, name: str) -> int:
        kernel = find_kernel(self.account.get(program, "program"), program, name)
        if kernel is None:
            raise self.account.misuse(f"code 500: the program has no entry point {name!r}")
        return self.account.add("kernel", kernel, owned=False)

    @device_call
    def launch(self, kernel: int, grid: Dim, block: Dim, arguments: int, stream: Stream) -> None:
        self._streams.submit(stream, self._kernel_work(kernel, grid, block, arguments))

    def _kernel_work(self, kernel: int, grid: Dim, block: Dim, arguments: int) -> KernelWork:
        found: HostKernel = self.account.get(kernel, "kernel")
        return KernelWork(kernel, grid, block, ctypes.string_at(arguments, found.argument_bytes))

    def _run(self, work: Work) -> None:
        if isinstance(work, CopyWork):
            ctypes.memmove(work.target, work.source, work.size)
            return
        wrong = self._launcher.run(self.account.get(work.kernel, "kernel"), work.grid, work.block, work.arguments)
        if wrong is not None:
            raise self.account.misuse(wrong)

    # ------------------------------------------------------------------ graphs

    @device_call
    def begin_capture(self, stream: Stream) -> None:
        self._streams.begin_capture(stream)

    @device_call
    def end_capture(self, stream: Stream) -> int:
        return self._streams.end_capture(stream)

    @device_call
    def kernel_nodes(self, graph: int) -> list[int]:
        return self._streams.kernel_nodes(graph)

    @device_call
    def instantiate(self, graph: int) -> int:
        return self._streams.instantiate(graph)

    @device_call
    def set_arguments(self, executable: int, node: int, kernel: int, grid: Dim, block: Dim, arguments: int) -> None:
        self._streams.set_arguments(executable, node, self._kernel_work(kernel, grid, block, arguments))

    @device_call
    def launch_graph(self, executable: int, stream: Stream) -> None:
        self._streams.launch_graph(executable, stream)

    @device_call
    def destroy_graph(self, graph: int) -> None:
        self._streams.destroy_graph(graph)

    @device_call
    def destroy_executable(self, executable: int) -> None:
        self.account.remove(executable, "executable")

    # ------------------------------------------------------------------ OpenGL

    @device_call
    def gl_devices(self) -> list[int]:
        self._gl.require_context()
        return list(self.gl_device_list)

    @device_call
    def register_gl_image(self, name: int, target: int, access: GlAccess) -> int:
        return self._gl.register(name, target, writable=access == "surface")

    @device_call
    def unregister_gl_image(self, resource: int) -> None:
        self._gl.unregister(resource)

    @device_call
    def map_gl(self, resources: Sequence[int], stream: Stream) -> None:
        self._gl.map(resources)

    @device_call
    def unmap_gl(self, resources: Sequence[int], stream: Stream) -> None:
        self._streams.synchronize(stream)  # "after the work queued on the stream"
        self._gl.unmap(resources)

    @device_call
    def mapped_array(self, resource: int) -> int:
        return self._gl.mapped_array(resource)

    @device_call
    def mapped_level(self, resource: int, layer: int, level: int) -> int:
        return self._gl.mapped_level(resource, layer, level)

    # ------------------------------------------------------------------ the end

    @device_call
    def close(self) -> None:
        self.closed = True
        left = self.leaks()
        if left:
            raise self.account.misuse(f"left behind: {', '.join(left)}")
