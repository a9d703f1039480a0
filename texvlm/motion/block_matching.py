"""Block matching on the resident mips: the motion source that needs no host picture, on every backend.

An engine's backend keeps small smooth gray copies of coarse levels and searches them (`backends.block_search`
says how); what it finds are whole numbers, the same on every backend. Here they become a motion field, by
the same arithmetic for all: displacement beyond whole texels from one least-squares step.

What is valid: windows that did not change at all, and windows with enough texture to place them whose best match
differs from them by no more than texture between texels explains. A flat wall is not valid unless it did not
change, and has no flow unless moving it explains clearly more than leaving it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from texvlm.motion.consistency import Tolerance, validated
from texvlm.motion.field import MotionField
from texvlm.motion.source import Moment
from texvlm.pyramid import default_levels, level_size

if TYPE_CHECKING:
    from texvlm.backends.block_search import BlockPlan
    from texvlm.backends.motion_memory import BlockMatch
    from texvlm.resident_blocks import ResidentBlocks

LEAST_TEXTURE = 0.25
"""Lesser eigenvalue of a window's gradient products, squared gray values a texel, from which it can be placed."""

LEAST_ERROR = 4 / 255
"""Mean difference, of full scale, that any good match may have: noise, and what codecs leave."""

ERROR_SHARE = 0.5
"""And in shares of the window's mean gradient: what half a texel of displacement changes."""


@dataclass(frozen=True, slots=True)
class _Picture:
    """The kept picture of a frame that no engine holds."""

    plan: BlockPlan
    texels: NDArray[np.uint8]


class BlockMatcher:
    """Flow by block matching; a MotionSource.

    Where a moment's engine holds bytes, its backend searches and only the result comes to the host. Frames of
    other kinds, and of no engine, are searched on the host, from their coarse levels.

    Args:
        patch: side of the field's cells, level-0 texels: 4, 8, 16, 32, 64 or 128.
        finest: mip level of the last step; None to choose by the frame's size.
        steps: levels that are searched; each one more doubles the displacement that can be seen.
        reach: displacements tried on the coarsest level, texels there. With three steps and the finest
            level 2, as for a 1080p frame, 5 of them are 80 texels of level 0.
        check: search the other way, too, and leave valid only what agrees; doubles the search.
        tolerance: for `check`.
    Raises:
        ValueError: an option is not accepted.
    """

    name: ClassVar[str] = "blocks"

    def __init__(
        self,
        *,
        patch: int = 32,
        finest: int | None = None,
        steps: int = 3,
        reach: int = 5,
        check: bool = False,
        tolerance: Tolerance | None = None,
    ) -> None:
        from texvlm.backends.block_search import BlockSpec  # loads torch

        self.spec = BlockSpec(patch, finest, steps, reach)
        self._check, self._tolerance = check, tolerance or Tolerance(error=None, gain=None)
        self._resident: WeakKeyDictionary[Any, ResidentBlocks] = WeakKeyDictionary()
        self._seen: dict[int, _Picture] = {}

    def __call__(self, moment: Moment) -> MotionField | None:
        """See MotionSource.

        Raises:
            ValueError: the frame's pyramid does not have the level asked for.
        """
        engine = moment.engine
        opened = getattr(engine, "block_memory", None)  # who holds a frame need not match blocks; texvlm.Engine does
        if engine is None or opened is None or engine.spec is None or engine.spec.dtype != "uint8":
            return self._on_host(moment)
        if engine not in self._resident:
            self._resident[engine] = opened(self.spec)
        match = self._resident[engine].match(moment.source, both=self._check)
        return None if match is None else self._field(match)

    def reset(self, source: int | None = None) -> None:
        """See MotionSource."""
        for blocks in list(self._resident.values()):
            blocks.reset(source)
        if source is None:
            self._seen.clear()
        else:
            self._seen.pop(source, None)

    def close(self) -> None:
        """Free what is kept in engines and here; they go on without. May be called twice."""
        for blocks in list(self._resident.values()):
            blocks.close()
        self._resident.clear()
        self._seen.clear()

    def between(self, new: NDArray[np.uint8], reference: NDArray[np.uint8]) -> MotionField:
        """Flow of one host picture back to another; nothing is kept.

        Args:
            new: (height, width), or with 1, 3 or 4 channels, bytes.
            reference: of the same shape.
        Raises:
            ValueError, TypeError: pictures of other shapes or element types.
        """
        ours, theirs = _checked(new), _checked(reference)
        if ours.shape != theirs.shape:
            raise ValueError(f"pictures of {new.shape} and {reference.shape}; accepted: two of the same shape")
        from texvlm.backends.block_search import plan_blocks

        size = (ours.shape[1], ours.shape[0])
        plan = plan_blocks(size, default_levels(size), self.spec)
        levels = [{level.level: _level(one, level.level) for level in plan.levels} for one in (ours, theirs)]
        pictures = [_kept(plan, of_picture) for of_picture in levels]
        return self._field(_matched(plan, *pictures, both=self._check))

    def _on_host(self, moment: Moment) -> MotionField | None:
        from texvlm.backends.block_search import plan_blocks

        plan = plan_blocks(moment.size, moment.mips.levels, self.spec)
        levels = {level.level: moment.mips.colour(level.level) for level in plan.levels}
        picture = _kept(plan, {level: np.rint(texels * 255).astype(np.uint8) for level, texels in levels.items()})
        before, self._seen[moment.source] = self._seen.get(moment.source), _Picture(plan, picture)
        if before is None or before.plan.size != plan.size:
            return None
        return self._field(_matched(plan, picture, before.texels, both=self._check))

    def _field(self, match: BlockMatch) -> MotionField:
        backward = field_of(match.plan, match.backward)
        if match.forward is None:
            return backward
        return validated(backward, forward=field_of(match.plan, match.forward), tolerance=self._tolerance)


