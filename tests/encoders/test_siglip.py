"""SigLIP: its own forward on a uniform layout; a pooling head that padding cannot reach, and that reads regions."""

from __future__ import annotations

import families
import pytest
import torch
from families import WIDTH, close
from families import siglip as both
from families import siglip_vision as vision

from texvlm import ModelError, encoders
from texvlm.encoders import Readout
from texvlm.encoders.bicubic import bicubic
from texvlm.encoders.siglip import SiglipEncoder
from texvlm.layouts.quadtree import Quadtree


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("make", [vision, both])
@pytest.mark.parametrize("positions", ["bilinear", "area", bicubic])
def test_native_uniform_is_the_models_own_forward(make, make_batch, make_pictures, pixel_values, count, positions):
    encoder = encoders.load(make(), positions=positions)
    assert isinstance(encoder, SiglipEncoder)
    assert (encoder.patch, encoder.native_grid, encoder.mean) == (8, (6, 6), (0.5, 0.5, 0.5))
    frames = make_pictures(count, encoder.native_size)
    features, own = encoder(make_batch(encoder, frames)), encoder.body(pixel_values(encoder, frames))
    close(features.tokens, own.last_hidden_state)
    close(features.pooled, own.pooler_output)
    assert features.prefix.shape == (count, 0, WIDTH)


def test_other_sizes_are_its_own_interpolation(make_batch, make_pictures, pixel_values):
    encoder = encoders.load(vision(), positions=bicubic)
    frames = make_pictures(2, (96, 64))
    own = encoder.model(pixel_values(encoder, frames), interpolate_pos_encoding=True)
    close(encoder(make_batch(encoder, frames)).pooled, own.pooler_output)


def test_a_read_out_of_one_token_is_the_head_on_that_token(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    row = batch.table[0, 9]
    u, v = row["x"] / 96, row["y"] / 64
    features = encoder(batch, readout=Readout.inside([[u - 0.001, v - 0.001, u + 0.001, v + 0.001]]))
    under = (batch.table["x"] == row["x"]) & (batch.table["y"] == row["y"])
    assert under[0].sum() == 1
    close(features.regions[0, 0], encoder.body.head(features.tokens[0, 9][None, None])[0])


def test_a_model_without_head_answers_nothing(make_batch, make_pictures):
    encoder = encoders.load(vision(vision_use_head=False))
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    features = encoder(batch)
    assert features.pooled is None
    with pytest.raises(ModelError, match="no answer"):
        encoder.classify(features)
    with pytest.raises(ModelError, match="no pooling head, which read-outs need"):
        encoder(batch, readout=Readout.inside([0, 0, 1, 1]))


def test_the_classifier_reads_the_mean_token(make_batch, make_pictures, pixel_values):
    encoder = encoders.load(both("SiglipForImageClassification", num_labels=5))
    frames = make_pictures(2, (48, 48))
    batch = make_batch(encoder, frames)
    features = encoder(batch, readout=Readout.inside([0, 0, 1, 1]))
    own = encoder.model(pixel_values(encoder, frames)).logits
    close(encoder.classify(features), own)
    close(encoder.classify(features.regions[:, 0]), own)
    assert len(encoder.labels) == 5
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([0, 0, 0.5, 1]))


def test_padding_and_off_grid_and_readouts(make_batch, make_pictures):
    encoder = encoders.load(both())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
    families.assert_whole_view_reads_as_the_plain_answer(encoder, batch)
    families.assert_takes_every_layout(encoder, make_batch, make_pictures)


def test_weights_of_a_region_count_in_the_head(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    chosen = torch.zeros(1, 36)
    chosen[0, 7] = 3.0
    features = encoder(batch, readout=Readout.inside([0, 0, 1, 1], weights=chosen))
    close(features.regions[0, 0], encoder.body.head(features.tokens[:, 7:8])[0])


@pytest.mark.parametrize("make", [vision, both])
def test_a_saved_folder_gives_the_same(make, make_batch, make_pictures, tmp_path):
    model = make()
    model.save_pretrained(tmp_path / "model")
    encoder = encoders.load(tmp_path / "model")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder(batch).pooled, encoders.load(model)(batch).pooled)
