"""Export: what a stock model or a server is given, and the geometry that goes along."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vlms
from families import close

from texvlm import ModelError, TokenBatch, encoders
from texvlm.encoders.export import GEOMETRY_FIELDS, embeddings, grid_of, model_inputs
from texvlm.encoders.handover import hand_over
from texvlm.layouts import Focus, MergeBlocks, Quadtree, make_layout

ALL = pytest.mark.parametrize("family", vlms.FAMILIES)
QWENS = pytest.mark.parametrize("family", vlms.QWENS)
FOVEATED = MergeBlocks(Quadtree(tokens=16, patch=8), 2)
UNIFORM = make_layout("uniform", patch=4, block=2)
MIDDLE = Focus(np.array([[20.0, 30.0]]))


@QWENS
def test_a_uniform_export_is_what_the_models_own_processor_makes(family, make_batch, make_pictures):
    from transformers import BatchFeature, Qwen2VLImageProcessorPil

    encoder = encoders.load(vlms.FAMILIES[family]())
    frames = make_pictures(2, (48, 40))
    found = model_inputs(encoder, make_batch(encoder, frames, layout=UNIFORM))
    processor = Qwen2VLImageProcessorPil(
        patch_size=4, do_resize=False, image_mean=list(encoder.mean), image_std=list(encoder.std)
    )
    own = processor(images=frames, return_tensors="pt")
    assert isinstance(found, BatchFeature)
    close(found["pixel_values"], own["pixel_values"])
    assert torch.equal(found["image_grid_thw"], own["image_grid_thw"])
    assert found["on_grid"].tolist() == [True, True]


@QWENS
def test_uint8_tokens_are_normalised_on_the_way(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    frames = make_pictures(1, (48, 40))
    raw = model_inputs(encoder, make_batch(encoder, frames, layout=UNIFORM, dtype=torch.uint8))
    close(raw["pixel_values"], model_inputs(encoder, make_batch(encoder, frames, layout=UNIFORM))["pixel_values"])


@QWENS
def test_geometry_goes_along(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    batch = make_batch(encoder, make_pictures(2, (64, 48)), layout=FOVEATED, fixations=[(0.2, 0.2), (0.8, 0.5)])
    batch.table["layer"][1, 40:] = -1
    found = model_inputs(encoder, batch)
    held = ~batch.is_padding
    geometry = dict(zip(GEOMETRY_FIELDS, found["token_geometry"].T, strict=True))
    for name in ("x", "y", "side", "valid", "region"):
        assert torch.equal(geometry[name], torch.from_numpy(batch.table[name].astype(np.float32))[held])
    assert (geometry["width"] == 64).all()
    assert (geometry["height"] == 48).all()
    assert found["on_grid"].tolist() == [False, False]
    assert (found["image_grid_thw"].prod(1)).tolist() == held.sum(1).tolist()


@ALL
def test_embeddings_are_what_generate_is_given(family, make_batch, make_pictures):
    encoder = encoders.load(vlms.FAMILIES[family]())
    batch = make_batch(encoder, make_pictures(2, (64, 48)), layout=FOVEATED, fixations=[(0.2, 0.2), (0.8, 0.5)])
    batch.table["layer"][1, 40:] = -1
    features = encoder(batch)
    found = embeddings(encoder, features)
    given = hand_over(encoder, features, [[5, 92, 90, 93], [6, 92, 90, 93]])["mm_encoder_outputs"]["image"]
    parts = found["image_embeds"].split(found["image_counts"].tolist())
    for view, part in enumerate(parts):
        layers = [layer[view] for layer in getattr(given, "deepstack_features", [])]
        assert torch.equal(part, torch.cat([given.pooler_output[view], *layers], dim=-1))
    assert (found["image_grid_thw"].prod(1) // 4).tolist() == found["image_counts"].tolist() == features.counts
    assert found["places"].shape == (sum(features.counts), 2)
    squares = dict(zip(GEOMETRY_FIELDS, found["token_geometry"].T, strict=True))
    close((squares["y"] / 8 - 0.5)[: features.counts[0]], features.places[0, : features.counts[0], 0])
    assert torch.equal(squares["side"][: features.counts[0]], batch.sides[0, ::4][: features.counts[0]] * 2)


def test_tokens_planned_on_a_device_export_the_same(make_batch, make_pictures):
    encoder = encoders.load(vlms.qwen3_vl())
    batch = make_batch(encoder, make_pictures(2, (64, 48)), layout=FOVEATED)
    bits = torch.from_numpy(batch.table.view(np.int32).reshape(*batch.table.shape, 6).copy())
    there = TokenBatch(batch.pixels, bits, batch.dirty, batch.sizes, batch.sources, batch.pts)
    for export in (lambda b: model_inputs(encoder, b), lambda b: embeddings(encoder, encoder(b))):
        found, expected = export(there), export(batch)
        assert found.keys() == expected.keys()
        for name in expected:
            close(found[name].float(), expected[name].float())


@pytest.mark.parametrize("size", [(48, 40), (44, 33), (8, 8)])
@pytest.mark.parametrize("block", [1, 2, 3])
def test_a_uniform_grid_is_recognised(size, block):
    table = make_layout("uniform", patch=4, block=block).plan(size, MIDDLE)
    across, down = (-(-extent // (4 * block)) * block for extent in size)
    assert grid_of(table, np.array(size), block) == (down, across)
    moved = table.copy()
    moved["x"][0] += 1
    assert grid_of(moved, np.array(size), block) is None
    assert grid_of(table[:-1], np.array(size), block) is None
    assert grid_of(FOVEATED.plan((64, 48), MIDDLE), np.array((64, 48)), 2) is None


def test_what_cannot_be_exported_is_refused(make_batch, make_pictures):
    encoder = encoders.load(vlms.smolvlm())
    batch = make_batch(encoder, make_pictures(1, (32, 32)), layout=UNIFORM)
    with pytest.raises(ModelError, match=r"takes whole pictures only, .*; export its embeddings"):
        model_inputs(encoder, batch)
    with pytest.raises(ValueError, match="is not in its place in a square"):
        model_inputs(encoder, make_batch(encoder, make_pictures(1, (32, 32))))
