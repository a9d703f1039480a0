"""TokenPicture: what a frame looks like, small, by its tokens alone; the places that it keeps follow the table."""

from __future__ import annotations

import numpy as np
import pytest
from reuse_scenes import look, picture, quadtree, small_vit, uniform

from texvlm.temporal.token_pictures import TokenPicture

ENCODER = small_vit()
SIZE = (48, 32)


def shown(maker, frame, table):
    batch = look(ENCODER, frame, table=table)
    return maker(batch, 0, mean=ENCODER.mean, std=ENCODER.std)


def test_it_is_the_frame_where_tokens_lie_and_gray_elsewhere():
    frame = picture(SIZE, 3)
    table = uniform(SIZE, patch=4)
    found = shown(TokenPicture(), frame, table)
    assert found.shape == (43, 64, 3)
    assert abs(found.mean() - frame.mean()) < 0.02
    half = shown(TokenPicture(), frame, table[table["x"] < SIZE[0] / 2])
    assert (half[:, 33:] == 0.5).all()
    np.testing.assert_array_equal(half[:, :31], found[:, :31])


@pytest.mark.parametrize("first", ["uniform", "quadtree"])
def test_places_are_those_of_the_table_of_the_call(first):
    tables = {
        "uniform": uniform(SIZE, patch=4),
        "quadtree": quadtree(SIZE, (0.3, 0.6), tokens=24, patch=4),
        "elsewhere": uniform(SIZE, patch=4, shift=(2, 1)),
    }
    maker = TokenPicture()
    for seed, name in enumerate([first, first, "quadtree", "uniform", "elsewhere", "uniform"]):
        frame = picture(SIZE, seed)
        np.testing.assert_array_equal(
            shown(maker, frame, tables[name]), shown(TokenPicture(), frame, tables[name]), strict=True
        )
