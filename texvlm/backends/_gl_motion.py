"""Kept pictures of the gl backend: keep_picture.comp and match_blocks.comp, over buffers of one texture array.

Pictures and displacements lie on the device; only the records of the finest level come to the host.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from texvlm.backends import _gl_api as names
from texvlm.backends._gl_buffers import Fence, MappedBuffer, create_buffer, delete_buffer
from texvlm.backends._gl_context import GlContext
from texvlm.backends._gl_programs import Definitions, Program
from texvlm.backends._gl_texture import GlTexture
from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import (
    NEAR,
    PAD,
    RECORD,
    STILL,
    STILL_SHIFT,
    STRAY,
    WINDOW,
    BlockLevel,
    BlockPlan,
    BlockSpec,
)
from texvlm.backends.motion_memory import Half, MotionMemory
from texvlm.errors import ClosedError

KEEP_THREADS = 64
"""Of keep_picture.comp, in one workgroup."""

Run = Callable[[Callable[[], Any]], Any]
"""Do work where the context is current; ClosedError when the backend is closed."""


class _Buffer:
    """A buffer that only the device sees."""

    def __init__(self, context: GlContext, size: int, data: NDArray[Any] | None = None) -> None:
        """MemoryError when there is no room. Where the context is current, like all methods."""
        gl = context.gl
        self._context, self.size = context, size
        self._name = gl.generate(gl.glCreateBuffers)
        context.live["buffer"] += 1
        try:
            gl.glNamedBufferStorage(self._name, size, None if data is None else data.ctypes.data, 0)
            gl.check(f"glNamedBufferStorage({size} bytes)")
        except BaseException:
            self.delete()
            raise

    def bind(self, index: int) -> None:
        """Let shaders see it as storage buffer `index`."""
        self._context.gl.glBindBufferRange(names.SHADER_STORAGE_BUFFER, index, self._name, 0, self.size)

    def delete(self) -> None:
        """Free it."""
        self._context.gl.glDeleteBuffers(1, ctypes.byref(ctypes.c_uint(self._name)))
        self._context.live["buffer"] -= 1


class GlMotion(MotionMemory):
    """Kept pictures on the device."""

    def __init__(self, backend: Backend, texture: Texture, spec: BlockSpec, context: GlContext, run: Run) -> None:
        super().__init__(backend, texture, spec)
        self._context, self._run = context, run
        self._pictures: dict[int, _Buffer] = {}
        self._vectors: _Buffer | None = None
        self._found: MappedBuffer | None = None
        self._steps: dict[int, _Buffer] = {}  # by reach

    def _make(self, layer: int, plan: BlockPlan, half: Half) -> None:
        self._run(partial(self._make_here, layer, plan, half))

    def _find(self, layer: int, plan: BlockPlan, new: Half, *, both: bool) -> list[NDArray[np.int32]]:
        found: list[NDArray[np.int32]] = self._run(partial(self._find_here, layer, plan, new, both))
        return found

    def forget(self, layer: int | None = None) -> None:
        """See MotionMemory."""
        super().forget(layer)
        dropped = [self._pictures.pop(one) for one in list(self._pictures) if layer is None or one == layer]
        self._free(dropped)

    def close(self) -> None:
        """See MotionMemory. Also after the backend was closed."""
        super().close()
        buffers = [*self._pictures.values(), *self._steps.values()]
        buffers += [] if self._vectors is None else [self._vectors]
        found, self._vectors, self._found = self._found, None, None
        self._pictures.clear()
        self._steps.clear()
        self._free(buffers)
        if found is not None and self._context.alive:
            self._context.run(partial(delete_buffer, self._context, found))

    def _free(self, buffers: list[_Buffer]) -> None:
        if buffers and self._context.alive:
            self._context.run(partial(_delete_all, buffers))

    # ------------------------------------------------------------------ where the context is current

    def _texture_here(self) -> GlTexture:
        handle = self._texture.handle
        if not isinstance(handle, GlTexture):
            raise ClosedError("this texture was destroyed")
        return handle

    def _make_here(self, layer: int, plan: BlockPlan, half: Half) -> None:
        gl, texture = self._context.gl, self._texture_here()
        pictures = self._pictures.get(layer)
        if pictures is None or pictures.size != 2 * plan.picture_bytes:
            if pictures is not None:
                del self._pictures[layer]
                pictures.delete()
            pictures = self._pictures[layer] = _Buffer(self._context, 2 * plan.picture_bytes)
        program = self._context.programs.use("keep_picture.comp", keep_definitions(texture.spec.channels))
        pictures.bind(0)
        gl.glBindTextureUnit(0, texture.words)
        gl.glMemoryBarrier(names.TEXTURE_FETCH_BARRIER | names.SHADER_STORAGE_BARRIER)
        _set(gl, program, layer=layer, half_start=half * plan.picture_bytes // 4)
        for level in plan.levels:
            _set_level(gl, program, level)
            _set(gl, program, level=level.level)
            gl.glDispatchCompute(-(-level.stride // 4 // KEEP_THREADS), level.stored_rows, 1)
        gl.check("keep_picture: glDispatchCompute")

    def _find_here(self, layer: int, plan: BlockPlan, new: Half, both: bool) -> list[NDArray[np.int32]]:
        gl = self._context.gl
        found = self._room(plan)
        self._pictures[layer].bind(0)
        program = self._context.programs.use("match_blocks.comp", match_definitions())
        results = []
        for half in (new, 1 - new) if both else (new,):
            _set(gl, program, new_start=half * plan.picture_bytes // 4, pitch=plan.pitch)
            _set(gl, program, old_start=(1 - half) * plan.picture_bytes // 4)
            coarser: BlockLevel | None = None
            for level in plan.levels:
                gl.glMemoryBarrier(names.SHADER_STORAGE_BARRIER)  # what went before wrote pictures and vectors
                _set_level(gl, program, level)
                _set(gl, program, first=level.first, measure=int(level is plan.finest))
                _set(gl, program, first_parent=-1 if coarser is None else coarser.first)
                _set(gl, program, spiral_start=len(NEAR), step_count=len(NEAR) + len(plan.spiral))
                _set(gl, program, between=int(coarser is not None and level is not plan.finest))
                above = level if coarser is None else coarser
                gl.glProgramUniform2i(program.name, program.location("grid"), level.columns, level.rows)
                gl.glProgramUniform2i(program.name, program.location("parents"), above.columns, above.rows)
                gl.glDispatchCompute(level.columns, level.rows, 1)
                coarser = level
            gl.glMemoryBarrier(names.CLIENT_MAPPED_BUFFER_BARRIER)
            fence = Fence(self._context)
            gl.check("match_blocks: glDispatchCompute")
            fence.wait()
            shape = (plan.finest.rows, plan.finest.columns, len(RECORD))
            count = 4 * int(np.prod(shape))
            results.append(found.memory[:count].view(np.int32).reshape(shape).copy())
        return results

    def _room(self, plan: BlockPlan) -> MappedBuffer:
        """Bind room for displacements, for what is found, and what is tried; that for what is found."""
        context = self._context
        if self._vectors is None or self._vectors.size < 8 * plan.blocks:
            if self._vectors is not None:
                self._vectors.delete()
                self._vectors = None
            self._vectors = _Buffer(context, 8 * plan.blocks)
        needed = 4 * len(RECORD) * plan.finest.rows * plan.finest.columns
        if self._found is None or self._found.size < needed:
            if self._found is not None:
                delete_buffer(context, self._found)
                self._found = None
            self._found = create_buffer(context, needed)
        if plan.reach not in self._steps:
            steps = np.concatenate([NEAR, plan.spiral])
            self._steps[plan.reach] = _Buffer(context, steps.nbytes, steps)
        self._vectors.bind(1)
        self._found.bind(context, 2, 0, self._found.size)
        self._steps[plan.reach].bind(3)
        return self._found


def _delete_all(buffers: list[_Buffer]) -> None:
    for buffer in buffers:
        buffer.delete()


def keep_definitions(channels: int) -> Definitions:
    """What makes one variant of keep_picture.comp."""
    return (("TEXVLM_PAD", PAD), ("TEXVLM_GRAY", int(channels == 1)))


def match_definitions() -> Definitions:
    """Of match_blocks.comp."""
    return (
        ("TEXVLM_PAD", PAD),
        ("TEXVLM_WINDOW", WINDOW),
        ("TEXVLM_STILL", f"{STILL}u"),
        ("TEXVLM_STILL_SHIFT", STILL_SHIFT),
        ("TEXVLM_STRAY", f"{STRAY}u"),
        ("TEXVLM_RECORD", len(RECORD)),
    )


def _set(gl: Any, program: Program, **values: int) -> None:
    """Whole-number uniforms by name."""
    for name, value in values.items():
        gl.glProgramUniform1i(program.name, program.location(name), value)


def _set_level(gl: Any, program: Program, level: BlockLevel) -> None:
    """The uniforms of kept_picture.glsl."""
    gl.glProgramUniform2i(program.name, program.location("size"), *level.size)
    _set(gl, program, start=level.start // 4, stride=level.stride // 4)
