"""Which cells of a motion field can be relied on: forward against backward, and moved pixels against new ones.

Content that the reference frame does not show (disoccluded, or outside of it) has no true flow. A
flow there disagrees with the flow the other way, and what it fetches differs from what is seen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from texvlm.motion.field import MotionField

Picture = NDArray[np.float32]
"""Gray, (height, width), of full scale 1: the frame at any mip level."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a flow may be off before a cell counts as unknown.

    Attributes:
        absolute: texels that forward and backward flow may disagree by, for motion too small to matter.
        relative: and as a share of the flow's length.
        error: mean absolute difference after moving, of full scale; None to leave pixels out of it.
        gain: a cell that differs more after moving than without it by this much, of full scale, is
            moved wrongly; None to leave it out.
    Source:
        The bound absolute^2 + relative^2 (|forward|^2 + |backward|^2) on the squared disagreement is that of
        Sundaram, Brox and Keutzer 2010, whose values are sqrt(0.5) and 0.1.
    """

    absolute: float = 1.0
    relative: float = 0.1
    error: float | None = 0.08
    gain: float | None = 0.01

    def __post_init__(self) -> None:
        for name in ("absolute", "relative", "error", "gain"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value}; accepted: 0 and above")


def disagreement(backward: MotionField, forward: MotionField) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """How far one comes back from where one started: there by the backward flow, back by the forward one.

    Args:
        backward: of the new frame, to the reference.
        forward: of the reference frame, to the new one: its own backward flow with the roles swapped.
    Returns:
        Length in texels, (rows, columns), and whether it is known: both fields are valid, and the place
        in the reference lies inside of it.
    Raises:
        ValueError: fields of frames of different sizes.
    """
    back, known = _way_back(backward, forward)
    apart: NDArray[np.float32] = np.linalg.norm(backward.flow + back, axis=-1)
    return apart, known


def consistent(backward: MotionField, forward: MotionField, *, tolerance: Tolerance | None = None) -> NDArray[np.bool_]:
    """Cells whose backward and forward flows agree, (rows, columns); see `disagreement` for arguments and errors."""
    tolerance = tolerance or Tolerance()
    back, known = _way_back(backward, forward)
    lengths = np.square(backward.flow).sum(axis=-1) + np.square(back).sum(axis=-1)
    bound = tolerance.absolute**2 + tolerance.relative**2 * lengths
    agree: NDArray[np.bool_] = known & (np.square(backward.flow + back).sum(axis=-1) <= bound)
    return agree


def occluded(backward: MotionField, forward: MotionField, *, tolerance: Tolerance | None = None) -> NDArray[np.bool_]:
    """Cells that have a flow, but whose content the reference frame does not show: hidden there, or outside of it."""
    return backward.valid & ~consistent(backward, forward, tolerance=tolerance)


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """The new frame against the reference, cell by cell, each (rows, columns), float32.

    Attributes:
        moved: mean absolute difference after moving the reference along the field, of full scale.
        still: the same without moving it.
        outside: share of the cell that would come from outside the reference frame.
    """

    moved: NDArray[np.float32]
    still: NDArray[np.float32]
    outside: NDArray[np.float32]


def difference(field: MotionField, new: Picture, reference: Picture) -> Difference:
    """What is left of the difference between two frames once the motion between them is accounted for.

    Args:
        field: of the frame that `new` shows.
        new: the frame at any mip level, (height, width), gray, of full scale 1.
        reference: the reference frame at the same level.
    Raises:
        ValueError: pictures of different shapes, or that are no mip level of the frame.
    """
    from texvlm.motion._warp import compare  # compiled when first used

    new, reference = (np.ascontiguousarray(picture, np.float32) for picture in (new, reference))
    if new.ndim != 2 or new.shape != reference.shape:
        raise ValueError(f"pictures of {new.shape} and {reference.shape}; accepted: two of the same (height, width)")
    scale = texels_of(new.shape, field.size)
    found = Difference(*(np.zeros(field.valid.shape, np.float32) for _ in range(3)))
    cell = (field.cell[0] / scale, field.cell[1] / scale)
    flow = np.ascontiguousarray(field.flow / np.float32(scale))
    compare(new, reference, flow, cell, found.moved, found.still, found.outside)
    return found


def validated(
    field: MotionField,
    *,
    forward: MotionField | None = None,
    new: Picture | None = None,
    reference: Picture | None = None,
    tolerance: Tolerance | None = None,
) -> MotionField:
    """The field with `valid` only where every check that can be made holds, and `error` where pictures are given.

    Args:
        field: backward flow.
        forward: flow the other way, for `consistent`.
        new: the frame, and
        reference: what it is compared with, for `difference`; both or none.
        tolerance: see `Tolerance`.
    Raises:
        ValueError: only one picture, or something of another size.
    """
    tolerance = tolerance or Tolerance()
    if (new is None) != (reference is None):
        raise ValueError("one picture alone; give both new and reference, or neither")
    valid, error = field.valid.copy(), field.error
    if forward is not None:
        valid &= consistent(field, forward, tolerance=tolerance)
    if new is not None and reference is not None:
        left = difference(field, new, reference)
        error = left.moved
        valid &= left.outside <= 0.5
        if tolerance.error is not None:
            valid &= left.moved <= tolerance.error
        if tolerance.gain is not None:
            valid &= left.moved <= left.still + tolerance.gain
    return replace(field, valid=valid, error=error)


def texels_of(shape: tuple[int, ...], size: tuple[int, int]) -> float:
    """Level-0 texels along one texel of a picture: the power of two whose mip level has its shape.

    Raises:
        ValueError: no level of such a frame has this shape.
    """
    for level in range(32):
        if (-(-size[1] // 2**level), -(-size[0] // 2**level)) == tuple(shape[:2]):
            return float(2**level)
    raise ValueError(
        f"a picture of {shape[1]} x {shape[0]} for a frame of {size[0]} x {size[1]}; accepted: a mip level of it"
    )


def _way_back(backward: MotionField, forward: MotionField) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Forward flow where each cell came from, and whether both flows are known."""
    forward.check_frame(backward.size)
    back, known = forward.at(backward.centres() + backward.flow)
    return back, known & backward.valid
