"""Reading tokens near a point: box means by area, positions around the fixation, one pass for all targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm.encoders.untrained import untrained_vit
from texvlm.engine import Engine
from texvlm.evaluation.foveation import even_grid, side_at_fixation, token_count
from texvlm.evaluation.methods import Method, box_means, centred, read_frame
from texvlm.evaluation.planted import planted_frames
from texvlm.layouts import Quadtree, UniformGrid

SIZE = (320, 192)


@pytest.fixture(scope="module")
def encoder():
    return untrained_vit(32, 2, 2, image=64)


@pytest.fixture(scope="module")
def frame():
    (made,) = planted_frames("test", 1, size=SIZE, targets=2, seed=0)
    return made


@pytest.fixture
def engine(encoder, frame):
    with Engine(backend="cpu", mean=encoder.mean, std=encoder.std) as made:
        made.submit(frame.pixels)
        yield made


def test_a_box_mean_weighs_by_area(engine):
    """Against texels painted one by one."""
    batch = engine.tokens((0.4, 0.6), layout=Quadtree(tokens=40))
    tokens = torch.arange(batch.table.size, dtype=torch.float32).reshape(1, -1, 1)
    painted = np.full((SIZE[1], SIZE[0]), np.nan)
    for index, row in enumerate(batch.table[0]):
        if row["layer"] >= 0:
            half = row["side"] / 2
            x0, y0 = int(row["x"] - half), int(row["y"] - half)
            painted[y0 : y0 + int(row["side"]), x0 : x0 + int(row["side"])] = index
    found = box_means(tokens, batch, np.array([[[100.0, 90.0], [60.0, 41.0]]]), 20.0)
    expected = [painted[70:110, 80:120].mean(), painted[21:61, 40:80].mean()]
    np.testing.assert_allclose(found[0, :, 0].numpy(), expected, rtol=1e-5)


def test_a_box_that_no_token_touches(engine):
    batch = engine.tokens(layout=UniformGrid(side=16))
    with pytest.raises(ValueError, match="no token within 5 texels"):
        box_means(torch.zeros(1, batch.table.size, 4), batch, np.array([[[-50.0, -50.0]]]), 5.0)


def test_centred_positions_move_tokens_and_no_pixel(engine):
    batch = engine.tokens((0.25, 0.5), layout=Quadtree(tokens=40))
    moved = centred(batch, np.array([[80.0, 96.0]]))
    assert moved.pixels is batch.pixels
    np.testing.assert_allclose(moved.table["x"] - batch.table["x"], 80.0)
    np.testing.assert_allclose(moved.table["y"] - batch.table["y"], 0.0)


def test_a_fixation_in_the_middle_is_centred_already(encoder, frame, engine):
    batch = engine.tokens((0.5, 0.5), layout=Quadtree(tokens=40))
    with torch.inference_mode():
        one, two = encoder(batch), encoder(centred(batch, np.array([[160.0, 96.0]])))
    torch.testing.assert_close(one.tokens, two.tokens)


@pytest.mark.parametrize("where", ["on", "near", "away"])
def test_every_target_is_read(encoder, frame, engine, where):
    with torch.inference_mode():
        found = read_frame(encoder, engine, Method("quadtree", Quadtree(tokens=40), where), frame)
    assert {name: rows.shape for name, rows in found.items()} == {
        "box means": (2, 64),
        "region token": (2, 32),
        "whole field": (2, 32),
    }
    assert all(np.isfinite(rows).all() for rows in found.values())


def test_uniform_tokens_are_encoded_once_and_read_at_each_target(encoder, frame, engine):
    method = Method("uniform", UniformGrid(side=16))
    with torch.inference_mode():
        found = read_frame(encoder, engine, method, frame)
        tokens = encoder(engine.tokens(layout=method.layout))
    assert "whole field" not in found
    batch = engine.tokens(layout=method.layout)
    for index, target in enumerate(frame.targets):
        alone = box_means(tokens.tokens, batch, np.array([[target.centre]]), 4.2)
        assert alone.shape == (1, 1, 32)
        assert not np.allclose(found["box means"][index, :32], found["box means"][1 - index, :32])


def test_a_grid_with_a_budget_has_no_padding():
    grid = even_grid(268, (1360, 768), 16)
    assert token_count(grid, (1360, 768)) <= 268
    assert token_count(grid, (1360, 768)) == 22 * 12
    assert side_at_fixation(Quadtree(tokens=268), (1360, 768)) == 16
    assert side_at_fixation(grid, (1360, 768)) == 64
