"""The table of device calls, used as the backend uses it: on the emulation everywhere, on a GPU where there is one.

The kernels are the emulation's own test kernels, so a difference between the two devices shows here
before it shows in the backend.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cuda_host
import numpy as np
import pytest
import torch
from cuda_device import open_host_device
from required import REQUIRED, unavailable

from texvlm.backends.cuda.api import Driver
from texvlm.backends.cuda.compiler import NvrtcCompiler
from texvlm.backends.cuda.kernels import Compiler, Kernel, Kernels
from texvlm.backends.cuda.opening import open_driver
from texvlm.errors import BackendUnavailable, DeviceCallError

SOURCES = Path(cuda_host.__file__).parent / "kernels"
FETCH = np.dtype([("texture", "<u8"), ("places", "<u8"), ("results", "<u8"), ("count", "<i4"), ("unused", "<i4")])
FILL = np.dtype([("surface", "<u8"), ("width", "<i4"), ("height", "<i4"), ("layer", "<i4"), ("value", "<i4")])
ADD = np.dtype([("target", "<u8"), ("source", "<u8")] + [(name, "<i4") for name in ("count", "a", "b", "unused")])
WIDE = np.dtype(
    [("surface", "<u8"), ("buffer", "<u8")] + [(f, "<i4") for f in ("accesses", "height", "layer", "unused")]
)
MIPS, LAYERED, PLAIN, SURFACE = range(4)
SIZE, LAYERS, LEVELS = (8, 4), 3, 3

DEVICES: list[Any] = ["cuda-host"]
if torch.cuda.is_available() or "cuda" in REQUIRED:
    DEVICES.append(pytest.param("cuda", marks=pytest.mark.cuda))


@dataclass(frozen=True, slots=True)
class Bench:
    """A device with its kernels."""

    driver: Driver
    compiler: Compiler
    kernels: Kernels

    def put(self, values: Any, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype).to(self.driver.device)

    def fetch(self, handle: int, how: int, places: Sequence[Sequence[float]], texel: str = "float4") -> np.ndarray:
        """Texels at (x, y, layer, LOD), shape (places, 4)."""
        at = self.put([(*place, *[0.0] * (4 - len(place))) for place in places], torch.float32)
        kind = torch.uint8 if texel == "uchar4" else torch.float32
        results = torch.zeros((len(places), 4), dtype=kind, device=self.driver.device)
        kernel = self.kernels.get("fetch.cu", (("TEXVLM_FETCH", how), ("TEXVLM_TEXEL", texel)), FETCH)
        arguments = np.array([(handle, at.data_ptr(), results.data_ptr(), len(places), 0)], FETCH)
        kernel.launch((-(-len(places) // 32), 1, 1), (32, 1, 1), arguments, self.driver.current_stream())
        return results.cpu().numpy()

    def adder(self) -> Kernel:
        return self.kernels.get("add.cu", (), ADD)


def sum_of(target: torch.Tensor, source: torch.Tensor, a: int, b: int) -> np.ndarray:
    """Arguments: target = a * source + b."""
    return np.array([(target.data_ptr(), source.data_ptr(), len(source), a, b, 0)], ADD)


@pytest.fixture(params=DEVICES)
def bench(request, tmp_path) -> Iterator[Bench]:
    driver: Driver
    compiler: Compiler
    try:
        if request.param == "cuda":
            driver = open_driver()
            compiler = NvrtcCompiler(driver.info.architecture, folder=tmp_path, sources=SOURCES)
        else:
            driver, compiler = open_host_device(sources=SOURCES)
    except BackendUnavailable as refusal:
        unavailable(request.param, str(refusal))
    driver.current_stream()
    kernels = Kernels(driver, compiler)
    yield Bench(driver, compiler, kernels)
    kernels.close()
    driver.close()


def value(x: int, y: int, layer: int, level: int) -> int:
    """What fill.cu writes there."""
    return 70 * layer + 20 * level + x + 10 * y


@pytest.fixture
def array(bench) -> Iterator[int]:
    """An array of 8-bit texels, filled through surfaces; every texel of every layer and level is another one."""
    driver = bench.driver
    made = driver.create_array(SIZE, LAYERS, LEVELS, 4, "uint8")
    fill = bench.kernels.get("fill.cu", (), FILL)
    surfaces = [driver.create_surface_object(driver.level_of(made, level)) for level in range(LEVELS)]
    for level, surface in enumerate(surfaces):
        width, height = SIZE[0] >> level, SIZE[1] >> level
        for layer in range(LAYERS):
            arguments = np.array([(surface, width, height, layer, value(0, 0, layer, level))], FILL)
            fill.launch((1, 1, 1), (16, 16, 1), arguments, driver.current_stream())
    driver.synchronize(driver.current_stream())
    for surface in surfaces:
        driver.destroy_surface_object(surface)
    yield made
    driver.synchronize(driver.current_stream())
    driver.destroy_array(made)


TEXELS = [
    (x, y, layer, level)
    for level in range(LEVELS)
    for layer in range(LAYERS)
    for y in range(SIZE[1] >> level)
    for x in range(SIZE[0] >> level)
]


def test_every_level_and_layer_is_sampled_where_it_was_written(bench, array):
    texture = bench.driver.create_texture_object(array, LEVELS, "uint8")
    places = [((x + 0.5) / (SIZE[0] >> k), (y + 0.5) / (SIZE[1] >> k), layer, k) for x, y, layer, k in TEXELS]
    found = bench.fetch(texture, MIPS, places)
    expected = np.array([value(*texel) for texel in TEXELS]) / 255
    np.testing.assert_allclose(found[:, 0], expected, atol=1e-6, rtol=0)
    assert np.all(found[:, 3] == 1)
    bench.driver.destroy_texture_object(texture)


def test_samples_are_mixed_clamped_and_keep_to_their_layer(bench, array):
    texture = bench.driver.create_texture_object(array, LEVELS, "uint8")
    places = [
        (1.0 / 8, 0.5 / 4, 1, 0.0),  # between two columns
        (0.5 / 8, 1.0 / 4, 1, 0.0),  # between two rows
        (0.5 / 8, 0.5 / 4, 1, 0.75),  # nearer to level 1, where this place lies beyond the first texel's centre
        (-5.0, -5.0, 1, 0.0),
        (9.0, 9.0, 1, 0.0),
        (0.5, 0.5, 2, 99.0),
        (0.5 / 8, 0.5 / 4, 0, -3.0),
    ]
    expected = [
        value(0, 0, 1, 0) + 0.5,
        value(0, 0, 1, 0) + 5,
        value(0, 0, 1, 1),
        value(0, 0, 1, 0),
        value(7, 3, 1, 0),
        (value(0, 0, 2, 2) + value(1, 0, 2, 2)) / 2,
        value(0, 0, 0, 0),
    ]
    found = bench.fetch(texture, MIPS, places)[:, 0] * 255
    # weights have 8 bits of fraction: two roundings of the largest difference mixed here
    np.testing.assert_allclose(found, expected, atol=2 * 20 / 256, rtol=0)
    bench.driver.destroy_texture_object(texture)


def test_one_level_is_read_without_a_filter(bench, array):
    driver = bench.driver
    level = driver.level_of(array, 1)
    places = [(x, y, layer) for layer in range(LAYERS) for y in range(2) for x in range(4)]
    expected = [value(x, y, layer, 1) for x, y, layer in places]
    inside = [(x + 0.75, y + 0.25, layer) for x, y, layer in places]  # anywhere in a texel is that texel
    normalised = driver.create_level_texture_object(level, normalised=True)
    raw = driver.create_level_texture_object(level, normalised=False)
    surface = driver.create_surface_object(level)
    found = bench.fetch(normalised, LAYERED, inside)[:, 0]
    np.testing.assert_allclose(found, np.array(expected) / 255, atol=1e-6, rtol=0)
    assert bench.fetch(raw, LAYERED, inside, "uchar4")[:, 0].tolist() == expected
    assert bench.fetch(surface, SURFACE, places, "uchar4")[:, 0].tolist() == expected
    assert bench.fetch(surface, SURFACE, [(4, 0, 0), (0, 2, 0)], "uchar4").tolist() == [[0] * 4] * 2  # outside
    for texture in (normalised, raw):
        driver.destroy_texture_object(texture)
    driver.destroy_surface_object(surface)


@pytest.mark.parametrize(
    ("channels", "dtype", "texel", "widths"),
    [(4, "uint8", 4, (8, 16)), (1, "uint8", 1, (2, 4)), (1, "float32", 4, (8, 16))],
)
def test_texels_that_lie_side_by_side_are_one_access(bench, rng, channels, dtype, texel, widths):
    """As refresh.cu takes rows of four texels and pairs: an access is as wide as its type, whatever the format."""
    driver, (width, height) = bench.driver, (16, 8)
    stream = driver.current_stream()
    array = driver.create_array((width, height), 2, 2, channels, dtype)

    def move(surface: int, size: tuple[int, int], buffer: torch.Tensor, step: int, *, writes: bool) -> None:
        kernel = bench.kernels.get("wide.cu", (("TEXVLM_BYTES", step), ("TEXVLM_WRITES", int(writes))), WIDE)
        row = size[0] * texel
        arguments = np.array([(surface, buffer.data_ptr(), row // step, size[1], 1, 0)], WIDE)
        kernel.launch((1, 1, 1), (row // step, size[1], 1), arguments, stream)

    for level in range(2):
        size = (width >> level, height >> level)
        surface = driver.create_surface_object(driver.level_of(array, level))
        for step in widths:
            for written, read in ((step, texel), (texel, step), (step, step)):
                given = torch.from_numpy(rng.integers(1, 255, size[0] * size[1] * texel, dtype=np.uint8)).to(
                    driver.device
                )
                found = torch.zeros_like(given)
                move(surface, size, given, written, writes=True)
                move(surface, size, found, read, writes=False)
                assert torch.equal(found, given), f"level {level}: {written} bytes written at once, {read} read"
        driver.synchronize(stream)
        driver.destroy_surface_object(surface)
    driver.destroy_array(array)


def test_copies_streams_and_events(bench):
    driver = bench.driver
    pinned, stream = driver.allocate_pinned(4096), driver.create_stream()
    start, stop, never = driver.create_event(timing=True), driver.create_event(timing=True), driver.create_event()
    here = np.frombuffer((ctypes.c_uint8 * 4096).from_address(pinned), np.uint8)
    here[:] = np.arange(4096) % 251
    there = torch.zeros(4096, dtype=torch.uint8, device=driver.device)
    driver.synchronize(driver.current_stream())
    driver.record(start, stream)
    driver.copy(there.data_ptr(), pinned, 4096, stream)
    driver.record(stop, stream)
    driver.wait(driver.current_stream(), stop)
    again = there.clone()  # torch's stream waits for the copy
    driver.wait_on_host(stop)
    assert driver.is_done(stop)
    assert driver.is_done(never)
    assert driver.elapsed_ms(start, stop) >= 0
    assert np.array_equal(again.cpu().numpy(), here)
    here[:] = 0
    driver.copy(pinned, there.data_ptr(), 4096, stream)
    driver.synchronize(stream)
    assert np.array_equal(here, np.arange(4096) % 251)
    assert driver.is_pinned(pinned)
    assert not driver.is_pinned(np.zeros(8).ctypes.data)
    for event in (start, stop, never):
        driver.destroy_event(event)
    driver.destroy_stream(stream)
    driver.free_pinned(pinned)


def test_a_captured_graph_and_other_arguments(bench):
    driver, add = bench.driver, bench.adder()
    a, b, c = (torch.zeros(100, dtype=torch.int32, device=driver.device) for _ in range(3))
    a += 7
    driver.synchronize(driver.current_stream())
    stream = driver.create_stream()
    shape = ((4, 1, 1), (32, 1, 1))
    assert not driver.is_capturing(stream)
    driver.begin_capture(stream)
    assert driver.is_capturing(stream)
    add.launch(*shape, sum_of(b, a, 2, 1), stream)
    add.launch(*shape, sum_of(c, b, 3, 0), stream)
    graph = driver.end_capture(stream)
    first, second = driver.kernel_nodes(graph)
    executable = driver.instantiate(graph)
    driver.synchronize(stream)
    assert (int(b[0]), int(c[99])) == (0, 0)  # nothing has run
    driver.launch_graph(executable, stream)
    driver.synchronize(stream)
    assert (int(b[0]), int(c[99])) == (15, 45)
    driver.set_arguments(executable, second, add.handle, *shape, sum_of(c, b, 10, 0).ctypes.data)
    driver.launch_graph(executable, stream)
    driver.synchronize(stream)
    assert (int(b[0]), int(c[99])) == (15, 150)
    changed = sum_of(b, a, 1, 0)
    driver.set_arguments(executable, first, add.handle, *shape, changed.ctypes.data)
    changed["b"] = 99  # what was set was copied
    driver.launch_graph(executable, stream)
    driver.synchronize(stream)
    assert (int(b[0]), int(c[99])) == (7, 70)
    driver.destroy_graph(graph)  # its nodes were needed until now; the executable does not need it
    driver.launch_graph(executable, stream)
    driver.synchronize(stream)
    driver.destroy_executable(executable)
    driver.destroy_stream(stream)


def test_what_fails_says_so_and_spoils_nothing(bench):
    driver, add = bench.driver, bench.adder()
    with pytest.raises(DeviceCallError):
        driver.load_program(b"no machine code")
    program = driver.load_program(bench.compiler.image("add.cu", (("TEXVLM_ARGUMENT_BYTES", ADD.itemsize),)))
    with pytest.raises(DeviceCallError):
        driver.find_kernel(program, "subtract")
    driver.unload_program(program)
    with pytest.raises(DeviceCallError):
        driver.begin_capture(0)  # the default stream cannot be captured
    source, target = bench.put([1, 2, 3], torch.int32), bench.put([0, 0, 0], torch.int32)
    add.launch((1, 1, 1), (32, 1, 1), sum_of(target, source, 2, 0), driver.current_stream())
    driver.synchronize(driver.current_stream())
    assert target.tolist() == [2, 4, 6]


def test_arrays_that_come_and_go_take_no_more(bench):
    driver = bench.driver

    def round_trip() -> int:
        array = driver.create_array((512, 256), 4, 9, 4, "uint8")
        surfaces = [driver.create_surface_object(driver.level_of(array, level)) for level in range(9)]
        texture = driver.create_texture_object(array, 9, "uint8")
        driver.destroy_texture_object(texture)
        for surface in surfaces:
            driver.destroy_surface_object(surface)
        driver.destroy_array(array)
        return driver.memory()[0]

    after_first = round_trip()
    for _ in range(100):
        after_last = round_trip()
    assert after_first - after_last < 4 << 20  # of about 280 MB that were made; other processes may take some
