"""Where blocks of each source's frame were in its frame before, found on the resident mips by the backend."""

from __future__ import annotations

from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import BlockSpec
from texvlm.backends.motion_memory import BlockMatch, MotionMemory
from texvlm.errors import ClosedError
from texvlm.guard import CallGuard
from texvlm.residency import FrameStore


class ResidentBlocks:
    """Made by `Engine.block_memory`; belongs to its engine, and ends with it.

    It keeps a small gray copy of the frame of each source that it saw last. When a larger frame makes the engine
    allocate anew, that is lost for all sources, and each starts again with its next frame.
    """

    def __init__(self, guard: CallGuard, backend: Backend, store: FrameStore, spec: BlockSpec) -> None:
        self.spec = spec
        self.closed = False
        self._guard, self._backend, self._store = guard, backend, store
        self._memory: MotionMemory | None = None
        self._texture: Texture | None = None

    def match(self, source: int = 0, *, keep: bool = True, both: bool = False) -> BlockMatch | None:
        """See MotionMemory.match; None for a source's first frame, and for one of another size.

        Raises:
            ValueError: the source has no frame.
            TypeError: the engine holds no bytes.
            ClosedError: after `close`, or the engine's.
        """
        with self._guard.call("match"):
            if self.closed:
                raise ClosedError("these blocks were closed; ask the engine for new ones")
            texture = self._store.texture_of(source)
            if self._memory is None or self._texture is not texture:
                self.release()
                self._memory, self._texture = self._backend.motion_memory(texture, self.spec), texture
            return self._memory.match(source, keep=keep, both=both)

    def reset(self, source: int | None = None) -> None:
        """Forget the last frame of one source, or of all; unknown ones are no error."""
        if self._memory is not None and not self._guard.closed:
            with self._guard.call("reset"):
                self._memory.forget(source)

    def close(self) -> None:
        """Free what is kept. May be called twice."""
        if self.closed or self._guard.closed or self._guard.forked:
            self.closed = True
            return
        with self._guard.call("close"):
            self.closed = True
            self.release()

    def release(self) -> None:
        """Free what is kept, for the engine, whose call this is part of."""
        memory, self._memory, self._texture = self._memory, None, None
        if memory is not None:
            memory.close()
