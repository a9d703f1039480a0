"""Motion between frames: dense backward flow on a grid of patches, whatever it was measured with.

    Moment (a frame, where it is resident)  ->  MotionSource  ->  MotionField  ->  validated, camera_motion

Motion sources are DIS flow (OpenCV, the extra `flow`), the codec's vectors, and block matching on
the resident mips. All give the same kind of field: content at x of the new frame was at x + flow(x)
of the reference frame, in level-0 texels. Nothing here loads torch or OpenCV when imported.
"""

from __future__ import annotations

from texvlm.motion.block_matching import BlockMatcher
from texvlm.motion.camera import CameraKind, CameraModel, CameraMotion, camera_motion
from texvlm.motion.codec import CodecMotion, rasterised
from texvlm.motion.consistency import (
    Difference,
    Tolerance,
    consistent,
    difference,
    disagreement,
    occluded,
    validated,
)
from texvlm.motion.dis import DisFlow, Preset
from texvlm.motion.field import MotionField, grid_of
from texvlm.motion.opening import MOTION_SOURCES, NoMotion, open_motion
from texvlm.motion.source import Moment, MotionSource, moment_of

__all__ = [
    "MOTION_SOURCES",
    "BlockMatcher",
    "CameraKind",
    "CameraModel",
    "CameraMotion",
    "CodecMotion",
    "Difference",
    "DisFlow",
    "Moment",
    "MotionField",
    "MotionSource",
    "NoMotion",
    "Preset",
    "Tolerance",
    "camera_motion",
    "consistent",
    "difference",
    "disagreement",
    "grid_of",
    "moment_of",
    "occluded",
    "open_motion",
    "rasterised",
    "validated",
]
