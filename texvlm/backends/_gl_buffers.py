"""Mapped buffers: memory that the host and the device share.

`Staging` hands out memory to write work into, a few blocks in turn, each guarded by a fence.
`Results` hands out tensors that are the buffers which `sample` writes: no copy on a software
driver, none by us on any. A buffer goes back to the pool when the last tensor over it is gone.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.backends._gl_api import (
    MAP_COHERENT,
    MAP_PERSISTENT,
    MAP_READ,
    MAP_WRITE,
    SHADER_STORAGE_BUFFER,
    SYNC_FLUSH_COMMANDS,
    SYNC_GPU_COMMANDS_COMPLETE,
    TIMEOUT_EXPIRED,
    WAIT_FAILED,
)
from texvlm.backends._gl_context import GlContext
from texvlm.backends.base import TOKEN_DTYPES
from texvlm.errors import DeviceCallError

FENCE_TIMEOUT_NS = 10_000_000_000
"""Longest wait for the device. Work here takes milliseconds; ten seconds means that it hangs."""

FREE_BYTES = 256 << 20
"""Most memory that unused result buffers may keep; beyond it the oldest are given up."""


@dataclass(frozen=True, slots=True, eq=False)
class MappedBuffer:
    """One buffer object, mapped for its whole life.

    Attributes:
        name: OpenGL's.
        address: where it is mapped.
        memory: the same bytes as an array.
    """

    name: int
    address: int
    memory: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Bytes."""
        return int(self.memory.size)

    def write(self, start: int, data: NDArray[Any]) -> None:
        """Copy an array's bytes to byte `start`."""
        self.memory[start : start + data.nbytes] = np.ascontiguousarray(data).reshape(-1).view(np.uint8)

    def bind(self, context: GlContext, index: int, start: int, size: int) -> None:
        """Let shaders see part of it as storage buffer `index`; `start` is a multiple of the driver's alignment."""
        context.gl.glBindBufferRange(SHADER_STORAGE_BUFFER, index, self.name, start, size)


def create_buffer(context: GlContext, size: int) -> MappedBuffer:
    """A buffer of `size` bytes, mapped for reading and writing. MemoryError when there is no room."""
    gl = context.gl
    flags = MAP_READ | MAP_WRITE | MAP_PERSISTENT | MAP_COHERENT
    name = gl.generate(gl.glCreateBuffers)
    try:
        gl.glNamedBufferStorage(name, size, None, flags)
        gl.check(f"glNamedBufferStorage({size} bytes)")
        address = gl.glMapNamedBufferRange(name, 0, size, flags)
        gl.check(f"glMapNamedBufferRange({size} bytes)")
    except BaseException:
        gl.glDeleteBuffers(1, ctypes.byref(ctypes.c_uint(name)))
        raise
    context.live["buffer"] += 1
    memory = np.ctypeslib.as_array((ctypes.c_ubyte * size).from_address(address))
    return MappedBuffer(name, int(address), memory)


def delete_buffer(context: GlContext, buffer: MappedBuffer) -> None:
    """Unmap and delete; nothing may look at its memory any more."""
    context.gl.glUnmapNamedBuffer(buffer.name)
    context.gl.glDeleteBuffers(1, ctypes.byref(ctypes.c_uint(buffer.name)))
    context.live["buffer"] -= 1


class Fence:
    """A point in the order of commands that the host can wait for."""

    __slots__ = ("_context", "_sync")

    def __init__(self, context: GlContext) -> None:
        self._context = context
        self._sync = context.gl.glFenceSync(SYNC_GPU_COMMANDS_COMPLETE, 0)

    def wait(self) -> None:
        """Return when everything before it is done. DeviceCallError when that takes FENCE_TIMEOUT_NS."""
        if self._sync is None:
            return
        gl = self._context.gl
        outcome = gl.glClientWaitSync(self._sync, SYNC_FLUSH_COMMANDS, FENCE_TIMEOUT_NS)
        gl.glDeleteSync(self._sync)
        self._sync = None
        if outcome == TIMEOUT_EXPIRED:
            raise DeviceCallError(f"glClientWaitSync: the device did not finish in {FENCE_TIMEOUT_NS // 10**9} s")
        if outcome == WAIT_FAILED:
            gl.check("glClientWaitSync")


