"""What a session hands to whoever draws: one picture's tokens and geometry, and the numbers beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from texvlm.regions import TileMask
from texvlm.tokens import TokenBatch


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """One picture: a frame, and the tokens of one look at it. Good until the session's next `advance`.

    Attributes:
        number: pictures of the session so far, 1 for the first.
        frame: frames taken so far, 1 for the first; two looks at one frame have one number.
        time_s: presentation time of the frame, seconds; None when unknown.
        size: (width, height) of the frame, texels.
        batch: its tokens, one view.
        tiles: what the frame changed, bool, (rows, columns).
        fixations: (u, v) of each fixation, the frame spanning 0..1, (k, 2); empty where a score map decides.
        why: who chose them, a few words.
    """

    number: int
    frame: int
    time_s: float | None
    size: tuple[int, int]
    batch: TokenBatch
    tiles: TileMask
    fixations: NDArray[np.float64]
    why: str


@dataclass(frozen=True, slots=True)
class ViewStatistics:
    """How a session is doing.

    Attributes:
        pictures: shown so far.
        frames: taken so far.
        dropped: frames that were decoded, or received, and never shown because newer ones were due.
        frames_per_s: frames taken in the last second or so.
        pictures_per_s: pictures shown in the last second or so.
        stages_ms: median milliseconds of late of each stage that ran.
        tokens: of one picture.
        tokens_sampled: of the last one, those that were sampled anew.
        tiles_share: share of tiles that the last frame changed, 0..1.
        bytes_uploaded: for the last frame.
        bytes_uploaded_total: since the session began.
        latency_ms: from a fixation move until the picture with it was shown, of the last move; None before one.
    """

    pictures: int
    frames: int
    dropped: int
    frames_per_s: float
    pictures_per_s: float
    stages_ms: dict[str, float]
    tokens: int
    tokens_sampled: int
    tiles_share: float
    bytes_uploaded: int
    bytes_uploaded_total: int
    latency_ms: float | None
