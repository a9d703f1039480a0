"""OpenGL entry points: one table of what the gl backend calls, bound through ctypes.

Why not a binding library. moderngl has no per-level image binding of texture arrays with their own
format, no texture views, no immutable array storage with chosen levels and no persistent mapping.
PyOpenGL has all of it, but its platform (PYOPENGL_PLATFORM) and its error checking are settled once
for the whole process at the first import, so they belong to the application, and its calls say
nothing about the GIL. This table is all that is needed, and a call costs less.

Calls that may take long, or wait for the compiler, release the GIL; short ones keep it, because
giving it up for a sub-microsecond call can cost a thread switch in an application that computes in
Python elsewhere.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int, c_int64, c_ssize_t, c_ubyte, c_uint, c_uint64, c_void_p
from typing import Any

from texvlm.errors import DeviceCallError

# Values of the OpenGL registry, by their names there without GL_.
NO_ERROR = 0
OUT_OF_MEMORY = 0x0505
VENDOR, RENDERER, VERSION = 0x1F00, 0x1F01, 0x1F02
MAJOR_VERSION, MINOR_VERSION = 0x821B, 0x821C
TEXTURE_2D, TEXTURE_2D_ARRAY = 0x0DE1, 0x8C1A
TEXTURE_TARGET, TEXTURE_BASE_LEVEL, TEXTURE_MAX_LEVEL = 0x1006, 0x813C, 0x813D
TEXTURE_IMMUTABLE_FORMAT, TEXTURE_IMMUTABLE_LEVELS = 0x912F, 0x82DF
TEXTURE_WIDTH, TEXTURE_HEIGHT, TEXTURE_INTERNAL_FORMAT, TEXTURE_DEPTH = 0x1000, 0x1001, 0x1003, 0x8071
TEXTURE_MAG_FILTER, TEXTURE_MIN_FILTER = 0x2800, 0x2801
NEAREST, NEAREST_MIPMAP_NEAREST = 0x2600, 0x2700
R8, RGBA8, RGBA16F, R32F, RGBA32F = 0x8229, 0x8058, 0x881A, 0x822E, 0x8814
R8UI, R32UI, RGBA32UI = 0x8232, 0x8236, 0x8D70
RED, RGBA, UNSIGNED_BYTE, FLOAT = 0x1903, 0x1908, 0x1401, 0x1406
READ_ONLY, WRITE_ONLY, READ_WRITE = 0x88B8, 0x88B9, 0x88BA
COMPUTE_SHADER = 0x91B9
COMPILE_STATUS, LINK_STATUS, INFO_LOG_LENGTH = 0x8B81, 0x8B82, 0x8B84
SHADER_STORAGE_BUFFER = 0x90D2
PIXEL_PACK_BUFFER, PIXEL_UNPACK_BUFFER = 0x88EB, 0x88EC
MAP_READ, MAP_WRITE, MAP_PERSISTENT, MAP_COHERENT = 0x1, 0x2, 0x40, 0x80
SYNC_GPU_COMMANDS_COMPLETE, SYNC_FLUSH_COMMANDS = 0x9117, 0x1
TIMEOUT_EXPIRED, WAIT_FAILED = 0x911B, 0x911D
TIMESTAMP, QUERY_RESULT, QUERY_RESULT_AVAILABLE = 0x8E28, 0x8866, 0x8867
TEXTURE_FETCH_BARRIER, SHADER_IMAGE_ACCESS_BARRIER = 0x8, 0x20
TEXTURE_UPDATE_BARRIER, SHADER_STORAGE_BARRIER, CLIENT_MAPPED_BUFFER_BARRIER = 0x100, 0x2000, 0x4000
MAX_TEXTURE_SIZE, MAX_ARRAY_TEXTURE_LAYERS = 0x0D33, 0x88FF
MAX_SHADER_STORAGE_BLOCK_SIZE, SHADER_STORAGE_BUFFER_OFFSET_ALIGNMENT = 0x90DE, 0x90DF

_b, _i, _u, _f, _z, _p, _s = c_ubyte, c_int, c_uint, c_float, c_ssize_t, c_void_p, c_char_p
_ints, _uints = POINTER(c_int), POINTER(c_uint)

_SHORT: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "glGetError": (_u, ()),
    "glGetString": (_s, (_u,)),
    "glGetIntegerv": (None, (_u, _ints)),
    "glGetInteger64v": (None, (_u, POINTER(c_int64))),
    "glGetIntegeri_v": (None, (_u, _u, _ints)),
    "glGetInteger64i_v": (None, (_u, _u, POINTER(c_int64))),
    "glPixelStorei": (None, (_u, _i)),
    "glIsTexture": (_b, (_u,)),
    "glIsBuffer": (_b, (_u,)),
    "glIsProgram": (_b, (_u,)),
    "glCreateTextures": (None, (_u, _i, _uints)),
    "glGenTextures": (None, (_i, _uints)),
    "glTextureParameteri": (None, (_u, _u, _i)),
    "glGetTextureParameteriv": (None, (_u, _u, _ints)),
    "glGetTextureLevelParameteriv": (None, (_u, _i, _u, _ints)),
    "glActiveTexture": (None, (_u,)),
    "glBindTexture": (None, (_u, _u)),
    "glBindTextureUnit": (None, (_u, _u)),
    "glBindSampler": (None, (_u, _u)),
    "glBindImageTexture": (None, (_u, _u, _i, _b, _i, _u, _u)),
    "glCreateBuffers": (None, (_i, _uints)),
    "glBindBuffer": (None, (_u, _u)),
    "glBindBufferBase": (None, (_u, _u, _u)),
    "glBindBufferRange": (None, (_u, _u, _u, _z, _z)),
    "glCreateShader": (_u, (_u,)),
    "glShaderSource": (None, (_u, _i, POINTER(_s), _ints)),
    "glDeleteShader": (None, (_u,)),
    "glCreateProgram": (_u, ()),
    "glAttachShader": (None, (_u, _u)),
    "glDeleteProgram": (None, (_u,)),
    "glUseProgram": (None, (_u,)),
    "glProgramUniform1i": (None, (_u, _i, _i)),
    "glProgramUniform1ui": (None, (_u, _i, _u)),
    "glProgramUniform1f": (None, (_u, _i, _f)),
    "glProgramUniform2i": (None, (_u, _i, _i, _i)),
    "glProgramUniform4f": (None, (_u, _i, _f, _f, _f, _f)),
    "glMemoryBarrier": (None, (_u,)),
    "glFenceSync": (_p, (_u, _u)),
    "glDeleteSync": (None, (_p,)),
    "glCreateQueries": (None, (_u, _i, _uints)),
    "glDeleteQueries": (None, (_i, _uints)),
    "glQueryCounter": (None, (_u, _u)),
    "glGetQueryObjectiv": (None, (_u, _u, _ints)),
}
_LONG: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "glTextureStorage3D": (None, (_u, _i, _u, _i, _i, _i)),
    "glTextureView": (None, (_u, _u, _u, _u, _u, _u, _u, _u)),
    "glTextureSubImage3D": (None, (_u, _i, _i, _i, _i, _i, _i, _i, _u, _u, _p)),
    "glGetTextureSubImage": (None, (_u, _i, _i, _i, _i, _i, _i, _i, _u, _u, _i, _p)),
    "glDeleteTextures": (None, (_i, _uints)),
    "glNamedBufferStorage": (None, (_u, _z, _p, _u)),
    "glMapNamedBufferRange": (_p, (_u, _z, _z, _u)),
    "glUnmapNamedBuffer": (_b, (_u,)),
    "glDeleteBuffers": (None, (_i, _uints)),
    "glCompileShader": (None, (_u,)),
    "glLinkProgram": (None, (_u,)),
    "glGetShaderiv": (None, (_u, _u, _ints)),
    "glGetShaderInfoLog": (None, (_u, _i, _ints, _s)),
    "glGetProgramiv": (None, (_u, _u, _ints)),
    "glGetProgramInfoLog": (None, (_u, _i, _ints, _s)),
    "glGetUniformLocation": (_i, (_u, _s)),
    "glDispatchCompute": (None, (_u, _u, _u)),
    "glClientWaitSync": (_u, (_p, _u, c_uint64)),
    "glGetQueryObjectui64v": (None, (_u, _u, POINTER(c_uint64))),
    "glFlush": (None, ()),
    "glFinish": (None, ()),
}

_ERROR_NAMES = {
    0x0500: "GL_INVALID_ENUM",
    0x0501: "GL_INVALID_VALUE",
    0x0502: "GL_INVALID_OPERATION",
    0x0503: "GL_STACK_OVERFLOW",
    0x0504: "GL_STACK_UNDERFLOW",
    0x0505: "GL_OUT_OF_MEMORY",
    0x0506: "GL_INVALID_FRAMEBUFFER_OPERATION",
    0x0507: "GL_CONTEXT_LOST",
}
_LIKELY_CAUSES = {
    0x0500: "the driver does not know a format or target that OpenGL 4.5 requires; update it",
    0x0501: "a size or offset is beyond a limit of this driver",
    0x0502: "the context is not current on this thread, or one of our objects was deleted by someone else",
    0x0505: "the device has no memory left; use fewer layers or smaller frames",
    0x0507: "the device was reset; open the backend again",
}


class GlApi:
    """The functions of the two tables as attributes, under their OpenGL names."""

    def __init__(self, address_of: Callable[[bytes], int | None]) -> None:
        """Bind every function through an address look-up such as eglGetProcAddress.

        Raises:
            DeviceCallError: a function is missing.
        """
        self._functions: dict[str, Any] = {}
        for table, prototype in ((_SHORT, ctypes.PYFUNCTYPE), (_LONG, ctypes.CFUNCTYPE)):
            for name, (result, arguments) in table.items():
                address = address_of(name.encode())
                if not address:
                    raise DeviceCallError(f"{name} is missing; the driver must offer OpenGL 4.5")
                setattr(self, name, prototype(result, *arguments)(address))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise AttributeError(f"{name} is not in the table of texvlm/backends/_gl_api.py")

    def generate(self, function: Callable[..., Any], *arguments: int) -> int:
        """One new object's name, from a glCreate* or glGen* function."""
        name = c_uint()
        function(*arguments, 1, ctypes.byref(name))
        return name.value

    def integer(self, what: int) -> int:
        """GlGetIntegerv of one value."""
        value = c_int()
        self.glGetIntegerv(what, ctypes.byref(value))
        return value.value

    def integer64(self, what: int) -> int:
        """glGetInteger64v of one value."""
        value = c_int64()
        self.glGetInteger64v(what, ctypes.byref(value))
        return value.value

    def integer_at(self, what: int, index: int) -> int:
        """glGetIntegeri_v of one value."""
        value = c_int()
        self.glGetIntegeri_v(what, index, ctypes.byref(value))
        return value.value

    def integer64_at(self, what: int, index: int) -> int:
        """glGetInteger64i_v of one value."""
        value = c_int64()
        self.glGetInteger64i_v(what, index, ctypes.byref(value))
        return value.value

    def text(self, what: int) -> str:
        """glGetString; empty when no context is current."""
        value = self.glGetString(what)
        return value.decode(errors="replace") if value else ""

    def pending_errors(self) -> list[int]:
        """Error codes raised since the last look; at most a few, since each kind is kept once."""
        codes: list[int] = []
        while len(codes) < 8 and (code := self.glGetError()) != NO_ERROR:
            codes.append(code)
        return codes

    def check(self, call: str) -> None:
        """Raise what OpenGL reports since the last check, under the name of the call that did it.

        Raises:
            MemoryError: GL_OUT_OF_MEMORY.
            DeviceCallError: any other code, with its name and likely cause.
        """
        codes = self.pending_errors()
        if not codes:
            return
        if OUT_OF_MEMORY in codes:
            raise MemoryError(f"{call}: GL_OUT_OF_MEMORY; {_LIKELY_CAUSES[OUT_OF_MEMORY]}")
        raise DeviceCallError(f"{call}: {error_name(codes[0])}; {_LIKELY_CAUSES.get(codes[0], 'a defect: report it')}")


def error_name(code: int) -> str:
    """GL_INVALID_ENUM and so on; the number for codes that OpenGL does not name."""
    return _ERROR_NAMES.get(code, f"code {code:#06x}")
