"""Time in the model: heads over several frames, token merging, and small learned helpers."""

from __future__ import annotations

from texvlm.video_models.aggregation import FrameAggregation
from texvlm.video_models.head import TemporalHead
from texvlm.video_models.merge_map import MergeMap
from texvlm.video_models.merging import match, match_frames, run_merged
from texvlm.video_models.recurrent import RecurrentHead
from texvlm.video_models.shift import ShiftHead
from texvlm.video_models.source_head import SourceHead

__all__ = [
    "FrameAggregation",
    "MergeMap",
    "RecurrentHead",
    "ShiftHead",
    "SourceHead",
    "TemporalHead",
    "match",
    "match_frames",
    "run_merged",
]
