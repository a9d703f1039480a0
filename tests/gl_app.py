"""An application with OpenGL: a context of its own, current on this thread, and textures it draws into.

Its calls are looked up here and not in the package's table, which has only what the package needs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import c_float, c_int, c_uint, c_void_p
from dataclasses import dataclass
from typing import Any

import numpy as np

from texvlm.backends._egl import Egl, load_egl

TEXTURE_2D, TEXTURE_2D_ARRAY = 0x0DE1, 0x8C1A
RGBA8, RGBA16F, RGBA16, RGBA, HALF_FLOAT, UNSIGNED_BYTE, FLOAT = 0x8058, 0x881A, 0x805B, 0x1908, 0x140B, 0x1401, 0x1406
COLOR_ATTACHMENT0, FRAMEBUFFER, SCISSOR_TEST, COLOR_BUFFER_BIT = 0x8CE0, 0x8D40, 0x0C11, 0x4000
TEXTURE_MIN_FILTER, LINEAR_MIPMAP_LINEAR, TEXTURE_COMPARE_MODE = 0x2801, 0x2703, 0x884C

_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "glGenTextures": (c_int, c_void_p),
    "glDeleteTextures": (c_int, c_void_p),
    "glBindTexture": (c_uint, c_uint),
    "glTexImage2D": (c_uint, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
    "glTexStorage2D": (c_uint, c_int, c_uint, c_int, c_int),
    "glTexStorage3D": (c_uint, c_int, c_uint, c_int, c_int, c_int),
    "glTexSubImage2D": (c_uint, c_int, c_int, c_int, c_int, c_int, c_uint, c_uint, c_void_p),
    "glTexSubImage3D": (c_uint, *[c_int] * 7, c_uint, c_uint, c_void_p),
    "glGetTextureImage": (c_uint, c_int, c_uint, c_uint, c_int, c_void_p),
    "glTexParameteri": (c_uint, c_uint, c_int),
    "glCreateFramebuffers": (c_int, c_void_p),
    "glDeleteFramebuffers": (c_int, c_void_p),
    "glNamedFramebufferTexture": (c_uint, c_uint, c_uint, c_int),
    "glNamedFramebufferTextureLayer": (c_uint, c_uint, c_uint, c_int, c_int),
    "glBindFramebuffer": (c_uint, c_uint),
    "glEnable": (c_uint,),
    "glScissor": (c_int, c_int, c_int, c_int),
    "glClearColor": (c_float, c_float, c_float, c_float),
    "glClear": (c_uint,),
    "glGetError": (),
}


@dataclass(frozen=True)
class Rectangle:
    """What one clear fills: window coordinates, y upwards as OpenGL has it, and a colour of 0..1."""

    x: int
    y: int
    width: int
    height: int
    colour: tuple[float, float, float, float]


class App:
    """Calls of the application."""

    def __init__(self, egl: Egl) -> None:
        self.egl = egl
        for name, arguments in _FUNCTIONS.items():
            function = egl.extension(name, c_uint if name == "glGetError" else None, *arguments)
            assert function is not None, f"{name} is missing"
            setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def new_name(self, create: str) -> int:
        name = c_uint()
        getattr(self, create)(1, ctypes.byref(name))
        return name.value

    def texture(
        self, form: int, size: tuple[int, int], *, layers: int = 0, levels: int = 1, immutable: bool = True
    ) -> int:
        """An empty texture: of GL_TEXTURE_2D_ARRAY where layers are asked for."""
        name, target = self.new_name("glGenTextures"), TEXTURE_2D_ARRAY if layers else TEXTURE_2D
        self.glBindTexture(target, name)
        if layers:
            self.glTexStorage3D(target, levels, form, *size, layers)
        elif immutable:
            self.glTexStorage2D(target, levels, form, *size)
        else:
            self.glTexImage2D(target, 0, form, *size, 0, RGBA, UNSIGNED_BYTE, None)
        self.glBindTexture(target, 0)
        self.expect_no_error()
        return name

    def put(self, name: int, pixels: np.ndarray, *, layer: int | None = None, level: int = 0) -> None:
        """Upload rows as they lie, row 0 to texel row 0; uint8, float16 or float32, four channels."""
        pixels = np.ascontiguousarray(pixels)
        kind = {"u1": UNSIGNED_BYTE, "f2": HALF_FLOAT, "f4": FLOAT}[pixels.dtype.str[1:]]
        target, (height, width) = TEXTURE_2D if layer is None else TEXTURE_2D_ARRAY, pixels.shape[:2]
        self.glBindTexture(target, name)
        if layer is None:
            self.glTexSubImage2D(target, level, 0, 0, width, height, RGBA, kind, pixels.ctypes.data)
        else:
            self.glTexSubImage3D(target, level, 0, 0, layer, width, height, 1, RGBA, kind, pixels.ctypes.data)
        self.glBindTexture(target, 0)
        self.expect_no_error()

    def get(self, name: int, pixels: np.ndarray) -> None:
        """Read a whole base level into bytes of four channels."""
        self.glGetTextureImage(name, 0, RGBA, UNSIGNED_BYTE, pixels.nbytes, pixels.ctypes.data)
        self.expect_no_error()

    def draw(self, name: int, rectangles: list[Rectangle], *, layer: int | None = None) -> None:
        """Render rectangles into a texture, over what is there."""
        framebuffer = self.new_name("glCreateFramebuffers")
        if layer is None:
            self.glNamedFramebufferTexture(framebuffer, COLOR_ATTACHMENT0, name, 0)
        else:
            self.glNamedFramebufferTextureLayer(framebuffer, COLOR_ATTACHMENT0, name, 0, layer)
        self.glBindFramebuffer(FRAMEBUFFER, framebuffer)
        self.glEnable(SCISSOR_TEST)
        for rectangle in rectangles:
            self.glScissor(rectangle.x, rectangle.y, rectangle.width, rectangle.height)
            self.glClearColor(*rectangle.colour)
            self.glClear(COLOR_BUFFER_BIT)
        self.glBindFramebuffer(FRAMEBUFFER, 0)
        self.glDeleteFramebuffers(1, ctypes.byref(c_uint(framebuffer)))
        self.expect_no_error()

    def delete(self, name: int) -> None:
        self.glDeleteTextures(1, ctypes.byref(c_uint(name)))

    def expect_no_error(self) -> None:
        code = self.glGetError()
        assert code == 0, f"the application's own call failed: {code:#06x}"


def painted(rectangles: list[Rectangle], size: tuple[int, int], before: np.ndarray | None = None) -> np.ndarray:
    """What the rectangles look like as a picture from the top-left, float32, (height, width, 4)."""
    picture = np.zeros((size[1], size[0], 4), np.float32) if before is None else before.copy()
    for r in rectangles:
        picture[size[1] - r.y - r.height : size[1] - r.y, r.x : r.x + r.width] = r.colour
    return picture


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Values of 0..1 as 8-bit texels: clamped, rounded half up, what is not a number is 0."""
    scaled = np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1) * 255
    return np.floor(scaled + 0.5).astype(np.uint8)


@contextmanager
def app_context() -> Iterator[App]:
    """A context of an application, current on this thread."""
    egl = load_egl()
    display = egl.open_display(egl.devices()[0])
    context, _ = egl.create_headless(display)
    try:
        yield App(egl)
    finally:
        egl.make_current(display, None, None, None)
        egl.destroy_context(display, context)
