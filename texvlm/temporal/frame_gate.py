"""The frame gate: frames that look like the last one processed are skipped, for a while.

Each frame is compared with the last *processed* one, never with the one before, so that what changes
slowly gets through in the end; and no skip lasts longer than was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texvlm.fixation.scene import Clock
from texvlm.temporal.small_pictures import SmallPicture, as_small_picture
from texvlm.temporal.transitions import Transition

WINDOW = 7
"""Texels along the side of the window of SSIM."""

Reason = Literal["first", "cut", "size", "time", "age", "structure", "change", "similar", "flash"]
"""Why a frame is processed; the last two: why it is not."""


@dataclass(frozen=True, slots=True)
class GateDecision:
    """What becomes of a frame.

    Attributes:
        process: whether it is to be processed; else the last processed one stands for it.
        reason: the first that holds of: "first" frame of its source, a "cut", another "size", "time" went
            back, the last processed frame's "age", its "structure" or a "change" of brightness beyond the
            limit; and of those skipped, it is a "flash" or "similar".
        similarity: mean SSIM to the last processed frame; 1 for a first frame.
        change: largest difference of a texel's luma from it, 0..1.
        skipped: frames skipped since the last processed one, this one included.
    """

    process: bool
    reason: Reason
    similarity: float = 1.0
    change: float = 0.0
    skipped: int = 0


@dataclass(slots=True, eq=False)
class _Gated:
    """What is kept of one source: the last processed frame and when it was."""

    clock: Clock = field(default_factory=Clock)
    picture: SmallPicture | None = None
    processed_s: float = 0.0
    latest_s: float | None = None
    skipped: int = 0


class FrameGate:
    """Skips frames that resemble the last processed one; any number of sources, each on its own.

    Args:
        similarity: mean SSIM that a skipped frame has at least, 0..1. Above 1 skips repeated frames at most.
        change: difference of a texel's luma that a skipped frame has at most, 0..1. It sees what is too
            small to move the mean.
        longest_s: seconds that the last processed frame stands for others at most.
        longest_frames: frames in a row that are skipped at most.
    """

    def __init__(
        self, similarity: float = 0.97, *, change: float = 0.1, longest_s: float = 1.0, longest_frames: int = 60
    ) -> None:
        for name, value in (("similarity", similarity), ("change", change), ("longest_s", longest_s)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; accepted: a finite number, 0 or above")
        if longest_frames < 0:
            raise ValueError(f"longest_frames is {longest_frames}; accepted: 0 or more")
        self.similarity, self.change = similarity, change
        self.longest_s, self.longest_frames = longest_s, longest_frames
        self._gated: dict[Hashable, _Gated] = {}

    @property
    def sources(self) -> tuple[Hashable, ...]:
        """Sources that something is known of."""
        return tuple(self._gated)

    def reset(self, source: Hashable) -> None:
        """Forget a source, if it is known: its next frame is processed."""
        self._gated.pop(source, None)

    def update(
        self,
        picture: ArrayLike,
        source: Hashable = 0,
        *,
        time_s: float | None = None,
        transition: Transition | None = None,
    ) -> GateDecision:
        """Take the next frame of a source and decide on it.

        Args:
            picture: see `as_small_picture`.
            source: any name of it.
            time_s: when it is shown. A time before the one of the last frame is a jump: that frame is
                processed. The same time again is no jump, and an unknown one is a nominal step on.
            transition: what the frame is: what resets is processed, and a flash is not while it may be skipped.
        Raises:
            ValueError, TypeError: a picture not accepted; nothing has changed.
        """
        new = as_small_picture(picture)
        gated = self._gated.setdefault(source, _Gated())
        known = time_s if time_s is not None and math.isfinite(time_s) else None
        jumped = known is not None and gated.latest_s is not None and known < gated.latest_s
        gated.latest_s = gated.latest_s if known is None else known
        now_s = gated.clock.tick(time_s)
        decision = self._decide(gated, new, now_s, jumped=jumped, transition=transition)
        if decision.process:
            gated.picture, gated.processed_s = new, now_s
        gated.skipped = decision.skipped
        return decision

    def _decide(
        self, gated: _Gated, new: SmallPicture, now_s: float, *, jumped: bool, transition: Transition | None
    ) -> GateDecision:
        """The first reason that holds."""
        last, skipped = gated.picture, gated.skipped + 1
        if last is None:
            return GateDecision(True, "first")
        if transition is not None and transition.resets:
            return GateDecision(True, "cut")
        if last.size != new.size:
            return GateDecision(True, "size")
        if jumped:
            return GateDecision(True, "time")
        similarity = float(ssim_map(last.luma, new.luma).mean())
        change = float(np.abs(last.luma - new.luma).max())
        if skipped > self.longest_frames or now_s - gated.processed_s > self.longest_s + 1e-6:
            return GateDecision(True, "age", similarity, change)
        if transition is not None and transition.hold:
            return GateDecision(False, "flash", similarity, change, skipped)
        if change > 0 and similarity < self.similarity:
            return GateDecision(True, "structure", similarity, change)
        if change > self.change:
            return GateDecision(True, "change", similarity, change)
        return GateDecision(False, "similar", similarity, change, skipped)


def ssim_map(one: ArrayLike, other: ArrayLike, *, window: int = WINDOW, full_scale: float = 1.0) -> NDArray[np.float64]:
    """Structural similarity of two pictures at every place where a whole window fits.

    A uniform window and unbiased variances; constants 0.01 and 0.03.

    Args:
        one: (height, width), of at least a window's size.
        other: likewise.
        window: texels along the window's side.
        full_scale: the largest value less the least.
    Returns:
        (height - window + 1, width - window + 1), -1..1; its mean is the similarity of the two.
    Raises:
        ValueError: shapes that differ, or are smaller than the window; a window below 2; no positive scale.
    Source:
        Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    x, y = np.asarray(one, np.float64), np.asarray(other, np.float64)
    if x.shape != y.shape or x.ndim != 2 or min(x.shape) < window:
        raise ValueError(
            f"pictures of shapes {x.shape} and {y.shape}; accepted: the same (height, width), {window} or more each"
        )
    if window < 2 or not 0 < full_scale < math.inf:
        raise ValueError(f"window is {window} and full_scale {full_scale}; accepted: 2 or more, and above 0")
    count = window * window
    # around a common level: sums of squares then keep their digits where variances are small
    level = (x.mean() + y.mean()) / 2
    x0, y0 = x - level, y - level
    mean_x, mean_y, xx, yy, xy = (_window_means(v, window) for v in (x0, y0, x0 * x0, y0 * y0, x0 * y0))
    unbiased = count / (count - 1)
    var_x, var_y = unbiased * (xx - mean_x * mean_x), unbiased * (yy - mean_y * mean_y)
    covariance = unbiased * (xy - mean_x * mean_y)
    mean_x, mean_y = mean_x + level, mean_y + level
    dark, flat = (0.01 * full_scale) ** 2, (0.03 * full_scale) ** 2
    brightness = (2 * mean_x * mean_y + dark) / (mean_x**2 + mean_y**2 + dark)
    found: NDArray[np.float64] = brightness * (2 * covariance + flat) / (var_x + var_y + flat)
    return found


def _window_means(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Mean over each window, by sums along one axis after the other."""
    rows = np.lib.stride_tricks.sliding_window_view(values, window, axis=0).sum(axis=-1)
    sums: NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(rows, window, axis=1).sum(axis=-1)
    return sums / (window * window)
