"""Policies that need no eye: from a known path or from evidence to a look.

Follow, Fixed     a path, one or several points
Peaks             the highest places of a score map
FollowMap         the score map itself, for layouts that follow one
Saccades          one place after another, 3 to 4 a second
Regions           boxes with importance: fixations, or shares of the tokens
PeakRegions       regions around the peaks of a score map
Several           some of these side by side, each with its share
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.evidence import Evidence, check_positive
from texvlm.fixation.look import Look, LookPolicy
from texvlm.fixation.paths import FixationPath
from texvlm.fixation.scene import Clock, Scene
from texvlm.fixation.score_map import FLOOR, Peak, Region, ScoreMap, find_peaks, region_around, region_map
from texvlm.layouts.base import check_count

CENTRE = (0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Follow:
    """Looks where a path says: a fixed point, a figure, a recorded gaze."""

    path: FixationPath
    name: str = "path"
    count: ClassVar[int] = 1

    def look(self, scene: Scene) -> Look:
        """See LookPolicy; ValueError where the path needs a time that is not known."""
        return Look(np.array([self.path.at(scene.time_s)]), why=self.name)


@dataclass(frozen=True, slots=True)
class Fixed:
    """Looks at the same points for ever.

    Attributes:
        points: (u, v) of each.
        weights: importance of each; equal where empty.
    """

    name: ClassVar[str] = "fixed"
    points: tuple[tuple[float, float], ...] = (CENTRE,)
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        Look(np.array(self.points, np.float64), np.array(self.weights or (1.0,)))

    @property
    def count(self) -> int:
        """As many as there are points."""
        return len(self.points)

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        return Look(np.array(self.points, np.float64), np.array(self.weights or (1.0,)), why=self.name)


@dataclass(slots=True, eq=False)
class Peaks:
    """Looks at the highest places of a score map, weighted by their height.

    Where there are fewer than `count`, the rest stay where they were. A new place must be clearly
    better than an old one to draw the look away, so that two equal ones do not make it flicker.

    Attributes:
        evidence: gives the map.
        count: fixations.
        spacing: least distance between two, in longer sides of the frame.
        loyalty: how much more a place counts that was looked at in the frame before.
    """

    evidence: Evidence
    count: int = 1
    spacing: float = 0.15
    loyalty: float = 1.25
    _places: list[tuple[float, float]] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        check_count("count", self.count)
        check_positive("spacing", self.spacing, "a share of the frame's longer side")
        if not 1 <= self.loyalty < math.inf:
            raise ValueError(f"loyalty is {self.loyalty}; accepted: 1 (none) or above")

    @property
    def name(self) -> str:
        """The evidence's."""
        return self.evidence.name

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        score = self.evidence.score(scene)
        favour = np.ones(score.values.shape)
        for place in self._places:
            favour[score.distances(place, scene.size) < self.spacing / 2] = self.loyalty
        found = find_peaks(score.times(favour), self.count, spacing=self.spacing, size=scene.size)
        places = [(peak.u, peak.v) for peak in found]
        spare = [
            place for place in self._places if all(_apart(place, other, scene) >= self.spacing for other in places)
        ]
        kept = (spare + [CENTRE] * self.count)[: self.count - len(found)]
        highest = found[0].height if found else 1.0
        weights = [max(peak.height / highest, FLOOR) for peak in found] + [FLOOR if found else 1.0] * len(kept)
        self._places = places + kept
        why = f"{self.name}: {len(found)} of {self.count}" if found else f"{self.name}: nothing, stays"
        return Look(np.array(self._places), np.array(weights), why=why, map=score.over_frame())


