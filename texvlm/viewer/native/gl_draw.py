"""OpenGL entry points for drawing, beside those of the gl backend, and the few objects that drawing owns.

All of it runs where the context is current. Objects are made and filled by name (direct state access).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_float, c_int, c_ssize_t, c_ubyte, c_uint, c_void_p
from typing import Any

from texvlm.backends._gl_api import COMPILE_STATUS, LINK_STATUS, TEXTURE_MAG_FILTER, TEXTURE_MIN_FILTER, GlApi
from texvlm.backends._gl_programs import Definitions, Program, assemble, name_places
from texvlm.backends._gl_state import default_pixel_store
from texvlm.errors import DeviceCallError, KernelBuildError

# Values of the OpenGL registry, by their names there without GL_.
TRIANGLE_STRIP, COLOR_BUFFER_BIT = 0x0005, 0x4000
BLEND, SCISSOR_TEST, DEPTH_TEST, CULL_FACE, DITHER = 0x0BE2, 0x0C11, 0x0B71, 0x0B44, 0x0BD0
SRC_ALPHA, ONE_MINUS_SRC_ALPHA, ONE, ZERO = 0x0302, 0x0303, 1, 0
LINEAR, LINEAR_MIPMAP_NEAREST, CLAMP_TO_EDGE = 0x2601, 0x2701, 0x812F
TEXTURE_WRAP_S, TEXTURE_WRAP_T = 0x2802, 0x2803
RGB, RGB8 = 0x1907, 0x8051
FRAMEBUFFER, COLOR_ATTACHMENT0, FRAMEBUFFER_COMPLETE = 0x8D40, 0x8CE0, 0x8CD5
VERTEX_SHADER, FRAGMENT_SHADER = 0x8B31, 0x8B30
DYNAMIC_STORAGE = 0x0100

_b, _i, _u, _f, _z, _p = c_ubyte, c_int, c_uint, c_float, c_ssize_t, c_void_p
_uints = POINTER(c_uint)
_TABLE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "glViewport": (None, (_i, _i, _i, _i)),
    "glScissor": (None, (_i, _i, _i, _i)),
    "glEnable": (None, (_u,)),
    "glDisable": (None, (_u,)),
    "glBlendFuncSeparate": (None, (_u, _u, _u, _u)),
    "glClearColor": (None, (_f, _f, _f, _f)),
    "glClear": (None, (_u,)),
    "glDrawArrays": (None, (_u, _i, _i)),
    "glDrawArraysInstancedBaseInstance": (None, (_u, _i, _i, _i, _u)),
    "glReadPixels": (None, (_i, _i, _i, _i, _u, _u, _p)),
    "glCreateVertexArrays": (None, (_i, _uints)),
    "glDeleteVertexArrays": (None, (_i, _uints)),
    "glBindVertexArray": (None, (_u,)),
    "glEnableVertexArrayAttrib": (None, (_u, _u)),
    "glVertexArrayAttribFormat": (None, (_u, _u, _i, _u, _b, _u)),
    "glVertexArrayAttribBinding": (None, (_u, _u, _u)),
    "glVertexArrayBindingDivisor": (None, (_u, _u, _u)),
    "glVertexArrayVertexBuffer": (None, (_u, _u, _u, _z, _i)),
    "glNamedBufferSubData": (None, (_u, _z, _z, _p)),
    "glTextureStorage2D": (None, (_u, _i, _u, _i, _i)),
    "glTextureSubImage2D": (None, (_u, _i, _i, _i, _i, _i, _u, _u, _p)),
    "glCreateSamplers": (None, (_i, _uints)),
    "glDeleteSamplers": (None, (_i, _uints)),
    "glSamplerParameteri": (None, (_u, _u, _i)),
    "glCreateFramebuffers": (None, (_i, _uints)),
    "glDeleteFramebuffers": (None, (_i, _uints)),
    "glBindFramebuffer": (None, (_u, _u)),
    "glNamedFramebufferTexture": (None, (_u, _u, _u, _i)),
    "glCheckNamedFramebufferStatus": (_u, (_u, _u)),
}


class DrawApi(GlApi):
    """The functions of the gl backend's table, and those of drawing."""

    def __init__(self, address_of: Callable[[bytes], int | None]) -> None:
        """Bind every function. DeviceCallError where one is missing."""
        super().__init__(address_of)
        for name, (result, arguments) in _TABLE.items():
            address = address_of(name.encode())
            if not address:
                raise DeviceCallError(f"{name} is missing; the driver must offer OpenGL 4.5")
            setattr(self, name, ctypes.CFUNCTYPE(result, *arguments)(address))
        default_pixel_store(self)

    def delete(self, function: Callable[..., Any], *names: int) -> None:
        """Delete objects, by a glDelete* function that takes a list."""
        function(len(names), (c_uint * len(names))(*names))

    def make_sampler(self, minified: int, magnified: int) -> int:
        """A sampler that filters so, clamped to the edge."""
        name = self.generate(self.glCreateSamplers)
        values = (TEXTURE_MIN_FILTER, minified), (TEXTURE_MAG_FILTER, magnified)
        for what, value in (*values, (TEXTURE_WRAP_S, CLAMP_TO_EDGE), (TEXTURE_WRAP_T, CLAMP_TO_EDGE)):
            self.glSamplerParameteri(name, what, value)
        return name

    def make_texture(self, target: int, form: int, size: tuple[int, int], *, layers: int = 0, filtered: int) -> int:
        """A texture of one level, clamped to its edge."""
        name = self.generate(self.glCreateTextures, target)
        if layers:
            self.glTextureStorage3D(name, 1, form, *size, layers)
        else:
            self.glTextureStorage2D(name, 1, form, *size)
        for what in (TEXTURE_MIN_FILTER, TEXTURE_MAG_FILTER):
            self.glTextureParameteri(name, what, filtered)
        for what in (TEXTURE_WRAP_S, TEXTURE_WRAP_T):
            self.glTextureParameteri(name, what, CLAMP_TO_EDGE)
        self.check(f"making a texture of {size[0]} x {size[1]}")
        return name


