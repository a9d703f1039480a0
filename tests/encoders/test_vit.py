"""ViT: a uniform layout at native size is the model's own forward; padding and poison change nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from texvlm import ModelError, encoders
from texvlm.encoders import Readout
from texvlm.layouts import TOKEN_RECORD
from texvlm.layouts.quadtree import Quadtree
from texvlm.tokens import TokenBatch

BOUND = 1e-5
METHODS = ["bilinear", "area"]


def assert_own(encoder, features, own):
    """The features are the model's own output."""
    hidden = own.last_hidden_state if hasattr(own, "last_hidden_state") else own
    torch.testing.assert_close(features.tokens, hidden[:, 1:], rtol=0, atol=BOUND)
    torch.testing.assert_close(features.prefix, hidden[:, :1], rtol=0, atol=BOUND)


@pytest.mark.parametrize("positions", METHODS)
@pytest.mark.parametrize("count", [1, 3])
def test_native_uniform_is_the_models_own_forward(make_vit, make_batch, make_pictures, pixel_values, count, positions):
    encoder = encoders.load(make_vit(), positions=positions)
    frames = make_pictures(count, encoder.native_size)
    batch = make_batch(encoder, frames)
    assert batch.pixels.shape == (count, 36, 3, 8, 8)
    features = encoder(batch)
    own = encoder.model(pixel_values(encoder, frames))
    assert_own(encoder, features, encoder.body(pixel_values(encoder, frames)))
    torch.testing.assert_close(encoder.classify(features), own.logits, rtol=0, atol=BOUND)
    assert features.sources.tolist() == list(range(count))


def test_several_views_of_one_source(make_vit, make_batch, make_pictures, pixel_values):
    encoder = encoders.load(make_vit())
    frames = make_pictures(1, encoder.native_size)
    features = encoder(make_batch(encoder, frames, fixations=[(0.2, 0.2), (0.8, 0.5)]))
    own = encoder.body(pixel_values(encoder, frames)).last_hidden_state
    assert_own(encoder, features, own.expand(2, -1, -1))


def test_a_frame_that_is_not_square(make_vit, make_batch, make_pictures, pixel_values):
    encoder = encoders.load(make_vit(image_size=(32, 64)))
    assert encoder.native_grid == (4, 8)
    assert encoder.native_size == (64, 32)
    frames = make_pictures(2, (64, 32))
    assert_own(encoder, encoder(make_batch(encoder, frames)), encoder.body(pixel_values(encoder, frames)))


def test_the_pooler_answers_where_there_is_one(make_vit, make_batch, make_pictures, pixel_values):
    encoder = encoders.load(make_vit(classifier=False, pooler=True, pooler_output_size=12))
    frames = make_pictures(2, encoder.native_size)
    features = encoder(make_batch(encoder, frames), readout=Readout.inside([0, 0, 1, 1]))
    own = encoder.model(pixel_values(encoder, frames))
    torch.testing.assert_close(features.pooled, own.pooler_output, rtol=0, atol=BOUND)
    torch.testing.assert_close(features.regions[:, 0], own.pooler_output, rtol=0, atol=BOUND)
    with pytest.raises(ModelError, match="no classifier"):
        encoder.classify(features)
    assert encoder.labels == {}


@pytest.mark.parametrize("count", [1, 2])
def test_the_real_vit(real_vit_folder, make_batch, make_pictures, pixel_values, assemble, count):
    encoder = encoders.load(real_vit_folder)
    assert (encoder.patch, encoder.width, encoder.native_size) == (16, 192, (224, 224))
    assert len(encoder.labels) == 1000
    frames = make_pictures(count, (224, 224))
    batch = make_batch(encoder, frames)
    features = encoder(batch)
    # the very same pixels: rounded otherwise in the last bit, they come out 6e-5 apart, which is also how far the
    # model's own 32-bit forward is from its 64-bit one
    pixels = assemble(encoder, batch)
    torch.testing.assert_close(pixels, pixel_values(encoder, frames), rtol=0, atol=1e-6)
    assert_own(encoder, features, encoder.body(pixels))
    torch.testing.assert_close(encoder.classify(features), encoder.model(pixels).logits, rtol=0, atol=BOUND)


