"""Reuse of features over time: what did not change is not encoded again, and what is reused is bounded."""

from __future__ import annotations

from texvlm.temporal.accumulation import Accumulated, TokenAccumulator
from texvlm.temporal.cuts import CutDetector, CutSettings
from texvlm.temporal.frame_gate import FrameGate, GateDecision, ssim_map
from texvlm.temporal.small_pictures import small_picture
from texvlm.temporal.transitions import Transition, TransitionKind

__all__ = [
    "Accumulated",
    "CutDetector",
    "CutSettings",
    "FrameGate",
    "GateDecision",
    "TokenAccumulator",
    "Transition",
    "TransitionKind",
    "small_picture",
    "ssim_map",
]
