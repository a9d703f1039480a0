"""Text against pictures: the model's own similarity of whole pictures; maps of single tokens; looks by a query."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from families import clip, clip_vision, close, siglip

from texvlm import Engine, LookError, ModelError, encoders
from texvlm.encoders import Readout
from texvlm.encoders.similarity import TextSimilarity, similarity_of
from texvlm.fixation import Looker, parse_look, scene_of
from texvlm.layouts.quadtree import Quadtree

WORDS = ["<s>", "</s>", "<unk>", "a", "red", "blue", "car", "street"]


def save_tokenizer(folder, *, words=WORDS):
    """A tokenizer of whole words that ends texts as CLIP's does, and fills up with that end, as both do."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    inner.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", words.index("</s>"))]
    )
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=inner, **names).save_pretrained(folder)


@pytest.fixture(params=["clip", "siglip"])
def folder(request, tmp_path):
    model = {"clip": clip, "siglip": siglip}[request.param]()
    if request.param == "clip":
        model.config.text_config.eos_token_id = model.text_model.eos_token_id = WORDS.index("</s>")
    model.save_pretrained(tmp_path / request.param)
    save_tokenizer(tmp_path / request.param)
    return tmp_path / request.param


def ids_of(similarity, text):
    words = [0, *(WORDS.index(word) for word in text.split()), 1]
    if similarity.encoder.model.config.model_type == "siglip":
        words += [1] * (12 - len(words))
    return torch.tensor([words])


def test_whole_pictures_are_compared_as_the_model_does(folder, make_batch, make_pictures, pixel_values):
    similarity = TextSimilarity.load(folder)
    model = similarity.encoder.model
    frames = make_pictures(3, (48, 48))
    features = similarity.encoder(make_batch(similarity.encoder, frames))
    found = similarity.views(features, "a red car", "street")
    assert found.shape == (3, 2)
    for column, text in enumerate(("a red car", "street")):
        own = model(input_ids=ids_of(similarity, text), pixel_values=pixel_values(similarity.encoder, frames))
        close(found[:, column], (own.image_embeds @ own.text_embeds.T)[:, 0])
    assert (found[:, 0] - found[:, 1]).abs().max() > 1e-3


def test_a_map_is_made_of_read_outs_of_single_tokens(folder, make_batch, make_pictures):
    similarity = TextSimilarity.load(folder)
    frames = make_pictures(1, (48, 48))
    found = similarity(frames[0], "a red car")
    assert found.shape == (6, 6)
    assert found.dtype == np.float32
    edges = np.arange(6) / 6
    boxes = [(u, v, u + 1 / 6, v + 1 / 6) for v in edges for u in edges]
    features = similarity.encoder(make_batch(similarity.encoder, frames), readout=Readout.inside(boxes))
    close(torch.from_numpy(found).flatten(), similarity.views(features.regions, "a red car")[0, :, 0])
    assert found.std() > 1e-4
    np.testing.assert_allclose(similarity(frames[0].astype(np.float32) / 255, "a red car"), found, atol=1e-5)


@pytest.mark.parametrize(("size", "grid"), [((160, 90), (4, 9)), ((60, 120), (8, 4)), ((500, 10), (1, 36))])
def test_pictures_of_any_shape_are_cut_into_squares(folder, make_pictures, size, grid):
    similarity = TextSimilarity.load(folder)
    found = similarity(make_pictures(1, size)[0], "a red car")
    assert found.shape == grid
    assert np.isfinite(found).all()
    assert (np.abs(found) <= 1).all()


def test_tokens_off_the_grid_and_padding(folder, make_batch, make_pictures):
    similarity = TextSimilarity.load(folder)
    batch = make_batch(similarity.encoder, make_pictures(2, (96, 64)), layout=Quadtree(tokens=28, patch=8))
    found = similarity.tokens(batch, "a blue street", "car")
    assert found.shape == (2, 28, 2)
    assert (found[batch.is_padding] == -1).all()
    assert (found[~batch.is_padding] > -1).all()
    assert batch.is_padding.any()


def test_a_text_is_read_once(folder):
    similarity = TextSimilarity.load(folder)
    first = similarity.texts("a red car")
    close(first.norm(dim=-1), torch.ones(1))
    similarity.tokenizer = None  # would fail if it were asked again
    assert torch.equal(similarity.texts("a red car", "a red car"), first.expand(2, -1))


