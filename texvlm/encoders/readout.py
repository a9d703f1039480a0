"""Read-outs: a class token that answers for a region instead of the whole view.

A pretrained class token looks at every token and answers for the scene, so what the fovea sees drowns
in it. A read-out is a copy of it that attends to the tokens of one region only, while the tokens
themselves still attend to everything. Nothing is trained, and several regions share one pass.

A token belongs to a region when the middle of its visible part lies in the region, or when the region's
centre lies in the token: a region smaller than the token under it reads that token. Tokens wholly
outside the frame belong to none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texvlm.encoders.geometry import Geometry
from texvlm.tokens import TokenBatch
from texvlm.visual_field import VisualField, check_fov

Weighting = Literal["none", "area", "density"]
WEIGHTINGS: tuple[Weighting, ...] = ("none", "area", "density")


@dataclass(frozen=True, eq=False)
class Readout:
    """What to read from each view; made by `Readout.inside` or `Readout.near`.

    Attributes:
        boxes: (u0, v0, u1, v1), float64, (1 or views, regions, 4); None for regions around fixations.
        fixations: (u, v), float64, (1 or views, regions, 2); None for boxes.
        eccentricity_deg: radius around each fixation, degrees.
        fov_deg: field of view across the longer side of the frame, degrees.
        weighting: how much a token of the region counts: "none", all alike; "area", by its area inside
            the frame, as if the region had been cut into equal squares; "density", by one over its
            area, so that what was looked at closely counts most.
        weights: of each token, >= 0, (views, tokens); multiplies the weighting. None for ones.
        from_block: first block of the model in which read-outs take part; up to there they are the
            class token itself. Means nothing to a model without one, which reads behind its last block.
    """

    boxes: NDArray[np.float64] | None = None
    fixations: NDArray[np.float64] | None = None
    eccentricity_deg: float = 4.0
    fov_deg: float = 60.0
    weighting: Weighting = "none"
    weights: torch.Tensor | None = None
    from_block: int = 0

    @classmethod
    def inside(
        cls,
        boxes: ArrayLike,
        *,
        weighting: Weighting = "none",
        weights: torch.Tensor | None = None,
        from_block: int = 0,
    ) -> Readout:
        """Read boxes.

        Args:
            boxes: (u0, v0, u1, v1), the frame spanning 0..1: (regions, 4) for every view, or (views, regions, 4).
            weighting: see Readout; so the other two.
            weights: see Readout.
            from_block: see Readout.
        Raises:
            ValueError: no region, a box that is not finite or has no extent, a weighting that is not one.
        """
        corners = np.asarray(boxes, np.float64)
        if corners.size == 0:
            raise ValueError("the list of regions is empty; give at least one box (u0, v0, u1, v1)")
        if corners.ndim not in (1, 2, 3) or corners.shape[-1] != 4:
            raise ValueError(f"boxes of shape {corners.shape}: accepted are (regions, 4) and (views, regions, 4)")
        corners = corners.reshape((1,) * (3 - corners.ndim) + corners.shape)
        bad = ~(
            np.isfinite(corners).all(-1) & (corners[..., 2] > corners[..., 0]) & (corners[..., 3] > corners[..., 1])
        )
        if bad.any():
            raise ValueError(
                f"box {tuple(corners[bad][0].tolist())} encloses nothing; give (u0, v0, u1, v1) with u0 < u1, v0 < v1"
            )
        _check_weighting(weighting, from_block)
        return cls(boxes=corners, weighting=weighting, weights=weights, from_block=from_block)

    @classmethod
    def near(
        cls,
        fixations: ArrayLike,
        *,
        eccentricity_deg: float = 4.0,
        fov_deg: float = 60.0,
        weighting: Weighting = "none",
        weights: torch.Tensor | None = None,
        from_block: int = 0,
    ) -> Readout:
        """Read what lies within an eccentricity of each fixation.

        Args:
            fixations: (u, v) as `Engine.tokens` takes them: (2,) for every view, (views, 2), or
                (views, regions, 2).
            eccentricity_deg: degrees, above 0 and below 90.
            fov_deg: as the layout's, degrees.
            weighting: see Readout; so the other two.
            weights: see Readout.
            from_block: see Readout.
        Raises:
            ValueError: no region, a fixation that is not finite, an angle or weighting out of range.
        """
        points = np.asarray(fixations, np.float64)
        if points.size == 0:
            raise ValueError("the list of regions is empty; give at least one fixation (u, v)")
        if points.ndim not in (1, 2, 3) or points.shape[-1] != 2:
            raise ValueError(
                f"fixations of shape {points.shape}: accepted are (2,), (views, 2) and (views, regions, 2) of (u, v)"
            )
        points = points[None, None] if points.ndim == 1 else points[:, None] if points.ndim == 2 else points
        if not np.isfinite(points).all():
            u, v = points[~np.isfinite(points).all(-1)][0]
            raise ValueError(f"fixation ({u}, {v}) is not finite; give (u, v), where the frame spans 0..1")
        if not 0 < eccentricity_deg < 90:
            raise ValueError(f"eccentricity_deg is {eccentricity_deg}; it is above 0 and below 90 degrees")
        check_fov(fov_deg)
        _check_weighting(weighting, from_block)
        return cls(
            fixations=points,
            eccentricity_deg=eccentricity_deg,
            fov_deg=fov_deg,
            weighting=weighting,
            weights=weights,
            from_block=from_block,
        )

    @property
    def regions(self) -> int:
        """Regions a view."""
        return int(self._given.shape[1])

    @property
    def _given(self) -> NDArray[np.float64]:
        given = self.boxes if self.boxes is not None else self.fixations
        if given is None:
            raise ValueError("a Readout without regions; make it with Readout.inside or Readout.near")
        return given

    def token_weights(self, batch: TokenBatch) -> torch.Tensor:
        """How much each token counts for each region, float32, (views, regions, tokens); 0 outside.

        The weights of a region average 1 over its tokens, so the balance between them and the class
        token's own row is that of equal tokens. Worked out where the tokens were planned: on the
        host, or on a device, which is then waited for.

        Raises:
            ValueError: regions or weights for another number of views, a weight that is negative or not
                finite, a region without a token, or one whose weights sum to zero; names it.
        """
        geometry = Geometry.of(batch, device=getattr(batch.rows, "device", torch.device("cpu")))
        given, views = self._given, len(batch)
        if len(given) not in (1, views):
            raise ValueError(f"regions for {len(given)} views, the batch has {views}; give them for one or for each")
        members = self._members(np.broadcast_to(given, (views, *given.shape[1:])), batch, geometry)
        weights = members.float()
        if self.weighting == "area":
            weights = weights * (geometry.valid * geometry.sides.square())[:, None]
        elif self.weighting == "density":
            weights = weights / geometry.sides.square()[:, None]
        if self.weights is not None:
            weights = weights * self._own_weights(tuple(geometry.sides.shape)).to(weights)[:, None]
        counts, sums = members.sum(-1), weights.sum(-1)
        if not bool((sums > 0).all()):
            view, region = (~(sums > 0)).nonzero()[0].tolist()
            where = f"region {region} of view {view} {self._named(view, region)}"
            if not counts[view, region]:
                raise ValueError(f"{where} holds no token; move it into the frame, or into the layout's field")
            raise ValueError(
                f"weights of the {int(counts[view, region])} tokens of {where} sum to zero; one must be above 0"
            )
        return (weights * (counts / sums)[..., None]).to(batch.pixels.device)

    def _members(self, given: NDArray[np.float64], batch: TokenBatch, geometry: Geometry) -> torch.Tensor:
        """bool, (views, regions, tokens): the token belongs to the region."""
        device = geometry.centres.device
        half = geometry.sides[..., None] / 2
        low, high = geometry.centres - half, geometry.centres + half
        visible = (torch.minimum(high, geometry.sizes[:, None]) + low.clamp_min(0)) / 2
        scale = geometry.sizes.repeat(1, given.shape[-1] // 2)[:, None]
        places = torch.tensor(given, dtype=torch.float32, device=device) * scale
        points = visible[:, None]
        if self.boxes is not None:
            corner, opposite = places[:, :, None, :2], places[:, :, None, 2:]
            inside = ((points >= corner) & (points < opposite)).all(-1)
            middle = (corner + opposite) / 2
        else:
            radii = [
                VisualField((int(w), int(h)), self.fov_deg).radius_texels(self.eccentricity_deg).item()
                for w, h in batch.sizes
            ]
            middle = places[:, :, None]
            inside = (points - middle).norm(dim=-1) <= torch.tensor(radii, device=device)[:, None, None]
        under = ((middle >= low[:, None]) & (middle < high[:, None])).all(-1)
        return (inside | under) & (~geometry.padding & (geometry.valid > 0))[:, None]

    def _own_weights(self, shape: Sequence[int]) -> torch.Tensor:
        weights = torch.as_tensor(self.weights)
        if tuple(weights.shape) != tuple(shape):
            raise ValueError(f"weights of shape {tuple(weights.shape)}; give one a token, {tuple(shape)}")
        if not bool((weights.isfinite() & (weights >= 0)).all()):
            raise ValueError("weights hold a number that is negative or not finite; give finite numbers, 0 or above")
        return weights

    def _named(self, view: int, region: int) -> str:
        given = self._given
        place = ", ".join(f"{number:g}" for number in given[view if len(given) > 1 else 0, region])
        return f"(box {place})" if self.boxes is not None else f"({self.eccentricity_deg:g} degrees around {place})"


def _check_weighting(weighting: str, from_block: int) -> None:
    """ValueError unless both are accepted."""
    if weighting not in WEIGHTINGS:
        raise ValueError(f"weighting {weighting!r}; accepted: {', '.join(WEIGHTINGS)}")
    if not (math.isfinite(from_block) and from_block == int(from_block) >= 0):
        raise ValueError(f"from_block is {from_block}; blocks count from 0")
