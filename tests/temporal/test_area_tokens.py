"""Area tokens: a grid that moved with its content gives the same pixels; each pixel is the mean of its area."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm import Engine
from texvlm.layouts.anchored import AnchoredGrid
from texvlm.layouts.subdivided import Subdivided
from texvlm.temporal.area_tokens import area_tokens, parts_for, tokens_of

SIZE, PATCH, SIDE = (128, 96), 4, 16
RANDOM = np.random.default_rng(8)
WORLD = RANDOM.integers(0, 256, (SIZE[1] + 40, SIZE[0] + 40, 3), np.uint8)
MIDDLE = [(0.5, 0.5)]


def shown(shift):
    """The part of the world that a camera sees which moved by (x, y) texels."""
    x, y = shift
    return np.ascontiguousarray(WORLD[y : y + SIZE[1], x : x + SIZE[0]])


def inner(batch, origin):
    """Tokens that lie wholly inside the frame, by which square of the content they are."""
    table, found = batch.table[0], {}
    for row, token in enumerate(table):
        if token["valid"] == 1:
            place = tuple(round((float(token[axis]) - at) / SIDE - 0.5) for axis, at in zip("xy", origin, strict=True))
            found[place] = batch.pixels[0, row].double()
    return found


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shift", [(1, 0), (3, 2), (4, 1), (17, 30)])
def test_a_grid_that_moved_with_its_content_by_whole_texels_gives_the_same_pixels(shift, dtype):
    tokens = {}
    parts = parts_for(SIDE, PATCH)
    assert parts == 4
    for name, place in (("before", (0, 0)), ("after", shift)):
        origin = (-float(place[0]), -float(place[1]))
        grid = AnchoredGrid(patch=PATCH, side=SIDE, origin=origin)
        with Engine(layout=grid, backend="cpu", threshold=0, dtype=dtype) as engine:
            engine.submit(shown(place))
            fine = area_tokens(engine, MIDDLE, sources=[0], layout=Subdivided(grid, parts))
            tokens[name] = inner(fine, origin), inner(engine.tokens(), origin)
            np.testing.assert_array_equal(fine.table, engine.tokens().table)
    scale = 1 if dtype == torch.uint8 else 255
    common = tokens["before"][0].keys() & tokens["after"][0].keys()
    assert len(common) >= 12
    for number, bound in ((0, 1e-3), (1, None)):
        off = max(float((tokens["before"][number][k] - tokens["after"][number][k]).abs().mean()) for k in common)
        if bound is None:
            assert off * scale > 2  # which is why
        else:
            assert off * scale <= bound


def test_pixels_are_means_of_their_areas():
    grid = AnchoredGrid(patch=PATCH, side=SIDE, origin=(-3.0, -5.0))
    with Engine(layout=grid, backend="cpu", threshold=0, dtype=torch.float32) as engine:
        engine.submit(shown((0, 0)))
        found = inner(area_tokens(engine, MIDDLE, sources=[0], layout=Subdivided(grid, 4)), (-3.0, -5.0))
    frame = shown((0, 0)).astype(np.float64) / 255
    for (column, row), pixels in found.items():
        left, top = column * SIDE - 3, row * SIDE - 5
        square = frame[top : top + SIDE, left : left + SIDE]
        means = square.reshape(PATCH, 4, PATCH, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1)
        np.testing.assert_allclose(pixels.numpy(), means, atol=1e-6)
    assert len(found) >= 30


def test_what_did_not_change_is_not_dirty_and_views_keep_to_their_source():
    grid = AnchoredGrid(patch=PATCH, side=SIDE)
    with Engine(layout=grid, backend="cpu", threshold=0, sources=2) as engine:
        frames = [shown((0, 0)), shown((9, 9))]
        for source, frame in enumerate(frames):
            engine.submit(frame, source=source)
        fine = Subdivided(grid, 4)
        first = tokens_of(engine, MIDDLE * 2, sources=[0, 1], layout=fine)
        assert first.table["layer"][:, 0].tolist() == [0, 1]
        frames[1] = frames[1].copy()
        frames[1][:8, :8] ^= 255
        engine.submit(frames[1], source=1)
        again = tokens_of(engine, MIDDLE * 2, sources=[0, 1], layout=fine)
        assert again.dirty.sum(dim=1).tolist() == [0, 1]
        assert torch.equal(again.pixels[0], first.pixels[0])
        changed = (again.pixels[1] != first.pixels[1]).flatten(1).any(dim=1)
        assert changed.nonzero().flatten().tolist() == again.dirty[1].nonzero().flatten().tolist() == [0]
        plain = tokens_of(engine, MIDDLE * 2, sources=[0, 1], layout=None)
        assert plain.pixels.shape == again.pixels.shape


@pytest.mark.parametrize(("side", "patch", "parts"), [(16, 16, 1), (31, 16, 1), (32, 16, 2), (88, 16, 4), (500, 16, 8)])
def test_parts_read_the_base_level_as_far_as_that_is_worth_it(side, patch, parts):
    assert parts_for(side, patch) == parts