class Staging:
    """Blocks of mapped memory in turn: written by the host, read by the commands that follow.

    All methods run where the context is current.
    """

    def __init__(self, context: GlContext) -> None:
        self._context = context
        # A software driver is done when a call returns: one block, still in the cache, serves it best.
        blocks = 1 if context.info.software else 3
        self._blocks: list[MappedBuffer | None] = [None] * blocks
        self._fences: list[Fence | None] = [None] * blocks
        self._turn = 0

    def take(self, size: int) -> MappedBuffer:
        """At least `size` bytes that no earlier command still reads. `done` must follow their use."""
        self._turn = (self._turn + 1) % len(self._blocks)
        fence, self._fences[self._turn] = self._fences[self._turn], None
        if fence is not None:
            fence.wait()
        block = self._blocks[self._turn]
        if block is None or block.size < size:
            if block is not None:
                self._blocks[self._turn] = None
                delete_buffer(self._context, block)
            block = self._blocks[self._turn] = create_buffer(self._context, max(64 << 10, size + size // 4))
        return block

    def done(self) -> None:
        """The commands that read the block taken last have been given."""
        self._fences[self._turn] = Fence(self._context)

    def close(self) -> None:
        """Delete every block."""
        for index, block in enumerate(self._blocks):
            fence, self._fences[index], self._blocks[index] = self._fences[index], None, None
            if fence is not None:
                fence.wait()
            if block is not None:
                delete_buffer(self._context, block)


class Results:
    """Tensors over mapped buffers, pooled. Safe from any thread."""

    def __init__(self, context: GlContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._free: list[MappedBuffer] = []
        self._lent: dict[int, MappedBuffer] = {}
        self._addresses: list[int] = []  # of `_lent`, ascending
        # What finalizers bring back; they may run in the middle of anything, so they touch nothing else.
        self._returned: deque[MappedBuffer] = deque()
        self._closed = False

    def tensor(self, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
        """A host tensor whose memory `sample` can write. TypeError for element types that tokens cannot have."""
        if dtype not in TOKEN_DTYPES:
            raise TypeError(f"dtype is {dtype}; accepted: {', '.join(map(str, TOKEN_DTYPES))}")
        size = prod(shape) * dtype.itemsize
        if size == 0:
            return torch.empty(tuple(shape), dtype=dtype)
        buffer = self._take(_rounded(size))
        array: NDArray[Any] = buffer.memory[:size].view()
        # torch keeps this array as long as any view of the tensor lives
        weakref.finalize(array, self._give_back, buffer).atexit = False
        return torch.from_numpy(array).view(dtype).view(tuple(shape))

    def find(self, tensor: torch.Tensor) -> tuple[MappedBuffer, int] | None:
        """The buffer behind a tensor and the byte at which it starts; None for other memory."""
        address = tensor.data_ptr()
        with self._lock:
            index = bisect_right(self._addresses, address) - 1
            if index < 0:
                return None
            buffer = self._lent[self._addresses[index]]
        start = address - buffer.address
        return (buffer, start) if start + tensor.nbytes <= buffer.size else None

    def close(self) -> None:
        """Delete unused buffers now, and the others when their tensors are gone. Where the context is current."""
        self._closed = True
        with self._lock:
            self._collect()
            free, self._free = self._free, []
        for buffer in free:
            delete_buffer(self._context, buffer)

    def _take(self, size: int) -> MappedBuffer:
        with self._lock:
            self._collect()
            index = next((i for i, buffer in enumerate(self._free) if buffer.size == size), None)
            buffer = None if index is None else self._free.pop(index)
        if buffer is None:
            buffer = self._context.run(partial(create_buffer, self._context, size))
        with self._lock:
            insort(self._addresses, buffer.address)
            self._lent[buffer.address] = buffer
        return buffer

    def _collect(self) -> None:
        """Make what came back available again; the oldest go when there is too much. Under the lock."""
        while self._returned:
            buffer = self._returned.popleft()
            del self._lent[buffer.address]
            self._addresses.remove(buffer.address)
            self._free.append(buffer)
        while sum(buffer.size for buffer in self._free) > FREE_BYTES:
            self._context.retire(partial(delete_buffer, self._context, self._free.pop(0)))

    def _give_back(self, buffer: MappedBuffer) -> None:
        """Finalizer: the last tensor over a buffer is gone, on whatever thread and in the middle of whatever."""
        self._returned.append(buffer)
        if self._closed:
            self._context.retire(self.close)


def _rounded(size: int) -> int:
    """A size class: the next multiple of an eighth of the power of two below, so that buffers are used again."""
    step = max(4096, 1 << max(0, size.bit_length() - 4))
    return -(-size // step) * step
