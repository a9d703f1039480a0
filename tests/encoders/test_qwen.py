"""Qwen2.5-VL and Qwen3-VL: their own towers on uniform layouts, and on their own tables off the grid."""

from __future__ import annotations

import pytest
import torch
import vlms
from families import close

from texvlm import Engine, TokenBatch, encoders
from texvlm.encoders import Readout
from texvlm.encoders.export import model_inputs
from texvlm.encoders.merging import MergedFeatures
from texvlm.layouts import MergeBlocks, Quadtree, make_layout

BOTH = pytest.mark.parametrize("family", vlms.QWENS)
UNIFORM = make_layout("uniform", patch=4, block=2)
FOVEATED = MergeBlocks(Quadtree(tokens=40, patch=8), 2)


def encoder_of(family, **options):
    return encoders.load(vlms.FAMILIES[family](), **options)


def own_inputs(encoder, frames):
    """What the models' own image processor makes of frames of whole squares."""
    from transformers import Qwen2VLImageProcessorPil

    processor = Qwen2VLImageProcessorPil(
        patch_size=4, do_resize=False, image_mean=list(encoder.mean), image_std=list(encoder.std)
    )
    return processor(images=frames, return_tensors="pt")


@BOTH
@pytest.mark.parametrize(("count", "size"), [(1, (24, 24)), (3, (48, 40)), (2, (16, 56)), (1, (8, 8))])
def test_uniform_layouts_are_the_models_own_forward(family, make_batch, make_pictures, count, size):
    encoder = encoder_of(family)
    frames = make_pictures(count, size)
    batch = make_batch(encoder, frames, layout=UNIFORM)
    features = encoder(batch)
    inputs = own_inputs(encoder, frames)
    own = encoder.model.model.get_image_features(**inputs)
    assert isinstance(features, MergedFeatures)
    assert features.counts == [len(part) for part in own.pooler_output]
    close(features.merged.flatten(0, 1), torch.cat(own.pooler_output))
    assert len(features.layers) == (2 if family == "qwen3_vl" else 0)
    for found, expected in zip(features.layers, getattr(own, "deepstack_features", []), strict=True):
        close(found.flatten(0, 1), torch.cat(expected))
    states = own.last_hidden_state
    if family == "qwen2_5_vl":  # which its own forward leaves in the order of windows
        order, _ = encoder.windows(encoders.Geometry.of(batch))
        states = states.unflatten(0, (-1, 4))[torch.argsort(order)].flatten(0, 1)
    close(features.tokens.flatten(0, 1), states)
    assert features.pooled is None


@BOTH
@pytest.mark.parametrize("part", ["tower", "model"])
def test_a_part_of_the_model_serves_as_well(family, part, make_batch, make_pictures):
    model = vlms.FAMILIES[family]()
    whole = encoders.load(model)
    alone = encoders.load(model.model.visual if part == "tower" else model.model)
    batch = make_batch(whole, make_pictures(1, (24, 24)), layout=UNIFORM)
    close(alone(batch).merged, whole(batch).merged)
    assert (alone.mean, alone.patch, alone.merge) == (whole.mean, 4, 2)


def gathered(batch, rows):
    """Some rows of every view, in that order."""
    return TokenBatch(
        batch.pixels[:, rows], batch.table[:, rows.numpy()], batch.dirty[:, rows], batch.sizes, batch.sources, batch.pts
    )


@BOTH
def test_places_count_and_the_order_of_squares_does_not(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    batch = make_batch(encoder, make_pictures(2, (48, 40)), layout=UNIFORM)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(3))
    rows = (order[:, None] * 4 + torch.arange(4)).flatten()
    close(encoder(gathered(batch, rows)).merged, encoder(batch).merged[:, order])