def build_drawing(gl: DrawApi, vertex: str, fragment: str, definitions: Definitions = ()) -> Program:
    """Compile and link two shaders of shaders/.

    Raises:
        KernelBuildError: with the compiler's log, places given as file:line.
    """
    program = gl.glCreateProgram()
    try:
        for file, kind in ((vertex, VERTEX_SHADER), (fragment, FRAGMENT_SHADER)):
            text, files = assemble(file, definitions)
            shader = gl.glCreateShader(kind)
            try:
                gl.glShaderSource(shader, 1, ctypes.byref(ctypes.c_char_p(text.encode())), None)
                gl.glCompileShader(shader)
                if not _status(gl.glGetShaderiv, shader, COMPILE_STATUS):
                    log = _log(gl.glGetShaderInfoLog, shader)
                    raise KernelBuildError(f"{file} does not compile: {name_places(log, files)}")
                gl.glAttachShader(program, shader)
            finally:
                gl.glDeleteShader(shader)
        gl.glLinkProgram(program)
        if not _status(gl.glGetProgramiv, program, LINK_STATUS):
            raise KernelBuildError(f"{vertex} and {fragment} do not link: {_log(gl.glGetProgramInfoLog, program)}")
    except BaseException:
        gl.glDeleteProgram(program)
        raise
    return Program(gl, program)


def _status(get: Callable[..., None], name: int, what: int) -> int:
    value = c_int()
    get(name, what, ctypes.byref(value))
    return value.value


def _log(get: Callable[..., None], name: int) -> str:
    buffer = ctypes.create_string_buffer(8192)
    get(name, len(buffer), None, buffer)
    return buffer.value.decode(errors="replace") or "the driver gave no log"
