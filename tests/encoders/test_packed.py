"""PackedTokens: the same tokens without padding, and back again to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from token_batches import assert_same

from texvlm import Engine
from texvlm.encoders import PackedTokens
from texvlm.layouts import TOKEN_RECORD, Quadtree, UniformGrid
from texvlm.tokens import TokenBatch


def tokens_of(frames, layout, **options) -> TokenBatch:
    with Engine(sources=len(frames), layout=layout, backend="cpu") as engine:
        for source, frame in enumerate(frames):
            engine.submit(frame, source, pts=source / 4)
        return engine.tokens(**options)


@pytest.fixture
def ragged(make_pictures) -> TokenBatch:
    """Two sources of which one, being small, has padding rows."""
    frames = [make_pictures(1, (96, 64))[0], make_pictures(1, (40, 24))[0]]
    batch = tokens_of(frames, UniformGrid(patch=8, tokens=100))
    counts = (batch.table["layer"] >= 0).sum(1)
    assert counts[0] != counts[1] < 100
    return batch


def on_device(batch: TokenBatch) -> TokenBatch:
    """The batch as a device plans it: its table as bits in a tensor."""
    bits = torch.from_numpy(batch.table.view(np.int32).reshape(*batch.table.shape, 6).copy())
    return TokenBatch(batch.pixels, bits, batch.dirty, batch.sizes, batch.sources, batch.pts)


@pytest.mark.parametrize("where", [lambda batch: batch, on_device])
def test_packed_and_back_is_the_same_to_the_bit(ragged, where):
    batch = where(ragged)
    packed = PackedTokens.from_batch(batch)
    counts = (ragged.table["layer"] >= 0).sum(1)
    assert packed.lengths == tuple(counts)
    assert packed.cu_seqlens.tolist() == [0, counts[0], counts.sum()]
    assert packed.cu_seqlens.dtype == torch.int32
    assert packed.max_seqlen == counts.max()
    assert packed.rows.shape == (counts.sum(), 3 * 8 * 8)
    assert not packed.is_dense
    assert (len(packed), packed.patch, packed.channels) == (2, 8, 3)
    assert packed.source_ids.tolist() == [0] * counts[0] + [1] * counts[1]
    assert_same(packed.to_batch(), batch)
    assert isinstance(packed.to_batch().rows, type(batch.rows))


def test_padding_in_the_middle_comes_back_where_it_was(ragged):
    order = np.random.default_rng(3).permutation(100)
    mixed = TokenBatch(
        ragged.pixels[:, order],
        ragged.table[:, order],
        ragged.dirty[:, order],
        ragged.sizes,
        *(ragged.sources, ragged.pts),
    )
    assert_same(PackedTokens.from_batch(mixed).to_batch(), mixed)


@pytest.mark.parametrize("where", [lambda batch: batch, on_device])
def test_equal_counts_are_never_copied(make_pictures, where):
    batch = where(tokens_of(make_pictures(2, (96, 64)), UniformGrid(patch=8)))
    packed = PackedTokens.from_batch(batch)
    assert packed.is_dense
    assert packed.rows.data_ptr() == batch.pixels.data_ptr()
    back = packed.to_batch()
    assert back.pixels.data_ptr() == batch.pixels.data_ptr()
    assert_same(back, batch)


def test_coordinates_are_time_place_and_scale(ragged):
    packed = PackedTokens.from_batch(ragged)
    t, y, x, scale = packed.coordinates.unbind(1)
    assert set(t.tolist()) == {0.0, 0.25}
    for i in range(2):
        part = slice(*packed.cu_seqlens[i : i + 2].tolist())
        table = packed.table[part]
        np.testing.assert_allclose(x[part] * ragged.sizes[i, 0], table["x"], rtol=1e-6)
        np.testing.assert_allclose(y[part] * ragged.sizes[i, 1], table["y"], rtol=1e-6)
        np.testing.assert_allclose(2 ** scale[part] * 8, table["side"], rtol=1e-6)


def test_age_counts_batches_since_a_token_changed(make_pictures):
    frame = make_pictures(1, (64, 64))[0].copy()
    with Engine(layout=UniformGrid(patch=16), backend="cpu", threshold=0) as engine:
        ages, packed = [], None
        for step in range(4):
            if step == 2:
                frame[:16, :16] ^= 255
            engine.submit(frame)
            packed = PackedTokens.from_batch(engine.tokens(), previous=packed)
            ages.append(packed.age.tolist())
    assert ages[0] == [0] * 16
    assert ages[1] == [1] * 16
    assert ages[2] == [0] + [2] * 15
    assert ages[3] == [1] + [3] * 15
    with pytest.raises(ValueError, match=r"previous has sources \[0\] of 16 rows, the batch \[0, 1\] of 16"):
        PackedTokens.from_batch(tokens_of([frame, frame], UniformGrid(patch=16)), previous=packed)


def test_packs_of_other_layouts_join(make_pictures, ragged):
    tree = tokens_of(make_pictures(1, (96, 64)), Quadtree(tokens=31, patch=8))
    parts = [PackedTokens.from_batch(ragged), PackedTokens.from_batch(tree)]
    joined = PackedTokens.join(parts)
    assert joined.lengths == parts[0].lengths + parts[1].lengths
    assert joined.cu_seqlens.tolist() == np.cumsum([0, *joined.lengths]).tolist()
    back = joined.to_batch()
    assert back.pixels.shape[:2] == (3, 100)
    assert torch.equal(back.pixels[:2], ragged.pixels)
    assert torch.equal(back.pixels[2, :31], tree.pixels[0])
    assert back.table[2, :31].tobytes() == tree.table.tobytes()
    assert back.is_padding[2, 31:].all()
    devices = PackedTokens.join([PackedTokens.from_batch(on_device(batch)) for batch in (ragged, tree)])
    assert devices.to_batch().table.tobytes() == back.table.tobytes()


def test_what_does_not_join_is_refused(ragged):
    with pytest.raises(ValueError, match="no packs to join"):
        PackedTokens.join([])
    parts = [PackedTokens.from_batch(batch) for batch in (ragged, on_device(ragged))]
    with pytest.raises(ValueError, match="do not join; sample them alike"):
        PackedTokens.join(parts)


def test_a_view_without_tokens_is_an_empty_range(ragged):
    table = ragged.table.copy()
    table[1] = np.zeros(100, TOKEN_RECORD)
    table["layer"][1], table["side"][1] = -1, 1
    batch = TokenBatch(ragged.pixels, table, ragged.dirty, ragged.sizes, ragged.sources, ragged.pts)
    packed = PackedTokens.from_batch(batch)
    assert packed.lengths[1] == 0
    assert packed.to_batch().is_padding[1].all()
    assert "0 to" in repr(packed)
