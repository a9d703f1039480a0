"""Follower: what TemporalEncoder finds out about a resident frame before its tokens are planned.

engine, source -> cut? -> motion, in time and believed -> the camera's part -> where the grid goes
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from texvlm.engine import Engine
from texvlm.fixation.scene import Resident
from texvlm.frames import Frame
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.layouts.subdivided import Subdivided
from texvlm.motion.camera import camera_motion
from texvlm.motion.source import MotionSource, moment_of
from texvlm.temporal.anchoring import LAG, ContentAnchor
from texvlm.temporal.area_tokens import parts_for
from texvlm.temporal.guarded_motion import GuardedMotion
from texvlm.temporal.settings import TemporalSettings
from texvlm.temporal.transitions import Transition
from texvlm.temporal.watched import Hint, Watched

BUSY = 0.15
"""Stale share of late below which nobody asks how the camera moves."""


def check_steps(engine: Engine, sources: Sequence[int], known: Mapping[int, Watched]) -> None:
    """Refuse frames of which no step can be taken; changes nothing.

    Args:
        engine: holds the frames.
        sources: of the frames.
        known: sources of which steps were taken.
    Raises:
        ValueError: a source twice, one without a frame, or a frame from before the last one.
    """
    if len(set(sources)) != len(sources):
        raise ValueError(f"sources {list(sources)}; accepted: each once in a step")
    for source in sources:
        if source not in range(engine.sources) or engine.frame_size(source) is None:
            raise ValueError(f"source {source!r} of {engine.sources} has no frame; submit one first")
        if source in known:
            known[source].check_time(source, engine.frame_pts(source))


class Follower:
    """Follows the content of sources that an engine holds.

    Args:
        motion: what measures; None for nothing.
        grid: tokens that move along with the camera; None leaves the layout alone and gives motion as it is.
        clock: seconds, never back.
        lag: see ContentAnchor.
    """

    def __init__(
        self,
        motion: MotionSource | None,
        grid: AnchoredGrid | None,
        *,
        clock: Callable[[], float],
        lag: float = LAG,
    ) -> None:
        self._motion = None if motion is None else GuardedMotion(motion, clock=clock)
        self._anchor = None if grid is None else ContentAnchor(grid, lag=lag)

    def reset(self, source: int) -> None:
        """The source's next frame is its first one."""
        if self._motion is not None:
            self._motion.reset(source)
        if self._anchor is not None:
            self._anchor.reset(source)

    def forget(self, source: int) -> None:
        """The source left."""
        self.reset(source)
        if self._motion is not None:
            self._motion.forget(source)

    def distrust(self, source: int) -> None:
        """Motion of the source misled: lay its grid anew, and do without for a while."""
        self.reset(source)
        if self._motion is not None:
            self._motion.distrust(source)

    def settle(self, source: int) -> None:
        """A view of the source was encoded whole, with the true places."""
        if self._anchor is not None:
            self._anchor.settle(source)

    def look(
        self,
        engine: Resident,
        source: int,
        *,
        frame: Frame | None,
        settings: TemporalSettings,
        transition: Transition,
        busy: bool,
    ) -> tuple[Hint, Subdivided | None]:
        """What is known of a frame, and the layout for its tokens, in parts; None for the engine's own.

        Args:
            engine: holds the frame.
            source: which source.
            frame: as it was submitted, for what its codec said; None where nothing is known.
            settings: of the source.
            transition: what the frame is.
            busy: enough changed of late that the camera may be moving.
        """
        hint = Hint(transition=transition)
        if transition.resets or transition.kind == "cut":
            self.reset(source)
        camera = None
        if self._motion is not None and settings.level == "L3" and busy and not transition.hold:
            moment = moment_of(engine, source, frame=frame)
            field, hint.trouble = self._motion.measure(moment, budget_ms=settings.motion_ms)
            if field is not None:
                camera = camera_motion(field)
                hint.camera = camera.kind
                hint.motion = hint.believed = field
        elif self._motion is not None:
            self._motion.skip(source)
        if self._anchor is None:
            return hint, None
        size = engine.frame_size(source)
        assert size is not None, "the frame was looked at before"
        step = self._anchor.place(source, size, camera)
        hint.motion, hint.believed, hint.following, hint.step = step.told_motion, step.motion, step.moving, step
        return hint, Subdivided(step.layout, parts_for(step.side, step.layout.patch))