def test_texts_longer_than_the_model_reads_are_cut(folder):
    similarity = TextSimilarity.load(folder)
    assert similarity.texts("a red car " * 30).isfinite().all()


def test_what_cannot_be_compared_is_refused(folder, make_pictures):
    similarity = TextSimilarity.load(folder)
    picture = make_pictures(1, (48, 48))[0]
    with pytest.raises(ValueError, match="none empty"):
        similarity(picture, "  ")
    with pytest.raises(ValueError, match="at least one"):
        similarity.texts()
    with pytest.raises(ValueError, match=r"shape \(48, 48\).*takes \(height, width, 3\)"):
        similarity(picture[..., 0], "car")
    with pytest.raises(ValueError, match="int64"):
        similarity(picture.astype(np.int64), "car")


def test_a_folder_without_text_says_what_is_missing(folder, tmp_path):
    clip_vision("CLIPVisionModelWithProjection").save_pretrained(tmp_path / "vision")
    save_tokenizer(tmp_path / "vision")
    with pytest.raises(ModelError, match="CLIPVisionModelWithProjection has no text tower; load a folder of a whole"):
        TextSimilarity.load(tmp_path / "vision")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match=r"no tokenizer .*fetch the tokenizer's files beside config.json"):
        TextSimilarity.load(folder)
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0"}))
    with pytest.raises(ModelError, match="its tokenizer cannot be loaded"):
        TextSimilarity.load(folder)


def test_the_tokenizer_of_another_model_is_refused(folder):
    save_tokenizer(folder, words=WORDS + [str(number) for number in range(30)])
    similarity = TextSimilarity.load(folder)
    with pytest.raises(ModelError, match="made token 37 of '29', the model knows 20"):
        similarity.texts("29")


def test_a_model_without_answers_for_regions_says_so(make_batch, make_pictures):
    model = siglip()
    model.vision_model.use_head = False
    similarity = TextSimilarity(encoders.load(model), None)
    batch = make_batch(similarity.encoder, make_pictures(1, (48, 48)))
    with pytest.raises(ModelError, match="no pooling head"):
        similarity.tokens(batch, "car")
    with pytest.raises(ValueError, match="hold no answer"):
        similarity.views(similarity.encoder(batch), "car")


@pytest.fixture(autouse=True)
def _nothing_kept():
    similarity_of.cache_clear()
    yield
    similarity_of.cache_clear()


def test_a_query_leads_to_where_the_model_finds_it(folder, make_pictures):
    frame = make_pictures(1, (320, 192))[0]
    looker = Looker(parse_look(f"query:text=a red car,model={folder},count=1,longest=96").make)
    with Engine(backend="cpu") as engine:
        engine.submit(frame)
        scene = scene_of(engine, time_s=0.0)
        look = looker.look(scene)
        found = similarity_of(str(folder))(scene.mips.colour(scene.mips.level_within(96)), "a red car")
    row, column = np.unravel_index(found.argmax(), found.shape)
    (u, v), *_ = np.asarray(look.fixations)
    assert abs(u - (column + 0.5) / found.shape[1]) < 1.5 / found.shape[1]
    assert abs(v - (row + 0.5) / found.shape[0]) < 1.5 / found.shape[0]


def test_all_sources_share_one_model(folder):
    look = parse_look(f"query:text=a red car,model={folder}")
    look.make()
    look.make()
    assert similarity_of.cache_info().misses == 1


def test_what_is_missing_is_said(folder, tmp_path, make_pictures):
    for text in ("query", "query:text=a red car", f"query:model={folder}"):
        with pytest.raises(ValueError, match="look query needs words and a CLIP or SigLIP"):
            parse_look(text).make()
    with pytest.raises(ModelError, match="no such folder"):
        parse_look(f"query:text=a red car,model={tmp_path / 'nothing'}").make()
    siglip().save_pretrained(tmp_path / "wordless")
    with pytest.raises(ModelError, match="no tokenizer"):
        parse_look(f"query:text=a red car,model={tmp_path / 'wordless'}").make()
    looker = Looker(parse_look(f"query:text=a red car,model={tmp_path / 'wordless'}").make)
    with Engine(backend="cpu") as engine:
        engine.submit(make_pictures(1, (64, 64))[0])
        with pytest.raises(LookError, match="no tokenizer"):
            looker.look(scene_of(engine))
