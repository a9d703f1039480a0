"""Methods: which tokens are handed to the encoder, and where they are read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from texvlm.encoders import Encoder, Readout
from texvlm.engine import Engine
from texvlm.evaluation.planted import PlantedFrame, fixation_for
from texvlm.evaluation.settings import FOV_DEG, REGION_DEG, TOKEN_DEG
from texvlm.layouts import Layout, UniformGrid
from texvlm.tokens import TokenBatch
from texvlm.visual_field import VisualField

READOUTS = ("box means", "region token", "whole field")
"""Ways to read: mean tokens of two boxes around a point, the class token of its region, the class token."""

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Method:
    """One contestant.

    Attributes:
        name: for reports.
        layout: of its tokens.
        where: the fixation: "on" the target, "near" or "away" from it.
        centred: positions are looked up as if the fixation were the middle of the frame.
    """

    name: str
    layout: Layout
    where: str = "on"
    centred: bool = False

    @property
    def looks_everywhere(self) -> bool:
        """Its tokens do not depend on the fixation; only where they are read does."""
        return isinstance(self.layout, UniformGrid)


def read_frame(encoder: Encoder, engine: Engine, method: Method, frame: PlantedFrame) -> dict[str, Array]:
    """What a method reads of each target of a frame that the engine holds.

    Fixations on and near a target are also where it is read. With the fixation away, the target is
    read where it is: the reader knows the place, the fovea is elsewhere.

    Returns:
        For each of READOUTS one row a target; "whole field" only where tokens depend on the fixation,
        since others cannot tell which of the targets is meant.
    """
    field = VisualField(frame.size, FOV_DEG)
    rng = np.random.default_rng([len(method.where), *frame.name.encode()])  # the same fixations for all methods
    fixations = np.array([fixation_for(target, method.where, field, rng) for target in frame.targets])
    centres = np.array([target.centre for target in frame.targets])
    points = centres if method.where == "away" else fixations
    size = np.array(frame.size)
    if method.looks_everywhere:
        batch, places = engine.tokens(layout=method.layout, copy=False), points[None]
    else:
        batch = engine.tokens(fixations / size, sources=0, layout=method.layout, copy=False)
        places = points[:, None]
    if method.centred:
        batch, places = centred(batch, fixations), places - fixations[:, None] + size / 2
    readout = Readout.near(places / size, eccentricity_deg=TOKEN_DEG, fov_deg=FOV_DEG, weighting="area")
    features = encoder(batch, readout=readout)
    radii = [float(field.radius_texels(degrees)) for degrees in REGION_DEG]
    boxes = torch.cat([box_means(features.tokens, batch, places, radius) for radius in radii], dim=-1)
    found = {"box means": boxes.flatten(0, 1)}
    if features.regions is not None:
        found["region token"] = features.regions.flatten(0, 1)
    if features.pooled is not None and not method.looks_everywhere:
        found["whole field"] = features.pooled
    return {name: rows.float().cpu().numpy() for name, rows in found.items()}


def box_means(tokens: torch.Tensor, batch: TokenBatch, places: NDArray[np.float64], radius: float) -> torch.Tensor:
    """Mean of the token features inside a box around each place, each counting by the area it has there.

    Args:
        tokens: features, (views, tokens, width).
        batch: what they were made from.
        places: (x, y), level-0 texels, (views, k, 2).
        radius: half the side of the box, texels.
    Returns:
        (views, k, width).
    Raises:
        ValueError: a box that no token touches.
    """
    points = torch.as_tensor(places, dtype=torch.float32, device=tokens.device)[:, :, None]
    centres, half = batch.centres[:, None], batch.sides[:, None, :, None] / 2
    extent = torch.minimum(centres + half, points + radius) - torch.maximum(centres - half, points - radius)
    area = extent.clamp_min(0).prod(dim=-1).masked_fill(batch.is_padding[:, None], 0)
    total = area.sum(-1, keepdim=True)
    if not bool((total > 0).all()):
        raise ValueError(f"no token within {radius:g} texels of a point; the layout must cover the place it is read at")
    return torch.einsum("vkt,vtw->vkw", area / total, tokens)


def centred(batch: TokenBatch, fixations: NDArray[np.float64]) -> TokenBatch:
    """The batch as if each fixation (x, y), level-0 texels, were the middle of its frame; pixels are the same."""
    table = batch.table.copy()
    shift = batch.sizes / 2 - fixations
    table["x"] += shift[:, :1].astype(np.float32)
    table["y"] += shift[:, 1:].astype(np.float32)
    return replace(batch, rows=table)