def test_the_real_vit_in_64_bits(real_vit_folder, make_batch, make_pictures, assemble):
    encoder = encoders.load(real_vit_folder, dtype=torch.float64)
    batch = make_batch(encoder, make_pictures(1, (224, 224)))
    own = encoder.body(assemble(encoder, batch).double()).last_hidden_state
    torch.testing.assert_close(encoder(batch).tokens, own[:, 1:], rtol=0, atol=1e-11)


def padded(batch: TokenBatch, rows: int, *, poison: float, shift: int = 0) -> TokenBatch:
    """The batch with padding rows behind its tokens (or `shift` of them before), full of poison."""
    views, count = batch.dirty.shape
    pixels = torch.full((views, rows, *batch.pixels.shape[2:]), poison)
    table = np.zeros((views, rows), TOKEN_RECORD)
    table["layer"], table["side"] = -1, 1
    pixels[:, shift : shift + count], table[:, shift : shift + count] = batch.pixels, batch.table
    dirty = torch.zeros(views, rows, dtype=torch.bool)
    return TokenBatch(pixels, table, dirty, batch.sizes, batch.sources, batch.pts)


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e30])
@pytest.mark.parametrize("shift", [0, 5])
@pytest.mark.parametrize("readout", [None, Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]])])
def test_padding_rows_influence_nothing(make_vit, make_batch, make_pictures, poison, shift, readout):
    encoder = encoders.load(make_vit())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    plain = encoder(batch, readout=readout)
    found = encoder(padded(batch, 40, poison=poison, shift=shift), readout=readout)
    torch.testing.assert_close(found.tokens[:, shift : shift + 28], plain.tokens, rtol=0, atol=BOUND)
    torch.testing.assert_close(found.pooled, plain.pooled, rtol=0, atol=BOUND)
    if readout is not None:
        torch.testing.assert_close(found.regions, plain.regions, rtol=0, atol=BOUND)
    assert not found.tokens[found.padding].any()
    assert found.padding.sum() == plain.padding.sum() + 2 * 12
    found.check_finite()


def test_what_a_padding_row_says_of_its_place_is_not_read(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    batch = padded(make_batch(encoder, make_pictures(1, encoder.native_size)), 40, poison=0.0)
    expected = encoder(batch)
    encoder.add_scale_embedding()
    batch.table["x"][:, 36:], batch.table["side"][:, 36:] = np.nan, 0
    torch.testing.assert_close(encoder(batch).tokens, expected.tokens, rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["eager", "sdpa"])
def test_either_attention_of_the_model_will_do(make_vit, make_batch, make_pictures, kind):
    model = make_vit()
    plain = encoders.load(make_vit())
    model.set_attn_implementation(kind)
    encoder = encoders.load(model)
    batch = padded(make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8)), 40, poison=1.0)
    readout = Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]], weighting="area")
    found, expected = encoder(batch, readout=readout), plain(batch, readout=readout)
    torch.testing.assert_close(found.tokens, expected.tokens, rtol=0, atol=BOUND)
    torch.testing.assert_close(found.regions, expected.regions, rtol=0, atol=BOUND)


