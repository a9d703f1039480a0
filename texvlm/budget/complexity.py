"""How much there is to see in a frame: from its coarse mips, without a network.

What only the finest levels hold (small print on a plain page) is not seen here: reading them would
cost what is to be saved. Where that matters, `fit_complexity` learns weights from one's own frames.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from texvlm.files import write_whole
from texvlm.fixation import Scene
from texvlm.fixation.score_map import upsampled

STATISTICS = ("detail_fine", "detail_middle", "detail_coarse", "contrast", "colour", "change")
"""Names of what `mip_statistics` measures."""

LONGEST = 256
"""Texels along the longer side of the finest level that is read, at most."""

_FORMAT = "texvlm complexity 1"


class Complexity(Protocol):
    """Judges how many tokens a frame deserves: 0 for the least, 1 for the most."""

    def __call__(self, scene: Scene) -> float:
        """0..1."""


def mip_statistics(scene: Scene) -> dict[str, float]:
    """Named measures of a frame, each 0..1 and 0 for a plain one that stands still.

    detail_fine, detail_middle, detail_coarse: mean difference of a level from the next coarser one, three
    levels in a row; contrast: standard deviation of brightness; colour: mean difference of the
    channels; change: share of the tiles that changed, 0 without a frame report.
    """
    mips = scene.mips
    first = mips.level_within(LONGEST)
    details = []
    for level in range(first, first + 3):
        fine, coarse = (mips.gray(min(k, mips.levels - 1)) for k in (level, level + 1))
        shape = (fine.shape[0], fine.shape[1])
        apart = fine - upsampled(coarse, 2, shape) if level + 1 < mips.levels else np.zeros(shape)
        details.append(float(np.abs(apart).mean(dtype=np.float64)))
    colour = mips.colour(min(first + 1, mips.levels - 1))
    values = (
        *details,
        float(mips.gray(first).std(dtype=np.float64)),
        float(np.ptp(colour, axis=2).mean(dtype=np.float64)),
        0.0 if scene.report is None else float(scene.report.tiles.mean()),
    )
    return dict(zip(STATISTICS, values, strict=True))


@dataclass(frozen=True, slots=True)
class MipComplexity:
    """Detail over three levels, squashed to 0..1.

    Attributes:
        half: total detail that counts as half. 0.06 was chosen on the procedural scene: its two shots, a
            street and a screen of text, lie on both sides of it.
    """

    half: float = 0.06

    def __post_init__(self) -> None:
        if not 0 < self.half < math.inf:
            raise ValueError(f"half is {self.half}; accepted: mean detail, above 0, as 0.06")

    def __call__(self, scene: Scene) -> float:
        """See Complexity."""
        found = mip_statistics(scene)
        detail = found["detail_fine"] + found["detail_middle"] + found["detail_coarse"]
        return 1 - 2 ** (-detail / self.half)


@dataclass(frozen=True, slots=True)
class LinearComplexity:
    """A weighted sum of mip statistics, cut to 0..1: what `fit_complexity` learns.

    Attributes:
        weights: weight of each statistic, by name; those left out count nothing.
        bias: added to the sum.
    """

    weights: Mapping[str, float]
    bias: float = 0.0

    def __post_init__(self) -> None:
        for name in self.weights:
            if name not in STATISTICS:
                raise ValueError(f"unknown statistic {name!r}; accepted: {', '.join(STATISTICS)}")
        for name, value in {**self.weights, "bias": self.bias}.items():
            if not (isinstance(value, int | float) and math.isfinite(value)):
                raise ValueError(f"weight {name} is {value!r}; accepted: a finite number")

    def __call__(self, scene: Scene) -> float:
        """See Complexity."""
        found = mip_statistics(scene)
        total = self.bias + sum(weight * found[name] for name, weight in self.weights.items())
        return min(max(total, 0.0), 1.0)

    def save(self, path: str | Path) -> None:
        """Write a small JSON file, whole or not at all."""
        content = {"format": _FORMAT, "bias": self.bias, "weights": dict(self.weights)}
        write_whole(Path(path), (json.dumps(content, indent=2) + "\n").encode())

    @classmethod
    def load(cls, path: str | Path) -> LinearComplexity:
        """Read what `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds something else; names the file.
        """
        try:
            content: Any = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise ValueError(f'it has no "format": "{_FORMAT}"')
            return cls(dict(content["weights"]), content["bias"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: {error}; give a file that LinearComplexity.save wrote") from error


def fit_complexity(
    statistics: Sequence[Mapping[str, float]], targets: Sequence[float], *, ridge: float = 1e-3
) -> LinearComplexity:
    """Learn what one's own frames deserve: least squares with a small penalty on the weights.

    Args:
        statistics: `mip_statistics` of each frame.
        targets: what each deserved, 0..1: say, the least share of the tokens at which a model's answer
            was still right.
        ridge: penalty on squared weights, of statistics scaled to their spread.
    Raises:
        ValueError: nothing to learn from, not one target a frame, or a value out of range.
    """
    wanted = np.asarray(targets, np.float64)
    if len(statistics) < 2 or wanted.shape != (len(statistics),):
        raise ValueError(f"{len(statistics)} frames with {wanted.size} targets; give two or more, a target each")
    if not (np.isfinite(wanted).all() and (wanted >= 0).all() and (wanted <= 1).all()):
        raise ValueError("targets are shares, 0..1, finite")
    if not 0 < ridge < math.inf:
        raise ValueError(f"ridge is {ridge}; accepted: a number above 0")
    try:
        rows = np.array([[found[name] for name in STATISTICS] for found in statistics], np.float64)
    except KeyError as error:
        raise ValueError(f"statistic {error} is missing; give what mip_statistics returns") from error
    if not np.isfinite(rows).all():
        raise ValueError("statistics hold a value that is not finite; give what mip_statistics returns")
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread[spread < 1e-9] = np.inf  # the same in all frames: nothing can be learnt from it
    scaled = (rows - mean) / spread
    normal = scaled.T @ scaled + ridge * len(rows) * np.eye(len(STATISTICS))
    weights = np.linalg.solve(normal, scaled.T @ (wanted - wanted.mean())) / spread
    bias = float(wanted.mean() - weights @ mean)
    return LinearComplexity(dict(zip(STATISTICS, map(float, weights), strict=True)), bias)
