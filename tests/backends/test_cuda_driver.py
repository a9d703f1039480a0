"""The driver against cuda-bindings as installed: names, signatures, structures. See cuda_bindings.py."""

from __future__ import annotations

import ast
import ctypes
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from cuda_bindings import CALL, Fake, every_call, installed_bindings

import texvlm.backends.cuda as package
from texvlm.backends.cuda.bindings import Bindings
from texvlm.backends.cuda.driver import CudaDriver
from texvlm.backends.cuda.graph_nodes import queued_order
from texvlm.errors import DeviceCallError

FOLDER = Path(package.__file__).parent


@pytest.fixture(scope="session")
def real() -> Bindings:
    return installed_bindings()


@pytest.fixture
def fake(real) -> Fake:
    return Fake(real)


@pytest.fixture
def driver(fake) -> CudaDriver:
    made = CudaDriver(fake.bindings, 1)
    fake.calls.clear()
    return made


# ---------------------------------------------------------------- the bindings as installed


def names_used() -> set[str]:
    """Every name of CUDA's in the modules that talk to it, in code and in strings."""
    found: set[str] = set()
    for file in ("bindings", "driver", "device_info", "graph_nodes", "opening"):
        tree = ast.parse((FOLDER / f"{file}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
    return {name for name in found if CALL.fullmatch(name)}


def test_every_name_exists_in_the_installed_version(real):
    used = names_used()
    assert len(used) > 80
    known: set[str] = set()
    for module in (real.runtime, real.driver):
        for name in dir(module):
            known.add(name)
            if name.startswith(("cuda", "CU")) and isinstance(getattr(module, name), type):
                known.update(dir(getattr(module, name)))
    assert used - known == {"cudaDevAttr"}  # the beginning of names that test_what_the_device_is reads


def test_one_module_imports_the_bindings():
    importers = set()
    for path in FOLDER.parent.parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                names = [node.module or ""] if isinstance(node, ast.ImportFrom) and node.level == 0 else []
            if any(name.split(".")[0] == "cuda" for name in names):
                importers.add(path.name)
    assert importers == {"bindings.py"}


DRIVER_CALLS = {"load_program", "unload_program", "find_kernel", "launch", "set_arguments"}


def test_no_method_is_left_out_here(driver):
    abstract = {name for name, value in vars(CudaDriver.__base__).items() if getattr(value, "__isabstractmethod__", 0)}
    assert set(every_call(driver)) == abstract - {"current_stream", "close"}


def test_the_real_bindings_take_every_argument(driver, real, monkeypatch):
    """Arguments are converted before anything is called: without a driver each call then says so."""
    if int(real.runtime.cudaDriverGetVersion()[1]):
        pytest.skip("there is an NVIDIA driver; made-up handles would reach it (test_cuda_device.py calls it rightly)")
    monkeypatch.setattr(driver, "_runtime", real.runtime)
    monkeypatch.setattr(driver, "_driver", real.driver)
    monkeypatch.setattr(driver, "_bindings", real)
    monkeypatch.setattr(driver, "_enter", lambda: None)
    for name, call in every_call(driver).items():
        if name in DRIVER_CALLS:
            with pytest.raises(RuntimeError, match=r"libcuda|cuda.*driver library"):
                call()
        else:
            with pytest.raises(DeviceCallError, match=r"35 cudaErrorInsufficientDriver.*NVIDIA driver is missing"):
                call()


# ---------------------------------------------------------------- what is asked for


def test_what_the_device_is(fake):
    driver = CudaDriver(fake.bindings, 1)
    assert driver.device == torch.device("cuda", 1)
    info = driver.info
    assert (info.name, info.architecture, info.driver) == ("A GPU", "sm_90", "13.2")
    assert (info.memory_bytes, info.multiprocessors, info.l2_bytes) == (80 << 30, 132, 50 << 20)
    assert (info.max_side, info.max_layers) == (16384, 2000)  # the least of textures' and surfaces'
    assert fake.calls[0] == ("cudaSetDevice", 1)


@pytest.mark.parametrize(("channels", "dtype"), [(1, "uint8"), (4, "uint8"), (1, "float32"), (4, "float32")])
def test_arrays_are_layered_and_writable(fake, driver, channels, dtype):
    array = driver.create_array((64, 32), 3, 5, channels, dtype)
    ((texel, extent, levels, flags),) = fake.named("cudaMallocMipmappedArray")
    bits = 8 if dtype == "uint8" else 32
    assert [texel.x, texel.y, texel.z, texel.w] == [bits] * channels + [0] * (4 - channels)
    assert texel.f.name == ("cudaChannelFormatKindUnsigned" if bits == 8 else "cudaChannelFormatKindFloat")
    assert (extent.width, extent.height, extent.depth) == (64, 32, 3)
    assert (levels, flags) == (5, 1 | 2)
    assert driver.level_of(array, 4) != array
    assert fake.named("cudaGetMipmappedArrayLevel") == [(array, 4)]


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_samplers_hold_what_was_set(fake, driver, dtype):
    driver.create_texture_object(0x5550, 7, dtype)
    ((resource, sampler, view),) = fake.named("cudaCreateTextureObject")
    assert resource.resType.name == "cudaResourceTypeMipmappedArray"
    assert int(resource.res.mipmap.mipmap) == 0x5550
    assert view is None
    assert [mode.name for mode in sampler.addressMode] == ["cudaAddressModeClamp"] * 3
    assert (sampler.filterMode.name, sampler.mipmapFilterMode.name) == ("cudaFilterModeLinear", "cudaFilterModePoint")
    assert sampler.readMode.name == ("cudaReadModeNormalizedFloat" if dtype == "uint8" else "cudaReadModeElementType")
    assert (sampler.normalizedCoords, sampler.sRGB) == (1, 0)
    assert (sampler.minMipmapLevelClamp, sampler.maxMipmapLevelClamp, sampler.mipmapLevelBias) == (0.0, 6.0, 0.0)


@pytest.mark.parametrize("normalised", [True, False])
def test_samplers_of_one_level_do_not_filter(fake, driver, normalised):
    driver.create_level_texture_object(0x7770, normalised=normalised)
    ((resource, sampler, _),) = fake.named("cudaCreateTextureObject")
    assert resource.resType.name == "cudaResourceTypeArray"
    assert int(resource.res.array.array) == 0x7770
    assert sampler.filterMode.name == "cudaFilterModePoint"
    assert sampler.normalizedCoords == 0
    assert [mode.name for mode in sampler.addressMode] == ["cudaAddressModeClamp"] * 3
    assert sampler.readMode.name == ("cudaReadModeNormalizedFloat" if normalised else "cudaReadModeElementType")


def test_surfaces_are_of_one_level(fake, driver):
    driver.create_surface_object(0x7770)
    ((resource,),) = fake.named("cudaCreateSurfaceObject")
    assert resource.resType.name == "cudaResourceTypeArray"
    assert int(resource.res.array.array) == 0x7770


def test_what_is_made_or_destroyed_is_on_the_right_device(fake, driver):
    queued = {"is_capturing", "copy", "record", "wait", "is_done", "wait_on_host", "launch", "set_arguments"}
    queued |= {"begin_capture", "end_capture", "kernel_nodes", "launch_graph"}
    fake.answers["cudaPointerGetAttributes"] = (0, SimpleNamespace(type=1))
    fake.answers["cudaGLGetDevices"] = (0, 1, [1])
    fake.answers["cudaGraphGetNodes"] = (0, [], 0)
    fake.answers["cudaGraphGetEdges"] = (0, [], [], [], 0)
    fake.answers["cudaStreamIsCapturing"] = (0, fake.bindings.runtime.cudaStreamCaptureStatus(0))
    for name, call in every_call(driver).items():
        fake.calls.clear()
        call()
        assert fake.calls, name
        assert (fake.calls[0] == ("cudaSetDevice", 1)) == (name not in queued), name


def test_the_current_stream_is_torchs(fake, driver, monkeypatch):
    monkeypatch.setattr(driver, "_torch_stream", lambda ordinal: 0x1230 + ordinal)
    assert driver.current_stream() == 0x1231
    assert fake.calls == [("cudaSetDevice", 1)]


@pytest.mark.parametrize("count", [1, 2])
def test_a_thread_gets_its_own_device_back(fake, monkeypatch, count):
    entered: list[int] = []

    class Device:
        """What torch.cuda.device does, without a device."""

        def __init__(self, ordinal: int) -> None:
            self.ordinal = ordinal

        def __enter__(self) -> None:
            entered.append(self.ordinal)

        def __exit__(self, *_: object) -> None:
            entered.append(-1)

    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "device", Device)
    driver = CudaDriver(fake.bindings, 1)
    monkeypatch.setattr(driver, "_torch_stream", lambda ordinal: 0)
    entered.clear()
    with driver.guard():
        driver.current_stream()
    driver.create_event()
    assert entered == [1, -1, 1, -1] * (count - 1)  # with one device there is none to mistake it for


def test_streams_events_and_copies(fake, driver):
    driver.create_stream()
    driver.create_event()
    driver.create_event(timing=True)
    assert fake.named("cudaStreamCreateWithFlags") == [(1,)]  # does not wait for the default stream
    assert fake.named("cudaEventCreateWithFlags") == [(2,), (0,)]  # without and with a time
    driver.copy(64, 128, 8, 16)
    assert [(*call[:3], call[3].name, call[4]) for call in fake.named("cudaMemcpyAsync")] == [
        (64, 128, 8, "cudaMemcpyDefault", 16)
    ]
    fake.answers["cudaEventQuery"] = (600,)
    assert driver.is_done(32) is False
    assert len(fake.named("cudaGetLastError")) == 1  # what is not ready is no failure for whoever asks next
    fake.answers["cudaEventQuery"] = (0,)
    assert driver.is_done(32) is True
    assert driver.elapsed_ms(32, 48) == 1.5
    assert driver.memory() == (1 << 30, 80 << 30)


@pytest.mark.parametrize(("kind", "pinned"), [(0, False), (1, True), (2, False), (3, False)])
def test_pinned_memory_is_the_hosts(fake, driver, kind, pinned):
    types = fake.bindings.runtime.cudaMemoryType
    fake.answers["cudaPointerGetAttributes"] = (0, SimpleNamespace(type=types(kind)))
    assert driver.is_pinned(64) is pinned
    driver.allocate_pinned(4096)
    assert fake.named("cudaHostAlloc") == [(4096, 1)]  # good on every device


@pytest.mark.parametrize(("code", "status", "capturing"), [(0, 0, False), (0, 1, True), (0, 2, True), (906, 0, False)])
def test_whether_a_stream_is_captured(fake, driver, code, status, capturing):
    fake.answers["cudaStreamIsCapturing"] = (code, fake.bindings.runtime.cudaStreamCaptureStatus(status))
    assert driver.is_capturing(16) is capturing
    assert len(fake.named("cudaGetLastError")) == (code != 0)


# ---------------------------------------------------------------- launches and graphs


def test_a_launch_hands_over_the_address_of_the_arguments(fake, driver):
    arguments = np.zeros(1, np.dtype([("target", "<u8")]))
    driver.launch(0xA0, (7, 6, 5), (32, 4, 1), arguments.ctypes.data, 16)
    ((kernel, *shape, shared, stream, _, extra),) = fake.named("cuLaunchKernel")
    assert (kernel, shape, shared, stream, extra) == (0xA0, [7, 6, 5, 32, 4, 1], 0, 16, 0)
    assert fake.seen == [arguments.ctypes.data]


def test_threads_do_not_share_what_a_launch_fills_in(fake, driver):
    meet = threading.Barrier(2)
    seen: dict[int, int | None] = {}

    def wait_and_read(*given: Any) -> tuple[int]:
        meet.wait(5)  # both threads have filled in theirs
        seen[threading.get_ident()] = ctypes.c_void_p.from_address(given[9]).value
        return (0,)

    fake.answers["cuLaunchKernel"] = wait_and_read
    started: dict[int, int] = {}

    def launch(address: int) -> None:
        started[threading.get_ident()] = address
        driver.launch(0xA0, (1, 1, 1), (1, 1, 1), address, 16)

    threads = [threading.Thread(target=launch, args=(address,)) for address in (0x100, 0x200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == started
    assert sorted(started.values()) == [0x100, 0x200]


def test_arguments_of_a_graphs_node(fake, driver):
    def look(executable: int, node: int, launch: Any) -> tuple[int]:
        shape = (launch.gridDimX, launch.gridDimY, launch.gridDimZ)
        shape += (launch.blockDimX, launch.blockDimY, launch.blockDimZ, launch.sharedMemBytes)
        pointer = ctypes.c_void_p.from_address(int(launch.kernelParams)).value
        fake.seen.append((executable, node, int(launch.func), shape, pointer, int(launch.extra)))
        return (0,)

    fake.answers["cuGraphExecKernelNodeSetParams"] = look
    driver.set_arguments(0xE0, 0xD0, 0xA0, (7, 6, 5), (32, 4, 1), 0xBEEF0)
    driver.set_arguments(0xE0, 0xD1, 0xA1, (1, 1, 1), (64, 1, 1), 0xBEEF8)
    assert fake.seen == [
        (0xE0, 0xD0, 0xA0, (7, 6, 5, 32, 4, 1, 0), 0xBEEF0, 0),
        (0xE0, 0xD1, 0xA1, (1, 1, 1, 64, 1, 1, 0), 0xBEEF8, 0),
    ]


def test_programs_and_capture(fake, driver):
    driver.find_kernel(driver.load_program(b"image"), "refresh")
    assert fake.named("cuModuleLoadData") == [(b"image",)]
    assert fake.named("cuModuleGetFunction")[0][1] == b"refresh"
    driver.begin_capture(16)
    ((stream, mode),) = fake.named("cudaStreamBeginCapture")
    assert (stream, mode.name) == (16, "cudaStreamCaptureModeThreadLocal")
    driver.instantiate(driver.end_capture(16))
    ((_, flags),) = fake.named("cudaGraphInstantiate")
    assert flags == 0


@pytest.mark.parametrize("with_edge_data", [True, False])  # CUDA 13 has them, CUDA 12 has not
def test_kernel_nodes_come_in_the_order_of_the_stream(fake, driver, with_edge_data):
    types = fake.bindings.runtime.cudaGraphNodeType
    chain = [0x50, 0x10, 0x40, 0x20, 0x30]  # queued in this order, listed in another
    kinds = dict.fromkeys(chain, types.cudaGraphNodeTypeKernel) | {0x40: types.cudaGraphNodeTypeMemcpy}
    sources, targets = chain[:-1][::-1], chain[1:][::-1]

    def edges(graph: int, count: int = 0) -> tuple[Any, ...]:
        data = ([None] * count,) if with_edge_data else ()
        return (0, sources[:count], targets[:count], *data, len(sources))

    fake.answers["cudaGraphGetNodes"] = lambda graph, count=0: (0, sorted(chain)[:count], len(chain))
    fake.answers["cudaGraphGetEdges"] = edges
    fake.answers["cudaGraphNodeGetType"] = lambda node: (0, kinds[node])
    assert driver.kernel_nodes(0x99) == [0x50, 0x10, 0x20, 0x30]


def test_nodes_without_an_order_keep_theirs():
    assert queued_order([3, 1, 2], []) == [3, 1, 2]
    assert queued_order([1, 2, 3, 4], [(4, 1), (1, 2), (4, 3), (3, 2)]) == [4, 1, 3, 2]
    assert queued_order([], []) == []


# ---------------------------------------------------------------- OpenGL


def test_textures_are_mapped_in_one_call(fake, driver):
    driver.map_gl([0xA0, 0xB0, 0xC0], 16)
    driver.unmap_gl((0xB0,), 16)
    assert fake.seen == [[0xA0, 0xB0, 0xC0], [0xB0]]
    assert [call[0] for call in fake.named("cudaGraphicsMapResources")] == [3]
    assert fake.named("cudaGraphicsUnmapResources")[0][2] == 16
    fake.calls.clear()
    driver.map_gl([], 16)
    driver.unmap_gl([], 16)
    assert fake.calls == []


def test_how_a_texture_is_registered(fake, driver):
    driver.register_gl_image(5, 0x8C1A, "surface")
    driver.register_gl_image(6, 0x0DE1, "read")
    assert fake.named("cudaGraphicsGLRegisterImage") == [(5, 0x8C1A, 4), (6, 0x0DE1, 1)]
    driver.mapped_level(0xA0, 3, 2)
    assert fake.named("cudaGraphicsSubResourceGetMappedArray") == [(0xA0, 3, 2)]


def test_devices_of_a_context(fake, driver):
    fake.answers["cudaGLGetDevices"] = lambda count, which: (0, 2, [1, 0, *[0] * (count - 2)])
    assert driver.gl_devices() == [1, 0]
    ((_, which),) = fake.named("cudaGLGetDevices")
    assert which.name == "cudaGLDeviceListAll"
    fake.calls.clear()
    fake.answers["cudaGLGetDevices"] = (fake.bindings.runtime.cudaError_t.cudaErrorNoDevice, None, None)
    assert driver.gl_devices() == []
    assert fake.named("cudaGetLastError") == [()]
