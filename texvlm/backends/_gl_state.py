"""OpenGL state that the gl backend touches: saved and restored around calls on an application's context.

Objects are created and filled by name (direct state access), so what is left is small: the program
in use, a few image, texture and storage-buffer bindings, and how pixels are packed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from texvlm.backends._gl_api import (
    PIXEL_PACK_BUFFER,
    PIXEL_UNPACK_BUFFER,
    SHADER_STORAGE_BUFFER,
    TEXTURE_2D_ARRAY,
    GlApi,
)

IMAGE_UNITS, TEXTURE_UNITS, STORAGE_BUFFERS = 6, 1, 4
"""How many of each, from 0 on, the shaders use. Drivers have at least 8, 16 and 8."""

_PROGRAM, _ACTIVE_TEXTURE, _TEXTURE0 = 0x8B8D, 0x84E0, 0x84C0
_TEXTURE_BINDING_2D_ARRAY, _SAMPLER_BINDING = 0x8C1D, 0x8919
_PACK_BINDING, _UNPACK_BINDING = 0x88ED, 0x88EF
_STORAGE_BINDING, _STORAGE_START, _STORAGE_SIZE = 0x90D3, 0x90D4, 0x90D5
_IMAGE_BINDING = (0x8F3A, 0x8F3B, 0x8F3C, 0x8F3D, 0x8F3E, 0x906E)  # name, level, layered, layer, access, format
_ALIGNMENTS = (0x0CF5, 0x0D05)  # of unpacking and packing; their default is 4
# swap bytes, lsb first, row length, skip rows, skip pixels, skip images, image height: unpacking, then packing
_PIXEL_STORE = (
    *(0x0CF0, 0x0CF1, 0x0CF2, 0x0CF3, 0x0CF4, 0x806D, 0x806E),
    *(0x0D00, 0x0D01, 0x0D02, 0x0D03, 0x0D04, 0x806B, 0x806C),
)


def default_pixel_store(gl: GlApi) -> None:
    """Rows lie tightly packed in client memory; nothing is skipped or swapped."""
    for name in _PIXEL_STORE:
        gl.glPixelStorei(name, 0)
    for name in _ALIGNMENTS:
        gl.glPixelStorei(name, 1)


@contextmanager
def preserved_state(gl: GlApi) -> Iterator[None]:
    """Run calls of the backend on a context whose state someone else relies on."""
    restore = _save(gl)
    default_pixel_store(gl)
    gl.glBindBuffer(PIXEL_PACK_BUFFER, 0)
    gl.glBindBuffer(PIXEL_UNPACK_BUFFER, 0)
    for unit in range(TEXTURE_UNITS):
        gl.glBindSampler(unit, 0)  # a sampler with mip filtering would make integer textures incomplete
    try:
        yield
    finally:
        for function, arguments in restore:
            getattr(gl, function)(*arguments)


def _save(gl: GlApi) -> list[tuple[str, tuple[int, ...]]]:
    """The calls, in order, that bring everything back."""
    calls: list[tuple[str, tuple[int, ...]]] = [("glUseProgram", (gl.integer(_PROGRAM),))]
    calls += [("glPixelStorei", (name, gl.integer(name))) for name in (*_PIXEL_STORE, *_ALIGNMENTS)]
    calls += [
        ("glBindBuffer", (PIXEL_PACK_BUFFER, gl.integer(_PACK_BINDING))),
        ("glBindBuffer", (PIXEL_UNPACK_BUFFER, gl.integer(_UNPACK_BINDING))),
    ]
    for unit in range(IMAGE_UNITS):
        name, level, layered, layer, access, form = (gl.integer_at(what, unit) for what in _IMAGE_BINDING)
        calls.append(("glBindImageTexture", (unit, name, level, layered, layer, access, form)))
    active = gl.integer(_ACTIVE_TEXTURE)
    for unit in range(TEXTURE_UNITS):
        gl.glActiveTexture(_TEXTURE0 + unit)
        calls += [
            ("glActiveTexture", (_TEXTURE0 + unit,)),
            ("glBindTexture", (TEXTURE_2D_ARRAY, gl.integer(_TEXTURE_BINDING_2D_ARRAY))),
            ("glBindSampler", (unit, gl.integer(_SAMPLER_BINDING))),
        ]
    gl.glActiveTexture(active)
    calls.append(("glActiveTexture", (active,)))
    for index in range(STORAGE_BUFFERS):
        name = gl.integer_at(_STORAGE_BINDING, index)
        start, size = gl.integer64_at(_STORAGE_START, index), gl.integer64_at(_STORAGE_SIZE, index)
        if name and size:
            calls.append(("glBindBufferRange", (SHADER_STORAGE_BUFFER, index, name, start, size)))
        else:
            calls.append(("glBindBufferBase", (SHADER_STORAGE_BUFFER, index, name)))
    # binding an index binds the general point too, so this comes last
    calls.append(("glBindBuffer", (SHADER_STORAGE_BUFFER, gl.integer(_STORAGE_BINDING))))
    return calls
