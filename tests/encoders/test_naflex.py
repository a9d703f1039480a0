"""NaFlex: its own forward on every uniform layout, of any size and aspect; masks, read-outs, off the grid."""

from __future__ import annotations

import families
import pytest
import torch
from families import VISION, WIDTH, close, made

from texvlm import ModelError, encoders
from texvlm.encoders import Readout
from texvlm.encoders.export import model_inputs
from texvlm.encoders.naflex import NaFlexEncoder, resized
from texvlm.layouts import Quadtree

NAFLEX = {key: value for key, value in VISION.items() if key != "image_size"} | {"num_patches": 36}


def vision(**options):
    from transformers import Siglip2VisionConfig

    return made("Siglip2VisionModel", Siglip2VisionConfig(**(NAFLEX | options)))


def both(kind="Siglip2Model", **options):
    from transformers import Siglip2Config

    text = {**families.BLOCKS, "intermediate_size": 48, "vocab_size": 20, "max_position_embeddings": 12}
    config = Siglip2Config(text_config=text | {"projection_size": WIDTH}, vision_config=NAFLEX, **options)
    return made(kind, config)


def own_inputs(encoder, frames):
    """What the model's own image processor makes of frames of whole patches."""
    from transformers import Siglip2ImageProcessorPil

    height, width = frames[0].shape[:2]
    processor = Siglip2ImageProcessorPil(
        patch_size=encoder.patch, max_num_patches=height * width // encoder.patch**2, do_resize=True
    )
    return processor(images=frames, return_tensors="pt")


@pytest.mark.parametrize("make", [vision, both])
@pytest.mark.parametrize(("count", "size"), [(1, (48, 48)), (3, (48, 48)), (2, (80, 64)), (2, (32, 24)), (1, (96, 16))])
def test_uniform_layouts_are_the_models_own_forward(make, make_batch, make_pictures, count, size):
    encoder = encoders.load(make())
    assert isinstance(encoder, NaFlexEncoder)
    assert (encoder.patch, encoder.native_size, encoder.mean) == (8, (48, 48), (0.5, 0.5, 0.5))
    frames = make_pictures(count, size)
    inputs = own_inputs(encoder, frames)
    assert inputs["spatial_shapes"].tolist() == [[size[1] // 8, size[0] // 8]] * count
    features, own = encoder(make_batch(encoder, frames)), encoder.body(**inputs)
    close(features.tokens, own.last_hidden_state)
    close(features.pooled, own.pooler_output)


def test_other_methods_are_exact_at_native_size(make_batch, make_pictures):
    encoder = encoders.load(vision(), positions="area")
    frames = make_pictures(2, encoder.native_size)
    own = encoder.model(**own_inputs(encoder, frames))
    close(encoder(make_batch(encoder, frames)).tokens, own.last_hidden_state)


def test_a_classifier_reads_the_mean_of_tokens(make_batch, make_pictures):
    encoder = encoders.load(both("Siglip2ForImageClassification", num_labels=5))
    frames = make_pictures(2, (64, 48))
    batch = make_batch(encoder, frames)
    close(encoder.classify(encoder(batch)), encoder.model(**own_inputs(encoder, frames)).logits)
    assert list(encoder.labels) == [0, 1, 2, 3, 4]
    with pytest.raises(ModelError, match="no classifier"):
        encoders.load(vision()).classify(torch.zeros(1, WIDTH))


def test_a_model_without_a_head_answers_nothing(make_batch, make_pictures):
    encoder = encoders.load(vision(vision_use_head=False))
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    features = encoder(batch)
    assert features.pooled is None
    assert features.regions is None
    with pytest.raises(ModelError, match="no pooling head, which read-outs need"):
        encoder(batch, readout=Readout.inside([0, 0, 1, 1]))


def test_views_of_unequal_counts_answer_as_alone(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=40, patch=8, small_frames="pad"))
    batch.table["layer"][1, 25:] = -1
    batch.pixels[1, 25:] = float("nan")
    features = encoder(batch).check_finite()
    short = make_batch(encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=40, patch=8))
    part = type(batch)(
        short.pixels[1:, :25],
        short.table[1:, :25],
        short.dirty[1:, :25],
        short.sizes[1:],
        short.sources[1:],
        short.pts[1:],
    )
    alone = encoder(part)
    close(features.tokens[1, :25], alone.tokens[0])
    close(features.pooled[1], alone.pooled[0])
    assert not features.tokens[1, 25:].any()


def test_a_read_out_of_everything_is_the_answer_and_of_one_token_the_head_on_it(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(2, (48, 48)))
    found = encoder(batch, readout=Readout.inside([[0, 0, 1, 1], [0.01, 0.01, 0.1, 0.1]]))
    close(found.regions[:, 0], found.pooled)
    close(found.regions[:, 1], encoder.body.head(found.tokens[:, :1]))


def test_positions_off_the_grid_are_the_table_between_its_entries(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(1, (96, 96)), layout=Quadtree(tokens=40, patch=8))
    geometry = encoders.Geometry.of(batch)
    ramp = torch.arange(6.0)[:, None, None].expand(6, 6, 1) + 0.5  # an entry holds its own row, in cells
    rows = resized(ramp, geometry)[0, :, 0]
    truth = batch.centres[0, :, 1] * 6 / 96
    inner = ((truth - batch.sides[0] * 6 / 96) >= 0) & ((truth + batch.sides[0] * 6 / 96) <= 6)
    assert inner.sum() > 10
    close(rows[inner], truth[inner])
    assert ((rows >= 0.5) & (rows <= 5.5)).all()


def test_what_is_exported_is_what_the_model_takes(make_batch, make_pictures):
    encoder = encoders.load(vision())
    frames = make_pictures(2, (80, 64))
    batch = make_batch(encoder, frames)
    found, own = model_inputs(encoder, batch), own_inputs(encoder, frames)
    for name in ("pixel_values", "pixel_attention_mask", "spatial_shapes"):
        assert found[name].dtype == own[name].dtype
        close(found[name].float(), own[name].float())
    assert found["on_grid"].tolist() == [True, True]
    close(encoder.model(**{name: found[name] for name in own}).pooler_output, encoder(batch).pooled)


def test_the_fixed_shape_path_compiles_whole(make_batch, make_pictures):
    encoder = encoders.load(vision())
    batch = make_batch(encoder, make_pictures(2, (48, 48)))
    expected = encoder(batch)
    encoder.compile(fullgraph=True, backend="aot_eager")
    close(encoder(batch).pooled, expected.pooled)


def test_a_folder_is_loaded(tmp_path, make_batch, make_pictures):
    model = both()
    model.save_pretrained(tmp_path / "naflex")
    encoder = encoders.load(tmp_path / "naflex")
    batch = make_batch(encoder, make_pictures(1, (48, 48)))
    close(encoder(batch).pooled, encoders.load(model)(batch).pooled)


def test_a_table_that_does_not_fit_is_refused():
    model = vision()
    model.embeddings.position_embedding = torch.nn.Embedding(30, WIDTH)
    with pytest.raises((ValueError, ModelError), match=r"position table of shape \(30, .*\) for a grid of 6 x 6"):
        encoders.load(model)
