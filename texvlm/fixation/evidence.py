"""Evidence: what in a frame is worth a look, as a score map. Choosing from it is the business of `choosing`.

changes      tiles that changed, fading
saliency     what differs from its surround, in brightness or colour
attention    what the model attended to before
query        what fits a text, by somebody's patch-text similarity
(`targets`)  a colour, a picture
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from texvlm.fixation.look import check_map
from texvlm.fixation.scene import Clock, FloatMap, Scene
from texvlm.fixation.score_map import ScoreMap, blurred, upsampled
from texvlm.regions import TILE

ALL_CHANGED = 0.6
"""Where more than this share of the tiles changes at once, the camera moved or the shot did: no place stands out."""


class Evidence(Protocol):
    """Scores the frames of one source, in their order; as `LookPolicy`, it sees nothing of later ones."""

    @property
    def name(self) -> str:
        """What it is called in messages and pictures."""

    def score(self, scene: Scene) -> ScoreMap:
        """How much each place is worth a look; all zeros where nothing is known."""


def nothing() -> ScoreMap:
    """A map without evidence."""
    return ScoreMap.over_frame_of(np.zeros((1, 1)))


@dataclass(slots=True, eq=False)
class Changes:
    """Tiles that changed; what changed earlier fades.

    A frame most of whose tiles change (the first one, a cut, a moving camera) is no evidence, and what
    changed before it counts no more.

    Attributes:
        decay_s: seconds until a change counts 1/e.
    """

    name: ClassVar[str] = "changes"
    decay_s: float = 0.4
    _clock: Clock = field(default_factory=Clock, init=False, repr=False)
    _heat: FloatMap | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        check_positive("decay_s", self.decay_s, "seconds")

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence; ValueError where the scene has no frame report."""
        if scene.report is None:
            raise ValueError("changes are looked for in a scene without a frame report; give scene_of(..., report=...)")
        before = self._clock.now_s
        fade = math.exp(-(self._clock.tick(scene.time_s) - before) / self.decay_s)
        tiles = scene.report.tiles
        old = self._heat if self._heat is not None and self._heat.shape == tiles.shape else np.zeros(tiles.shape)
        heat = np.zeros(tiles.shape) if tiles.mean() > ALL_CHANGED else np.maximum(old * fade, tiles)
        self._heat = heat.astype(np.float32)
        return ScoreMap(blurred(self._heat), (TILE / scene.size[0], TILE / scene.size[1]))


@dataclass(frozen=True, slots=True)
class Saliency:
    """Centre and surround: how a texel of a coarse level differs from levels 4 and 8 times coarser.

    Brightness counts with colour opponency (red-green, blue-yellow). No map is scaled to its own
    maximum, so what noise there is in a flat scene stays small.

    Attributes:
        longest: texels along the frame's longer side at which centres are taken, at most.
    Source:
        After Itti, Koch and Niebur 1998, without orientations and without their normalisation operator.
    """

    name: ClassVar[str] = "saliency"
    longest: int = 128

    def __post_init__(self) -> None:
        check_positive("longest", self.longest, "texels")

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence."""
        mips = scene.mips
        centre = mips.level_within(self.longest)
        fine = _opponents(mips.colour(centre))
        shape = fine.shape[:2]
        found = np.zeros(shape, np.float32)
        for steps in (2, 3):
            level = min(centre + steps, mips.levels - 1)
            surround = upsampled(_opponents(mips.colour(level)), 2 ** (level - centre), (shape[0], shape[1]))
            found += np.abs(fine - surround).sum(axis=2)
        return ScoreMap(blurred(found), mips.cell(centre))


@dataclass(slots=True, eq=False)
class Attention:
    """What the model attended to in the frame before, kept over frames that bring none.

    Attributes:
        keep: share of the earlier maps in each new one, 0..1, 1 excluded: smooths over frames.
    """

    name: ClassVar[str] = "attention"
    keep: float = 0.5
    _map: NDArray[np.float32] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.keep < 1:
            raise ValueError(f"keep is {self.keep}; accepted: a share of 0 or above, below 1")

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence; ValueError for a map that is negative or not finite."""
        if scene.attention is not None:
            fresh = check_map("attention", scene.attention)
            if self._map is not None and self._map.shape == fresh.shape:
                fresh = (self.keep * self._map + (1 - self.keep) * fresh).astype(np.float32)
            self._map = fresh
        return nothing() if self._map is None else ScoreMap.over_frame_of(self._map)


Similarity = Callable[[FloatMap, str], NDArray[np.floating[Any]]]
"""(picture (height, width, 3) in 0..1, text) -> similarity of each patch to the text, (rows, columns), any scale."""


@dataclass(slots=True, eq=False)
class QueryRelevance:
    """What fits a text, by a model's similarity of patches and text on a coarse level.

    The model is asked now and then, not in every frame: what a text means stays where it is for a
    while. Similarities count above their median, so that their scale and offset do not matter.

    Attributes:
        similarity: see `Similarity`; usually a CLIP or SigLIP model.
        text: the query.
        every_s: seconds between two calls, at least.
        longest: texels along the longer side of the picture that the model gets, at most.
    """

    similarity: Similarity
    text: str
    every_s: float = 0.5
    longest: int = 384
    name: ClassVar[str] = "query"
    _clock: Clock = field(default_factory=Clock, init=False, repr=False)
    _asked_s: float = field(default=-math.inf, init=False, repr=False)
    _map: ScoreMap | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("the query is empty; give a few words, as 'a red car'")
        check_positive("longest", self.longest, "texels")
        if not 0 <= self.every_s < math.inf:
            raise ValueError(f"every_s is {self.every_s}; accepted: seconds, 0 for every frame")

    def score(self, scene: Scene) -> ScoreMap:
        """See Evidence; ValueError where the model gives no finite map."""
        now = self._clock.tick(scene.time_s)
        if self._map is None or now - self._asked_s >= self.every_s - 1e-6:
            picture = scene.mips.colour(scene.mips.level_within(self.longest))
            found = np.asarray(self.similarity(picture, self.text), np.float64)
            if found.ndim != 2 or found.size == 0 or not np.isfinite(found).all():
                raise ValueError(
                    f"similarity to {self.text!r} has shape {found.shape}"
                    f"{'' if np.isfinite(found).all() else ' and values that are not finite'}; "
                    "accepted: (rows, columns) of finite numbers"
                )
            self._map, self._asked_s = ScoreMap.over_frame_of(np.clip(found - np.median(found), 0, None)), now
        return self._map


def check_positive(name: str, value: float, unit: str) -> None:
    """ValueError unless a value is finite and above 0."""
    if not 0 < value < math.inf:
        raise ValueError(f"{name} is {value}; accepted: {unit}, above 0")


def _opponents(colour: FloatMap) -> FloatMap:
    """Brightness, red against green, blue against yellow; (height, width, 3)."""
    red, green, blue = (colour[..., k] for k in range(3))
    return np.stack([(red + green + blue) / 3, red - green, blue - (red + green) / 2], axis=-1)
