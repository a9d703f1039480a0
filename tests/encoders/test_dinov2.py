"""DINOv2: its own forward on a uniform layout, at its native size and, looked up as it does, at any other."""

from __future__ import annotations

import families
import pytest
import torch
from families import WIDTH, close
from families import dinov2 as plain
from families import dinov2_with_registers as with_registers

from texvlm import ModelError, encoders
from texvlm.encoders import Geometry, Readout
from texvlm.encoders.bicubic import bicubic, bicubic_antialiased
from texvlm.encoders.dinov2 import DINOv2Encoder
from texvlm.layouts.quadtree import Quadtree

FAMILIES = pytest.mark.parametrize("make", [plain, with_registers])


def assert_own(encoder, batch, pixels):
    features, own = encoder(batch), encoder.body(pixels)
    before = encoder.prefix_tokens
    close(features.tokens, own.last_hidden_state[:, before:])
    close(features.prefix, own.last_hidden_state[:, :before])
    return features, own


@FAMILIES
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("positions", ["bilinear", "area", bicubic, bicubic_antialiased])
def test_native_uniform_is_the_models_own_forward(make, make_batch, make_pictures, pixel_values, count, positions):
    encoder = encoders.load(make(), positions=positions)
    assert isinstance(encoder, DINOv2Encoder)
    assert (encoder.patch, encoder.native_grid, encoder.prefix_tokens) == (8, (6, 6), 1 if make is plain else 4)
    frames = make_pictures(count, encoder.native_size)
    features, own = assert_own(encoder, make_batch(encoder, frames), pixel_values(encoder, frames))
    close(features.pooled, own.pooler_output)
    assert features.sources.tolist() == list(range(count))


@pytest.mark.parametrize("size", [(24, 24), (32, 48), (96, 64), (104, 120)])
@pytest.mark.parametrize(("make", "positions"), [(plain, bicubic), (with_registers, bicubic_antialiased)])
def test_other_sizes_are_the_models_own_forward_when_looked_up_as_the_model_does(
    make, positions, make_batch, make_pictures, pixel_values, size
):
    encoder = encoders.load(make(), positions=positions)
    frames = make_pictures(2, size)
    assert_own(encoder, make_batch(encoder, frames), pixel_values(encoder, frames))


@pytest.mark.parametrize(("make", "positions"), [(plain, bicubic), (with_registers, bicubic_antialiased)])
def test_other_sizes_differ_by_the_look_up_alone(make, positions, make_batch, make_pictures, pixel_values):
    encoder = encoders.load(make())
    frames = make_pictures(1, (96, 64))
    batch, own = make_batch(encoder, frames), encoder.body(pixel_values(encoder, frames)).last_hidden_state
    before = encoder.prefix_tokens
    assert (encoder(batch).tokens - own[:, before:]).abs().max() > 1e-3
    encoder.position_method = positions
    close(encoder(batch).tokens, own[:, before:])


@FAMILIES
def test_the_classifier_reads_class_token_and_mean_token(make, make_batch, make_pictures, pixel_values):
    encoder = encoders.load(make("ForImageClassification"))
    frames = make_pictures(2, encoder.native_size)
    batch = make_batch(encoder, frames)
    features = encoder(batch, readout=Readout.inside([0, 0, 1, 1]))
    own = encoder.model(pixel_values(encoder, frames)).logits
    close(encoder.classify(features), own)
    close(encoder.classify(features.regions[:, 0]), own)
    assert features.pooled.shape == (2, 2 * WIDTH)
    assert len(encoder.labels) == 5
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([0, 0, 0.5, 1]))


@FAMILIES
def test_a_model_without_classifier_says_so(make, make_batch, make_pictures):
    encoder = encoders.load(make())
    assert encoder.labels == {}
    with pytest.raises(ModelError, match="no classifier"):
        encoder.classify(encoder(make_batch(encoder, make_pictures(1, (48, 48)))))


@FAMILIES
def test_padding_and_off_grid_and_readouts(make, make_batch, make_pictures):
    encoder = encoders.load(make())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
    families.assert_whole_view_reads_as_the_plain_answer(encoder, batch)
    families.assert_takes_every_layout(encoder, make_batch, make_pictures)


@FAMILIES
def test_a_saved_folder_gives_the_same(make, make_batch, make_pictures, tmp_path):
    model = make()
    model.save_pretrained(tmp_path / "model")
    encoder = encoders.load(tmp_path / "model")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder(batch).tokens, encoders.load(model)(batch).tokens)
    assert encoder.mean == (0.485, 0.456, 0.406)


def test_the_fixed_shape_path_compiles_whole(make_batch, make_pictures):
    encoder = encoders.load(with_registers())
    batch = make_batch(encoder, make_pictures(2, encoder.native_size))
    plain_features = encoder(batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
    encoder.compile(fullgraph=True, backend="aot_eager")
    compiled = encoder(batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
    close(compiled.tokens, plain_features.tokens)
    close(compiled.regions, plain_features.regions)


def test_bicubic_holds_the_edge_outside_the_frame(make_batch, make_pictures):
    encoder = encoders.load(plain())
    batch = make_batch(encoder, make_pictures(1, (48, 48)), layout=families.OFF_GRID["rings"], fixations=(-3.0, 0.5))
    geometry, table = Geometry.of(batch), torch.randn(6, 6, 4)
    assert (geometry.centres[..., 0] < -48).sum() > 10
    beyond = geometry.centres[..., 0] < -48
    edge = table[:, :1].expand(-1, 6, -1)
    close(bicubic(table, geometry)[beyond], bicubic(edge, geometry)[beyond])
    ones = torch.ones(6, 6, 1)
    close(bicubic_antialiased(ones, geometry), torch.ones(1, geometry.sides.shape[1], 1))
