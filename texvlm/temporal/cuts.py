"""Cuts, and what only looks like one: causal, for each source on its own, from small pictures.

    picture -> likeness to the one before -> cut?     structure lost, histogram too, more than of late
                        |                 -> flash?   the same picture, lit; told by what comes after
                        +-> GradualTracker -> dissolve or fade under way?

A hard cut is reported with its first frame. A flash cannot be known at its first frame: it is reported
as provisional, and a later frame confirms it (the old picture is back) or revokes it (the light stays
on; or the frame was the first one of something else, which is then reported as a cut, late).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from texvlm.fixation.scene import Clock
from texvlm.temporal.likeness import Light, Likeness, light_on, likeness
from texvlm.temporal.small_pictures import SmallPicture, as_small_picture
from texvlm.temporal.transitions import (
    FAINT_PICTURE,
    SOLID,
    Gradual,
    GradualTracker,
    Transition,
    TransitionKind,
    Verdict,
)

REPEATED = 1.5 / 255
"""Largest change of a texel's luma in a repeated frame; it says nothing about how fast the shot moves."""

SHORT = 8
"""Frames of a shot below which it is short: the bar comes down again over so many."""

LEAST_CHANGE = 20 / 255
"""Change that some texel shows in a cut: resident pictures trail by up to the threshold of `submit`, tile by tile, so
in the last steps of a fade near black they change by twice that, without a meaning."""

RECENT, UNKNOWN = 6, 0.1
"""Frames that say how fast a shot moves, and the structure distance taken for it after a cut."""


