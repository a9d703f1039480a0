"""What an encode job did: one record, ready for a table or for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from texvlm.backends.base import Counters
from texvlm.store import StoreMeta
from texvlm.store.meta import Contents, Status

JOB_STAGES = ("decode", "look", "model", "write", "preview")
"""Stages of a frame around those of the engine; "model" and "preview" only where they were asked for."""


class EncodeReport(BaseModel):
    """Result of one run. Counts and times are of the frames that this run encoded, not of those it replayed.

    Attributes:
        out: the token folder.
        input: as it was named.
        status: "complete", or "stopped" when a resume has more to do.
        frames: frames in the folder now.
        first_frame: where this run began to encode; above 0 after a resume.
        encoded: frames that this run encoded.
        size: (width, height) of the first frame, texels.
        tokens_per_frame: rows of a frame's table, padding included; the largest where it varies.
        tokens_sampled: tokens that were filtered anew.
        tokens_reused: tokens that were known to be unchanged.
        tiles_changed: share of tiles that were updated, 0..1.
        tiles_dirty: how many.
        bytes_uploaded: level-0 bytes written to textures.
        contents: what the folder keeps of each frame: "tokens", "features" or "both".
        model: what made the features, see StoreMeta; None without.
        feature_shapes: what a frame has of each feature tensor, without the count of tokens; None without.
        bytes_written: size of all shards in the folder.
        shards: number of shards in the folder.
        size_changes: times that the frame size changed.
        reallocations: times that textures were made anew because a larger frame came.
        first_frame_ms: milliseconds of each stage for the first frame, which also compiles kernels.
        ms_per_frame: mean milliseconds of each stage, the first frame left out where there are more.
        seconds: wall time of the whole run, replay included.
        fps: encoded frames by wall time without replay.
        backend: name of the backend.
        engine: Engine.describe() at the end.
        source: Source.describe() at the end: broken packets, dropped frames, truncation.
        gaze: how much of the clip the gaze file speaks for; see texvlm.fixation.Coverage.
        preview: the preview video, where there is one.
        still: the still picture, where there is one.
    """

    out: str
    input: str
    status: Status
    frames: int
    first_frame: int
    encoded: int
    size: tuple[int, int]
    tokens_per_frame: int
    tokens_sampled: int
    tokens_reused: int
    tiles_changed: float
    tiles_dirty: int
    bytes_uploaded: int
    contents: Contents = "tokens"
    model: dict[str, Any] | None = None
    feature_shapes: dict[str, tuple[int, ...]] | None = None
    bytes_written: int
    shards: int
    size_changes: int
    reallocations: int
    first_frame_ms: dict[str, float]
    ms_per_frame: dict[str, float]
    seconds: float
    fps: float
    backend: str
    engine: dict[str, Any]
    source: dict[str, Any]
    gaze: dict[str, Any] | None = None
    preview: str | None = None
    still: str | None = None

    @property
    def engine_ms_per_frame(self) -> float:
        """Mean milliseconds from a frame in memory to its tokens: the engine's stages together."""
        return sum(spent for stage, spent in self.ms_per_frame.items() if stage not in JOB_STAGES)


class Ledger:
    """Counts and times of one run while it is under way.

    Attributes:
        work: what the engine did since this run began to encode.
    """

    def __init__(self, earlier: StoreMeta, *, engine_stages: Iterable[str]) -> None:
        decode, *later = JOB_STAGES
        stages = (decode, *engine_stages, *later)
        self.encoded = self.tokens_per_frame = self.size_changes = self.reallocations = 0
        # Not from the counters: a frame of a new size is not compared, and a new texture array is filled again.
        self.tiles_dirty = self.tiles_total = 0
        self.first_ms: dict[str, float] = dict.fromkeys(stages, 0.0)
        self.total_ms: dict[str, float] = dict.fromkeys(stages, 0.0)
        self.work = Counters()
        self._earlier = earlier

    def add(self, frame_ms: dict[str, float]) -> None:
        """One more frame and its stage times."""
        for stage, spent in frame_ms.items():
            self.total_ms[stage] += spent
        if self.encoded == 0:
            self.first_ms = dict(self.total_ms)
        self.encoded += 1

    def add_late(self, spent_ms: dict[str, float]) -> None:
        """Time spent on frames that had been added: those that waited for the model when the input ended."""
        for stage, spent in spent_ms.items():
            self.total_ms[stage] += spent
        if self.encoded < 2:
            self.first_ms = dict(self.total_ms)

    def totals(self) -> tuple[dict[str, int], dict[str, float]]:
        """Counters and milliseconds of all runs behind the folder, for meta.json."""
        before = self._earlier
        counters = {name: count + before.counters.get(name, 0) for name, count in self.work.as_dict().items()}
        times = {stage: spent + before.timings_ms.get(stage, 0.0) for stage, spent in self.total_ms.items()}
        return counters, times

    def means_ms(self) -> dict[str, float]:
        """Mean milliseconds of each stage, without the first frame where there are more."""
        if self.encoded < 2:
            return dict(self.first_ms)
        return {stage: (total - self.first_ms[stage]) / (self.encoded - 1) for stage, total in self.total_ms.items()}

    @property
    def tiles_changed(self) -> float:
        """Share of tiles that were updated, 0..1."""
        return self.tiles_dirty / max(self.tiles_total, 1)
