"""What a backend keeps of frames so that the next one can be searched for where its blocks were.

One memory belongs to one texture array: per layer it holds two kept pictures (`block_search`), the one of
the frame that was looked at last and room for the next. A backend makes pictures and searches them; when, and
what becomes of the result, is said here, for all of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from texvlm.backends._checks import check_layer
from texvlm.backends.base import Backend, Texture
from texvlm.backends.block_search import BlockPlan, BlockSpec, check_texels, plan_blocks
from texvlm.errors import ClosedError

Half = Literal[0, 1]
"""Which of a layer's two pictures."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockMatch:
    """Where the blocks of a frame were in the one kept before it.

    Attributes:
        plan: the grid.
        backward: block_search.RECORD, int32, (rows, columns, 9): from the frame to the one kept.
        forward: likewise from the one kept to the frame, or None where nobody asked.
    """

    plan: BlockPlan
    backward: NDArray[np.int32]
    forward: NDArray[np.int32] | None


@dataclass(frozen=True, slots=True)
class _Kept:
    """Of one layer: the frame's size, its clock on the host (0: not told), and which picture is of it."""

    plan: BlockPlan
    clock: int
    half: Half


class MotionMemory(ABC):
    """Kept pictures of the layers of one texture array. Called as the backend's verbs are, from one thread at a time.

    Args:
        backend: who counts.
        texture: whose frames are looked at; it must live as long.
        spec: how finely.
    Raises:
        TypeError: the texture does not hold bytes.
        ValueError: its pyramid does not have the finest level asked for.
    """

    host_clock = True
    """Whether `texture.changed_at` tells every change; not so where the device finds changes."""

    def __init__(self, backend: Backend, texture: Texture, spec: BlockSpec) -> None:
        check_texels(texture.spec)
        plan_blocks(texture.spec.size, texture.spec.levels, spec)
        self.spec = spec
        self._backend, self._texture = backend, texture
        self._kept: dict[int, _Kept] = {}
        self._closed = False

    def match(self, layer: int, *, keep: bool = True, both: bool = False) -> BlockMatch | None:
        """Compare a layer's frame with the one kept, and keep it instead.

        A frame that did not change since costs nothing; windows that did not change are not searched.
        If it fails, what was kept stays.

        Args:
            layer: which one.
            keep: False only looks; the next call compares with the same frame.
            both: search forward as well.
        Returns:
            None where no frame of this size was kept.
        Raises:
            ValueError: no such layer, or it holds no frame.
            ClosedError: after `close`, or that of the backend or texture.
        """
        if self._closed:
            raise ClosedError("this motion memory is closed; ask for a new one")
        texture = self._texture
        if texture.handle is None:
            raise ClosedError("this texture was destroyed")
        check_layer(texture.spec, layer)
        size = (int(texture.frame_sizes[layer, 0]), int(texture.frame_sizes[layer, 1]))
        if not size[0]:
            raise ValueError(f"layer {layer} holds no frame; submit one first")
        known = self._kept.get(layer)
        now = int(texture.changed_at[layer]) if self.host_clock else 0
        if known is None or known.plan.size != size:
            if keep:
                self._kept.pop(layer, None)  # its memory is of another size
                plan = plan_blocks(size, texture.spec.levels, self.spec)
                self._make(layer, plan, 0)
                self._kept[layer] = _Kept(plan, now, 0)
            return None
        plan = known.plan
        if now and now == known.clock:
            still = plan.nothing_moved()
            return BlockMatch(plan, still, still if both else None)
        half: Half = 1 if known.half == 0 else 0
        self._make(layer, plan, half)
        found = self._find(layer, plan, half, both=both)
        for record in found:
            self._backend.count(blocks_matched=int(np.count_nonzero(record[..., 3])))
        if keep:
            self._kept[layer] = _Kept(plan, now, half)
        return BlockMatch(plan, found[0], found[1] if both else None)

    def forget(self, layer: int | None = None) -> None:
        """Drop what is kept of a layer, or of all: the next frame has nothing to be compared with."""
        for one in list(self._kept) if layer is None else [layer]:
            self._kept.pop(one, None)

    def close(self) -> None:
        """Free everything. May be called twice."""
        self._closed = True
        self._kept.clear()

    @abstractmethod
    def _make(self, layer: int, plan: BlockPlan, half: Half) -> None:
        """Make the kept picture of the layer's frame."""

    @abstractmethod
    def _find(self, layer: int, plan: BlockPlan, new: Half, *, both: bool) -> list[NDArray[np.int32]]:
        """RECORD of the picture `new` against the other one; with `both`, of the other against it, too."""
