"""Templates: rows that keep their form wherever the fixations are.

Uniform, rings, crops and log-polar layouts move their tokens with the fixations and change nothing else.
What they plan is a template, made once for a frame size, and the addition of `place`, which a device
does as well as the host: the bits of both are the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from texvlm.layouts.table import PADDING_LAYER, Table, make_table

CORNER = -1
"""Anchor of a row that stays where it is: its place is counted from the frame's top-left corner."""

NO_TOKEN = -2
"""Anchor of a padding row."""


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """Rows relative to their anchors, for one frame size.

    Attributes:
        offset: (x, y) of each token's centre from its anchor, level-0 texels, float64, (n, 2).
        side: level-0 texels, float64, (n,).
        region: int32, (n,).
        anchor: index of the fixation, CORNER or NO_TOKEN, int32, (n,).
        margin: fixations are first moved this far inside the frame, texels, or to its middle along an
            axis on which it is too small; None leaves them where they are.
    """

    offset: NDArray[np.float64]
    side: NDArray[np.float64]
    region: NDArray[np.int32]
    anchor: NDArray[np.int32]
    margin: float | None = None


@runtime_checkable
class RigidLayout(Protocol):
    """A layout whose rows follow from a template."""

    def template(self, size: tuple[int, int]) -> Template:
        """The template for a frame of (width, height)."""


def fixed_template(table: Table) -> Template:
    """The template of rows that depend on no fixation."""
    is_padding = table["layer"] == PADDING_LAYER
    return Template(
        np.stack([table["x"], table["y"]], axis=1).astype(np.float64),
        table["side"].astype(np.float64),
        table["region"].copy(),
        np.where(is_padding, NO_TOKEN, CORNER).astype(np.int32),
    )


def place(template: Template, size: tuple[int, int], fixations: NDArray[np.float64]) -> Table:
    """The table, (n,), layer 0, for fixations (x, y) in level-0 texels, (k, 2)."""
    anchors = fixations
    if template.margin is not None:
        frame = np.asarray(size, np.float64)
        low = np.minimum(template.margin, frame / 2)
        anchors = np.clip(anchors, low, frame - low)
    anchors = np.concatenate([anchors, np.zeros((1, 2))])  # the last is CORNER
    centre = anchors[np.maximum(template.anchor, CORNER)] + template.offset
    table = make_table(centre[:, 0], centre[:, 1], template.side, size=size, region=template.region)
    table[template.anchor == NO_TOKEN] = (0, 0, 1, PADDING_LAYER, 0, 0)
    return table
