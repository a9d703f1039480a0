"""OpenGL interop of the emulated device, with textures of a real context."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_uint, c_void_p

import numpy as np
import pytest

from cuda_host.opengl import HALF_FLOAT, RGBA16F, TEXTURE_2D
from texvlm.backends import _gl_api as names
from texvlm.backends._egl import load_egl
from texvlm.backends._gl_context import HeadlessContext, open_device
from texvlm.errors import BackendUnavailable, DeviceCallError

TEXTURE_3D, SRGB8_ALPHA8 = 0x806F, 0x8C43
pytestmark = pytest.mark.gl
FILL = [("surface", "u8"), ("width", "i4"), ("height", "i4"), ("layer", "i4"), ("value", "i4")]


@pytest.fixture(scope="module")
def context(request) -> HeadlessContext:
    try:
        return open_device(None, hardware_only=False)
    except BackendUnavailable as refusal:
        shared = request.config.pluginmanager.get_plugin(str(request.config.rootpath / "tests" / "conftest.py"))
        shared.unavailable("gl", str(refusal))
        raise


class Textures:
    """Textures of the context, (width, height, layers) = (8, 4, 2), levels 2; deleted in the end."""

    def __init__(self, context: HeadlessContext) -> None:
        self.context = context
        self.made: list[int] = []

    def make(self, storage: int = names.RGBA8, layers: int = 2) -> int:
        """A 2D array full of undefined texels."""
        gl = self.context.gl

        def work() -> int:
            name = gl.generate(gl.glCreateTextures, names.TEXTURE_2D_ARRAY)
            gl.glTextureStorage3D(name, 2, storage, 8, 4, layers)
            gl.check("glTextureStorage3D")
            return name

        self.made.append(self.context.run(work))
        return self.made[-1]

    def write(self, name: int, level: int, texels: np.ndarray) -> None:
        """Bytes of all layers of a level."""
        box = (0, 0, 0, 8 >> level, 4 >> level, texels.shape[0])
        transfer = (names.RGBA, names.UNSIGNED_BYTE, texels.ctypes.data)
        self.context.run(lambda: self.context.gl.glTextureSubImage3D(name, level, *box, *transfer))

    def read(self, name: int, level: int) -> np.ndarray:
        """Bytes of all layers of a level."""
        texels = np.zeros((2, 4 >> level, 8 >> level, 4), np.uint8)
        box = (0, 0, 0, 8 >> level, 4 >> level, 2)
        transfer = (names.RGBA, names.UNSIGNED_BYTE, texels.nbytes, texels.ctypes.data)
        self.context.run(lambda: self.context.gl.glGetTextureSubImage(name, level, *box, *transfer))
        return texels


@pytest.fixture
def textures(context):
    made = Textures(context)
    yield made
    for name in made.made:
        context.run(lambda name=name: context.gl.glDeleteTextures(1, byref(c_uint(name))))


@pytest.fixture
def picture() -> list[np.ndarray]:
    numbers = np.random.default_rng(5)
    return [numbers.integers(0, 256, (2, 4 >> k, 8 >> k, 4), np.uint8) for k in range(2)]


@pytest.fixture
def lent(bench, context, textures, picture):
    """A filled texture, registered for surfaces."""
    name = textures.make()
    for level, texels in enumerate(picture):
        textures.write(name, level, texels)
    driver = bench.driver
    resource = context.run(lambda: driver.register_gl_image(name, names.TEXTURE_2D_ARRAY, "surface"))
    yield name, resource
    if f"resource {resource:#x}" in driver.leaks():
        context.run(lambda: driver.unregister_gl_image(resource))


def test_a_mapping_shows_what_opengl_wrote_and_gives_back_what_kernels_wrote(bench, context, textures, lent, picture):
    driver, (name, resource) = bench.driver, lent
    context.run(lambda: driver.map_gl([resource], 0))
    array = driver.mapped_array(resource)
    for level in range(2):
        np.testing.assert_array_equal(driver.texels(array, level), picture[level])
    surface = driver.create_surface_object(driver.level_of(array, 1))
    bench.run("fill.cu", FILL, surface, 4, 2, 1, 50, block=(4, 2, 1))
    driver.destroy_surface_object(surface)
    assert (textures.read(name, 0) == 171).all()  # OpenGL must not look while it is mapped
    context.run(lambda: driver.unmap_gl([resource], 0))
    np.testing.assert_array_equal(textures.read(name, 0), picture[0])
    after = textures.read(name, 1)
    np.testing.assert_array_equal(after[0], picture[1][0])
    np.testing.assert_array_equal(after[1, :, :, 0], 50 + np.arange(4)[None] + 10 * np.arange(2)[:, None])


def test_a_mapped_layer_is_a_plain_array(bench, context, lent, picture):
    driver, (_, resource) = bench.driver, lent
    context.run(lambda: driver.map_gl([resource], 0))
    level = driver.mapped_level(resource, 1, 0)
    texture = driver.create_level_texture_object(level, normalised=True)
    places = np.array([[x, y, 0, 0] for y in range(4) for x in range(8)], np.float32)
    results = np.zeros((32, 4), np.float32)
    fields = [("texture", "u8"), ("places", "u8"), ("results", "u8"), ("count", "i4"), ("unused", "i4")]
    definitions = (("TEXVLM_FETCH", 2), ("TEXVLM_TEXEL", "float4"))
    values = (texture, places.ctypes.data, results.ctypes.data, 32, 0)
    bench.run("fetch.cu", fields, *values, block=(32, 1, 1), definitions=definitions)
    np.testing.assert_array_equal(results.reshape(4, 8, 4), np.float32(picture[0][1]) / np.float32(255))
    driver.destroy_texture_object(texture)
    context.run(lambda: driver.unmap_gl([resource], 0))


def half_float_texture(context: HeadlessContext, texels: np.ndarray) -> int:
    """A plain 2D texture; the backend's own table of calls has only those for arrays."""

    def call(name: str, *arguments: int) -> None:
        address = load_egl().get_proc_address(name.encode())
        ctypes.CFUNCTYPE(None, *[c_void_p] * len(arguments))(address)(*arguments)

    def make() -> int:
        height, width, _ = texels.shape
        name = context.gl.generate(context.gl.glCreateTextures, TEXTURE_2D)
        call("glTextureStorage2D", name, 1, RGBA16F, width, height)
        transfer = (names.RGBA, HALF_FLOAT, texels.ctypes.data)
        call("glTextureSubImage2D", name, 0, 0, 0, width, height, *transfer)
        context.gl.check("glTextureSubImage2D")
        return name

    return context.run(make)


