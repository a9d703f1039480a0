"""Depth Anything: its own depth from a uniform layout; from any tokens, kept tokens, and changed tokens."""

from __future__ import annotations

from dataclasses import replace

import families
import numpy as np
import pytest
import torch
from families import OFF_GRID, WIDTH, close
from families import depth_anything as small

from texvlm import Engine, ModelError, encoders
from texvlm.encoders import Readout
from texvlm.encoders.bicubic import bicubic
from texvlm.encoders.dense import cell_shares, changed_tokens, scatter
from texvlm.encoders.depth_anything import DepthAnythingEncoder
from texvlm.layouts.quadtree import Quadtree
from texvlm.layouts.uniform import UniformGrid


def assert_depth(found, own):
    assert (own > 0).float().mean() > 0.5
    assert own.std() > 0.01
    close(found, own)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("positions", ["bilinear", "area", bicubic])
def test_native_uniform_is_the_models_own_depth(make_batch, make_pictures, pixel_values, count, positions):
    encoder = encoders.load(small(), positions=positions)
    assert isinstance(encoder, DepthAnythingEncoder)
    assert encoder.stages == (1, 2, 3, 4)
    frames = make_pictures(count, encoder.native_size)
    batch = make_batch(encoder, frames)
    own = encoder.model(pixel_values(encoder, frames)).predicted_depth
    assert_depth(encoder.depth(batch), own)
    features = encoder(batch)
    assert features.tokens.shape == (count, 36, 4 * WIDTH)
    assert features.pooled.shape == (count, WIDTH)
    assert_depth(encoder.depth(features), own)
    maps = encoder.body(pixel_values(encoder, frames)).feature_maps
    close(features.tokens, torch.cat([stage[:, 1:] for stage in maps], dim=-1))