@dataclass(frozen=True, slots=True)
class CutSettings:
    """What makes a cut. The defaults were set on generated clips; see docs/transitions.md.

    Attributes:
        bar: score of a cut in a shot at rest: structure distance and histogram distance, the latter
            counting no more than the former.
        motion: by how much the largest structure distance of late raises the bar.
        soon: by how much a cut just now raises the bar; what follows at once is more often a passer-by than a shot.
        still: share of the textured area that a cut leaves as it was, at most: a window that opens is none.
        flash_s: seconds that a flash lasts at most.
        flash_frames: frames that it may last in any case.
        features: by how much a change of features, beyond that of late, lowers the bar, or raises it
            where they stay.
    """

    bar: float = 0.42
    motion: float = 0.75
    soon: float = 0.4
    still: float = 0.25
    flash_s: float = 0.15
    flash_frames: int = 3
    features: float = 0.2

    def __post_init__(self) -> None:
        for name in ("bar", "motion", "soon", "still", "flash_s", "features"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:
                raise ValueError(f"{name} is {value}; accepted: a finite number, 0 or above")
        if self.flash_frames < 1:
            raise ValueError(f"flash_frames is {self.flash_frames}; accepted: 1 or more")


@dataclass(slots=True, eq=False)
class _Flash:
    """A flash that may be under way: what there was before it, since when it lasts, and whether it may be a cut."""

    before: SmallPicture
    since: int
    since_s: float
    candidate: bool


@dataclass(slots=True, eq=False)
class _Watched:
    """What is kept of one source: two small pictures and a few numbers."""

    frame: int = -1
    cut: int | None = None
    last: SmallPicture | None = None
    feature: NDArray[np.float64] | None = None
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    feature_steps: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    clock: Clock = field(default_factory=Clock)
    gradual: GradualTracker = field(default_factory=GradualTracker)
    flash: _Flash | None = None


class CutDetector:
    """Tells cuts, dissolves, fades and flashes of any number of sources apart.

    A source is known from its first picture on; `reset` forgets it. Sources do not touch each other.

    Args:
        settings: what makes a cut.
    """

    def __init__(self, settings: CutSettings | None = None) -> None:
        self.settings = CutSettings() if settings is None else settings
        self._watched: dict[Hashable, _Watched] = {}

    @property
    def sources(self) -> tuple[Hashable, ...]:
        """Sources that something is known of."""
        return tuple(self._watched)

    def reset(self, source: Hashable) -> None:
        """Forget a source, if it is known: its next picture is its first one."""
        self._watched.pop(source, None)

    def update(
        self,
        picture: ArrayLike,
        source: Hashable = 0,
        *,
        time_s: float | None = None,
        features: ArrayLike | None = None,
    ) -> Transition:
        """Take the next picture of a source.

        Args:
            picture: see `as_small_picture`; `small_picture` reads one from an engine. Another size than
                before starts the source anew.
            source: any name of it.
            time_s: when it is shown; says how long a flash lasts. One that is unknown, repeated or
                earlier than the last counts as a nominal step: pixels alone say what is a cut.
            features: of this frame, (n,), such as a class token, where they exist already.
        Raises:
            ValueError, TypeError: a picture or features not accepted; nothing has changed.
        """
        new = as_small_picture(picture)
        feature = None if features is None else _direction(features)
        watched = self._watched.get(source)
        if watched is None or (watched.last is not None and watched.last.colour.shape != new.colour.shape):
            watched = self._watched[source] = _Watched()
        watched.frame += 1
        now_s = watched.clock.tick(time_s)
        old, watched.last = watched.last, new
        turned = _turned(watched, feature)
        if old is None:
            return Transition("none", 0, 0, resets=True)
        if float(np.abs(new.luma - old.luma).max()) < REPEATED:
            return self._repeated(watched, now_s)
        if watched.flash is not None:
            return self._in_flash(watched, watched.flash, old, new, now_s)
        found = likeness(old, new)
        if _is_flash(light_on(old.luma, new.luma), old, new):
            candidate = self._is_cut(watched, found, old, new, turned)
            watched.flash = _Flash(old, watched.frame, now_s, candidate)
            return _report("flash", watched.frame, watched.frame, found, provisional=True)
        if self._is_cut(watched, found, old, new, turned):
            return _cut(watched, found)
        watched.recent.append(found.structure)
        state = watched.gradual.follow(old, new, watched.frame, structure=found.structure)
        return _gradual(state, watched.frame, found)

    def _is_cut(self, watched: _Watched, found: Likeness, old: SmallPicture, new: SmallPicture, turned: float) -> bool:
        """Whether a picture replaces the one before."""
        if min(old.contrast, new.contrast) < SOLID and max(old.contrast, new.contrast) < FAINT_PICTURE:
            return False  # a fade's first or last step
        if float(np.abs(new.luma - old.luma).max()) < LEAST_CHANGE:
            return False
        return found.still <= self.settings.still and score_of(found) >= self._bar(watched, turned)

    def _bar(self, watched: _Watched, turned: float) -> float:
        """The score of a cut here and now."""
        settings, motion = self.settings, max(watched.recent, default=UNKNOWN)
        soon = 0.0 if watched.cut is None else max(0.0, 1 - (watched.frame - watched.cut) / SHORT)
        return settings.bar + settings.motion * motion + settings.soon * soon - settings.features * turned

    def _in_flash(
        self, watched: _Watched, flash: _Flash, old: SmallPicture, new: SmallPicture, now_s: float
    ) -> Transition:
        """A frame after the first one of a flash: still lit, over, or none at all."""
        found = likeness(flash.before, new)
        light = light_on(flash.before.luma, new.luma)
        frames = watched.frame - flash.since
        is_long = frames >= self.settings.flash_frames and now_s - flash.since_s >= self.settings.flash_s - 1e-6
        # what moved since the flash began moved in several frames
        allowed = self.settings.bar + self.settings.motion * max(watched.recent, default=UNKNOWN) * (frames + 1)
        is_other = found.still <= self.settings.still and score_of(found) >= allowed
        unlike_last = score_of(likeness(old, new)) >= self.settings.bar
        # what the light seemed to fall on may be moving fast: then no frame is unlike the one before
        is_other = is_other and (flash.candidate or unlike_last)
        goes_on = _is_lit(light, flash.before, new) or (light.much and not unlike_last)
        if goes_on and not is_long:
            return _report("flash", watched.frame, flash.since, found, provisional=True)
        watched.flash = None
        verdict: Verdict = "revoked" if is_long else "confirmed"
        if is_other:
            return _cut(watched, found, verdict=verdict)
        return _report("none", watched.frame, watched.frame, found, verdict=verdict)

    def _repeated(self, watched: _Watched, now_s: float) -> Transition:
        """A frame like the one before: a flash goes on or has lasted too long; else nothing is learnt from it."""
        if watched.flash is None or watched.last is None:
            return _gradual(watched.gradual.repeat(watched.frame), watched.frame, None)
        return self._in_flash(watched, watched.flash, watched.last, watched.last, now_s)


def score_of(found: Likeness) -> float:
    """Evidence that a picture was replaced, 0..2. The histogram counts only as much as structure was lost."""
    return found.structure + min(found.histogram, found.structure)


def _is_flash(light: Light, old: SmallPicture, new: SmallPicture) -> bool:
    """Whether a frame may be the first one of a flash."""
    if old.contrast < FAINT_PICTURE:
        return False  # nothing to light: the picture comes up, or another one is there
    if new.contrast < SOLID:
        return abs(light.rise) > 0.02  # all white, all black
    return _is_lit(light, old, new)


def _is_lit(light: Light, old: SmallPicture, new: SmallPicture) -> bool:
    """Whether a picture is an earlier one under much more light, or nothing but light or dark."""
    if new.contrast < SOLID:
        return True
    return light.much and light.no_darker >= 0.985 and light.new_structure + light.unmapped <= 1.1


def _direction(features: ArrayLike) -> NDArray[np.float64]:
    """Features of length 1."""
    values = np.asarray(features, np.float64).ravel()
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"features of shape {np.shape(features)}; accepted: finite numbers, at least one")
    length = float(np.linalg.norm(values))
    return values / length if length > 0 else values


