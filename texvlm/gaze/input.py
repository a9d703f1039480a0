"""GazeInput: samples of a tracker in, one fixation for each source at the time of display out."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.live_gaze import GazeFilter
from texvlm.fixation.look import Look
from texvlm.fixation.scene import GazePoint, Scene
from texvlm.gaze.clocks import MONOTONIC, check_clock, to_clock, whole_ns
from texvlm.gaze.projectors import Projector, project, within_reach
from texvlm.gaze.sample import Eye, GazeSample, Point

State = Literal["none", "followed", "held"]
"""No valid sample yet; following samples; or holding, in a blink or because no sample came."""

WAITING = 1024
"""Samples kept while nobody asks where to look, a second at 1 kHz; older ones are dropped: they are not needed."""


@dataclass(frozen=True, slots=True)
class GazeView:
    """How gaze falls on the picture of one source.

    Attributes:
        projector: of directions; None for a tracker or pointer that gives points.
        eye: whose samples it follows. A view of "both" follows the one gaze of both; each eye's own view may do
            so, too, where a tracker gives no more.
    """

    projector: Projector | None = None
    eye: Eye = "both"


class GazeInput:
    """Follows the gaze for each source: smoothed, held in blinks, and predicted to the time of display.

    `put` may be called on a tracker's thread while another one asks. It is a LookPolicy as well, one for
    all its sources (`Looker(lambda: gaze)`), whose scenes' times are on `clock`. Samples are forgotten as soon as they
    are filtered; nothing is stored or sent.

    Args:
        views: one for each source, in their order; one for a single source.
        clock: the clock of the frames and of display times.
        offsets_ns: for each other clock that samples may have, what to add to its times; see `to_clock`.
        min_confidence: samples below it count as a blink.
        latency_s: what is to be predicted beyond the time that is asked for, seconds: 0 where that is the time of
            display.
        min_cutoff_hz: see texvlm.fixation.OneEuro, as the next.
        beta: how fast smoothing gives way to speed.
        reach: longest way that is predicted, frame sides.
        blink_s: longest gap that counts as a blink.
    Raises:
        ValueError: no view, or a setting that is not accepted.
    """

    name: ClassVar[str] = "gaze"
    count: ClassVar[int] = 1

    def __init__(
        self,
        views: Sequence[GazeView] = (GazeView(),),
        *,
        clock: str = MONOTONIC,
        offsets_ns: Mapping[str, int] | None = None,
        min_confidence: float = 0.5,
        latency_s: float = 0.0,
        min_cutoff_hz: float = 1.5,
        beta: float = 10.0,
        reach: float = 0.1,
        blink_s: float = 0.4,
    ) -> None:
        check_clock(clock)
        if not views:
            raise ValueError("no view; give one for each source")
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence is {min_confidence}; accepted: 0..1")
        if not 0 <= latency_s < math.inf:
            raise ValueError(f"latency_s is {latency_s}; accepted: seconds, 0 for none")
        self.views = tuple(views)
        self.clock = clock
        self._offsets = dict(offsets_ns or {})
        self._min_confidence = min_confidence
        self._latency_s = latency_s
        self._settings = (min_cutoff_hz, beta, reach, blink_s)
        self._filters = [GazeFilter(*self._settings) for _ in self.views]
        self._waiting: list[deque[GazePoint]] = [deque(maxlen=WAITING) for _ in self.views]
        self._newest_ns: dict[Eye, int] = {}

    def put(self, sample: GazeSample) -> None:
        """Take the next sample of its eye.

        Raises:
            ValueError: a clock without an offset, an eye that no view follows, a time that goes back, or a
                direction for a view without projector. Nothing is taken then.
        """
        sample = to_clock(sample, self.clock, self._offsets)
        followers = [k for k, view in enumerate(self.views) if view.eye == sample.eye]
        if not followers:
            advice = "combine them with texvlm.gaze.cyclopean, or " if sample.eye != "both" else ""
            raise ValueError(
                f"gaze sample of {sample.eye!r}, which none of the {len(self.views)} views follows "
                f"({', '.join(repr(view.eye) for view in self.views)}); {advice}give a GazeView with eye={sample.eye!r}"
            )
        newest = self._newest_ns.get(sample.eye)
        if newest is not None and sample.time_ns < newest:
            raise ValueError(
                f"gaze sample of {sample.eye!r} at {sample.time_ns} ns after one at {newest} ns; times never go back"
            )
        points = [self._point(sample, self.views[k].projector) for k in followers]
        self._newest_ns[sample.eye] = sample.time_ns
        for k, point in zip(followers, points, strict=True):
            u, v = point or (math.nan, math.nan)
            self._waiting[k].append(GazePoint(sample.time_ns / 1e9, u, v, valid=point is not None))

    def at(self, time_ns: int, source: int = 0) -> tuple[Point, State]:
        """Where the eye of one source looks at a time of `clock`, (u, v), and how that is known.

        In a blink, or when no sample came for `blink_s`, it is where the eye looked last. Before the first sample
        it is the centre.
        """
        point, state = self._look(whole_ns("time_ns", time_ns) / 1e9, source)
        return (float(point[0]), float(point[1])), state

    def fixations(self, time_ns: int) -> NDArray[np.float64]:
        """Where each source's eye looks at a time, (sources, 2): fixations for `Engine.tokens`, a view a source."""
        return np.array([self.at(time_ns, source)[0] for source in range(len(self.views))])

    def look(self, scene: Scene) -> Look:
        """See LookPolicy. Takes the samples that were put, and after them those of the scene."""
        if not 0 <= scene.source < len(self.views):
            raise ValueError(f"source {scene.source}; this gaze has views for 0..{len(self.views) - 1}")
        self._waiting[scene.source].extend(scene.gaze)
        point, state = self._look(scene.time_s, scene.source)
        return Look(point, why={"none": "gaze: none yet", "followed": "gaze", "held": "gaze: holds"}[state])

    def reset(self, source: int | None = None) -> None:
        """Forget where one source's eye looked, or all."""
        for k in range(len(self.views)) if source is None else (source,):
            self._waiting[k].clear()
            self._filters[k] = GazeFilter(*self._settings)
        if source is None:
            self._newest_ns.clear()

    def _point(self, sample: GazeSample, projector: Projector | None) -> Point | None:
        if not sample.usable(self._min_confidence):
            return None
        if sample.point is not None:
            return within_reach(sample.point)
        assert sample.direction is not None, "a usable sample has one or the other"
        if projector is None:
            raise ValueError(
                f"gaze sample of {sample.eye!r} with a direction, for a view without projector; give "
                "GazeView(FovProjector(...)) or another Projector"
            )
        return project(projector, sample.direction)

    def _look(self, time_s: float | None, source: int) -> tuple[NDArray[np.float64], State]:
        gaze, waiting = self._filters[source], self._waiting[source]
        while waiting:
            gaze.take(waiting.popleft())
        if gaze.value is None:
            return np.array([0.5, 0.5]), "none"
        if gaze.shut or (time_s is not None and time_s - gaze.last_s > gaze.blink_s):
            return gaze.value, "held"
        return gaze.value + gaze.lead(time_s, latency_s=self._latency_s), "followed"
