"""Reuse of features over time: what did not change is not encoded again, and what is reused is bounded."""

from __future__ import annotations

from texvlm.temporal.accumulation import Accumulated, TokenAccumulator
from texvlm.temporal.codec_policy import CodecDecision, CodecPolicy
from texvlm.temporal.cuts import CutDetector, CutSettings
from texvlm.temporal.frame_gate import FrameGate, GateDecision, ssim_map
from texvlm.temporal.priorities import Priorities
from texvlm.temporal.quality import (
    Consistency,
    ConsistencyMeter,
    Flicker,
    FlickerMeter,
    Ghosting,
    GhostMeter,
    Staleness,
    StalenessMeter,
)
from texvlm.temporal.region_budget import BudgetRegion, RegionPlan, count_in_regions, plan_regions, region_shares
from texvlm.temporal.small_pictures import small_picture
from texvlm.temporal.token_cells import token_cells
from texvlm.temporal.transitions import Transition, TransitionKind

__all__ = [
    "Accumulated",
    "BudgetRegion",
    "CodecDecision",
    "CodecPolicy",
    "Consistency",
    "ConsistencyMeter",
    "CutDetector",
    "CutSettings",
    "Flicker",
    "FlickerMeter",
    "FrameGate",
    "GateDecision",
    "GhostMeter",
    "Ghosting",
    "Priorities",
    "RegionPlan",
    "Staleness",
    "StalenessMeter",
    "TokenAccumulator",
    "Transition",
    "TransitionKind",
    "count_in_regions",
    "plan_regions",
    "region_shares",
    "small_picture",
    "ssim_map",
    "token_cells",
]
