"""Bicubic look-ups are torch's own resizing of a table, on a uniform layout of any size."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import close

from texvlm import encoders
from texvlm.encoders import Geometry
from texvlm.encoders.bicubic import bicubic, bicubic_antialiased
from texvlm.layouts.uniform import grid_rows
from texvlm.tokens import TokenBatch


def uniform(size, patch):
    """Where the tokens of a uniform grid lie."""
    rows = grid_rows(size, patch)[None]
    pixels, dirty = torch.zeros(*rows.shape, 3, 1, 1), torch.zeros(rows.shape, dtype=torch.bool)
    return Geometry.of(
        TokenBatch(pixels, rows, dirty, np.array([size], np.int32), np.zeros(1, np.int32), np.full(1, np.nan))
    )


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("grid", [(1, 1), (2, 9), (5, 7), (8, 8), (13, 3), (37, 21)])
def test_it_is_what_torch_resizes_a_table_to(rng, grid, antialias):
    table = torch.from_numpy(rng.normal(size=(5, 7, 4)).astype(np.float32))
    method = bicubic_antialiased if antialias else bicubic
    found = method(table, uniform((grid[1] * 8, grid[0] * 8), 8))
    own = torch.nn.functional.interpolate(
        table.permute(2, 0, 1)[None], size=grid, mode="bicubic", align_corners=False, antialias=antialias
    )
    close(found, own.flatten(2).transpose(1, 2))


def test_entries_come_back_to_the_bit(rng):
    table = torch.from_numpy(rng.normal(size=(5, 7, 4)).astype(np.float32))
    for method in (bicubic, bicubic_antialiased):
        assert torch.equal(method(table, uniform((56, 40), 8))[0], table.flatten(0, 1))


@pytest.mark.parametrize("size", [(96, 64), (32, 40)])
def test_a_vit_of_another_size_is_its_own_forward(make_vit, make_batch, make_pictures, pixel_values, size):
    encoder = encoders.load(make_vit(), positions=bicubic)
    frames = make_pictures(2, size)
    own = encoder.body(pixel_values(encoder, frames), interpolate_pos_encoding=True).last_hidden_state
    close(encoder(make_batch(encoder, frames)).tokens, own[:, 1:])
