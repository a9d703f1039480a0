"""cuda-bindings without a GPU: real types and signatures, made-up answers."""

from __future__ import annotations

import ctypes
import inspect
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from required import unavailable

from texvlm.backends.cuda.bindings import Bindings, load_bindings
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.driver import CudaDriver
from texvlm.errors import BackendUnavailable

CALL = re.compile(r"cu(da)?[A-Z]\w+")

MAKERS = (
    "cudaHostAlloc",
    "cudaMallocMipmappedArray",
    "cudaGetMipmappedArrayLevel",
    "cudaCreateTextureObject",
    "cudaCreateSurfaceObject",
    "cudaStreamCreateWithFlags",
    "cudaEventCreateWithFlags",
    "cudaStreamEndCapture",
    "cudaGraphInstantiate",
    "cudaGraphicsGLRegisterImage",
    "cudaGraphicsResourceGetMappedMipmappedArray",
    "cudaGraphicsSubResourceGetMappedArray",
    "cuModuleLoadData",
    "cuModuleGetFunction",
)
"""Calls that hand over a handle."""


def installed_bindings() -> Bindings:
    """cuda-bindings as installed; skips where there are none."""
    try:
        return load_bindings()
    except BackendUnavailable as refusal:
        unavailable("cuda-bindings", str(refusal))
        raise


def compiling_bindings() -> Bindings:
    """The same with NVRTC; skips where that is missing."""
    bindings = installed_bindings()
    try:
        NvrtcCompiler("sm_90", bindings=bindings)
    except BackendUnavailable as refusal:
        unavailable("nvrtc", str(refusal))
    return bindings


class FakePart:
    """One module of cuda-bindings: its types and constants as they are, its calls recorded and answered from a table.

    Arguments must fit the real call's signature.
    """

    def __init__(self, real: Any, calls: list[tuple[Any, ...]], answers: dict[str, Any]) -> None:
        self._real, self._calls, self._answers = real, calls, answers

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        if isinstance(real, type | int) or not CALL.fullmatch(name):
            return real

        def call(*arguments: Any) -> tuple[Any, ...]:
            inspect.signature(real).bind(*arguments)
            self._calls.append((name, *arguments))
            answer = self._answers.get(name, (0,))
            return answer(*arguments) if callable(answer) else answer

        return call


class Fake:
    """Made-up cuda-bindings.

    Attributes:
        calls: (name, arguments...) of everything that was called.
        answers: by name, what a call returns, or a function that does; success without a value by default.
        seen: what was found behind the addresses that calls took.
        bindings: what the driver is given.
    """

    def __init__(self, real: Bindings) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.seen: list[Any] = []
        handles = iter(range(0x1000, 0x100000, 0x10))
        self.answers: dict[str, Any] = {
            "cudaGetDeviceCount": (0, 2),
            "cudaDriverGetVersion": (0, 13020),
            "cudaGetDeviceProperties": (0, SimpleNamespace(name=b"A GPU", totalGlobalMem=80 << 30)),
            "cudaDeviceGetAttribute": lambda attribute, ordinal: (0, attribute_value(attribute.name)),
            "cudaMemGetInfo": (0, 1 << 30, 80 << 30),
            "cudaEventElapsedTime": (0, 1.5),
            "cudaGraphicsMapResources": self._note_resources,
            "cudaGraphicsUnmapResources": self._note_resources,
            "cuLaunchKernel": self._note_arguments,
        }
        self.answers |= {name: lambda *_: (0, next(handles)) for name in MAKERS}
        runtime, driver = (FakePart(part, self.calls, self.answers) for part in (real.runtime, real.driver))
        self.bindings = Bindings(runtime, driver, real.nvrtc, real.version)

    def named(self, name: str) -> list[tuple[Any, ...]]:
        """Arguments of every call of this name."""
        return [call[1:] for call in self.calls if call[0] == name]

    def _note_resources(self, count: int, address: int, stream: int) -> tuple[int]:
        self.seen.append(list((ctypes.c_uint64 * count).from_address(address)))
        return (0,)

    def _note_arguments(self, *given: Any) -> tuple[int]:
        self.seen.append(ctypes.c_void_p.from_address(given[9]).value)
        return (0,)


def attribute_value(name: str) -> int:
    """An attribute of the made-up device."""
    values = {"ComputeCapabilityMajor": 9, "ComputeCapabilityMinor": 0, "MultiProcessorCount": 132}
    values |= {"L2CacheSize": 50 << 20, "MaxSurface2DLayeredHeight": 16384, "MaxSurface2DLayeredLayers": 2000}
    return values.get(name.removeprefix("cudaDevAttr"), 32768)


def every_call(driver: CudaDriver) -> dict[str, Callable[[], Any]]:
    """Each method once, with arguments of the types that callers use."""
    one = (1, 1, 1)
    return {
        "is_capturing": lambda: driver.is_capturing(16),
        "memory": driver.memory,
        "allocate_pinned": lambda: driver.allocate_pinned(64),
        "free_pinned": lambda: driver.free_pinned(64),
        "is_pinned": lambda: driver.is_pinned(64),
        "copy": lambda: driver.copy(64, 128, 8, 16),
        "create_array": lambda: driver.create_array((64, 32), 3, 5, 4, "uint8"),
        "destroy_array": lambda: driver.destroy_array(64),
        "level_of": lambda: driver.level_of(64, 2),
        "create_texture_object": lambda: driver.create_texture_object(64, 5, "uint8"),
        "create_level_texture_object": lambda: driver.create_level_texture_object(64, normalised=True),
        "destroy_texture_object": lambda: driver.destroy_texture_object(64),
        "create_surface_object": lambda: driver.create_surface_object(64),
        "destroy_surface_object": lambda: driver.destroy_surface_object(64),
        "create_stream": driver.create_stream,
        "destroy_stream": lambda: driver.destroy_stream(16),
        "synchronize": lambda: driver.synchronize(16),
        "create_event": driver.create_event,
        "destroy_event": lambda: driver.destroy_event(32),
        "record": lambda: driver.record(32, 16),
        "wait": lambda: driver.wait(16, 32),
        "is_done": lambda: driver.is_done(32),
        "wait_on_host": lambda: driver.wait_on_host(32),
        "elapsed_ms": lambda: driver.elapsed_ms(32, 48),
        "load_program": lambda: driver.load_program(b"image"),
        "unload_program": lambda: driver.unload_program(64),
        "find_kernel": lambda: driver.find_kernel(64, "refresh"),
        "launch": lambda: driver.launch(64, one, one, 128, 16),
        "begin_capture": lambda: driver.begin_capture(16),
        "end_capture": lambda: driver.end_capture(16),
        "kernel_nodes": lambda: driver.kernel_nodes(64),
        "instantiate": lambda: driver.instantiate(64),
        "set_arguments": lambda: driver.set_arguments(64, 128, 64, one, one, 128),
        "launch_graph": lambda: driver.launch_graph(64, 16),
        "destroy_graph": lambda: driver.destroy_graph(64),
        "destroy_executable": lambda: driver.destroy_executable(64),
        "gl_devices": driver.gl_devices,
        "register_gl_image": lambda: driver.register_gl_image(1, 0x8C1A, "surface"),
        "unregister_gl_image": lambda: driver.unregister_gl_image(64),
        "map_gl": lambda: driver.map_gl([64, 128], 16),
        "unmap_gl": lambda: driver.unmap_gl([64], 16),
        "mapped_array": lambda: driver.mapped_array(64),
        "mapped_level": lambda: driver.mapped_level(64, 0, 0),
    }
