"""Transitions: the ways in which one shot becomes another, and those that take more than one frame."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from texvlm.fixation.scene import FloatMap
from texvlm.temporal.likeness import likeness
from texvlm.temporal.small_pictures import SmallPicture

TransitionKind = Literal["none", "cut", "dissolve", "fade_out", "fade_in", "flash"]
Verdict = Literal["confirmed", "revoked"]

SOLID = 0.006
"""Contrast below which a picture is one colour."""

FADED_OUT = 0.012
"""Contrast at which a fade has arrived: resident pictures keep what differs by less than the threshold of `submit`."""

FAINT_PICTURE = 0.03
"""Contrast up to which a picture may be the first or last step of a fade."""


@dataclass(frozen=True, slots=True)
class Transition:
    """What one frame is, seen from the frames before it.

    What cannot be known yet is `provisional`; a later frame of the same source then says in `verdict`
    that it was so, or was not. A cut is never provisional and never taken back.

    Attributes:
        kind: of this frame.
        frame: index of this frame since the source's reset, 0-based.
        since: index of the first frame of the transition; `frame` itself where there is none.
        score: evidence that the picture was replaced, 0..2; above about 0.4 a cut in a calm shot.
        structure: structure distance to the frame before, 0..1.
        histogram: histogram distance to the frame before, 0..1.
        provisional: the kind may turn out otherwise.
        verdict: what this frame says of the provisional kind reported before it; None: nothing.
        resets: nothing from before this frame may be reused: a cut, a source's first frame, another size.
        hold: what is shown is likely to be gone in a moment: encode it if you must, but keep what there was.
    """

    kind: TransitionKind
    frame: int
    since: int
    score: float = 0.0
    structure: float = 0.0
    histogram: float = 0.0
    provisional: bool = False
    verdict: Verdict | None = None
    resets: bool = False
    hold: bool = False


@dataclass(frozen=True, slots=True)
class Gradual:
    """A gradual transition under way, or one that just ended.

    Attributes:
        kind: which; "none" where nothing is under way.
        since: index of its first frame.
        sure: it can be nothing else any more.
        verdict: what is now known of the kind reported before.
    """

    kind: Literal["none", "dissolve", "fade_out", "fade_in"]
    since: int
    sure: bool = False
    verdict: Verdict | None = None


@dataclass(slots=True, eq=False)
class GradualTracker:
    """Follows dissolves and fades through the frames of one source; it sees nothing of later ones.

    A fade scales the picture: each frame is the one before, with less contrast or more, and the last
    or first is one colour. A dissolve changes each texel at a steady rate, in a way that no motion of
    the camera explains, until the picture that it began with cannot be found any more; so it becomes
    known about half-way.

    Source:
        The accumulated comparison is that of Zhang, Kankanhalli, Smoliar, "Automatic partitioning of
        full-motion video", 1993; constant rate per texel as in Hampapur et al., 1994.
    """

    _run: int = field(default=0, init=False)
    _start: SmallPicture | None = field(default=None, init=False)
    _since: int = field(default=0, init=False)
    _difference: FloatMap | None = field(default=None, init=False)
    _misses: int = field(default=0, init=False)
    _repeats: int = field(default=0, init=False)
    _last_contrast: float = field(default=0.0, init=False)
    _known: Literal["none", "dissolve", "fade_out", "fade_in"] = field(default="none", init=False)
    _sure: bool = field(default=False, init=False)

    def reset(self) -> None:
        """Forget what was under way."""
        self._run, self._start, self._difference, self._misses, self._repeats = 0, None, None, 0, 0
        self._known, self._sure = "none", False

    def abandon(self) -> Verdict | None:
        """Forget what was under way, because a cut came between; the verdict on it, if it was reported."""
        known, sure = self._known, self._sure
        self.reset()
        return None if known == "none" else "confirmed" if sure else "revoked"

    def follow(self, old: SmallPicture, new: SmallPicture, frame: int, *, structure: float) -> Gradual:
        """Take a frame that differs from the one before, by some structure distance, and is no cut."""
        difference = new.luma - old.luma
        steady = _alike(self._difference, difference) or (
            self._start is not None and _alike(old.luma - self._start.luma, difference)
        )
        steady = steady and structure < STEADY_STRUCTURE
        steady = steady and not _camera_moved(old.luma, difference)
        solid = min(old.contrast, new.contrast) < FADED_OUT
        self._difference = difference
        if not (steady or solid or (self._start is None and np.abs(difference).mean() > LEAST_STEP)):
            self._misses += 1
            if self._misses >= PATIENCE or self._start is None:
                return self._end(frame)
        else:
            self._misses = 0
        self._repeats = 0
        if self._start is None:
            self._start, self._since, self._run = old, frame, 0
        self._run += 1
        return self._judge(new, frame)

    def repeat(self, frame: int) -> Gradual:
        """Take a frame that repeats the one before: a slower clip in a faster one, or a rest."""
        self._repeats += 1
        if self._known == "none" or self._repeats < REST:
            return self._state(frame)
        return self._end(frame)

    def _state(self, frame: int) -> Gradual:
        """What is under way."""
        return Gradual(self._known, frame if self._known == "none" else self._since, self._sure)

    def _judge(self, new: SmallPicture, frame: int) -> Gradual:
        """What the run so far is."""
        start = self._start
        assert start is not None, "a run is under way"
        before, now = start.contrast, new.contrast
        self._last_contrast = now
        if before < FAINT_PICTURE:
            if self._known == "none" and now > max(1.2 * before, FADED_OUT):
                self._known, self._since, self._sure = "fade_in", frame, before < FADED_OUT
        elif now < FADED_OUT:  # whatever it looked like on the way
            self._known, self._sure = "fade_out", True
        elif self._run >= LEAST_RUN and now < FADED * before and _scaled(start.luma, new.luma):
            self._known = "fade_out" if self._known == "none" else self._known
        elif self._run >= LEAST_RUN and self._known != "dissolve" and now > FADING * before and _replaced(start, new):
            self._known, self._sure = "dissolve", True
        if self._known == "fade_out" and self._sure:
            since = self._since
            self.reset()
            return Gradual("fade_out", since, True, "confirmed")
        return self._state(frame)

    def _end(self, frame: int) -> Gradual:
        """The run is over."""
        known, start, difference = self._known, self._start, self._difference
        grown = known == "fade_in" and start is not None and self._last_contrast > 2 * start.contrast
        sure = self._sure or grown
        self.reset()
        self._difference = difference
        return Gradual("none", frame, verdict=None if known == "none" else "confirmed" if sure else "revoked")


LEAST_STEP = 0.5 / 255
"""Mean change from frame to frame below which nothing is under way."""

LEAST_RUN = 4
"""Frames from which on a run can be told from a jolt."""

STEADY_STRUCTURE = 0.12
"""Structure distance from frame to frame that a dissolve stays below; a fast zoom does not."""

PATIENCE = 3
"""Frames in a row that may break the pattern: a shot goes on moving under a dissolve."""

REST = 12
"""Repeated frames in a row that end whatever was under way."""

FADED, FADING = 0.7, 0.35
"""Share of its contrast that a fading picture has left, at most; and that a dissolve keeps, at least."""


def _alike(last: FloatMap | None, difference: FloatMap) -> bool:
    """Whether texels go on changing as they did, in the frame before or since the beginning."""
    if last is None or np.abs(difference).mean() <= LEAST_STEP:
        return False
    return float((last * difference).sum()) > ALIKE * float(np.sqrt((last**2).sum() * (difference**2).sum()))


ALIKE = 0.5
"""Correlation of changes that are the same one going on. Tiles of resident pictures are updated in turns, and motion
goes on under a dissolve."""


def _camera_moved(old: FloatMap, difference: FloatMap) -> bool:
    """Whether a pan or zoom explains a good part of a small change: least squares on the picture's slopes."""
    slope_y, slope_x = np.gradient(old)
    height, width = old.shape
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    basis = np.stack([slope_x, slope_y, x * slope_x + y * slope_y], axis=-1).reshape(-1, 3).astype(np.float64)
    target = difference.ravel().astype(np.float64)
    gram = basis.T @ basis + 1e-9 * np.eye(3)
    motion = np.linalg.solve(gram, basis.T @ target)
    left = target - basis @ motion
    return bool(left @ left < 0.75 * (target @ target))


def _scaled(start: FloatMap, now: FloatMap) -> bool:
    """Whether a picture is an earlier one with another gain and offset."""
    a, b = start - start.mean(), now - now.mean()
    return float((a * b).sum()) > 0.85 * float(np.sqrt((a * a).sum() * (b * b).sum()))


def _replaced(start: SmallPicture, now: SmallPicture) -> bool:
    """Whether an earlier picture cannot be found in a new one."""
    found = likeness(start, now)
    return found.structure + min(found.histogram, found.structure) > 0.5
