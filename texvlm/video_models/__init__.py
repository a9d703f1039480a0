"""Time in the model: heads over several frames, token merging, and small learned helpers."""

from __future__ import annotations

from texvlm.video_models.aggregation import FrameAggregation
from texvlm.video_models.checkpoint import load_checkpoint, save_checkpoint
from texvlm.video_models.delta import DeltaEncoder
from texvlm.video_models.frame_statistics import STATISTICS, frame_statistics
from texvlm.video_models.head import TemporalHead
from texvlm.video_models.importance import FrameImportance
from texvlm.video_models.merge_map import MergeMap
from texvlm.video_models.merging import match, match_frames, run_merged
from texvlm.video_models.recurrent import RecurrentHead
from texvlm.video_models.shift import ShiftHead
from texvlm.video_models.source_head import SourceHead

__all__ = [
    "STATISTICS",
    "DeltaEncoder",
    "FrameAggregation",
    "FrameImportance",
    "MergeMap",
    "RecurrentHead",
    "ShiftHead",
    "SourceHead",
    "TemporalHead",
    "frame_statistics",
    "load_checkpoint",
    "match",
    "match_frames",
    "run_merged",
    "save_checkpoint",
]
