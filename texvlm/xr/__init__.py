"""Headsets through OpenXR: the eyes' pictures and their gaze in, tokens of both eyes out.

    Headset.frames() -> HeadsetFrame: two EyeBuffers to draw, gaze of each eye
                              |
                        EyeTokens.take() -> TokenBatch, view 0 the left eye's

Needs pyopenxr (extra `xr`), a runtime, and an OpenGL 4.5 context of the application's that is current. Gaze is
personal: see texvlm.gaze. What only a real headset can show is listed in docs/xr.md.
"""

from __future__ import annotations

from texvlm.xr.eye_frame import XR_CLOCK, EyeBuffer, HeadsetFrame
from texvlm.xr.eye_gaze import GazeOfFrames, GazeRay
from texvlm.xr.eye_images import Arrangement
from texvlm.xr.eye_tokens import EyeTokens
from texvlm.xr.headset import Headset

__all__ = [
    "XR_CLOCK",
    "Arrangement",
    "EyeBuffer",
    "EyeTokens",
    "GazeOfFrames",
    "GazeRay",
    "Headset",
    "HeadsetFrame",
]
