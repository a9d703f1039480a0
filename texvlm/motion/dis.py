"""Dense inverse search flow (Kroeger et al. 2016), as OpenCV has it: the motion source that runs everywhere.

It sees the gray picture of one coarse mip level, so its cost does not depend on the frame's size. That
level is the finest scale that is searched (OpenCV's presets stop two or one scales above the picture
they are given), and the search goes coarse to fine from there on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from texvlm.errors import FlowUnavailable
from texvlm.motion.consistency import Tolerance, texels_of, validated
from texvlm.motion.field import MotionField
from texvlm.motion.source import Moment

Preset = Literal["ultrafast", "fast", "medium"]

SMALLEST = 12
"""Texels along a side that OpenCV's search takes at least."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is kept of a source's last frame: its size and its gray picture, uint8."""

    size: tuple[int, int]
    picture: NDArray[np.uint8]


class DisFlow:
    """Flow by dense inverse search on one mip level, brought to a grid of cells.

    Args:
        preset: how hard it searches, apart from the scale: "ultrafast" without variational refinement.
        longest: texels along the longer side of the level that is searched, at most.
        cell: (width, height) of the field's cells, level-0 texels; None for the texels of the level.
        check: validate against the flow the other way (a second search) and the moved pixels; else every
            cell is valid.
        tolerance: for `check`.
    Raises:
        FlowUnavailable: OpenCV is not installed.
        ValueError: an option is not accepted.
    """

    name: ClassVar[str] = "dis"

    def __init__(
        self,
        *,
        preset: Preset = "ultrafast",
        longest: int = 320,
        cell: tuple[float, float] | None = (16, 16),
        check: bool = True,
        tolerance: Tolerance | None = None,
    ) -> None:
        if preset not in get_args(Preset):
            raise ValueError(f"preset is {preset!r}; accepted: {', '.join(get_args(Preset))}")
        if longest < SMALLEST:
            raise ValueError(f"longest is {longest}; accepted: {SMALLEST} texels and more")
        self._engine = _open_dis(preset)
        self._longest, self._cell, self._check = longest, cell, check
        self._tolerance = tolerance or Tolerance()
        self._seen: dict[int, _Seen] = {}

    def __call__(self, moment: Moment) -> MotionField | None:
        """See MotionSource."""
        level = moment.mips.level_within(self._longest)
        picture = _as_bytes(moment.mips.gray(level))
        before = self._seen.get(moment.source)
        self._seen[moment.source] = _Seen(moment.size, picture)
        if before is None or before.size != moment.size:
            return None
        return self.between(picture, before.picture, size=moment.size)

    def reset(self, source: int | None = None) -> None:
        """See MotionSource."""
        if source is None:
            self._seen.clear()
        else:
            self._seen.pop(source, None)

    def between(
        self,
        new: NDArray[Any],
        reference: NDArray[Any],
        *,
        size: tuple[int, int] | None = None,
        seed: MotionField | None = None,
    ) -> MotionField:
        """Backward flow between two pictures; keeps nothing.

        Args:
            new: gray, (height, width), uint8, or float of full scale 1: a frame at any mip level.
            reference: likewise, at the same level.
            size: (width, height) of the frame; None where the pictures are level 0.
            seed: a first guess, such as the codec's vectors; invalid cells of it count as still.
        Raises:
            ValueError: pictures that differ in shape or are no level of such a frame.
        """
        now, then = _as_bytes(new), _as_bytes(reference)
        if now.ndim != 2 or now.shape != then.shape:
            raise ValueError(f"pictures of {now.shape} and {then.shape}; accepted: two of the same (height, width)")
        size = size or (now.shape[1], now.shape[0])
        scale = texels_of(now.shape, size)
        guess = None
        if seed is not None:
            seed.check_frame(size)
            guess = seed.resampled((scale, scale)).flow / np.float32(scale)
        field = self._search(now, then, size, scale, guess)
        if not self._check:
            return field
        forward = self._search(then, now, size, scale, None if guess is None else -guess)
        shown, before = (picture.astype(np.float32) * np.float32(1 / 255) for picture in (now, then))
        return validated(field, forward=forward, new=shown, reference=before, tolerance=self._tolerance)

    def _search(
        self,
        new: NDArray[np.uint8],
        reference: NDArray[np.uint8],
        size: tuple[int, int],
        scale: float,
        guess: NDArray[np.float32] | None,
    ) -> MotionField:
        """The flow of one direction on the grid of cells; all cells valid."""
        height, width = new.shape
        # too small for the search: the frame's edge pixels go on
        over = [(0, max(0, SMALLEST - side)) for side in (height, width)]
        if any(after for _, after in over):
            new, reference = (np.pad(picture, over, mode="edge") for picture in (new, reference))
            guess = None if guess is None else np.pad(guess, [*over, (0, 0)], mode="edge")
        found = self._engine.calc(new, reference, None if guess is None else np.ascontiguousarray(guess))
        flow = np.nan_to_num(found[:height, :width], nan=0.0, posinf=0.0, neginf=0.0) * np.float32(scale)
        field = MotionField(flow, np.ones((height, width), np.bool_), size, (scale, scale), self.name)
        return field if self._cell is None else field.resampled(self._cell)


def _open_dis(preset: Preset) -> Any:
    """OpenCV's search; FlowUnavailable where there is no OpenCV."""
    try:
        import cv2  # only here: the rest of motion runs without it
    except ImportError as missing:
        raise FlowUnavailable(
            'optical flow by dense inverse search needs OpenCV; install it: pip install "texvlm[flow]"'
        ) from missing
    numbers = {
        "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
        "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    }
    search = cv2.DISOpticalFlow.create(numbers[preset])
    search.setFinestScale(0)  # the mips are the scales above: a preset's own would be left out twice
    return search


def _as_bytes(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """A gray picture as the search takes it: C-contiguous bytes."""
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    scaled = np.asarray(picture, np.float32) * np.float32(255) + np.float32(0.5)
    pixels: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return pixels