@pytest.mark.parametrize("size", [(72, 40), (96, 64)])
def test_other_sizes_are_the_models_own_depth(make_batch, make_pictures, pixel_values, size):
    encoder = encoders.load(small(), positions=bicubic)
    frames = make_pictures(2, size)
    own = encoder.model(pixel_values(encoder, frames)).predicted_depth
    assert_depth(encoder.depth(make_batch(encoder, frames), grid=(size[1] // 8, size[0] // 8)), own)


@pytest.mark.parametrize(
    "options",
    [
        {"depth_estimation_type": "metric", "max_depth": 20},
        {"backbone": {"apply_layernorm": False}},
        {"backbone": {"out_indices": [0, 2, 3, 5]}},
    ],
)
def test_variants_of_the_model(make_batch, make_pictures, pixel_values, options):
    encoder = encoders.load(small(**options))
    frames = make_pictures(1, encoder.native_size)
    own = encoder.model(pixel_values(encoder, frames)).predicted_depth
    torch.testing.assert_close(encoder.depth(make_batch(encoder, frames)), own, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layout", OFF_GRID)
def test_tokens_anywhere_give_depth_everywhere(make_batch, make_pictures, layout):
    encoder = encoders.load(small())
    frames = make_pictures(2, (96, 64))
    batch = make_batch(encoder, frames, layout=OFF_GRID[layout], fixations=[(0.3, 0.4), (0.7, 0.6)])
    depth = encoder.depth(batch, grid=(8, 12))
    assert depth.shape == (2, 64, 96)
    assert depth.isfinite().all()
    assert depth.std() > 0.01


def test_padding_never_matters_and_views_keep_their_count(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    families.assert_padding_never_matters(encoder, batch)
    poisoned = encoder(families.padded(batch, 40, poison=float("nan")))
    close(encoder.depth(poisoned), encoder.depth(batch))


def test_a_uniform_layout_goes_to_its_cells_to_the_bit(make_batch, make_pictures):
    encoder = encoders.load(small())
    features = encoder(make_batch(encoder, make_pictures(2, (72, 40))))
    dense = scatter(features, (5, 9))
    assert torch.equal(dense.flatten(1, 2), features.tokens)


def test_a_partition_keeps_the_mean_by_area(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=Quadtree(tokens=28, patch=8), fixations=(0.3, 0.4))
    features = encoder(batch)
    for grid in [(4, 6), (8, 12), (2, 3)]:
        dense = scatter(features, grid)
        area = features.tokens.new_tensor(batch.table["side"] ** 2 * batch.table["valid"])[..., None]
        close(dense.mean(dim=(1, 2)), (features.tokens * area).sum(1) / area.sum(1))


def test_the_finest_token_is_seen(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=OFF_GRID["crops"], fixations=(0.5, 0.5))
    shares = torch.from_numpy(cell_shares(batch.table, batch.sizes, (8, 12)))[0]
    close(shares.sum(-1), torch.ones(96))
    table = batch.table[0]
    crop = torch.from_numpy((table["region"] == 1).copy())
    assert table["side"][crop.numpy()].max() < table["side"][~crop.numpy()].min()
    columns = (np.arange(12) + 0.5) * 8
    rows = (np.arange(8) + 0.5) * 8
    half = table["side"][crop.numpy()][0] / 2
    x, y = table["x"][crop.numpy()], table["y"][crop.numpy()]
    inside_x = (columns - 4 >= x.min() - half) & (columns + 4 <= x.max() + half)
    inside_y = (rows - 4 >= y.min() - half) & (rows + 4 <= y.max() + half)
    inside = torch.from_numpy((inside_y[:, None] & inside_x).ravel())
    assert inside.sum() >= 4
    close(shares[inside][:, crop].sum(-1), torch.ones(int(inside.sum())))


def test_where_no_token_lies_the_nearest_is_seen_or_what_was_there(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=UniformGrid(patch=8))
    features = encoder(batch)
    left = batch.table["x"] < 48
    batch.table["layer"][~left] = -1
    part = replace(features, padding=torch.from_numpy(~left), rows=batch.table)
    nearest = scatter(part, (8, 12))
    whole = scatter(features, (8, 12))
    assert torch.equal(nearest[:, :, :6], whole[:, :, :6])
    assert torch.equal(nearest[:, :, 6:], whole[:, :, 5:6].expand(-1, -1, 6, -1))
    kept = torch.randn_like(whole)
    merged = scatter(part, (8, 12), onto=kept)
    assert torch.equal(merged[:, :, :6], whole[:, :, :6])
    assert torch.equal(merged[:, :, 6:], kept[:, :, 6:])


def test_changed_tokens_alone_are_encoded_and_replace_what_they_cover(make_pictures):
    encoder = encoders.load(small())
    frames = make_pictures(2, (48, 48))
    changed = frames[0].copy()
    changed[:16, :24] = frames[1][:16, :24]
    embedded = []
    encoder.model.backbone.embeddings.patch_embeddings.register_forward_hook(
        lambda module, given, result: embedded.append(result.shape[1])
    )
    layout = UniformGrid(patch=8)
    with Engine(layout=layout, mean=encoder.mean, std=encoder.std, backend="cpu", threshold=0) as engine:
        engine.submit(frames[0])
        first = engine.tokens()
        before = scatter(encoder(changed_tokens(first)), (6, 6))
        assert torch.equal(before, scatter(encoder(first), (6, 6)))
        engine.submit(changed)
        later = engine.tokens()
        assert 0 < later.dirty.sum() < 36
        part = changed_tokens(later)
        dense = scatter(encoder(part), (6, 6), onto=before)
    assert embedded == [36, 36, int(later.dirty.sum())]
    dirty = later.dirty.reshape(1, 6, 6)
    assert torch.equal(dense[~dirty], before[~dirty])
    assert (dense[dirty] - before[dirty]).abs().amax(-1).min() > 1e-4
    assert encoder.decode(dense).shape == (1, 48, 48)


def test_changed_tokens_of_unequal_counts_are_padded(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(2, (48, 48)))
    dirty = torch.zeros(2, 36, dtype=torch.bool)
    dirty[0, [3, 7, 9]], dirty[1, 5] = True, True
    some = changed_tokens(replace(batch, dirty=dirty))
    assert some.pixels.shape[:2] == (2, 3)
    assert some.is_padding.tolist() == [[False] * 3, [False, True, True]]
    assert torch.equal(some.pixels[0], batch.pixels[0, [3, 7, 9]])
    assert some.table[1, 0] == batch.table[1, 5]
    alone = changed_tokens(replace(batch, dirty=dirty & torch.tensor([[False], [True]])))
    close(encoder(some).tokens[1, 0], encoder(alone).tokens[1, 0])
    nothing = changed_tokens(replace(batch, dirty=dirty & False))
    kept = torch.randn(2, 6, 6, 4 * WIDTH)
    assert torch.equal(scatter(encoder(nothing), (6, 6), onto=kept), kept)


def test_what_does_not_fit_is_refused(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    features = encoder(batch)
    with pytest.raises(ValueError, match="has no read-outs"):
        encoder(batch, readout=Readout.inside([0, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"dense features of shape \(1, 6, 6, 32\).*reads \(views, rows, columns, 128"):
        encoder.decode(torch.zeros(1, 6, 6, WIDTH))
    with pytest.raises(ValueError, match=r"go onto \(1, 6, 6, 128\)"):
        scatter(features, (6, 6), onto=torch.zeros(1, 5, 6, 128))
    with pytest.raises(ValueError, match="rows is 0"):
        scatter(features, (0, 6))
    with pytest.raises(ModelError, match="backbone of type 'dinov2_with_registers'"):
        encoders.load(small(backbone={"model_type": "dinov2_with_registers"}))


def test_a_saved_folder_gives_the_same(make_batch, make_pictures, tmp_path):
    model = small()
    model.save_pretrained(tmp_path / "model")
    encoder = encoders.load(tmp_path / "model")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder.depth(batch), encoders.load(model).depth(batch))
