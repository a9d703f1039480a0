"""CLIP: its own forward on a uniform layout, with and without projection; read-outs in the text's space."""

from __future__ import annotations

import families
import pytest
from families import WIDTH, close
from families import clip as both
from families import clip_vision as vision

from texvlm import ModelError, encoders
from texvlm.encoders import Readout
from texvlm.encoders.bicubic import bicubic
from texvlm.encoders.clip import CLIPEncoder
from texvlm.layouts.quadtree import Quadtree


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("positions", ["bilinear", "area", bicubic])
def test_native_uniform_is_the_models_own_forward(make_batch, make_pictures, pixel_values, count, positions):
    encoder = encoders.load(vision(), positions=positions)
    assert isinstance(encoder, CLIPEncoder)
    assert (encoder.patch, encoder.native_grid) == (8, (6, 6))
    frames = make_pictures(count, encoder.native_size)
    features, own = encoder(make_batch(encoder, frames)), encoder.model(pixel_values(encoder, frames))
    close(features.tokens, own.last_hidden_state[:, 1:])
    close(features.prefix, own.last_hidden_state[:, :1])
    close(features.pooled, own.pooler_output)


def test_other_sizes_are_its_own_interpolation(make_batch, make_pictures, pixel_values):
    encoder = encoders.load(vision(), positions=bicubic)
    frames = make_pictures(2, (96, 64))
    own = encoder.model(pixel_values(encoder, frames), interpolate_pos_encoding=True)
    close(encoder(make_batch(encoder, frames)).tokens, own.last_hidden_state[:, 1:])


def test_a_projection_is_part_of_the_answer(make_batch, make_pictures, pixel_values):
    projecting = vision("CLIPVisionModelWithProjection"), lambda model, pixels: model(pixels).image_embeds
    whole = both(), lambda model, pixels: model.get_image_features(pixels).pooler_output
    for model, own in (projecting, whole):
        encoder = encoders.load(model)
        frames = make_pictures(2, (48, 48))
        features = encoder(make_batch(encoder, frames), readout=Readout.inside([0, 0, 1, 1]))
        close(features.pooled, own(model, pixel_values(encoder, frames)))
        close(features.regions[:, 0], features.pooled)
        assert features.pooled.shape == (2, 24)
        assert features.width == WIDTH


def test_the_classifier_reads_the_mean_token(make_batch, make_pictures, pixel_values):
    encoder = encoders.load(both("CLIPForImageClassification", num_labels=5))
    frames = make_pictures(2, (48, 48))
    batch = make_batch(encoder, frames)
    features = encoder(batch, readout=Readout.inside([0, 0, 1, 1]))
    own = encoder.model(pixel_values(encoder, frames)).logits
    close(encoder.classify(features), own)
    close(encoder.classify(features.regions[:, 0]), own)
    assert len(encoder.labels) == 5
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([0, 0, 0.5, 1]))
    plain = encoders.load(vision())
    assert plain.labels == {}
    with pytest.raises(ModelError, match="no classifier"):
        plain.classify(plain(batch))


def test_padding_and_off_grid_and_readouts(make_batch, make_pictures):
    for model in (vision(), both()):
        encoder = encoders.load(model)
        batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
        families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
        families.assert_whole_view_reads_as_the_plain_answer(encoder, batch)
        families.assert_takes_every_layout(encoder, make_batch, make_pictures)


@pytest.mark.parametrize("make", [vision, both])
def test_a_saved_folder_gives_the_same(make, make_batch, make_pictures, tmp_path):
    model = make()
    model.save_pretrained(tmp_path / "model")
    encoder = encoders.load(tmp_path / "model")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder(batch).pooled, encoders.load(model)(batch).pooled)


def test_attention_without_masks_is_refused():
    model = both()
    model.vision_model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(ModelError, match="takes no mask"):
        encoders.load(model)
