"""DINOv3: rotary positions of any token; its own forward on a uniform layout of any size."""

from __future__ import annotations

import families
import pytest
import torch
from families import close
from families import dinov3 as small

from texvlm import encoders
from texvlm.encoders import Geometry, Readout
from texvlm.encoders.dinov3 import DINOv3Encoder
from texvlm.layouts.quadtree import Quadtree


@pytest.mark.parametrize("registers", [0, 3])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("size", [(48, 48), (96, 64), (40, 24)])
def test_a_uniform_layout_of_any_size_is_the_models_own_forward(
    make_batch, make_pictures, pixel_values, registers, count, size
):
    encoder = encoders.load(small(num_register_tokens=registers))
    assert isinstance(encoder, DINOv3Encoder)
    assert (encoder.native_size, encoder.prefix_tokens) == ((48, 48), 1 + registers)
    frames = make_pictures(count, size)
    features, own = encoder(make_batch(encoder, frames)), encoder.body(pixel_values(encoder, frames))
    close(features.tokens, own.last_hidden_state[:, 1 + registers :])
    close(features.prefix, own.last_hidden_state[:, : 1 + registers])
    close(features.pooled, own.pooler_output)


def test_a_gated_mlp_and_eager_attention(make_batch, make_pictures, pixel_values):
    encoder = encoders.load(small(use_gated_mlp=True, attn_implementation="eager"))
    frames = make_pictures(2, (48, 48))
    close(encoder(make_batch(encoder, frames)).pooled, encoder.body(pixel_values(encoder, frames)).pooler_output)


def test_rotations_follow_each_views_own_tokens(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(
        encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8), fixations=[(0.2, 0.3), (0.9, 0.6)]
    )
    geometry = Geometry.of(batch)
    cosine, sine = encoder.rotations(geometry)
    assert cosine.shape == sine.shape == (2, 1, 28, 8)
    assert not torch.equal(cosine[0], cosine[1])
    x, y = batch.table[1, 5]["x"].item(), batch.table[1, 5]["y"].item()
    v, u = (torch.tensor(2 * place - 1) for place in (y / 64, x / 96))
    angles = 2 * torch.pi * torch.stack([v, v / 10, u, u / 10])  # head width 8: frequencies 1 and 1 / sqrt(100)
    close(cosine[1, 0, 5], angles.cos().repeat(2))
    close(sine[1, 0, 5], angles.sin().repeat(2))


def test_training_draws_no_random_coordinates(make_batch, make_pictures):
    encoder = encoders.load(small(pos_embed_jitter=2.0, pos_embed_shift=0.5)).train()
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    assert torch.equal(encoder(batch).tokens, encoder(batch).tokens)


def test_padding_and_off_grid_and_readouts(make_batch, make_pictures):
    encoder = encoders.load(small())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    families.assert_padding_never_matters(encoder, batch, readout=Readout.inside([[0, 0, 0.5, 1], [0, 0, 1, 1]]))
    families.assert_whole_view_reads_as_the_plain_answer(encoder, batch)
    families.assert_takes_every_layout(encoder, make_batch, make_pictures)


def test_a_saved_folder_gives_the_same(make_batch, make_pictures, tmp_path):
    model = small()
    model.save_pretrained(tmp_path / "model")
    encoder = encoders.load(tmp_path / "model")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder(batch).tokens, encoders.load(model)(batch).tokens)