def field_of(plan: BlockPlan, found: NDArray[np.int32]) -> MotionField:
    """The motion field of what a backend found.

    Args:
        plan: what it searched.
        found: block_search.RECORD, (rows, columns, 9).
    """
    from texvlm.backends.block_search import WINDOW, sub_texel

    texels = WINDOW * WINDOW
    step, texture, contrast = sub_texel(found)
    placed = texture >= LEAST_TEXTURE
    unchanged = found[..., 3] == 0
    error = found[..., 2] / (255.0 * texels)
    bound = LEAST_ERROR + ERROR_SHARE * contrast / 255
    flow = (found[..., :2] + step) * 2.0**plan.finest.level
    return MotionField(
        flow.astype(np.float32),
        unchanged | (placed & (error <= bound)),
        plan.size,
        (plan.patch, plan.patch),
        "blocks",
        error.astype(np.float32),
    )


def _matched(plan: BlockPlan, new: NDArray[np.uint8], old: NDArray[np.uint8], *, both: bool) -> BlockMatch:
    """What is found between two kept pictures in host memory."""
    from texvlm.backends._block_kernels import match_pictures
    from texvlm.backends.motion_memory import BlockMatch

    return BlockMatch(plan, match_pictures(plan, new, old), match_pictures(plan, old, new) if both else None)


def _kept(plan: BlockPlan, levels: dict[int, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The kept picture of a frame, from its levels."""
    from texvlm.backends._block_kernels import keep_picture

    picture = np.zeros(plan.picture_bytes, np.uint8)
    keep_picture(plan, levels, picture)
    return picture


def _checked(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture with an axis of channels."""
    if picture.dtype != np.uint8:
        raise TypeError(f"a picture of {picture.dtype}; accepted: uint8")
    shaped = picture[..., None] if picture.ndim == 2 else picture
    if shaped.ndim != 3 or shaped.shape[2] not in (1, 3, 4) or 0 in shaped.shape:
        raise ValueError(f"a picture of {picture.shape}; accepted: (height, width), or with 1, 3 or 4 channels")
    return shaped


def _level(picture: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
    """A mip level as a texture array holds it: area means, half up, edge texels repeated."""
    if level == 0:
        return np.ascontiguousarray(picture)
    width, height = level_size((picture.shape[1], picture.shape[0]), level)
    side = 1 << level
    missing = ((0, height * side - picture.shape[0]), (0, width * side - picture.shape[1]), (0, 0))
    whole = np.pad(picture, missing, mode="edge").reshape(height, side, width, side, -1)
    total = whole.sum(axis=(1, 3), dtype=np.uint32)
    means: NDArray[np.uint8] = ((total + side * side // 2) // (side * side)).astype(np.uint8)
    return means
