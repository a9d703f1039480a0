"""Templates: anchors, margins and padding, with numbers that can be checked by eye."""

from __future__ import annotations

import numpy as np
import pytest

from texvlm.layouts import PADDING_LAYER, GlobalAndCrops, LogPolar, Quadtree, Rings, Sunflower, UniformGrid
from texvlm.layouts.template import CORNER, NO_TOKEN, RigidLayout, Template, place


def rows(anchor: list[int], margin: float | None = None) -> Template:
    count = len(anchor)
    return Template(
        np.full((count, 2), [3.0, 5.0]), np.full(count, 4.0), np.arange(count, dtype=np.int32), np.int32(anchor), margin
    )


def test_rows_lie_beside_their_anchors():
    table = place(rows([0, 1, CORNER, NO_TOKEN]), (100, 80), np.array([[10.0, 20.0], [-7.0, 90.0]]))
    assert table.tolist() == [
        (13, 25, 4, 0, 0, 1),
        (-4, 95, 4, 0, 1, 0),
        (3, 5, 4, 0, 2, 1),
        (0, 0, 1, PADDING_LAYER, 0, 0),
    ]


def test_a_margin_moves_fixations_inside_but_not_the_corner():
    table = place(rows([0, 1, 2, CORNER], margin=30), (100, 40), np.array([[0, 0], [99, 20], [50, 39]], np.float64))
    assert table["x"].tolist() == [33, 73, 53, 3]
    assert table["y"].tolist() == [25, 25, 25, 5]  # too small for the margin: its middle


@pytest.mark.parametrize(
    ("layout", "rigid"),
    [
        (UniformGrid(), True),
        (Rings(), True),
        (GlobalAndCrops(), True),
        (LogPolar(), True),
        (Sunflower(), False),
        (Quadtree(), False),
    ],
)
def test_which_layouts_keep_their_form(layout, rigid):
    assert isinstance(layout, RigidLayout) == rigid
