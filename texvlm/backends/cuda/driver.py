"""The calls of `api.Driver` on a real GPU.

Torch and the driver share the device's primary context, so torch's memory, streams and events are
good here as they are. Calls that make or destroy something make the device current on the calling
thread themselves, for they may come from any thread; calls that queue work do not, because
`current_stream`, which every verb starts with, did it. `guard` gives a thread its own device back.

Arrays are not torch's: where the device has no room for one, memory that torch keeps for later is
given back, and the call made once more.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch

from texvlm.backends.cuda.api import Driver, GlAccess, Stream
from texvlm.backends.cuda.bindings import CAPTURE_IMPLICIT, NO_DEVICE, NOT_READY, Bindings
from texvlm.backends.cuda.device_info import read_info
from texvlm.backends.cuda.graph_nodes import kernel_nodes
from texvlm.errors import DeviceCallError
from texvlm.pyramid import ElementType

Dim = tuple[int, int, int]

_MOST_GL_DEVICES = 32


class CudaDriver(Driver):
    """One GPU. `open_driver` finds it and says why there is none."""

    def __init__(self, bindings: Bindings, ordinal: int) -> None:
        self._bindings = bindings
        self._runtime: Any = bindings.runtime
        self._driver: Any = bindings.driver
        self._check = bindings.check
        self._scratch = _Scratch(bindings.driver)
        self._torch_stream = _torch_stream_reader()
        self.device = torch.device("cuda", ordinal)
        self.ordinal = ordinal
        self._is_only_one = torch.cuda.device_count() < 2
        with self.guard():
            self._enter()
            self.info = read_info(bindings, ordinal)

    # ------------------------------------------------------------------ torch's side

    def guard(self) -> AbstractContextManager[object]:
        """See Driver. Where there is one device there is nothing to give back."""
        return nullcontext() if self._is_only_one else torch.cuda.device(self.ordinal)

    def current_stream(self) -> Stream:
        """See Driver."""
        self._enter()
        return int(self._torch_stream(self.ordinal))

    def is_capturing(self, stream: Stream) -> bool:
        """See Driver. True also for a capture that failed and was not ended yet."""
        result = self._runtime.cudaStreamIsCapturing(stream)
        if result[0] == CAPTURE_IMPLICIT:  # the default stream, while another one is captured: this one is not
            self._runtime.cudaGetLastError()
            return False
        return bool(self._check("cudaStreamIsCapturing", result) != 0)

    def memory(self) -> tuple[int, int]:
        """See Driver."""
        free, total = self._call("cudaMemGetInfo")
        return int(free), int(total)

    # ------------------------------------------------------------------ memory

    def allocate_pinned(self, size: int) -> int:
        """See Driver."""
        return int(self._call("cudaHostAlloc", size, self._runtime.cudaHostAllocPortable))

    def free_pinned(self, address: int) -> None:
        """See Driver."""
        self._call("cudaFreeHost", address)

    def is_pinned(self, address: int) -> bool:
        """See Driver."""
        attributes = self._call("cudaPointerGetAttributes", address)
        return bool(attributes.type == self._runtime.cudaMemoryType.cudaMemoryTypeHost)

    def copy(self, target: int, source: int, size: int, stream: Stream) -> None:
        """See Driver."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDefault  # addresses tell where they are
        self._check("cudaMemcpyAsync", self._runtime.cudaMemcpyAsync(target, source, size, kind, stream))

    # ------------------------------------------------------------------ arrays

    def create_array(self, size: tuple[int, int], layers: int, levels: int, channels: int, dtype: ElementType) -> int:
        """See Driver."""
        runtime = self._runtime
        texel = runtime.cudaChannelFormatDesc()
        bits = 8 if dtype == "uint8" else 32
        texel.x, texel.y, texel.z, texel.w = (bits if channel < channels else 0 for channel in range(4))
        kinds = runtime.cudaChannelFormatKind
        texel.f = kinds.cudaChannelFormatKindUnsigned if bits == 8 else kinds.cudaChannelFormatKindFloat
        extent = runtime.cudaExtent()
        extent.width, extent.height, extent.depth = *size, layers  # of a layered array the depth counts layers
        flags = runtime.cudaArrayLayered | runtime.cudaArraySurfaceLoadStore
        try:
            array = self._call("cudaMallocMipmappedArray", texel, extent, levels, flags)
        except MemoryError:
            torch.cuda.empty_cache()
            array = self._call("cudaMallocMipmappedArray", texel, extent, levels, flags)
        return self._handle("cudaMallocMipmappedArray", array)

    def destroy_array(self, array: int) -> None:
        """See Driver."""
        self._call("cudaFreeMipmappedArray", array)

    def level_of(self, array: int, level: int) -> int:
        """See Driver."""
        return self._handle("cudaGetMipmappedArrayLevel", self._call("cudaGetMipmappedArrayLevel", array, level))

    def create_texture_object(self, array: int, levels: int, dtype: ElementType) -> int:
        """See Driver."""
        runtime = self._runtime
        resource = runtime.cudaResourceDesc()
        resource.resType = runtime.cudaResourceType.cudaResourceTypeMipmappedArray
        resource.res.mipmap.mipmap = array
        sampler = self._sampler(normalised=dtype == "uint8")
        sampler.normalizedCoords = 1  # nothing else is allowed for mip-mapped arrays
        sampler.filterMode = runtime.cudaTextureFilterMode.cudaFilterModeLinear
        # kernels fetch whole levels and mix them: the unit must not touch the next one, whose weight would be 0
        sampler.mipmapFilterMode = runtime.cudaTextureFilterMode.cudaFilterModePoint
        sampler.minMipmapLevelClamp = 0.0
        sampler.maxMipmapLevelClamp = float(levels - 1)  # left at 0 it would pin every fetch to the base
        return self._handle("cudaCreateTextureObject", self._call("cudaCreateTextureObject", resource, sampler, None))

    def create_level_texture_object(self, level: int, *, normalised: bool) -> int:
        """See Driver."""
        sampler = self._sampler(normalised=normalised)
        sampler.normalizedCoords = 0
        sampler.filterMode = self._runtime.cudaTextureFilterMode.cudaFilterModePoint
        return self._handle(
            "cudaCreateTextureObject",
            self._call("cudaCreateTextureObject", self._plain_resource(level), sampler, None),
        )

    def destroy_texture_object(self, texture: int) -> None:
        """See Driver."""
        self._call("cudaDestroyTextureObject", texture)

    def create_surface_object(self, level: int) -> int:
        """See Driver."""
        surface = self._call("cudaCreateSurfaceObject", self._plain_resource(level))
        return self._handle("cudaCreateSurfaceObject", surface)

    def destroy_surface_object(self, surface: int) -> None:
        """See Driver."""
        self._call("cudaDestroySurfaceObject", surface)

    # ------------------------------------------------------------------ streams and events

    def create_stream(self) -> Stream:
        """See Driver."""
        return int(self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking))

    def destroy_stream(self, stream: Stream) -> None:
        """See Driver."""
        self._call("cudaStreamDestroy", stream)

    def synchronize(self, stream: Stream) -> None:
        """See Driver."""
        self._call("cudaStreamSynchronize", stream)

    def create_event(self, *, timing: bool = False) -> int:
        """See Driver."""
        flags = self._runtime.cudaEventDefault if timing else self._runtime.cudaEventDisableTiming
        return int(self._call("cudaEventCreateWithFlags", flags))

    def destroy_event(self, event: int) -> None:
        """See Driver."""
        self._call("cudaEventDestroy", event)

    def record(self, event: int, stream: Stream) -> None:
        """See Driver."""
        self._check("cudaEventRecord", self._runtime.cudaEventRecord(event, stream))

    def wait(self, stream: Stream, event: int) -> None:
        """See Driver."""
        self._check("cudaStreamWaitEvent", self._runtime.cudaStreamWaitEvent(stream, event, 0))

    def is_done(self, event: int) -> bool:
        """See Driver."""
        result = self._runtime.cudaEventQuery(event)
        if result[0] == NOT_READY:
            self._runtime.cudaGetLastError()  # kept until read: a later caller would take it for a failure
            return False
        self._check("cudaEventQuery", result)
        return True

    def wait_on_host(self, event: int) -> None:
        """See Driver."""
        self._check("cudaEventSynchronize", self._runtime.cudaEventSynchronize(event))

    def elapsed_ms(self, start: int, stop: int) -> float:
        """See Driver."""
        return float(self._call("cudaEventElapsedTime", start, stop))

    # ------------------------------------------------------------------ kernels

    def load_program(self, image: bytes) -> int:
        """See Driver."""
        self._enter()
        return self._handle("cuModuleLoadData", self._check("cuModuleLoadData", self._driver.cuModuleLoadData(image)))

    def unload_program(self, program: int) -> None:
        """See Driver."""
        self._enter()
        self._check("cuModuleUnload", self._driver.cuModuleUnload(program))

    def find_kernel(self, program: int, name: str) -> int:
        """See Driver. Loads the kernel's code, too, which is not allowed during a capture."""
        self._enter()
        kernel = self._check("cuModuleGetFunction", self._driver.cuModuleGetFunction(program, name.encode()))
        return self._handle("cuModuleGetFunction", kernel)

    def launch(self, kernel: int, grid: Dim, block: Dim, arguments: int, stream: Stream) -> None:
        """See Driver."""
        scratch = self._scratch
        scratch.pointers[0] = arguments
        result = self._driver.cuLaunchKernel(kernel, *grid, *block, 0, stream, scratch.address, 0)
        self._check("cuLaunchKernel", result)

    # ------------------------------------------------------------------ graphs

    def begin_capture(self, stream: Stream) -> None:
        """See Driver. Other threads go on as if nothing were captured."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._check("cudaStreamBeginCapture", self._runtime.cudaStreamBeginCapture(stream, mode))

    def end_capture(self, stream: Stream) -> int:
        """See Driver."""
        return self._handle(
            "cudaStreamEndCapture", self._check("cudaStreamEndCapture", self._runtime.cudaStreamEndCapture(stream))
        )

    def kernel_nodes(self, graph: int) -> list[int]:
        """See Driver."""
        return kernel_nodes(self._bindings, graph)

    def instantiate(self, graph: int) -> int:
        """See Driver."""
        return self._handle("cudaGraphInstantiate", self._call("cudaGraphInstantiate", graph, 0))

    def set_arguments(self, executable: int, node: int, kernel: int, grid: Dim, block: Dim, arguments: int) -> None:
        """See Driver."""
        scratch, driver = self._scratch, self._driver
        scratch.pointers[0] = arguments
        launch = scratch.launch
        launch.func = driver.CUfunction(kernel)
        launch.gridDimX, launch.gridDimY, launch.gridDimZ = grid
        launch.blockDimX, launch.blockDimY, launch.blockDimZ = block
        self._check("cuGraphExecKernelNodeSetParams", driver.cuGraphExecKernelNodeSetParams(executable, node, launch))

    def launch_graph(self, executable: int, stream: Stream) -> None:
        """See Driver."""
        self._check("cudaGraphLaunch", self._runtime.cudaGraphLaunch(executable, stream))

    def destroy_graph(self, graph: int) -> None:
        """See Driver."""
        self._call("cudaGraphDestroy", graph)

    def destroy_executable(self, executable: int) -> None:
        """See Driver."""
        self._call("cudaGraphExecDestroy", executable)

    # ------------------------------------------------------------------ OpenGL; its context must be current

    def gl_devices(self) -> list[int]:
        """See Driver. Empty where OpenGL renders on no CUDA device."""
        everything = self._runtime.cudaGLDeviceList.cudaGLDeviceListAll
        self._enter()
        result = self._runtime.cudaGLGetDevices(_MOST_GL_DEVICES, everything)
        if result[0] == NO_DEVICE:
            self._runtime.cudaGetLastError()
            return []
        count, ordinals = self._check("cudaGLGetDevices", result)
        return [int(ordinal) for ordinal in ordinals[:count]]

    def register_gl_image(self, name: int, target: int, access: GlAccess) -> int:
        """See Driver."""
        flags = self._runtime.cudaGraphicsRegisterFlags
        flag = {
            "read": flags.cudaGraphicsRegisterFlagsReadOnly,
            "surface": flags.cudaGraphicsRegisterFlagsSurfaceLoadStore,
        }[access]
        resource = self._call("cudaGraphicsGLRegisterImage", name, target, int(flag))
        return self._handle("cudaGraphicsGLRegisterImage", resource)

    def unregister_gl_image(self, resource: int) -> None:
        """See Driver."""
        self._call("cudaGraphicsUnregisterResource", resource)

    def map_gl(self, resources: Sequence[int], stream: Stream) -> None:
        """See Driver. Nothing to map is no call."""
        self._map("cudaGraphicsMapResources", resources, stream)

    def unmap_gl(self, resources: Sequence[int], stream: Stream) -> None:
        """See Driver. Nothing to unmap is no call."""
        self._map("cudaGraphicsUnmapResources", resources, stream)

    def mapped_array(self, resource: int) -> int:
        """See Driver."""
        call = "cudaGraphicsResourceGetMappedMipmappedArray"
        return self._handle(call, self._call(call, resource))

    def mapped_level(self, resource: int, layer: int, level: int) -> int:
        """See Driver."""
        call = "cudaGraphicsSubResourceGetMappedArray"
        return self._handle(call, self._call(call, resource, layer, level))

    # ------------------------------------------------------------------ the end

    def close(self) -> None:
        """See Driver. The context is torch's and stays."""
        self._scratch = _Scratch(self._driver)

    # ------------------------------------------------------------------ inside

    def _enter(self) -> None:
        """Make the device, and so its primary context, current on this thread."""
        self._check("cudaSetDevice", self._runtime.cudaSetDevice(self.ordinal))

    def _call(self, name: str, *arguments: Any) -> Any:
        """A call of the runtime from a thread that may have another device current, and keeps it."""
        with self.guard():
            self._enter()
            return self._check(name, getattr(self._runtime, name)(*arguments))

    def _handle(self, call: str, handle: Any) -> int:
        """A handle as a number; a null one, which some versions return with success, is an error."""
        number = int(handle)
        if number == 0:
            version = ".".join(map(str, self._bindings.version))
            raise DeviceCallError(f"{call}: success, but a null handle; cuda-bindings {version} is broken")
        return number

    def _map(self, call: str, resources: Sequence[int], stream: Stream) -> None:
        if not resources:
            return
        # A plain number is taken for the address of an array of handles, never for a handle.
        handles = np.array(resources, np.uint64)
        self._call(call, len(handles), handles.ctypes.data, stream)

    def _sampler(self, *, normalised: bool) -> Any:
        """Clamped, and reading texels as asked; the rest is set by the caller."""
        runtime = self._runtime
        sampler = runtime.cudaTextureDesc()
        # the list as a whole: an entry set by itself changes a copy, and the mode stays "wrap"
        sampler.addressMode = [runtime.cudaTextureAddressMode.cudaAddressModeClamp] * 3
        modes = runtime.cudaTextureReadMode
        sampler.readMode = modes.cudaReadModeNormalizedFloat if normalised else modes.cudaReadModeElementType
        return sampler

    def _plain_resource(self, level: int) -> Any:
        resource = self._runtime.cudaResourceDesc()
        resource.resType = self._runtime.cudaResourceType.cudaResourceTypeArray
        resource.res.array.array = level
        return resource


def _torch_stream_reader() -> Callable[[int], int]:
    """What returns the handle of torch's current stream on a device.

    Triton and torch's own compiler use the private function: it makes no stream object on the way.
    """
    direct = getattr(torch._C, "_cuda_getCurrentRawStream", None)
    return direct or (lambda ordinal: torch.cuda.current_stream(ordinal).cuda_stream)


class _Scratch(threading.local):
    """What a launch fills in, kept for each thread: one argument, by its address.

    Attributes:
        pointers: address of each argument of a kernel; there is one.
        address: of `pointers`.
        launch: parameters of a graph's node.
    """

    def __init__(self, driver: Any) -> None:
        self.pointers = (ctypes.c_void_p * 1)()
        self.address = ctypes.addressof(self.pointers)
        self.launch = driver.CUDA_KERNEL_NODE_PARAMS()
        self.launch.kernelParams = self.address