@BOTH
def test_a_part_of_the_squares_is_the_tower_on_that_part(family, make_batch, make_pictures):
    """The model's own tables of the whole grid, gathered: nothing of ours in what is compared against."""
    from transformers import vision_utils

    encoder = encoder_of(family)
    frames = make_pictures(1, (48, 40))
    keep = torch.tensor([0, 3, 4, 5, 11, 12, 17, 20, 22, 28])
    rows = (keep[:, None] * 4 + torch.arange(4)).flatten()
    inputs = own_inputs(encoder, frames)
    grid = inputs["image_grid_thw"]
    given = {
        "position_ids": vision_utils.get_vision_position_ids(grid, 2)[rows],
        "cu_seqlens": torch.tensor([0, 40], dtype=torch.int32),
    }
    if family == "qwen2_5_vl":
        order, ends = vision_utils.get_vision_window_index(grid, 2, 16, 4)
        window = torch.bucketize(torch.arange(30) * 4, ends, right=True)[torch.argsort(order)][keep]
        given["window_index"] = torch.argsort(window, stable=True)
        counts = torch.unique(window, return_counts=True)[1]
        given["cu_window_seqlens"] = torch.nn.functional.pad(counts.cumsum(0) * 4, (1, 0)).int()
    else:
        names = ("interp_indices", "interp_weights")
        tables = vision_utils.get_vision_interpolation_indices_and_weights(
            grid, num_grid_per_side=6, align_corners=True, spatial_merge_size=2
        )
        given |= {name: table[rows] for name, table in zip(names, tables, strict=True)}
    own = encoder.tower(inputs["pixel_values"][rows], grid_thw=grid, **given)
    features = encoder(gathered(make_batch(encoder, frames, layout=UNIFORM), rows))
    close(features.merged[0], own.pooler_output)


@BOTH
def test_off_the_grid_the_towers_own_forward_takes_the_export(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=FOVEATED, fixations=[(0.3, 0.6), (0.9, 0.1)])
    batch.table["layer"][1, 120:] = -1
    batch.pixels[1, 120:] = float("nan")
    features = encoder(batch).check_finite()
    assert features.counts == [39, 30]  # a padding row of the layout, and ten of ours
    assert not features.merged[1, 30:].any()
    exported = model_inputs(encoder, batch)
    assert exported["pixel_values"].shape == (276, 3 * 2 * 16)
    names = ("pixel_values", "image_grid_thw", *(n for n in exported if n.startswith("image_")))
    own = encoder.model.model.get_image_features(**{name: exported[name] for name in names})
    for view, (expected, count) in enumerate(zip(own.pooler_output, features.counts, strict=True)):
        close(features.merged[view, :count], expected)
    for found, layer in zip(features.layers, getattr(own, "deepstack_features", []), strict=True):
        close(found[1, :30], layer[1])


