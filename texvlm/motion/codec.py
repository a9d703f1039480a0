"""Motion from what the codec stored: a seed for flow, never a change detector.

A codec's vectors say what predicts a block cheaply, not what moved. They refer to pictures that need
not be the one shown before, and a decoder does not say which (only whether the block came from the
first or the second list of references). What this makes of them:

| picture | past vectors are taken as | without pixels to judge by |
|---|---|---|
| I | nothing is known: every cell is invalid | invalid |
| P | motion over the frames since the I or P before it, of which one frame's share is taken | valid |
| B, the first after I or P | motion over one frame | valid |
| B, a later one | over one frame (where B pictures refer to B pictures) up to all since the I or P | invalid |

With the mips of both frames at hand, each candidate span is tried and the one that leaves the least
difference is taken; cells that the moved pixels contradict are invalid. Vectors into the future are
left out. Intra blocks have no vectors. Frames must come one after the other: with `every=2`, or after
frames were dropped, the spans are wrong and only the pixels tell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from texvlm.frames import MotionVectors
from texvlm.motion.consistency import Picture, Tolerance, difference, validated
from texvlm.motion.field import MotionField, grid_of
from texvlm.motion.source import Moment

_LONGEST_SPAN = 16
"""Frames that one vector may span; no encoder puts more B pictures between two others."""


@dataclass(slots=True)
class _Seen:
    """What is kept of a source: its last frame, and how many frames ago the last I or P picture was."""

    size: tuple[int, int]
    picture: Picture | None
    since_anchor: int


class CodecMotion:
    """Flow from the vectors of H.264, MPEG-4 part 2, MPEG-1 and MPEG-2; see the module for what is valid.

    Needs frames of `open_source(..., motion_vectors=True)`; a frame without vectors gives a field
    in which nothing is valid.

    Args:
        cell: (width, height) of the field's cells, level-0 texels.
        judge: try the spans that a vector may have on the pixels of a coarse mip level, and check the
            outcome there.
        longest: texels along the longer side of that level, at most.
        tolerance: for the check.
    """

    name: ClassVar[str] = "codec"

    def __init__(
        self,
        *,
        cell: tuple[float, float] = (16, 16),
        judge: bool = True,
        longest: int = 320,
        tolerance: Tolerance | None = None,
    ) -> None:
        if longest < 1:
            raise ValueError(f"longest is {longest}; accepted: 1 texel and more")
        self._cell, self._judge, self._longest = cell, judge, longest
        self._tolerance = tolerance or Tolerance()
        self._seen: dict[int, _Seen] = {}

    def __call__(self, moment: Moment) -> MotionField | None:
        """See MotionSource."""
        picture = moment.mips.gray(moment.mips.level_within(self._longest)) if self._judge else None
        before = self._seen.get(moment.source)
        if before is not None and before.size != moment.size:
            before = None
        span = 1 if before is None else min(before.since_anchor + 1, _LONGEST_SPAN)
        between = moment.kind in ("B", "BI")  # it lies between the pictures that most others refer to
        self._seen[moment.source] = _Seen(moment.size, picture, span if between else 0)
        if before is None:
            return None
        if moment.vectors is None:
            return MotionField.zero(moment.size, cell=self._cell, valid=False, origin=self.name)
        whole = rasterised(moment.vectors, moment.size, cell=self._cell)
        if picture is None or before.picture is None:
            sure = not between or span == 1
            return replace(_over(whole, span), valid=whole.valid & sure)
        spans = range(span, 0, -1) if between else (span,)
        return _judged(whole, spans, picture, before.picture, self._tolerance)

    def reset(self, source: int | None = None) -> None:
        """See MotionSource."""
        if source is None:
            self._seen.clear()
        else:
            self._seen.pop(source, None)


def rasterised(
    vectors: MotionVectors, size: tuple[int, int], *, cell: tuple[float, float] = (16, 16), future: bool = False
) -> MotionField:
    """The codec's vectors on a grid of cells, as they are: to whatever picture they refer to.

    Args:
        vectors: of one frame.
        size: (width, height) of it.
        cell: of the field; a mean over what the blocks cover of it, valid where that is half or more.
        future: take the vectors to future references instead of those to past ones.
    """
    from texvlm.motion._blocks import spread  # compiled when first used

    taken = (vectors.source > 0) if future else (vectors.source < 0)
    columns, rows = grid_of(size, cell)
    flow, covered = np.zeros((rows, columns, 2), np.float32), np.zeros((rows, columns), np.float32)
    block, motion = (np.ascontiguousarray(part[taken], np.float32) for part in (vectors.block, vectors.motion))
    spread(block, motion, (int(size[0]), int(size[1])), (float(cell[0]), float(cell[1])), flow, covered)
    across = np.minimum(np.arange(1, columns + 1) * cell[0], size[0]) - np.arange(columns) * cell[0]
    down = np.minimum(np.arange(1, rows + 1) * cell[1], size[1]) - np.arange(rows) * cell[1]
    valid = covered >= 0.5 * down[:, None] * across
    return MotionField(np.where(valid[..., None], flow, 0), valid, size, cell, CodecMotion.name)


def _over(field: MotionField, span: int) -> MotionField:
    """One frame's share of motion over several, as if it were even."""
    return replace(field, flow=field.flow / np.float32(span))


def _judged(
    whole: MotionField, spans: Iterable[int], new: Picture, reference: Picture, tolerance: Tolerance
) -> MotionField:
    """The span that leaves the least difference in each cell; of two that leave the same, the first."""
    candidates = [_over(whole, span) for span in spans]
    left = np.stack([difference(field, new, reference).moved for field in candidates])
    chosen = left.argmin(axis=0)
    flow = np.choose(chosen[..., None], [field.flow for field in candidates])
    return validated(replace(whole, flow=flow), new=new, reference=reference, tolerance=tolerance)