def test_half_floats_and_plain_textures(bench, context, textures):
    driver = bench.driver
    texels = np.random.default_rng(6).random((4, 8, 4)).astype(np.float16)
    name = half_float_texture(context, texels)
    textures.made.append(name)
    resource = context.run(lambda: driver.register_gl_image(name, TEXTURE_2D, "read"))
    for _ in range(2):  # what was unmapped can be mapped again, with the same texels
        context.run(lambda: driver.map_gl([resource], 0))
        array = driver.mapped_array(resource)
        np.testing.assert_array_equal(driver.texels(array, 0)[0], texels)
        context.run(lambda: driver.unmap_gl([resource], 0))
    bench.expects_violations = True
    context.run(lambda: driver.map_gl([resource], 0))
    with pytest.raises(DeviceCallError, match="without surface access"):
        driver.create_surface_object(driver.mapped_level(resource, 0, 0))
    context.run(lambda: driver.unmap_gl([resource], 0))
    context.run(lambda: driver.unregister_gl_image(resource))


FETCH = [("texture", "u8"), ("places", "u8"), ("results", "u8"), ("count", "i4"), ("unused", "i4")]


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (["map", "map"], "code 208: a resource is mapped already"),
        (["unmap"], "code 211: the resource is not mapped"),
        (["array"], "code 211"),
        (["map", "unregister"], "code 208: the resource is mapped"),
        (["map twice"], "code 33"),
        (["map none"], "code 33"),
        (["map", "object", "unmap", "use"], "tex2DLayeredLod: object .* was destroyed"),
        (["map", "array", "unmap", "old array"], "array .* does not exist any more"),
        (["map", "paint", "unmap"], "OpenGL wrote while CUDA had it mapped: texture .*, level 1"),
        (["delete", "map"], "was deleted while it was registered"),
    ],
)
def test_illegal_orders_are_errors(bench, context, textures, lent, calls, said):
    driver, (name, resource) = bench.driver, lent
    bench.expects_violations = True
    made: dict[str, int] = {}

    def take(call: str) -> None:
        match call:
            case "map":
                driver.map_gl([resource], 0)
            case "unmap":
                driver.unmap_gl([resource], 0)
            case "map twice":
                driver.map_gl([resource, resource], 0)
            case "map none":
                driver.map_gl([], 0)
            case "unregister":
                driver.unregister_gl_image(resource)
            case "array":
                made["array"] = driver.mapped_array(resource)
            case "old array":
                driver.level_of(made["array"], 0)
            case "object":
                made["texture"] = driver.create_texture_object(driver.mapped_array(resource), 2, "uint8")
            case "use":
                place, texel = np.zeros((1, 4), np.float32), np.zeros((1, 4), np.float32)
                values = (made["texture"], place.ctypes.data, texel.ctypes.data, 1, 0)
                bench.run("fetch.cu", FETCH, *values, definitions=(("TEXVLM_FETCH", 0), ("TEXVLM_TEXEL", "float4")))
            case "paint":
                textures.write(name, 1, np.full((2, 2, 4, 4), 9, np.uint8))
            case "delete":
                context.gl.glDeleteTextures(1, byref(c_uint(name)))

    for call in calls[:-1]:
        context.run(lambda call=call: take(call))
    with pytest.raises(DeviceCallError, match=said):
        context.run(lambda: take(calls[-1]))
    if "texture" in made:
        driver.destroy_texture_object(made["texture"])
    if calls[0] == "delete":
        driver.account.remove(resource, "resource")
    elif "map" in calls and "unmap" not in calls:
        context.run(lambda: driver.unmap_gl([resource], 0))


