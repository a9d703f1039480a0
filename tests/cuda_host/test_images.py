"""Textures and surfaces of the emulation, against numbers worked out by hand from the programming guide."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.errors import DeviceCallError

FETCH = [("texture", "u8"), ("places", "u8"), ("results", "u8"), ("count", "i4"), ("unused", "i4")]
FILL = [("surface", "u8"), ("width", "i4"), ("height", "i4"), ("layer", "i4"), ("value", "i4")]
MISUSE = [("target", "u8"), ("surface", "u8"), ("texture", "u8"), ("mode", "i4"), ("unused", "i4")]
MIPS, LAYERED, PLAIN, SURFACE = range(4)


def fetch(bench, texture: int, how: int, places: list[tuple[float, ...]], texel: str = "float") -> np.ndarray:
    element = np.uint8 if "char" in texel else np.float32
    channels = 4 if texel.endswith("4") else 1
    at = np.array([(*place, *(0.0,) * (4 - len(place))) for place in places], np.float32)
    results = np.zeros((len(places), channels), element)
    definitions = (("TEXVLM_FETCH", how), ("TEXVLM_TEXEL", texel))
    values = (texture, at.ctypes.data, results.ctypes.data, len(places), 0)
    bench.run("fetch.cu", FETCH, *values, block=(32, 1, 1), definitions=definitions)
    return results[:, 0] if channels == 1 else results


@pytest.fixture
def floats(bench):
    """A 4 x 2 array of two layers and three levels: level 0 of layer 1 holds 0, 256, 512 ... in reading order."""
    driver = bench.driver
    array = driver.create_array((4, 2), 2, 3, 1, "float32")
    driver.texels(array, 0)[1, :, :, 0] = np.arange(8).reshape(2, 4) * 256
    driver.texels(array, 1)[1, 0, :, 0] = [10000, 20000]
    driver.texels(array, 2)[1] = 5
    texture = driver.create_texture_object(array, 3, "float32")
    yield array, texture
    driver.destroy_texture_object(texture)
    driver.destroy_array(array)


def test_linear_weights_have_eight_bits_of_fraction(bench, floats):
    _, texture = floats
    rows = [
        ((0.5 / 4, 0.25), 0),  # the centre of a texel
        ((1.5 / 4, 0.25), 256),
        ((1.0 / 4, 0.25), 128),  # half-way
        ((0.75 / 4, 0.25), 64),
        (((0.5 + 0.6 / 256) / 4, 0.25), 1),  # 0.6 of a step is one step
        (((0.5 + 0.4 / 256) / 4, 0.25), 0),  # 0.4 of a step is none
        ((0.5 / 4, 0.5), 512),  # half-way between the rows 0 and 1024
        ((1.25 / 4, 0.625), 192 + 768),
    ]
    got = fetch(bench, texture, MIPS, [(x, y, 1, 0.0) for (x, y), _ in rows])
    assert got.tolist() == [value for _, value in rows]


def test_coordinates_are_clamped_and_nan_reads_the_first(bench, floats):
    _, texture = floats
    places = [
        (-3.0, 0.25, 1, 0.0),
        (0.0, 0.0, 1, 0.0),
        (1.0, 1.0, 1, 0.0),
        (1e30, 7.0, 1, 0.0),
        (np.inf, -np.inf, 1, 0.0),
    ]
    assert fetch(bench, texture, MIPS, places).tolist() == [0, 0, 1792, 1792, 768]
    assert fetch(bench, texture, MIPS, [(np.nan, 0.25, 1, 0.0)]).tolist() == [0]


def test_the_nearest_level_is_read(bench, floats):
    _, texture = floats
    lods = [-1.0, 0.0, 0.4, 0.6, 1.0, 1.4, 1.6, 2.0, 9.0]
    got = fetch(bench, texture, MIPS, [(0.25, 0.25, 1, lod) for lod in lods])
    assert got.tolist() == [128, 128, 128, 10000, 10000, 10000, 5, 5, 5]


def test_layers_and_levels_that_are_not_asked_for_stay_out(bench, floats):
    """Layer 0 is full of NaN, and so is all that a weight of 0 touches."""
    array, texture = floats
    bench.driver.texels(array, 0)[1, :, 1] = np.nan
    assert fetch(bench, texture, MIPS, [(0.5 / 4, 0.25, 1, 0.0), (0.25, 0.5, 1, 1.0)]).tolist() == [0, 10000]


def test_bytes_read_as_fractions_and_points_as_they_are(bench):
    driver = bench.driver
    array = driver.create_array((2, 2), 1, 2, 4, "uint8")
    driver.texels(array, 0)[0] = np.arange(16).reshape(2, 2, 4) * 17
    driver.texels(array, 1)[0] = 255
    filtered = driver.create_texture_object(array, 2, "uint8")
    level = driver.level_of(array, 0)
    fractions = driver.create_level_texture_object(level, normalised=True)
    numbers = driver.create_level_texture_object(level, normalised=False)
    surface = driver.create_surface_object(level)
    whole = np.float32(np.arange(16).reshape(4, 4) * 17) / np.float32(255)
    centres = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
    np.testing.assert_array_equal(fetch(bench, filtered, MIPS, centres, "float4"), whole)
    mixed = fetch(bench, filtered, MIPS, [(0.5, 0.5, 0, 0.0)], "float4")[0]
    np.testing.assert_allclose(mixed, whole.mean(axis=0), rtol=1e-7)
    texels = [(0.0, 0.9), (1.99, 0.0), (-4.0, 1.0), (2.0, 5.0)]  # texel coordinates
    np.testing.assert_array_equal(fetch(bench, fractions, LAYERED, texels, "float4"), whole)
    np.testing.assert_array_equal(fetch(bench, numbers, LAYERED, texels, "uchar4"), np.arange(16).reshape(4, 4) * 17)
    inside = [(0, 0), (1, 0), (0, 1), (1, 1)]
    np.testing.assert_array_equal(fetch(bench, surface, SURFACE, inside, "uchar4"), np.arange(16).reshape(4, 4) * 17)
    assert driver.outside_reads == 0
    assert not fetch(bench, surface, SURFACE, [(2, 0), (0, 2), (-1, 0), (0, 0, 1)], "uchar4").any()
    assert driver.outside_reads == 4
    for texture in (filtered, fractions, numbers):
        driver.destroy_texture_object(texture)
    driver.destroy_surface_object(surface)
    driver.destroy_array(array)


@pytest.fixture
def painted(bench):
    """A surface over level 1 (8 x 4 texels) of a two-layer array, the array, and a sampler over it."""
    driver = bench.driver
    array = driver.create_array((16, 8), 2, 2, 4, "uint8")
    surface = driver.create_surface_object(driver.level_of(array, 1))
    texture = driver.create_texture_object(array, 2, "uint8")
    yield surface, array, texture
    driver.destroy_surface_object(surface)
    driver.destroy_texture_object(texture)
    driver.destroy_array(array)


def test_surface_writes_reach_their_level_and_layer_only(bench, painted):
    surface, array, _ = painted
    bench.run("fill.cu", FILL, surface, 8, 4, 1, 100, grid=(2, 2, 1), block=(4, 2, 1))
    expected = 100 + np.arange(8)[None] + 10 * np.arange(4)[:, None]
    np.testing.assert_array_equal(bench.driver.texels(array, 1)[1, :, :, 0], expected)
    assert (bench.driver.texels(array, 1)[0] == 171).all()
    assert (bench.driver.texels(array, 0) == 171).all()
    assert bench.driver.outside_writes == 0


def test_surface_writes_beyond_the_array_are_dropped_and_counted(bench, painted):
    surface, array, _ = painted
    bench.run("fill.cu", FILL, surface, 10, 5, 0, 7, block=(16, 8, 1))
    assert bench.driver.outside_writes == 10 * 5 - 8 * 4
    assert (bench.driver.texels(array, 1)[1] == 171).all()
    bench.run("fill.cu", FILL, surface, 3, 1, 2, 7, block=(16, 8, 1))  # no such layer
    assert bench.driver.outside_writes == 18 + 3


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        (9, "x is 2 bytes, no multiple of the 4"),
        (10, "byte 64 of row 0, layer 0 is outside 32 bytes x 4 rows x 2 layers"),
        (11, "layer 2 of an array with 2"),
        (12, "1 channels are read of an array with 4"),
        (13, "tex2D: the array of object 0x[0-9a-f]+ is layered"),
        (14, "is of the other kind"),
        (15, "0x3039 is no texture or surface object"),
        (16, "tex2DLayered: object 0x[0-9a-f]+ hands out floats"),
    ],
)
def test_misuse_of_images_is_an_error(bench, painted, mode, said):
    bench.expects_violations = True
    surface, _, texture = painted
    target = np.zeros(1, np.int32)
    with pytest.raises(DeviceCallError, match=said):
        bench.run("misuse.cu", MISUSE, target.ctypes.data, surface, texture, mode, 0)


def test_kernels_find_out_that_an_object_was_destroyed(bench):
    bench.expects_violations = True
    driver = bench.driver
    array = driver.create_array((16, 16), 1, 1, 4, "uint8")
    surface = driver.create_surface_object(driver.level_of(array, 0))
    driver.destroy_surface_object(surface)
    with pytest.raises(DeviceCallError, match="was destroyed"):
        bench.run("fill.cu", FILL, surface, 1, 1, 0, 7)
    driver.destroy_array(array)