@dataclass(frozen=True, slots=True)
class FollowMap:
    """Hands the score map on, for layouts that follow one (quadtree).

    Attributes:
        evidence: gives the map.
        surround: share of the tokens that is spread over the whole frame, 0..1.
    """

    evidence: Evidence
    surround: float = 0.3
    count: ClassVar[None] = None

    def __post_init__(self) -> None:
        if not 0 <= self.surround <= 1:
            raise ValueError(f"surround is {self.surround}; accepted: a share, 0..1")

    @property
    def name(self) -> str:
        """The evidence's."""
        return self.evidence.name

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        values = self.evidence.score(scene).over_frame()
        total = float(values.sum(dtype=np.float64))
        spread = self.surround if total > 0 else 1.0
        mass = np.full(values.shape, spread / values.size)
        if total > 0:
            mass += (1 - spread) * values / total
        score = (mass / mass.max()).astype(np.float32)
        why = f"{self.name} as a map" if total > 0 else f"{self.name}: nothing, uniform"
        return Look(np.array([CENTRE]), score=score, why=why, map=values)


@dataclass(slots=True, eq=False)
class Saccades:
    """Looks at one place after another: stays a while, then goes to the best place not seen lately.

    Attributes:
        evidence: gives the map.
        rate_hz: looks a second; people make 3 to 4.
        inhibition_s: seconds until a place that was looked at is two thirds of what it was again.
        reach: radius that is inhibited around it, in longer sides of the frame.
    """

    evidence: Evidence
    rate_hz: float = 3.5
    inhibition_s: float = 1.0
    reach: float = 0.12
    count: ClassVar[int] = 1
    _clock: Clock = field(default_factory=Clock, init=False, repr=False)
    _at: tuple[float, float] | None = field(default=None, init=False, repr=False)
    _since_s: float = field(default=0.0, init=False, repr=False)
    _seen: list[tuple[float, tuple[float, float]]] = field(default_factory=list, init=False, repr=False)
    _made: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive("rate_hz", self.rate_hz, "looks a second")
        check_positive("inhibition_s", self.inhibition_s, "seconds")
        check_positive("reach", self.reach, "a share of the frame's longer side")

    @property
    def name(self) -> str:
        """Says what it looks for."""
        return f"saccades over {self.evidence.name}"

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        now = self._clock.tick(scene.time_s)
        score = self.evidence.score(scene)  # in every frame: evidence may remember
        self._seen = [(when, place) for when, place in self._seen if now - when < 5 * self.inhibition_s]
        free = np.ones(score.values.shape)
        current = [(now, self._at)] if self._at is not None else []
        for when, place in self._seen + current:
            near = np.exp(-np.square(score.distances(place, scene.size) / self.reach) / 2)
            free *= 1 - math.exp(-(now - when) / self.inhibition_s) * near
        wanted = score.times(free)
        if self._at is None or now - self._since_s >= 1 / self.rate_hz - 1e-6:
            found = find_peaks(wanted, 1, spacing=self.reach, size=scene.size)
            if found:
                if self._at is not None:
                    self._seen.append((now, self._at))
                self._at, self._since_s = (found[0].u, found[0].v), now
                self._made += 1
        why = f"{self.name}: look {self._made}" if self._at is not None else f"{self.name}: nothing"
        return Look(np.array([self._at or CENTRE]), why=why, map=wanted.over_frame())


@dataclass(frozen=True, slots=True)
class Regions:
    """Looks at given boxes.

    Attributes:
        regions: one or more, each with its importance.
        follow: "fixations" looks at their middles, weighted; "map" gives each its share of the
            tokens, on layouts that follow a map.
        surround: with "map", share of the tokens that is spread over the whole frame, 0..1.
    """

    name: ClassVar[str] = "regions"
    regions: tuple[Region, ...]
    follow: Literal["fixations", "map"] = "fixations"
    surround: float = 0.3

    def __post_init__(self) -> None:
        if not self.regions:
            raise ValueError("the list of regions is empty; give one or more")
        if self.follow not in ("fixations", "map"):
            raise ValueError(f"follow is {self.follow!r}; accepted: 'fixations', 'map'")
        region_map(list(self.regions), size=(1, 1), surround=self.surround)

    @property
    def count(self) -> int | None:
        """As many as there are regions; None with follow="map"."""
        return len(self.regions) if self.follow == "fixations" else None

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        mass = region_map(list(self.regions), size=scene.size, surround=self.surround)
        return _look_at(self.regions, mass, why=f"{len(self.regions)} regions", as_map=self.follow == "map")


