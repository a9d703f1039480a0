"""What every adapter keeps to, whatever its model: element types, device plans, refusals, folders, training hooks."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch
from families import close
from safetensors.torch import load_file, save_file

from texvlm import ModelError, encoders
from texvlm.layouts.quadtree import Quadtree
from texvlm.tokens import TokenBatch

FAMILIES = ["clip", "depth_anything", "dinov2", "dinov2_with_registers", "dinov3", "siglip"]


@pytest.fixture(params=FAMILIES)
def model(request):
    return getattr(families, request.param)()


@pytest.fixture
def foveated(make_batch, make_pictures):
    """Two views of 27 tokens and a padding row, for an encoder."""

    def make(encoder, **options):
        return make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8), **options)

    return make


def test_raw_pixels_are_normalised_here(model, foveated):
    encoder = encoders.load(model)
    raw = foveated(encoder, dtype=torch.uint8)
    assert raw.pixels.dtype == torch.uint8
    close(encoder(raw).tokens, encoder(foveated(encoder)).tokens)


def test_half_precision(model, foveated):
    exact = encoders.load(model)(foveated(encoders.load(model)))
    encoder = encoders.load(model, dtype=torch.bfloat16)
    features = encoder(foveated(encoder)).check_finite()
    assert features.tokens.dtype == features.pooled.dtype == torch.bfloat16
    torch.testing.assert_close(features.pooled.float(), exact.pooled, rtol=0, atol=0.15)


def test_tokens_planned_on_a_device_give_the_same(model, foveated):
    encoder = encoders.load(model)
    batch = foveated(encoder)
    bits = torch.from_numpy(batch.table.view(np.int32).reshape(2, 28, 6).copy())
    there = TokenBatch(batch.pixels, bits, batch.dirty, batch.sizes, batch.sources, batch.pts)
    close(encoder(there).tokens, encoder(batch).tokens)
    close(encoder(there).pooled, encoder(batch).pooled)


def test_views_do_not_see_each_other(model, foveated):
    encoder = encoders.load(model)
    batch = foveated(encoder)
    first = TokenBatch(
        batch.pixels[:1], batch.table[:1], batch.dirty[:1], batch.sizes[:1], batch.sources[:1], batch.pts[:1]
    )
    close(encoder(first).tokens, encoder(batch).tokens[:1])


def test_a_scale_embedding_adds_nothing_until_trained(model, foveated):
    encoder = encoders.load(model)
    batch = foveated(encoder)
    before = encoder(batch)
    embedding = encoder.add_scale_embedding()
    assert torch.equal(encoder(batch).tokens, before.tokens)
    with torch.enable_grad():
        encoder(batch).pooled.square().sum().backward()
    assert embedding.weight.grad.abs().max() > 0
    embedding.weight.data.normal_()
    assert (encoder(batch).tokens - before.tokens).abs().max() > 1e-3


def test_batches_that_do_not_fit_are_refused(model, make_batch, make_pictures):
    encoder = encoders.load(model)
    with pytest.raises(ValueError, match="takes 8 x 8"):
        encoder(make_batch(encoder, make_pictures(1, (48, 48)), patch=16))
    grey = [picture[..., :1].copy() for picture in make_pictures(1, (48, 48))]
    with pytest.raises(ValueError, match="takes 3"):
        encoder(make_batch(encoder, grey, mean=(0.5,), std=(0.5,)))


def test_numbers_that_are_not_finite_are_found(model, foveated):
    encoder = encoders.load(model)
    batch = foveated(encoder)
    batch.pixels[1, 3, 0, 0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"view 1 \(source 1\) are not finite"):
        encoder(batch).check_finite()


@pytest.mark.parametrize("damage", ["missing", "mismatched"])
def test_a_damaged_folder_names_what_is_wrong(model, tmp_path, damage):
    model.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if "embeddings.position" in name or name.endswith("cls_token"))
    if damage == "missing":
        del weights[name]
    else:
        weights[name] = torch.cat([weights[name], weights[name]])
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"^{tmp_path}: .*"):
        encoders.load(tmp_path)


def test_the_fixed_shape_path_compiles_whole(model, foveated):
    encoder = encoders.load(model)
    batch = foveated(encoder)
    expected = encoder(batch)
    encoder.compile(fullgraph=True, backend="aot_eager")
    found = encoder(batch)
    close(found.tokens, expected.tokens)
    close(found.pooled, expected.pooled)
