"""Positions off the grid: exact on the grid, right between its entries, finite everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from texvlm.encoders import Geometry
from texvlm.encoders.positions import (
    ScaleEmbedding,
    area_average,
    bilinear,
    grid_coordinates,
    interpolation_taps,
    look_up,
    rope_coordinates,
    table_of,
    token_scales,
)
from texvlm.layouts import Focus, Table, UniformGrid, make_layout, make_table
from texvlm.tokens import TokenBatch

LOOK_UPS = [bilinear, area_average]


def geometry_of(table: Table, size: tuple[int, int]) -> Geometry:
    """Geometry of one view."""
    pixels = torch.zeros(1, len(table), 3, 2, 2)
    dirty = torch.ones(1, len(table), dtype=torch.bool)
    return Geometry.of(
        TokenBatch(pixels, table[None], dirty, np.array([size], np.int32), np.zeros(1, np.int32), np.zeros(1))
    )


def uniform(size: tuple[int, int], patch: int) -> Geometry:
    return geometry_of(UniformGrid(patch=patch).plan(size, Focus(np.zeros((1, 2)))), size)


def one(x: float, y: float, side: float, size: tuple[int, int] = (64, 64)) -> Geometry:
    return geometry_of(make_table([x], [y], side, size=size), size)


def a_table(rows: int, columns: int, width: int = 5) -> torch.Tensor:
    return torch.randn(rows, columns, width, generator=torch.Generator().manual_seed(rows))


@pytest.mark.parametrize("look", LOOK_UPS)
@pytest.mark.parametrize(
    ("rows", "columns", "patch"), [(14, 14, 16), (16, 16, 14), (37, 37, 14), (3, 7, 32), (48, 27, 16), (1, 1, 8)]
)
def test_a_native_grid_hits_every_entry_to_the_bit(look, rows, columns, patch):
    table = a_table(rows, columns)
    found = look(table, uniform((columns * patch, rows * patch), patch))
    assert torch.equal(found[0], table.flatten(0, 1))


@pytest.mark.parametrize("look", LOOK_UPS)
def test_the_frame_spans_the_table_whatever_its_size(look):
    table = a_table(6, 8)
    geometry = uniform((8 * 48, 6 * 30), 6)  # eight tokens across a cell and five down
    plane = torch.stack(torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij"), -1)
    found = look(plane, geometry)
    expected = grid_coordinates(geometry, (6, 8))
    expected = torch.minimum(expected.clamp_min(0), torch.tensor([5.0, 7.0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert look(table, geometry).shape == (1, 64 * 30, 5)


def test_bilinear_is_what_torch_interpolates():
    table = a_table(5, 7)
    found = bilinear(table, uniform((7 * 6, 5 * 6), 2)).reshape(15, 21, 5)
    expected = torch.nn.functional.interpolate(table.permute(2, 0, 1)[None], size=(15, 21), mode="bilinear")
    torch.testing.assert_close(found, expected[0].permute(1, 2, 0), rtol=0, atol=1e-5)


def test_the_area_of_two_by_two_cells_is_their_mean():
    table = a_table(4, 4)
    found = area_average(table, one(32, 32, 32))
    torch.testing.assert_close(found[0, 0], table[1:3, 1:3].mean((0, 1)))


def test_the_area_beyond_the_edge_is_the_edge():
    table = a_table(4, 4)
    found = area_average(table, one(0, 32, 32))  # half of it outside, half over column 0
    torch.testing.assert_close(found[0, 0], table[1:3, 0].mean(0))
    torch.testing.assert_close(area_average(table, one(1000, 1000, 8))[0, 0], table[3, 3])


@given(
    x=st.floats(-200, 300),
    y=st.floats(-200, 300),
    side=st.floats(0.5, 500),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
)
def test_a_constant_table_stays_constant_anywhere(x, y, side, rows, columns):
    geometry = one(x, y, side, (96, 48))
    for look in LOOK_UPS:
        torch.testing.assert_close(look(torch.full((rows, columns, 2), 3.0), geometry), torch.full((1, 1, 2), 3.0))


@given(x=st.floats(-20, 80), y=st.floats(-20, 80), side=st.floats(0.5, 16))
def test_area_and_bilinear_agree_on_tokens_up_to_a_cell(x, y, side):
    geometry = one(x, y, side)
    table = a_table(4, 4)
    torch.testing.assert_close(area_average(table, geometry), bilinear(table, geometry), rtol=0, atol=1e-5)


def test_taps_are_indices_and_weights_of_the_look_up():
    table = a_table(5, 7)
    geometry = geometry_of(
        make_layout("sunflower", tokens=60).plan((300, 200), Focus(np.array([[20.0, 190.0]]))), (300, 200)
    )
    indices, weights = interpolation_taps(geometry, (5, 7))
    assert indices.shape == weights.shape == (1, 60, 4)
    assert indices.dtype == torch.int64
    assert indices.min() >= 0
    assert indices.max() < 35
    torch.testing.assert_close(weights.sum(-1), torch.ones(1, 60))
    assert (weights >= 0).all()
    torch.testing.assert_close((table.flatten(0, 1)[indices] * weights[..., None]).sum(-2), bilinear(table, geometry))


def test_rope_coordinates_are_those_of_patch_centres():
    found = rope_coordinates(uniform((48, 32), 8))[0].reshape(4, 6, 2)
    rows, columns = (2 * (torch.arange(0.5, n) / n) - 1 for n in (4, 6))
    assert torch.equal(found[..., 0], rows[:, None].expand(4, 6))
    assert torch.equal(found[..., 1], columns.expand(4, 6))


def test_scales_are_in_native_patches():
    assert token_scales(uniform((224, 224), 16), (14, 14)).abs().max() < 1e-6
    torch.testing.assert_close(token_scales(one(9, 9, 128, (512, 512)), (8, 8)), torch.ones(1, 1))
    torch.testing.assert_close(token_scales(one(9, 9, 32, (1024, 256)), (8, 8)), torch.full((1, 1), -1.0))


def test_a_scale_embedding_starts_at_zero_and_mixes_its_neighbours():
    scale = ScaleEmbedding(3, finest=-2, coarsest=1)
    scales = torch.tensor([[-9.0, -2.0, -0.25, 1.0, 7.0]])
    assert not scale(scales).any()
    scale.weight.data = torch.arange(4.0)[:, None].expand(4, 3).clone()
    torch.testing.assert_close(scale(scales)[0, :, 0], torch.tensor([0.0, 0.0, 1.75, 3.0, 3.0]))
    with pytest.raises(ValueError, match=r"scales 2..2; the coarsest lies above"):
        ScaleEmbedding(3, finest=2, coarsest=2)


def test_a_function_of_the_callers_reads_the_table():
    table, geometry = a_table(4, 4), uniform((64, 64), 16)
    mirrored = look_up(table, geometry, method=lambda table, geometry: bilinear(table.flip(1), geometry))
    assert torch.equal(mirrored[0], table.flip(1).flatten(0, 1))
    with pytest.raises(ValueError, match=r"positions of shape \(4, 4, 5\); the function must return \(1, 16, 5\)"):
        look_up(table, geometry, method=lambda table, geometry: table)


def test_what_is_no_way_or_no_table_is_refused():
    with pytest.raises(ValueError, match="positions 'cubic'; accepted: bilinear, area, or a function"):
        look_up(a_table(2, 2), uniform((4, 4), 2), method="cubic")
    with pytest.raises(ValueError, match=r"position table of shape \(5, 3\) for a grid of 2 x 3; it needs 6 entries"):
        table_of(torch.zeros(5, 3), (2, 3))