@dataclass(slots=True, eq=False)
class PeakRegions:
    """Gives the regions around the peaks of a score map their shares of the tokens.

    Attributes:
        evidence: gives the map.
        most: regions, at most.
        spacing: least distance between two peaks, in longer sides of the frame.
        surround: share of the tokens that is spread over the whole frame, 0..1.
    """

    evidence: Evidence
    most: int = 3
    spacing: float = 0.2
    surround: float = 0.3
    count: ClassVar[None] = None

    def __post_init__(self) -> None:
        check_count("most", self.most)
        check_positive("spacing", self.spacing, "a share of the frame's longer side")
        if not 0 <= self.surround <= 1:
            raise ValueError(f"surround is {self.surround}; accepted: a share, 0..1")

    @property
    def name(self) -> str:
        """Says where the regions are from."""
        return f"regions of {self.evidence.name}"

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        score = self.evidence.score(scene)
        peaks: list[Peak] = find_peaks(score, self.most, spacing=self.spacing, size=scene.size)
        regions = tuple(region_around(score, peak) for peak in peaks)
        whole = regions or (Region((0.0, 0.0, 1.0, 1.0)),)
        mass = region_map(list(whole), size=scene.size, surround=self.surround)
        why = f"{self.name}: {len(regions)}" if regions else f"{self.name}: none, uniform"
        return _look_at(whole, mass, why=why, as_map=True)


@dataclass(frozen=True, slots=True)
class Several:
    """Looks of several policies side by side.

    Attributes:
        parts: policies that give fixations.
        shares: importance of each, > 0; equal where empty.
    """

    parts: tuple[LookPolicy, ...]
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.parts or (self.shares and len(self.shares) != len(self.parts)):
            raise ValueError(
                f"{len(self.shares)} shares for {len(self.parts)} policies; give one or more, a share each"
            )
        if not all(0 < share < math.inf for share in self.shares):
            raise ValueError(f"shares are {list(self.shares)}; each must be a finite number above 0")
        for part in self.parts:
            if part.count is None:
                raise ValueError(f"{part.name} gives a score map; several policies side by side give fixations")

    @property
    def name(self) -> str:
        """All of theirs."""
        return " + ".join(part.name for part in self.parts)

    @property
    def count(self) -> int:
        """The sum of theirs."""
        return sum(part.count or 0 for part in self.parts)

    def look(self, scene: Scene) -> Look:
        """See LookPolicy."""
        looks = [part.look(scene) for part in self.parts]
        shares = self.shares or (1.0,) * len(looks)
        weights = [share * look.weights / look.weights.sum() for look, share in zip(looks, shares, strict=True)]
        maps = [look.map for look in looks if look.map is not None]
        return Look(
            np.concatenate([look.fixations for look in looks]),
            np.concatenate(weights),
            why=" + ".join(look.why for look in looks),
            map=maps[0] if maps else None,
        )


def _look_at(regions: Sequence[Region], mass: ScoreMap, *, why: str, as_map: bool) -> Look:
    centres = np.array([region.centre for region in regions])
    weights: NDArray[np.float64] = np.array([region.importance for region in regions], np.float64)
    values = mass.values / mass.values.max()
    if as_map:
        return Look(np.array([CENTRE]), score=values, why=why, map=values)
    return Look(centres, weights, why=why, map=values)


def _apart(a: tuple[float, float], b: tuple[float, float], scene: Scene) -> float:
    """Distance of two (u, v), in longer sides of the frame."""
    width, height = scene.size
    return math.hypot((a[0] - b[0]) * width, (a[1] - b[1]) * height) / max(width, height)