def test_a_view_of_padding_alone_stays_finite(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    batch = make_batch(encoder, make_pictures(2, encoder.native_size))
    batch.table["layer"][1] = -1
    features = encoder(batch).check_finite()
    assert not features.tokens[1].any()


def test_tokens_planned_on_a_device_give_the_same(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    bits = torch.from_numpy(batch.table.view(np.int32).reshape(2, 28, 6).copy())
    there = TokenBatch(batch.pixels, bits, batch.dirty, batch.sizes, batch.sources, batch.pts)
    readout = Readout.near((0.5, 0.5), eccentricity_deg=8)
    torch.testing.assert_close(
        encoder(there, readout=readout).regions, encoder(batch, readout=readout).regions, rtol=0, atol=BOUND
    )


def test_uint8_tokens_are_normalised_here(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    frames = make_pictures(1, encoder.native_size)
    raw = make_batch(encoder, frames, dtype=torch.uint8)
    assert raw.pixels.dtype == torch.uint8
    torch.testing.assert_close(encoder(raw).tokens, encoder(make_batch(encoder, frames)).tokens, rtol=0, atol=BOUND)


def test_half_precision(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit(), dtype=torch.bfloat16)
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    features = encoder(padded(batch, 30, poison=float("nan")), readout=Readout.near((0.5, 0.5))).check_finite()
    assert features.tokens.dtype == features.regions.dtype == torch.bfloat16
    exact = encoders.load(make_vit())(batch)
    torch.testing.assert_close(features.pooled.float(), exact.pooled, rtol=0, atol=0.1)


@pytest.mark.parametrize("rows", [36, 40])
def test_the_fixed_shape_path_compiles_whole(make_vit, make_batch, make_pictures, rows):
    encoder = encoders.load(make_vit())
    batch = padded(make_batch(encoder, make_pictures(2, encoder.native_size)), rows, poison=0.0)
    readout = Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]])
    expected = encoder(batch), encoder(batch, readout=readout)
    encoder.compile(fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(encoder(batch).tokens, expected[0].tokens, rtol=0, atol=BOUND)
    torch.testing.assert_close(encoder(batch, readout=readout).regions, expected[1].regions, rtol=0, atol=BOUND)


def test_encoders_are_compiled_without_regard_to_each_other(make_vit, make_batch, make_pictures):
    with torch._dynamo.config.patch(recompile_limit=2):
        for blocks in (1, 2, 3):
            encoder = encoders.load(make_vit(num_hidden_layers=blocks))
            batch = make_batch(encoder, make_pictures(1, encoder.native_size))
            expected = encoder(batch)
            encoder.compile(fullgraph=True, backend="eager")
            torch.testing.assert_close(encoder(batch).tokens, expected.tokens, rtol=0, atol=BOUND)


def test_a_scale_embedding_changes_nothing_until_it_is_trained(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    batch = make_batch(encoder, make_pictures(1, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    before = encoder(batch).tokens
    scale = encoder.add_scale_embedding()
    torch.testing.assert_close(encoder(batch).tokens, before, rtol=0, atol=0)
    with torch.enable_grad():
        optimizer = torch.optim.SGD(scale.parameters(), lr=0.1)
        encoder(batch).pooled.square().sum().backward()
        optimizer.step()
    assert not torch.equal(encoder(batch).tokens, before)


def test_what_does_not_fit_is_refused_in_one_line(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    frames = make_pictures(1, encoder.native_size)
    with pytest.raises(ValueError, match="tokens of 4 x 4 pixels; ViTForImageClassification takes 8 x 8: sample with"):
        encoder(make_batch(encoder, frames, patch=4))
    grey = make_batch(encoder, [frames[0][..., :1]], mean=(0.5,), std=(0.5,))
    with pytest.raises(ValueError, match="tokens of 1 channel; ViTForImageClassification takes 3"):
        encoder(grey)
    batch = make_batch(encoder, frames)
    nowhere = TokenBatch(batch.pixels.to("meta"), batch.table, batch.dirty, batch.sizes, batch.sources, batch.pts)
    with pytest.raises(ValueError, match=r"tokens on meta, .* on cpu; move one of them"):
        encoder(nowhere)
    none = TokenBatch(
        batch.pixels[:, :0], batch.table[:, :0], batch.dirty[:, :0], batch.sizes, *(batch.sources, batch.pts)
    )
    with pytest.raises(ValueError, match="1 views of 0 tokens; give tokens"):
        encoder(none)
    with pytest.raises(TypeError, match="a Tensor for ViTForImageClassification; give a TokenBatch"):
        encoder(batch.pixels)
    with pytest.raises(TypeError, match=r"readout is a list; make one with Readout.inside"):
        encoder(batch, readout=[(0, 0, 1, 1)])
    with pytest.raises(TypeError, match="NoneType to classify; give Features, or answers: regions need a readout"):
        encoder.classify(encoder(batch).regions)


def test_nan_in_a_frame_is_found(make_vit, make_batch, make_pictures):
    encoder = encoders.load(make_vit())
    batch = make_batch(encoder, make_pictures(2, encoder.native_size))
    assert encoder(batch).check_finite().width == 32
    batch.pixels[1, 3] = float("nan")
    with pytest.raises(ValueError, match=r"tokens of view 1 \(source 1\) are not finite"):
        encoder(batch).check_finite()