@pytest.mark.parametrize("call", ["register", "map", "unregister", "devices"])
def test_calls_need_the_context_on_their_thread(bench, lent, call):
    driver, (name, resource) = bench.driver, lent
    bench.expects_violations = True
    work = {
        "register": lambda: driver.register_gl_image(name, names.TEXTURE_2D_ARRAY, "read"),
        "map": lambda: driver.map_gl([resource], 0),
        "unregister": lambda: driver.unregister_gl_image(resource),
        "devices": driver.gl_devices,
    }[call]
    with pytest.raises(DeviceCallError, match="code 219: no OpenGL context is current"):
        work()


def test_devices_are_what_the_test_says(bench, context):
    assert context.run(bench.driver.gl_devices) == [0]
    bench.driver.gl_device_list = [3]
    assert context.run(bench.driver.gl_devices) == [3]


@pytest.mark.parametrize(
    ("target", "storage", "said"),
    [
        (TEXTURE_2D, names.RGBA8, "code 801"),
        (TEXTURE_3D, names.RGBA8, "code 1"),
        (names.TEXTURE_2D_ARRAY, SRGB8_ALPHA8, "internal format 0x8c43"),
    ],
)
def test_textures_that_cuda_does_not_take(bench, context, textures, target, storage, said):
    bench.expects_violations = True
    name = textures.make(storage)
    with pytest.raises(DeviceCallError, match=said):
        context.run(lambda: bench.driver.register_gl_image(name, target, "read"))
