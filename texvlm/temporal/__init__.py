"""Reuse of features over time: what did not change is not encoded again, and what is reused is bounded."""

from __future__ import annotations

from texvlm.temporal.accumulation import Accumulated, TokenAccumulator
from texvlm.temporal.anchoring import AnchorStep, ContentAnchor
from texvlm.temporal.change import ChangeRule
from texvlm.temporal.codec_policy import CodecDecision, CodecPolicy
from texvlm.temporal.cuts import CutDetector, CutSettings
from texvlm.temporal.deadline import Deadline
from texvlm.temporal.encoder import TemporalEncoder
from texvlm.temporal.exact_check import Agreement, GateLoop, agreement
from texvlm.temporal.frame_gate import FrameGate, GateDecision, ssim_map
from texvlm.temporal.gates import Fraction, Gate, Threshold, TopK
from texvlm.temporal.presets import AUTO, PRESETS, AutoPreset, settings_of
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
from texvlm.temporal.reports import Level, ReuseReport, TemporalFeatures
from texvlm.temporal.reuse import ReuseEncoder
from texvlm.temporal.run_lengths import RunLengths, encode_clip, run_lengths
from texvlm.temporal.settings import TemporalSettings, read_settings, settings_text
from texvlm.temporal.small_pictures import small_picture
from texvlm.temporal.temporal_reports import EncodeError, TemporalCounters, TemporalReport
from texvlm.temporal.token_cells import token_cells
from texvlm.temporal.transitions import Transition, TransitionKind

__all__ = [
    "AUTO",
    "PRESETS",
    "Accumulated",
    "Agreement",
    "AnchorStep",
    "AutoPreset",
    "BudgetRegion",
    "ChangeRule",
    "CodecDecision",
    "CodecPolicy",
    "Consistency",
    "ConsistencyMeter",
    "ContentAnchor",
    "CutDetector",
    "CutSettings",
    "Deadline",
    "EncodeError",
    "Flicker",
    "FlickerMeter",
    "Fraction",
    "FrameGate",
    "Gate",
    "GateDecision",
    "GateLoop",
    "GhostMeter",
    "Ghosting",
    "Level",
    "Priorities",
    "RegionPlan",
    "ReuseEncoder",
    "ReuseReport",
    "RunLengths",
    "Staleness",
    "StalenessMeter",
    "TemporalCounters",
    "TemporalEncoder",
    "TemporalFeatures",
    "TemporalReport",
    "TemporalSettings",
    "Threshold",
    "TokenAccumulator",
    "TopK",
    "Transition",
    "TransitionKind",
    "agreement",
    "count_in_regions",
    "encode_clip",
    "plan_regions",
    "read_settings",
    "region_shares",
    "run_lengths",
    "settings_of",
    "settings_text",
    "small_picture",
    "ssim_map",
    "token_cells",
]