@BOTH
def test_views_do_not_see_each_other(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    frames = make_pictures(3, (96, 64))
    together = encoder(make_batch(encoder, frames, layout=FOVEATED))
    for source, frame in enumerate(frames):
        close(together.merged[source], encoder(make_batch(encoder, [frame], layout=FOVEATED)).merged[0])


@BOTH
def test_places_of_coarse_squares_lie_between_the_fine_ones(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    batch = make_batch(encoder, make_pictures(1, (64, 64)), layout=MergeBlocks(Quadtree(tokens=4, patch=8), 2))
    features = encoder(batch)
    assert batch.table["side"].tolist() == [[16.0] * 16]
    assert features.places.tolist() == [[[1.5, 1.5], [1.5, 5.5], [5.5, 1.5], [5.5, 5.5]]]
    assert features.extent.tolist() == [[8.0, 8.0]]
    assert encoder.coordinates(encoders.Geometry.of(batch))[0, :4].tolist() == [
        [1.5, 1.5],
        [1.5, 5.5],
        [5.5, 1.5],
        [5.5, 5.5],
    ]


@BOTH
def test_a_grid_makes_a_large_frame_count_as_a_smaller_one(family, make_batch, make_pictures):
    """Every frame counts as 6 x 6 patches: a frame of twice the size, in tokens of twice the side, changes nothing."""
    model = vlms.FAMILIES[family]()
    encoder = type(encoders.load(model))(model, grid=(6, 6))
    frame = make_pictures(1, (24, 24))[0]
    twice = frame.repeat(2, axis=0).repeat(2, axis=1)
    coarse = make_batch(encoder, [twice], layout=make_layout("uniform", patch=4, block=2, side=16))
    close(encoder(coarse).merged, encoder(make_batch(encoder, [frame], layout=UNIFORM)).merged)
    assert encoder(coarse).places.max() == 2
    with pytest.raises(ValueError, match=r"grid is \(0, 6\); give \(rows, columns\) of patches"):
        type(encoder)(model, grid=(0, 6))


def test_other_ways_to_read_the_table(make_batch, make_pictures):
    encoder = encoder_of("qwen3_vl", positions="area")
    exact = encoder_of("qwen3_vl")
    frames = make_pictures(1, encoder.native_size)
    close(
        encoder(make_batch(encoder, frames, layout=UNIFORM)).merged,
        exact(make_batch(exact, frames, layout=UNIFORM)).merged,
    )


def test_windows_hold_squares_of_one_size(make_batch, make_pictures):
    encoder = encoder_of("qwen2_5_vl")
    batch = make_batch(encoder, make_pictures(2, (128, 96)), layout=FOVEATED)
    order, counts = encoder.windows(encoders.Geometry.of(batch))
    held = ~batch.is_padding[:, ::4]
    assert sorted(order.tolist()) == list(range(int(held.sum())))
    assert counts.sum() == held.sum()
    assert counts.max() == 4  # 2 x 2 squares, as in the model's own windows
    sides = batch.sides[:, ::4][held][order]
    views = held.nonzero()[:, 0][order]
    for window in zip(sides.split(counts.tolist()), views.split(counts.tolist()), strict=True):
        assert all(len(part.unique()) == 1 for part in window)


@BOTH
def test_a_scale_embedding_changes_nothing_until_it_is_trained(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=FOVEATED)
    before = encoder(batch).merged
    scale = encoder.add_scale_embedding()
    torch.testing.assert_close(encoder(batch).merged, before, rtol=0, atol=0)
    scale.weight += 1
    assert not torch.allclose(encoder(batch).merged, before)


@BOTH
def test_blocks_compile_in_place(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    batch = make_batch(encoder, make_pictures(2, (24, 24)), layout=UNIFORM)
    before = encoder(batch).merged
    encoder.compile(backend="eager")
    close(encoder(batch).merged, before)


@BOTH
def test_half_precision(family, make_batch, make_pictures):
    encoder = encoder_of(family, dtype=torch.bfloat16)
    features = encoder(make_batch(encoder, make_pictures(1, (96, 64)), layout=FOVEATED)).check_finite()
    assert features.merged.dtype == torch.bfloat16


@BOTH
def test_what_does_not_fit_is_refused_in_one_line(family, make_batch, make_pictures):
    encoder = encoder_of(family)
    frames = make_pictures(1, (24, 24))
    plain = make_batch(encoder, frames)
    with pytest.raises(ValueError, match=r"token 2 of view 0 is not in its place in a square of 2 x 2, .*block=2"):
        encoder(plain)
    with pytest.raises(ValueError, match=r"39 tokens a view; .* merges whole squares of 2 x 2: sample with"):
        encoder(make_batch(encoder, make_pictures(1, (96, 64)), layout=Quadtree(tokens=39, patch=4)))
    with pytest.raises(ValueError, match="gives no answers of its own to read out; leave readout away"):
        encoder(plain, readout=Readout.inside([0, 0, 1, 1]))
    split = make_batch(encoder, frames, layout=UNIFORM)
    split.table["layer"][0, 6] = -1
    with pytest.raises(ValueError, match="token 6 of view 0 is not in its place"):
        encoder(split)


@BOTH
def test_a_folder_is_loaded(family, tmp_path, make_pictures):
    model = vlms.FAMILIES[family]()
    model.save_pretrained(tmp_path / family)
    encoder = encoders.load(tmp_path / family)
    layout = make_layout("quadtree", tokens=40, patch=encoder.patch, block=encoder.merge)
    with Engine(layout=layout, patch=encoder.patch, mean=encoder.mean, std=encoder.std, backend="cpu") as engine:
        engine.submit(make_pictures(1, (96, 64))[0])
        batch = engine.tokens((0.4, 0.5))
    close(encoder(batch).merged, encoders.load(model)(batch).merged)