def _turned(watched: _Watched, feature: NDArray[np.float64] | None) -> float:
    """How far the features turned beyond what they did of late, -1..1; 0 where they are not known of both frames."""
    before, watched.feature = watched.feature, feature
    if before is None or feature is None or before.shape != feature.shape:
        return 0.0
    step = 1.0 - float(before @ feature)
    usual = max(watched.feature_steps, default=0.0)
    watched.feature_steps.append(step)
    return float(np.clip((step - usual - NEAR_FEATURES) / NEAR_FEATURES, -1.0, 1.0))


NEAR_FEATURES = 0.2
"""Cosine distance of class tokens between neighbouring frames that speaks neither for a cut nor against one."""


def _cut(watched: _Watched, found: Likeness, *, verdict: Verdict | None = None) -> Transition:
    """A new shot: what is known of the old one's motion is of no use."""
    ended = watched.gradual.abandon()
    watched.cut = watched.frame
    watched.recent.clear()
    watched.feature_steps.clear()
    return _report("cut", watched.frame, watched.frame, found, verdict=verdict or ended)


def _gradual(state: Gradual, frame: int, found: Likeness | None) -> Transition:
    """A frame that is neither cut nor flash."""
    provisional = state.kind != "none" and not state.sure
    return _report(state.kind, frame, state.since, found, provisional=provisional, verdict=state.verdict)


def _report(
    kind: TransitionKind,
    frame: int,
    since: int,
    found: Likeness | None,
    *,
    provisional: bool = False,
    verdict: Verdict | None = None,
) -> Transition:
    """What was found, and what follows from it."""
    return Transition(
        kind,
        frame,
        since,
        0.0 if found is None else score_of(found),
        0.0 if found is None else found.structure,
        0.0 if found is None else found.histogram,
        provisional,
        verdict,
        resets=kind == "cut",
        hold=kind == "flash",
    )
